"""Simulated exposures as files: what a microscope would write, and the truth beside it.

HyperSpy files hold all that is known of an exposure; MRC files leave it to a SerialEM sidecar, as
real ones do. Either way :mod:`interphase.io` reads back what was written, so a folder of them is
a session.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from interphase.acquisition import Acquisition, Kind, Stage
from interphase.errors import FileReadError, ParameterError
from interphase.files import to_plain, write_text, write_whole
from interphase.io.discovery import TRUTH_SUFFIX
from interphase.parallel.calls import one_line
from interphase.simulation.models.architectures import Interphase
from interphase.simulation.models.crystallites import CrystalliteTruth
from interphase.simulation.models.truth import DepthProfile, InterphaseTruth

if TYPE_CHECKING:
    from hyperspy.signals import BaseSignal

MAP_STEP_A = 1 / 64
"""Truth maps are rounded to this [Å], a power of two, so that what was read is written alike."""
Ending = Literal[".hspy", ".mrc"]
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_IMAGE = ("pixel_size_a", "pixel_size_a")
_PATTERN = ("reciprocal_pixel_size_per_a", "reciprocal_pixel_size_per_a")
_SCAN = ("scan_step_a", "scan_step_a")
_AXES: Mapping[Kind, tuple[str, ...]] = {
    Kind.IMAGE: _IMAGE,
    Kind.MOVIE: ("frame", *_IMAGE),
    Kind.DIFFRACTION: _PATTERN,
    Kind.SCAN_4D: (*_SCAN, *_PATTERN),
    Kind.SPECTRUM: ("dispersion_ev",),
    Kind.SPECTRUM_IMAGE: (*_SCAN, "dispersion_ev"),
}
"""Kind → the field of the acquisition that calibrates each axis of the array."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulatedExposure:
    """One exposure to be written: the counts, what was exposed, and the truth."""

    stem: str
    """File name without its ending."""
    counts: np.ndarray
    """What the detector recorded, shaped as `acquisition.kind` says: (frame, row, column),
    spectrum axis last."""
    acquisition: Acquisition
    """What was exposed and how. Calibrations of the axes are needed; of the rest, what is
    ``None`` is not written. Where an axis of energies begins is the first of
    `energy_range_ev`."""
    truth: InterphaseTruth | None = None
    """What was put in, in the pixels of `counts`; ``None`` writes no truth file."""
    recipe: Interphase | None = None
    """What the specimen was made by."""
    seed: int | None = None
    """Seed of the counts."""
    ending: Ending = ".hspy"
    """Kind of file; ``.mrc``, for images and movies, comes with an ``.mdoc``."""

    def __post_init__(self) -> None:
        said = self.acquisition
        if not self.stem or Path(self.stem).name != self.stem or self.stem.startswith("."):
            raise ParameterError(
                f"stem is {self.stem!r}: expected the name of a file without folder and ending"
            )
        if said.kind not in _AXES:
            raise ParameterError(
                f"an exposure of kind {said.kind} has no array: give one of {', '.join(_AXES)}"
            )
        if self.ending not in get_args(Ending):
            raise ParameterError(
                f"the ending of {self.stem} is {self.ending!r}: expected one of "
                f"{', '.join(get_args(Ending))}"
            )
        if self.ending == ".mrc" and said.kind not in {Kind.IMAGE, Kind.MOVIE}:
            raise ParameterError(
                f"{self.stem} is of kind {said.kind}, which .mrc files do not hold with its "
                "calibration: give ending='.hspy'"
            )
        axes = _AXES[said.kind]
        counts = self.counts
        if counts.ndim != len(axes) or not counts.size or counts.dtype.kind not in "iuf":
            raise ParameterError(
                f"counts of {self.stem} have shape {counts.shape} and are {counts.dtype}: "
                f"expected numbers along {len(axes)} axes for {said.kind}, one at least"
            )
        if self.ending == ".mrc" and not (np.abs(counts) <= np.finfo(np.float32).max).all():
            raise ParameterError(
                f"counts of {self.stem} are not all finite numbers of 32 bits, and .mrc files hold "
                "no others: replace them, or give ending='.hspy'"
            )
        places = {"pixel_size_a", "scan_step_a"}
        field = tuple(n for n, axis in zip(counts.shape, axes, strict=True) if axis in places)
        if self.truth is not None and field and self.truth.depth_a.shape != field:
            raise ParameterError(
                f"the truth of {self.stem} has the shape {self.truth.depth_a.shape} and its counts "
                f"{field}: give the truth in the pixels of the counts"
            )
        for name in (*axes, *(["energy_range_ev"] if "dispersion_ev" in axes else [])):
            if name != "frame" and getattr(said, name) is None:
                raise ParameterError(
                    f"{name} of {self.stem} is None: a {said.kind} cannot be written without it, "
                    "give it in the acquisition"
                )

    @property
    def name(self) -> str:
        """Name of the file with the counts."""
        return self.stem + self.ending


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExposureTruth:
    """What a truth file says."""

    truth: InterphaseTruth
    """What was put in, in the coordinates of the image."""
    recipe: Interphase | None
    """What the specimen was made by."""
    seed: int | None
    """Seed of the counts."""
    version: str
    """Version of this package that made it."""


def write_exposure(folder: Path, exposure: SimulatedExposure) -> Path:
    """Write an exposure as a file of a microscope, and its truth beside it.

    Each file is written whole or not at all, the one with the counts last. Counts that are whole
    numbers become the smallest integers that hold them.

    Parameters
    ----------
    folder
        Where the files go; made if it is not there, files of the same name are replaced.
    exposure
        What to write.

    Returns
    -------
    Path
        The file with the counts. The truth is in ``<stem>.truth.npz``; see `load_truth`.

    Notes
    -----
    In a HyperSpy file the dose and whatever else HyperSpy's metadata have no place for are
    children of ``interphase``, named as in `Acquisition`. A stage that is 0 in every axis, and
    beam and image shifts, are not read back.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / exposure.name
    if exposure.truth is not None:
        _write_truth(folder / f"{exposure.stem}{TRUTH_SUFFIX}", exposure)
    if exposure.ending == ".mrc":
        write_text(folder / f"{exposure.name}.mdoc", _mdoc(exposure))
    with _beside(path) as part:
        if exposure.ending == ".mrc":
            _write_mrc(part, exposure)
        else:
            _signal(exposure).save(part, overwrite=True)
    return path


def write_session(
    folder: Path,
    exposures: Iterable[SimulatedExposure],
    *,
    facts: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write exposures and what no header of theirs holds, as a session's folder.

    Parameters
    ----------
    folder
        Where the files go.
    exposures
        What to write; a generator keeps one at a time in memory.
    facts
        What ``session.toml`` says of them all, such as ``{"phases": "lithium-sei"}``; see
        `interphase.io.SessionConfig`.

    Returns
    -------
    list
        The files with counts, in order.

    Raises
    ------
    ParameterError
        A fact is none that ``session.toml`` holds, or two exposures have one stem.
    """
    from interphase.io import SESSION_FILE

    text = _session_toml({} if facts is None else facts)
    written: dict[str, Path] = {}
    for exposure in exposures:
        if exposure.stem in written:
            raise ParameterError(
                f"two exposures are called {exposure.stem}: give each its own stem, after which "
                "its truth is named"
            )
        written[exposure.stem] = write_exposure(folder, exposure)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / SESSION_FILE, text)
    return list(written.values())


def _session_toml(facts: Mapping[str, Any]) -> str:
    """Return what a session.toml that states facts says."""
    from pydantic import ValidationError

    from interphase.io import SessionConfig

    try:
        config = SessionConfig.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "facts"
        raise ParameterError(
            f"session.toml cannot say {key} = {one_line(repr(first['input']))}: {first['msg']}"
        ) from error
    said = config.model_dump(exclude_none=True)
    tables = said.pop("files", {})
    lines = ["# A simulated session.", *_toml(said)]
    for name, table in tables.items():
        lines += ["", *_toml(table, heading=name)]
    return "\n".join(lines) + "\n"


def _toml(table: Mapping[str, Any], *, heading: str | None = None) -> list[str]:
    """Return the lines of a table; what JSON writes of texts, numbers and lists is TOML, too."""

    def plain(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

    head = [] if heading is None else [f"[files.{plain(heading)}]"]
    return head + [f"{key} = {plain(value)}" for key, value in table.items()]


def load_truth(path: Path) -> ExposureTruth:
    """Return what was put into a simulated exposure.

    Parameters
    ----------
    path
        The truth file, or the file with the counts beside which it lies.

    Returns
    -------
    ExposureTruth
        Maps are rounded to `MAP_STEP_A`, everything else is exact.

    Raises
    ------
    FileReadError
        There is none, or it cannot be read.
    """
    if not path.name.endswith(TRUTH_SUFFIX):
        path = path.with_name(path.stem + TRUTH_SUFFIX)
    try:
        # Opened here, because NumPy leaves a file open that is no archive.
        with path.open("rb") as stream, np.load(stream) as archive:
            return unpack_truth({**archive, "said": json.loads(str(archive["said"]))})
    except FileNotFoundError as error:
        raise FileReadError(
            f"{path.name} is not there: only exposures that were written with a truth have one"
        ) from error
    except Exception as error:  # damage shows in as many ways as there are bytes
        raise FileReadError(
            f"{path.name} holds no truth that can be read: {one_line(str(error))}"
        ) from error


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a hidden path to writers that want no stream, and rename it when they are done."""
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def pack_truth(
    truth: InterphaseTruth, *, recipe: Interphase | None = None, seed: int | None = None
) -> dict[str, Any]:
    """Return a truth as arrays and what JSON can hold; `unpack_truth` takes it back.

    Parameters
    ----------
    truth
        What was put in.
    recipe
        What the specimen was made by.
    seed
        Seed of the counts.

    Returns
    -------
    dict
        Maps rounded to `MAP_STEP_A`, as the smallest integers that hold them; ``said`` is the rest.
    """
    import interphase

    arrays = {"projected_thickness_a", "depth_a", "profile"}
    plain = {f.name: getattr(truth, f.name) for f in fields(truth) if f.name not in arrays}
    said = {
        "version": interphase.__version__,
        "seed": seed,
        "recipe": recipe,
        "map_step_a": MAP_STEP_A,
        "materials": list(truth.projected_thickness_a),
        "profile_materials": list(truth.profile.fraction),
        "truth": plain,
    }
    shape = truth.depth_a.shape
    maps = np.array(list(truth.projected_thickness_a.values())).reshape(-1, *shape)
    depths = truth.profile.depth_a
    shares = np.array(list(truth.profile.fraction.values())).reshape(-1, *depths.shape)
    return {
        "said": to_plain(said),
        "projected_thickness": _smallest(np.rint(maps / MAP_STEP_A)),
        "depth": _smallest(np.rint(truth.depth_a / MAP_STEP_A)),
        "profile_depth_a": depths,
        "profile_fraction": shares,
    }


def unpack_truth(packed: Mapping[str, Any]) -> ExposureTruth:
    """Return what `pack_truth` packed.

    Raises
    ------
    KeyError, ValueError, TypeError
        It is something else.
    """
    from pydantic import TypeAdapter

    said = packed["said"]
    step_a = np.float32(said["map_step_a"])
    maps = packed["projected_thickness"].astype(np.float32) * step_a
    shares = zip(said["profile_materials"], packed["profile_fraction"], strict=True)
    plain = dict(said["truth"])
    rows = TypeAdapter(tuple[CrystalliteTruth, ...]).validate_python(plain.pop("crystallites"))
    truth = InterphaseTruth(
        **plain,
        crystallites=rows,
        projected_thickness_a=dict(zip(said["materials"], maps, strict=True)),
        depth_a=packed["depth"].astype(np.float32) * step_a,
        profile=DepthProfile(depth_a=packed["profile_depth_a"], fraction=dict(shares)),
    )
    return ExposureTruth(
        truth=truth,
        recipe=TypeAdapter(Interphase | None).validate_python(said["recipe"]),
        seed=said["seed"],
        version=said["version"],
    )


def _write_truth(path: Path, exposure: SimulatedExposure) -> None:
    assert exposure.truth is not None
    packed = pack_truth(exposure.truth, recipe=exposure.recipe, seed=exposure.seed)
    packed["said"] = json.dumps(packed["said"])
    write_whole(path, lambda stream: np.savez_compressed(stream, **packed))


def _smallest(numbers: np.ndarray) -> np.ndarray:
    """Return whole numbers as the smallest integers of 16 bits or more, others as they are."""
    if not numbers.size or (numbers.dtype.kind == "f" and (numbers != np.rint(numbers)).any()):
        return numbers
    limits = (numbers.min(), numbers.max())
    for kind in (np.uint16, np.int16, np.uint32, np.int32):
        if np.iinfo(kind).min <= limits[0] and limits[1] <= np.iinfo(kind).max:
            return numbers.astype(kind)
    return numbers


def _signal(exposure: SimulatedExposure) -> "BaseSignal":
    """Return an exposure as a HyperSpy signal."""
    import hyperspy.api as hs

    said, spectral = exposure.acquisition, _AXES[exposure.acquisition.kind][-1] == "dispersion_ev"
    kind = hs.signals.Signal1D if spectral else hs.signals.Signal2D
    metadata = _metadata(exposure.stem, said)
    if spectral:
        # Said and not set, which would import eXSpy; whoever loads the file gets its class.
        metadata["Signal"] = {"signal_type": "EELS"}
    return kind(_smallest(exposure.counts), axes=list(_axes(exposure)), metadata=metadata)


def _axes(exposure: SimulatedExposure) -> Iterator[dict[str, Any]]:
    """Yield each axis as HyperSpy describes it; a pattern's begin at minus half its length."""
    said = exposure.acquisition
    axes = _AXES[said.kind]
    signal_axes = 1 if axes[-1] == "dispersion_ev" else 2
    units = {"dispersion_ev": "eV", "reciprocal_pixel_size_per_a": "1/Å"}
    for place, (quantity, size) in enumerate(zip(axes, exposure.counts.shape, strict=True)):
        axis = {"size": size, "navigate": place < len(axes) - signal_axes}
        if quantity == "frame":
            yield axis | {"name": "frame"}
            continue
        scale, first = getattr(said, quantity), 0.0
        name = "yx"[place % 2] if axes[0] != "frame" else "yx"[place - 1]
        if quantity == "dispersion_ev":
            assert said.energy_range_ev is not None
            name, first = "energy_loss", said.energy_range_ev[0]
        elif quantity == "reciprocal_pixel_size_per_a":
            name, first = f"k{name}", -(size // 2) * scale
        yield axis | {
            "name": name,
            "scale": scale,
            "offset": first,
            "units": units.get(quantity, "Å"),
        }


def _metadata(stem: str, said: Acquisition) -> dict[str, Any]:
    """Return what is known of an exposure as HyperSpy's metadata, and the rest by its own name."""
    from interphase.io.headers import BY_NAME

    general: dict[str, Any] = {"title": stem, "notes": "simulated by interphase"}
    if said.time is not None:
        general |= {"date": said.time.date().isoformat(), "time": said.time.time().isoformat()}
    stage = said.stage or Stage()
    place = {f"tilt_{tilt}": getattr(stage, f"{tilt}_deg") for tilt in ("alpha", "beta")}
    place |= {axis: _over(getattr(stage, f"{axis}_um"), 1e3) for axis in "xyz"}
    scope = {
        "beam_energy": said.beam_energy_kev,
        "beam_current": _over(said.beam_current_pa, 1e3),
        "acquisition_mode": said.mode,
        "magnification": said.magnification,
        "camera_length": said.camera_length_mm,
        "microscope": said.microscope,
        "convergence_angle": said.semi_convergence_angle_mrad,
        "Detector": {
            "Camera": {"name": said.detector},
            "EELS": {"collection_angle": said.collection_angle_mrad},
        },
        "Stage": place,
    }
    names = ("dose_e_per_a2", *BY_NAME, "electrolyte", "electrode")
    tree = {
        "General": general,
        "Acquisition_instrument": {"TEM": scope},
        "Sample": {"description": said.sample},
        "interphase": {name: getattr(said, name) for name in names},
    }
    return _pruned(tree)


def _over(value: float | None, divisor: float) -> float | None:
    return None if value is None else value / divisor


def _pruned(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tree without the leaves that say nothing."""
    kept = {k: _pruned(v) if isinstance(v, Mapping) else v for k, v in tree.items()}
    return {key: value for key, value in kept.items() if value is not None and value != {}}


def _write_mrc(path: Path, exposure: SimulatedExposure) -> None:
    import mrcfile

    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(exposure.counts.astype(_MRC_TYPES[_mrc_mode(exposure.counts)]))
        if exposure.counts.ndim == 3:
            mrc.set_image_stack()
        mrc.voxel_size = exposure.acquisition.pixel_size_a
        mrc.header.label[0] = b"simulated by interphase"
        mrc.header.nlabl = 1


_MRC_TYPES = {1: np.int16, 2: np.float32}
"""The modes of MRC that all programs read."""


def _mrc_mode(counts: np.ndarray) -> int:
    """Return the mode that holds counts as they are, or to 24 bits."""
    limits = np.iinfo(np.int16)
    fit = limits.min <= counts.min() and counts.max() <= limits.max
    return 1 if fit and (counts == counts.astype(np.int16)).all() else 2


def _mdoc(exposure: SimulatedExposure) -> str:
    """Return what SerialEM would say beside an image or a movie, of what is known."""
    said, rows, columns = exposure.acquisition, *exposure.counts.shape[-2:]
    pixel, stage, dose = said.pixel_size_a, said.stage or Stage(), said.dose_e_per_a2
    known: dict[str, tuple[Any, ...]] = {
        "TiltAngle": (stage.alpha_deg,),
        "StagePosition": (stage.x_um, stage.y_um),
        "StageZ": (stage.z_um,),
        "ExposureDose": (dose,),
        "DoseRate": (_electrons_per_pixel_and_second(said),),
        "PixelSpacing": (pixel,),
        "Defocus": (_over(said.defocus_a, -1e4),),
        "ExposureTime": (said.exposure_time_s,),
        "Binning": (1,),
        "DateTime": (said.time and serialem_time(said.time),),
    }
    head: dict[str, tuple[Any, ...]] = {
        "PixelSpacing": (pixel,),
        "Voltage": (said.beam_energy_kev,),
    }
    if said.kind is Kind.MOVIE:
        section, frames = "FrameSet", len(exposure.counts)
        known |= {
            "SubFramePath": (f"X:\\simulated\\{exposure.name}",),
            "NumSubFrames": (frames,),
            "FrameDosesAndNumber": (_over(dose, frames), frames),
        }
    else:
        section, mode = "ZValue", _mrc_mode(exposure.counts)
        head |= {"ImageFile": (exposure.name,), "ImageSize": (columns, rows), "DataMode": (mode,)}
    lines = _lines(head)
    lines += ["", "[T = SerialEM: simulated by interphase]", "", f"[{section} = 0]"]
    return "\n".join(lines + _lines(known)) + "\n"


def _lines(entries: Mapping[str, tuple[Any, ...]]) -> list[str]:
    """Return the entries of which all numbers are known."""
    return [
        f"{key} = {' '.join(str(value) for value in values)}"
        for key, values in entries.items()
        if None not in values
    ]


def _electrons_per_pixel_and_second(said: Acquisition) -> float | None:
    if said.dose_e_per_a2 is None or said.exposure_time_s is None or said.pixel_size_a is None:
        return None
    return said.dose_e_per_a2 * said.pixel_size_a**2 / said.exposure_time_s


def serialem_time(time: datetime) -> str:
    """Write a moment as SerialEM does."""
    return f"{time.day:02d}-{_MONTHS[time.month - 1]}-{time:%y}  {time:%H:%M:%S}"

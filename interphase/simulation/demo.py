"""A small simulated session, written as the files a microscope would write."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np

from interphase.simulation.crystallites import (
    CrystalliteTruth,
    near_zone_axis,
    strong_zone_axes,
)
from interphase.simulation.detectors import Detector, movie, record_counts
from interphase.simulation.imaging import (
    ExitWave,
    Optics,
    diffraction_pattern,
    exit_wave,
    image_from_exit_wave,
    resample,
)
from interphase.simulation.scene import Grain, Scene, draw_centres, film_scene

_PIXEL_SIZE_A = 0.4
_BEAM_ENERGY_KEV = 300.0
_SPHERICAL_ABERRATION_MM = 0.005
_CAMERA = Detector(dqe0=0.8)
_START = datetime(2026, 3, 2, 10, 0, 0)
_MONTHS = ("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec").split()
_APERTURE = 0.78
"""Diameter of the selected area over the side of the field."""
_PATTERN_PIXELS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFile:
    """One file of the demo session, and what was put into it."""

    name: str
    """File name."""
    kind: str
    """``image``, ``movie`` or ``diffraction``."""
    dose_e_per_a2: float
    """Dose [e/Å²]."""
    pixel_size_a: float | None
    """Size of a pixel [Å]; ``None`` for a pattern."""
    phases: tuple[str, ...]
    """Phases that were put in, sorted."""
    crystallites: tuple[CrystalliteTruth, ...]
    """The crystallites."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTruth:
    """The demo session and what was put into it."""

    folder: Path
    """Where the files are."""
    seed: int
    """Seed of everything that was drawn."""
    files: tuple[DemoFile, ...]
    """The files with an image or a pattern in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoExposure:
    """One exposure of a session that is to be simulated."""

    stem: str
    """File name without its ending."""
    kind: Literal["image", "movie", "diffraction"]
    """What is recorded; a pattern shows its crystallites in the middle of the field."""
    grains: tuple[tuple[str, float], ...] = ()
    """Phase and diameter [Å] of each crystallite."""
    field_a: float = 192.0
    """Side of the field [Å]."""
    thickness_a: float
    """Thickness of the film [Å]."""
    dose_e_per_a2: float
    """Dose [e/Å²]."""
    defocus_a: float = 0.0
    """Defocus, positive = underfocus [Å]."""
    frames: int = 1
    """Frames of a movie."""
    stage_um: tuple[float, float]
    """Stage (x, y) [µm]."""


DEMO_EXPOSURES = (
    DemoExposure(
        stem="grid1_sei_0001",
        kind="image",
        grains=(("Li2O", 60.0), ("LiF", 50.0), ("Li2CO3", 60.0)),
        thickness_a=70.0,
        dose_e_per_a2=200.0,
        defocus_a=140.0,
        stage_um=(-112.40, 48.05),
    ),
    DemoExposure(
        stem="grid1_sei_0002",
        kind="image",
        grains=(("Li2CO3", 70.0), ("Li2O", 55.0)),
        thickness_a=76.0,
        dose_e_per_a2=120.0,
        defocus_a=160.0,
        stage_um=(-109.83, 47.61),
    ),
    DemoExposure(
        stem="grid1_lithium_0003",
        kind="image",
        grains=(("Li", 80.0), ("LiF", 50.0)),
        thickness_a=84.0,
        dose_e_per_a2=300.0,
        defocus_a=140.0,
        stage_um=(-104.27, 51.90),
    ),
    DemoExposure(
        stem="grid1_film_0004",
        kind="image",
        grains=(),
        thickness_a=70.0,
        dose_e_per_a2=100.0,
        defocus_a=160.0,
        stage_um=(-98.66, 53.12),
    ),
    DemoExposure(
        stem="grid1_movie_0005",
        kind="movie",
        frames=16,
        grains=(("Li2O", 70.0), ("LiF", 60.0)),
        thickness_a=76.0,
        dose_e_per_a2=240.0,
        defocus_a=140.0,
        stage_um=(-95.02, 50.37),
    ),
    DemoExposure(
        stem="grid1_diffraction_0006",
        kind="diffraction",
        grains=(("Li2O", 90.0),),
        thickness_a=94.0,
        dose_e_per_a2=60.0,
        stage_um=(-91.44, 49.18),
    ),
)


def write_demo_session(
    folder: Path, *, seed: int = 0, exposures: Sequence[DemoExposure] = DEMO_EXPOSURES
) -> DemoTruth:
    """Simulate a small cryo-TEM session and write it as files.

    By default four images and a movie (MRC with SerialEM ``.mdoc`` sidecars) and a
    selected-area pattern (hspy); with them ``session.toml``, and ``truth.json`` with what was
    put in. Crystallites lie within 2° of strong zone axes, as a microscopist's first examples
    would be chosen; a blind area shows far fewer.

    Parameters
    ----------
    folder
        Where the files go; made if it is not there, files of the same name are replaced.
    seed
        Seed of everything that is drawn.
    exposures
        The exposures of the session.

    Returns
    -------
    DemoTruth
        What was put in; also in ``truth.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seeds = np.random.SeedSequence(seed).spawn(len(exposures))
    files = tuple(
        _write_exposure(folder, exposure, number, np.random.default_rng(child))
        for number, (exposure, child) in enumerate(zip(exposures, seeds, strict=True))
    )
    (folder / "session.toml").write_text(_session_toml(files), encoding="utf-8")
    truth = DemoTruth(folder=folder, seed=seed, files=files)
    record = {"seed": seed, "files": [asdict(file) for file in files]}
    (folder / "truth.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    return truth


def _write_exposure(
    folder: Path, exposure: DemoExposure, number: int, rng: np.random.Generator
) -> DemoFile:
    scene = _scene(exposure, rng)
    wave = exit_wave(scene, beam_energy_kev=_BEAM_ENERGY_KEV, sampling_a=_PIXEL_SIZE_A * 2 / 3)
    name = exposure.stem + (".hspy" if exposure.kind == "diffraction" else ".mrc")
    if exposure.kind == "diffraction":
        _write_pattern(folder / name, wave, exposure, rng)
    else:
        counts = _expose(wave, exposure, rng)
        _write_mrc(folder / name, counts)
        _write_mdoc(folder / f"{name}.mdoc", name, counts, exposure, number)
    return DemoFile(
        name=name,
        kind=exposure.kind,
        dose_e_per_a2=exposure.dose_e_per_a2,
        pixel_size_a=None if exposure.kind == "diffraction" else _PIXEL_SIZE_A,
        phases=tuple(sorted({truth.phase for truth in scene.truths})),
        crystallites=scene.truths,
    )


def _scene(exposure: DemoExposure, rng: np.random.Generator) -> Scene:
    from interphase.phases import load_phase

    size = (exposure.field_a, exposure.field_a)
    diameters = [diameter for _, diameter in exposure.grains]
    if exposure.kind == "diffraction":  # in the middle, where the aperture is
        centres = [(exposure.field_a / 2, exposure.field_a / 2, exposure.thickness_a / 2)] * len(
            diameters
        )
    else:
        centres = draw_centres(size, exposure.thickness_a, diameters, gap_a=15.0, rng=rng)
    grains = []
    for (identifier, diameter), centre in zip(exposure.grains, centres, strict=True):
        phase = load_phase(identifier)
        axes = strong_zone_axes(phase)
        uvw = axes[int(rng.integers(len(axes)))]
        # For a pattern the crystal would have been tilted into its zone.
        largest_tilt = 0.5 if exposure.kind == "diffraction" else 2.0
        orientation = near_zone_axis(phase, uvw, largest_tilt * float(np.sqrt(rng.random())), rng)
        grains.append(
            Grain(phase=phase, diameter_a=diameter, centre_a=centre, orientation=orientation)
        )
    return film_scene(size, exposure.thickness_a, grains, seed=int(rng.integers(2**32)))


def _expose(wave: ExitWave, exposure: DemoExposure, rng: np.random.Generator) -> np.ndarray:
    """Return counts as a camera writes them, shape (M, N) or (F, M, N)."""
    optics = Optics(
        defocus_a=exposure.defocus_a,
        spherical_aberration_mm=_SPHERICAL_ABERRATION_MM,
        focal_spread_a=30.0,
        semi_convergence_mrad=0.1,
    )
    pixels = round(exposure.field_a / _PIXEL_SIZE_A)
    expected = resample(image_from_exit_wave(wave, optics), (pixels, pixels))
    if exposure.kind == "image":
        counts = record_counts(
            expected,
            dose_e_per_a2=exposure.dose_e_per_a2,
            pixel_size_a=_PIXEL_SIZE_A,
            detector=_CAMERA,
            rng=rng,
        )
    else:
        counts = movie(
            expected,
            dose_e_per_a2=exposure.dose_e_per_a2,
            frames=exposure.frames,
            pixel_size_a=_PIXEL_SIZE_A,
            drift_a=(0.08, -0.05),
            detector=_CAMERA,
            rng=rng,
        )
    return counts.astype(np.int16)


def _write_mrc(path: Path, counts: np.ndarray) -> None:
    import mrcfile

    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(counts)
        if counts.ndim == 3:
            mrc.set_image_stack()
        mrc.voxel_size = _PIXEL_SIZE_A
        mrc.header.label[0] = b"interphase: simulated session"
        mrc.header.nlabl = 1


def _write_mdoc(
    path: Path, name: str, counts: np.ndarray, exposure: DemoExposure, number: int
) -> None:
    """Write what SerialEM would say beside an image or a movie."""
    time = _START + timedelta(minutes=4 * number)
    seconds = 4.0
    rows, columns = counts.shape[-2:]
    head = {"PixelSpacing": f"{_PIXEL_SIZE_A:g}", "Voltage": f"{_BEAM_ENERGY_KEV:g}"}
    entries = {
        "TiltAngle": "0.0",
        "StagePosition": f"{exposure.stage_um[0]:g} {exposure.stage_um[1]:g}",
        "StageZ": "-21.5",
        "ExposureDose": f"{exposure.dose_e_per_a2:g}",
        "DoseRate": f"{exposure.dose_e_per_a2 * _PIXEL_SIZE_A**2 / seconds:.5g}",
        "PixelSpacing": f"{_PIXEL_SIZE_A:g}",
        "Defocus": f"{-exposure.defocus_a * 1e-4:g}",
        "ImageShift": "0 0",
        "ExposureTime": f"{seconds:g}",
        "Binning": "1",
        "DateTime": f"{time.day:02d}-{_MONTHS[time.month - 1]}-{time:%y}  {time:%H:%M:%S}",
    }
    if exposure.kind == "movie":
        per_frame = exposure.dose_e_per_a2 / exposure.frames
        section = "FrameSet"
        entries |= {
            "SubFramePath": f"X:\\demo\\{name}",
            "NumSubFrames": str(exposure.frames),
            "FrameDosesAndNumber": f"{per_frame:g} {exposure.frames}",
        }
    else:
        section = "ZValue"
        head |= {"ImageFile": name, "ImageSize": f"{columns} {rows}", "DataMode": "1"}
    title = f"SerialEM: simulated by interphase {time:%H:%M:%S}"
    lines = [f"{key} = {value}" for key, value in head.items()]
    lines += ["", f"[T = {title}]", "", f"[{section} = 0]"]
    lines += [f"{key} = {value}" for key, value in entries.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_pattern(
    path: Path, wave: ExitWave, exposure: DemoExposure, rng: np.random.Generator
) -> None:
    """Write the middle of a selected-area pattern with axes in 1/nm."""
    import hyperspy.api as hs

    counts, step = diffraction_pattern(
        wave,
        aperture_diameter_a=_APERTURE * exposure.field_a,
        dose_e_per_a2=exposure.dose_e_per_a2,
        detector=_CAMERA,
        rng=rng,
    )
    pixels = min(_PATTERN_PIXELS, len(counts) // 2 * 2)
    first = len(counts) // 2 - pixels // 2
    middle = counts[first : first + pixels, first : first + pixels]
    scale = step * 10
    axes = [
        {
            "name": name,
            "size": pixels,
            "scale": scale,
            "offset": -(pixels // 2) * scale,
            "units": "1/nm",
            "navigate": False,
        }
        for name in ("ky", "kx")
    ]
    instrument = {"beam_energy": _BEAM_ENERGY_KEV, "acquisition_mode": "TEM"}
    signal = hs.signals.Signal2D(
        middle.astype(np.int32),
        axes=axes,
        metadata={
            "General": {"title": exposure.stem},
            "Acquisition_instrument": {"TEM": instrument},
        },
    )
    signal.save(path, overwrite=True)


def _session_toml(files: Sequence[DemoFile]) -> str:
    """Say what no header of these files holds."""
    lines = [
        "# A simulated session: lithium plated from a carbonate electrolyte, seen frozen.",
        'sample = "simulated SEI on lithium"',
        'electrolyte = "1 M LiPF6 in EC:DEC"',
        'electrode = "Li"',
        "temperature_k = 90.0",
        f"spherical_aberration_mm = {_SPHERICAL_ABERRATION_MM}",
        'phases = "lithium-sei"',
    ]
    for file in files:
        if file.kind == "diffraction":
            lines += ["", f'[files."{file.name}"]', f"dose_e_per_a2 = {file.dose_e_per_a2}"]
    return "\n".join(lines) + "\n"

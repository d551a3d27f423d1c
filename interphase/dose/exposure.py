"""One exposure of the specimen, and how it follows from what a file says of it."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from interphase.acquisition import Acquisition, Kind, Origin, Stage
from interphase.dose.footprint import (
    UM_PER_A,
    area_um2,
    camera_rectangle,
    checked_polygon,
    disc,
    displacement_um,
    dose_of_scan,
    onto_specimen,
    scan_size_a,
    stretching,
)
from interphase.electron import checked_energy
from interphase.errors import ParameterError
from interphase.io import SessionConfig

_LEAST_BEAM = 0.02
"""Part of the recorded field below which no beam is taken for an image's."""
LEAST_DOSE_E_PER_A2, MOST_DOSE_E_PER_A2 = 1e-9, 1e9
"""Doses and dose rates that mean electrons per Å²: below, no electron fell on a grid square; above,
nothing is left of any specimen."""
_LIKELY_PER_M2 = 1e17
"""0.001 e/Å² in e/m²: larger values are of that unit."""


class Purpose(StrEnum):
    """What an exposure was made for."""

    SEARCH = "search"
    FOCUS = "focus"
    RECORD = "record"
    SCAN = "scan"
    SPECTRUM_IMAGE = "spectrum_image"
    DIFFRACTION = "diffraction"


class Moment(StrEnum):
    """A moment of an exposure."""

    START = "start"
    MIDDLE = "middle"
    END = "end"

    @property
    def fraction(self) -> float:
        """Part of the exposure that is over."""
        return {"start": 0.0, "middle": 0.5, "end": 1.0}[self.value]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exposure:
    """Electrons that fell on the specimen: where, when, how many, and who says so."""

    key: str
    """What names it: the file and the number of the exposure in it, or a name of the user's."""
    purpose: Purpose
    """What it was made for."""
    time: datetime | None = None
    """When it began, with or without a time zone; ``None`` if not known."""
    duration_s: float | None = None
    """How long it lasted [s]."""
    place_um: tuple[float, float] | None = None
    """Its middle (x, y) in stage coordinates [µm]; by default that of its footprint where its
    place is known."""
    recorded_um: np.ndarray | None = None
    """Corners (x, y) of what the camera or the scan recorded, shape (V, 2) [µm]."""
    illuminated_um: np.ndarray | None = None
    """Corners (x, y) of what the beam fell on, shape (V, 2) [µm]; ``None`` if not known, and then
    `recorded_um` is the least that it can be."""
    inner_um: np.ndarray | None = None
    """Corners (x, y) of what was recorded whatever the rotation of the image, shape (V, 2) [µm],
    (0, 2) where that is nothing; ``None`` where the rotation is known."""
    position_uncertain_um: float = 0.0
    """Radius within which the whole footprint may be shifted [µm]; infinite where it may be
    anywhere on the grid."""
    reach_um: float = math.inf
    """Farthest from `place_um` that the beam may have fallen where `illuminated_um` is not known
    [µm]."""
    uncalibrated_shift: str = ""
    """The shifts that make the place uncertain, in the vendor's units; two exposures with the same
    text are shifted alike, so that between them the place is certain."""
    dose_e_per_a2: float | None = None
    """Mean fluence over the footprint, in a plane normal to the beam [e/Å²]; ``None`` if not
    known, which is not zero."""
    local_dose_e_per_a2: float | None = None
    """Fluence under the probe of a scan with gaps [e/Å²], in which a place may have got nothing;
    ``None`` where it is the mean."""
    prior_dose_e_per_a2: float | None = None
    """What the file says this place had received before, exposures that were discarded included
    [e/Å²]."""
    dose_rate_e_per_a2_s: float | None = None
    """Fluence rate [e/Å²/s]."""
    beam_energy_kev: float | None = None
    """Beam energy [keV]."""
    temperature_k: float | None = None
    """Specimen temperature [K]."""
    alpha_deg: float | None = None
    """Tilt about the holder's axis [degrees]."""
    beta_deg: float | None = None
    """Second tilt [degrees]."""
    file: str | None = None
    """The file it is recorded in."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Field → where its value came from, or why there is none."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        if not isinstance(self.key, str) or not self.key:
            raise ParameterError(f"key is {self.key!r}: expected a name that no other exposure has")
        if self.purpose not in tuple(Purpose):
            known = ", ".join(Purpose)
            raise ParameterError(
                f"purpose of {self.key} is {self.purpose!r}: expected one of {known}"
            )
        put(self, "purpose", Purpose(self.purpose))
        if self.time is not None and not isinstance(self.time, datetime):
            raise ParameterError(f"time of {self.key} is {self.time!r}: expected a datetime")
        for name in ("recorded_um", "illuminated_um", "inner_um"):
            polygon = getattr(self, name)
            if name == "inner_um" and np.shape(polygon) == (0, 2):
                put(self, name, np.zeros((0, 2)))
            elif polygon is not None:
                try:
                    polygon = checked_polygon(polygon).copy()
                except ParameterError as error:
                    raise ParameterError(f"{name} of {self.key}: {error}") from None
                polygon.setflags(write=False)
                put(self, name, polygon)
        self._check_numbers()
        if isinstance(self.file, Path):
            put(self, "file", self.file.as_posix())
        for name in ("file", "uncalibrated_shift"):
            if not isinstance(getattr(self, name), str | None):
                raise ParameterError(
                    f"{name} of {self.key} is {getattr(self, name)!r}: expected words"
                )
        footprint = self.footprint_um
        if self.place_um is not None:
            put(self, "place_um", _checked_place(self.key, self.place_um))
        elif footprint is not None and math.isfinite(self.position_uncertain_um):
            put(self, "place_um", tuple(map(float, footprint.mean(axis=0))))
        if self.place_um is None:
            put(self, "position_uncertain_um", math.inf)
        put(self, "sources", MappingProxyType(dict(self.sources)))

    def _check_numbers(self) -> None:
        for name in ("dose_e_per_a2", "local_dose_e_per_a2", "prior_dose_e_per_a2"):
            _check_dose(self.key, name, getattr(self, name), "e/Å²")
        _check_dose(self.key, "dose_rate_e_per_a2_s", self.dose_rate_e_per_a2_s, "e/Å²/s")
        for name, unit in (("duration_s", "s"), ("temperature_k", "K")):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < value < math.inf):
                raise ParameterError(
                    f"{name} of {self.key} is {value!r}: expected a finite number of {unit} above 0"
                )
        for name in ("position_uncertain_um", "reach_um"):
            if not (_is_number(getattr(self, name)) and getattr(self, name) >= 0):
                raise ParameterError(
                    f"{name} of {self.key} is {getattr(self, name)!r}: expected µm, at least 0"
                )
        for name in ("alpha_deg", "beta_deg"):
            tilt = getattr(self, name)
            if tilt is not None and not (_is_number(tilt) and abs(tilt) < 90):
                raise ParameterError(
                    f"{name} of {self.key} is {tilt!r}: expected a tilt below 90 degrees"
                )
        if self.beam_energy_kev is not None:
            checked_energy(self.beam_energy_kev)

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled.
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return _rebuild, ({**values, "sources": dict(self.sources)},)

    @property
    def footprint_um(self) -> np.ndarray | None:
        """What received the dose: what was illuminated, or the least that it can be [µm]."""
        return self.viewed_um if self.illuminated_um is None else self.illuminated_um

    @property
    def viewed_um(self) -> np.ndarray | None:
        """What was recorded, or the part of it that is certain [µm]."""
        if self.inner_um is None:
            return self.recorded_um
        return self.inner_um if len(self.inner_um) else None

    @property
    def electrons(self) -> float | None:
        """Electrons that came; ``None`` where dose or area are not known.

        Where `illuminated_um` is not known they are those of what was recorded alone.
        """
        area = self.recorded_um if self.illuminated_um is None else self.illuminated_um
        if self.dose_e_per_a2 is None or area is None:
            return None
        tilts = (math.radians(tilt or 0.0) for tilt in (self.alpha_deg, self.beta_deg))
        normal_um2 = area_um2(area) * math.prod(map(math.cos, tilts))
        return self.dose_e_per_a2 * normal_um2 / UM_PER_A**2


def _rebuild(values: dict[str, Any]) -> Exposure:
    return Exposure(**values)


def _checked_place(key: str, place_um: Any) -> tuple[float, float]:
    try:
        place = np.asarray(place_um, dtype=float)
    except (TypeError, ValueError):
        place = np.zeros(0)
    if place.shape != (2,) or not np.isfinite(place).all():
        raise ParameterError(
            f"place_um of {key} is {place_um!r}: expected (x, y) of the stage in µm"
        )
    return float(place[0]), float(place[1])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _check_dose(key: str, name: str, value: float | None, unit: str) -> None:
    if value is None:
        return
    if not _is_number(value):
        raise ParameterError(f"{name} of {key} is {value!r}: expected a number of {unit}")
    if not 0 <= value < math.inf:
        raise ParameterError(
            f"{name} of {key} is {value!r}: expected a finite number of {unit}, at least 0"
        )
    if value == 0 or LEAST_DOSE_E_PER_A2 <= value <= MOST_DOSE_E_PER_A2:
        return
    if value < 1:
        hint = "was it converted from e/m² twice?"
    elif value < _LIKELY_PER_M2:
        hint = "was it given in e/nm², 100 times as large, or as electrons of the whole field?"
    else:
        hint = "was it given in e/m², 1e20 times as large?"
    raise ParameterError(
        f"{name} of {key} is {value:.4g} {unit}: expected {LEAST_DOSE_E_PER_A2:g} to "
        f"{MOST_DOSE_E_PER_A2:g}; {hint}"
    )


_WORDS = (
    (Purpose.SEARCH, re.compile(r"(?<![a-z])(search|atlas|gridsquare|overview|survey|lmm)", re.I)),
    (Purpose.FOCUS, re.compile(r"(?<![a-z])(auto)?(focus|tun(e|ing)|drift)(?![a-z])", re.I)),
)
_UNKNOWN_ROTATION = (
    "the rotation of the image against the stage is not known: give `image_rotation_deg` in "
    "session.toml"
)
_OF_KIND = {
    Kind.DIFFRACTION: Purpose.DIFFRACTION,
    Kind.SCAN_4D: Purpose.DIFFRACTION,
    Kind.SPECTRUM: Purpose.SPECTRUM_IMAGE,
    Kind.SPECTRUM_IMAGE: Purpose.SPECTRUM_IMAGE,
}


def exposures_of(
    acquisitions: Mapping[str, Acquisition | Sequence[Acquisition]],
    *,
    session: SessionConfig | Mapping[str, SessionConfig] | None = None,
) -> list[Exposure]:
    """Return the exposures that files speak of.

    Parameters
    ----------
    acquisitions
        File name → the record of its exposure, or one record for each exposure in it, as
        `interphase.io.read_acquisitions` gives them.
    session
        What session.toml says of purposes, shifts, rotation and the width of the beam; where
        folders have their own, file name → what holds for it.

    Returns
    -------
    list of Exposure
        In the order of `acquisitions`; a scan whose beam stays on while it flies back has a
        second one at its edge. Two files with the same time, stage and duration are two records
        of one exposure, and give one. Places that nobody exposed, as in a navigator, give none.

    Notes
    -----
    Image and beam shifts move camera and beam together: what was recorded was illuminated. They
    hold in a plane normal to the beam, and are longer on a tilted specimen. Where they have no
    calibration and are not zero, the place is uncertain. Where the rotation of the image or scan is
    not known, only its inner circle is certain, and a scan may have hit all of its outer one.

    Examples
    --------
    >>> from interphase.acquisition import Stage
    >>> record = Acquisition(kind=Kind.IMAGE, shape=(4096, 4096), pixel_size_a=0.5,
    ...                      dose_e_per_a2=40.0, stage=Stage(x_um=10.0, y_um=-3.0))
    >>> shot, = exposures_of({"hole_07.mrc": record})
    >>> shot.purpose.value, shot.place_um, shot.illuminated_um is None
    ('record', (10.0, -3.0), True)
    """
    configs = session if isinstance(session, Mapping) else {}
    of_all = session if isinstance(session, SessionConfig) else SessionConfig()
    found: list[Exposure] = []
    seen: dict[tuple[datetime, Stage, float | None], int] = {}
    for name, said in acquisitions.items():
        name = name.as_posix() if isinstance(name, Path) else str(name)
        several = [said] if isinstance(said, Acquisition) else list(said)
        for number, acquisition in enumerate(several):
            if not _is_exposure(acquisition):
                continue
            key = name if len(several) == 1 else f"{name}#{number}"
            placement = configs.get(name, of_all).placement_for(name)
            made = _exposures(key, name, acquisition, placement)
            time, stage = acquisition.time, acquisition.stage
            if time is not None and stage is not None:
                same = (time, stage, acquisition.exposure_time_s)
                if same in seen and found[seen[same]].file != name:
                    other = found[seen[same]]
                    if other.dose_e_per_a2 is None and made[0].dose_e_per_a2 is not None:
                        found[seen[same]] = made[0]
                    continue
                seen.setdefault(same, len(found))
            found += made
    return with_one_kind_of_time(found)


def _is_exposure(acquisition: Acquisition) -> bool:
    if acquisition.kind is not Kind.METADATA:
        return True
    said = (acquisition.dose_e_per_a2, acquisition.exposure_time_s, acquisition.time)
    return any(value is not None for value in said)


def with_one_kind_of_time(exposures: list[Exposure]) -> list[Exposure]:
    """Leave out times with a zone among times without, or the reverse: they have no order."""
    timed = [shot for shot in exposures if shot.time is not None]
    zoned = sum(shot.time.tzinfo is not None for shot in timed if shot.time is not None)
    if zoned in (0, len(timed)):
        return exposures
    kept = 2 * zoned > len(timed)
    why = f"stated {'without' if kept else 'with'} a time zone, unlike most others: not comparable"
    return [
        replace(shot, time=None, sources={**shot.sources, "time": why})
        if shot.time is not None and (shot.time.tzinfo is not None) != kept
        else shot
        for shot in exposures
    ]


def _purpose(name: str, acquisition: Acquisition, said: Mapping[str, Any]) -> tuple[Purpose, str]:
    if "purpose" in said:
        return Purpose(said["purpose"]), "session.toml"
    for purpose, words in _WORDS:
        if words.search(Path(name).name):
            return purpose, "the file's name"
    if acquisition.kind in _OF_KIND:
        return _OF_KIND[acquisition.kind], f"the file holds {acquisition.kind}"
    if _is_scan(acquisition):
        return Purpose.SCAN, "the file is of a scan"
    return Purpose.RECORD, f"the file holds {acquisition.kind}"


def _is_scan(acquisition: Acquisition) -> bool:
    scanned = {Kind.SCAN_4D, Kind.SPECTRUM_IMAGE}
    return (
        acquisition.kind in scanned
        or acquisition.mode == "STEM"
        or acquisition.dwell_time_s is not None
    )


def _exposures(
    key: str, name: str, acquisition: Acquisition, said: Mapping[str, Any]
) -> list[Exposure]:
    sources = {field: str(source) for field, source in acquisition.sources.items()}
    purpose, sources["purpose"] = _purpose(name, acquisition, said)
    stage = acquisition.stage or Stage()
    shift, uncalibrated = _shift(stage, said)
    known = stage.x_um is not None and stage.y_um is not None
    tilts = {
        "alpha_deg": stage.alpha_deg or 0.0,
        "beta_deg": stage.beta_deg or 0.0,
        "tilt_axis_deg": float(said.get("tilt_axis_deg", 0.0)),
    }
    onto = stretching(**tilts)
    along_x, along_y = onto @ shift
    centre = (float((stage.x_um or 0.0) + along_x), float((stage.y_um or 0.0) + along_y))
    longest = float(np.linalg.norm(onto, 2))
    reach = float(said.get("beam_reach_um", math.inf)) * longest
    uncertain = 0.0 if known and not uncalibrated else reach if known else math.inf
    if not known:
        sources["place_um"] = "no source states the stage"
        uncalibrated = ""  # equal shifts of unknown stages are different places
    elif uncalibrated:
        sources["place_um"] = (
            f"{uncalibrated} has no calibration: give `beam_shift_um_per_unit` and "
            "`image_shift_um_per_unit` in session.toml"
        )
    area = _area(acquisition)
    placing: dict[str, Any] = {
        "centre_um": centre,
        "rotation_deg": float(said.get("image_rotation_deg", 0.0)),
        **tilts,
    }
    recorded, illuminated, inner = (
        None if polygon is None else onto_specimen(polygon, **placing)
        for polygon in (area.recorded, area.illuminated, area.inner)
    )
    sources["illuminated_um"] = area.why
    if "image_rotation_deg" in said or inner is None:
        inner = None
    else:
        sources["inner_um"] = _UNKNOWN_ROTATION
        if _is_scan(acquisition) and area.recorded is not None:
            illuminated, reach = None, longest * float(np.hypot(*area.recorded.T).max())
            sources["illuminated_um"] = f"{area.why}; {_UNKNOWN_ROTATION}"
    dose = acquisition.dose_e_per_a2
    if dose is not None and area.widening > 1:
        dose /= area.widening
        sources["dose_e_per_a2"] = (
            f"{sources.get('dose_e_per_a2', '')} over the probe's {area.widening:.4g} times larger "
            "area"
        ).strip()
    if dose is None:
        sources["dose_e_per_a2"] = acquisition.missing.get("dose_e_per_a2", "no source states it")
    shot = Exposure(
        key=key,
        purpose=purpose,
        time=acquisition.time,
        duration_s=acquisition.exposure_time_s,
        place_um=centre if known else None,
        recorded_um=recorded,
        illuminated_um=illuminated,
        inner_um=inner,
        position_uncertain_um=uncertain,
        reach_um=reach,
        uncalibrated_shift=uncalibrated,
        dose_e_per_a2=dose,
        local_dose_e_per_a2=_local_dose(acquisition),
        prior_dose_e_per_a2=acquisition.prior_dose_e_per_a2,
        dose_rate_e_per_a2_s=acquisition.dose_rate_e_per_a2_s,
        beam_energy_kev=acquisition.beam_energy_kev,
        temperature_k=acquisition.temperature_k,
        alpha_deg=stage.alpha_deg,
        beta_deg=stage.beta_deg,
        file=name,
        sources=sources,
    )
    return [shot, *_flyback(shot, acquisition, said.get("flyback_time_s"), placing)]


def _shift(stage: Stage, said: Mapping[str, Any]) -> tuple[np.ndarray, str]:
    """Return what calibrated shifts move [µm], and the others in words."""
    moved, others = np.zeros(2), []
    for name in ("image_shift", "beam_shift"):
        words = name.replace("_", " ")
        shift, scale = getattr(stage, name), said.get(f"{name}_um_per_unit")
        if shift is None or not any(shift):
            continue
        if scale is None:
            others.append(f"{words} ({shift[0]:.9g}, {shift[1]:.9g})")
        else:
            moved += displacement_um(shift, scale)
    return moved, " and ".join(others)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Area:
    """Polygons about the middle, in a plane normal to the beam [µm]."""

    recorded: np.ndarray | None = None
    illuminated: np.ndarray | None = None
    inner: np.ndarray | None = None
    why: str = "not known; what was recorded is the least: give `beam_diameter_a` in session.toml"
    widening: float = 1.0
    """How much larger it is than the cells of a scan, over which its dose is the mean."""


def _area(acquisition: Acquisition) -> _Area:
    width = acquisition.beam_diameter_a
    if _is_scan(acquisition):
        return _scan_area(acquisition)
    beam = None if width is None else disc(width * UM_PER_A)
    why = _Area().why
    if width is not None:
        why = f"a disc of beam_diameter_a = {width:g} Å"
        if "beam_diameter_a" in acquisition.sources:
            why += f" ({acquisition.sources['beam_diameter_a']})"
    shape = acquisition.shape[-2:] if len(acquisition.shape) >= 2 else acquisition.recorded_pixels
    pixel = acquisition.pixel_size_a
    if shape is None or pixel is None:
        return _Area(illuminated=beam, why=why)
    field = min(shape) * pixel
    if width is not None and width < _LEAST_BEAM * field:
        doubt = (
            f"beam_diameter_a is {width:g} Å, and the field that was recorded {field:.4g} Å wide: "
            "expected a beam that lights more of it; was it given in nm or µm?"
        )
        source = acquisition.sources.get("beam_diameter_a")
        if source is None or source.origin in (Origin.SESSION, Origin.USER):
            raise ParameterError(doubt)
        beam, why = None, f"not known: {doubt}"
    rectangle = camera_rectangle((shape[0], shape[1]), pixel_size_a=pixel)
    inner = _inscribed(field)
    return _Area(recorded=rectangle, illuminated=beam, inner=inner, why=why)


def _inscribed(diameter_a: float) -> np.ndarray:
    """Return a polygon within a disc [µm]; one of the disc's area stands out by 0.1 %."""
    return disc(0.998 * diameter_a * UM_PER_A)


def _grid(acquisition: Acquisition) -> tuple[tuple[int, int], float] | None:
    """Return rows and columns of a scan, and its step [Å]."""
    shape, step = acquisition.shape, acquisition.scan_step_a
    if acquisition.kind in {Kind.IMAGE, Kind.MOVIE, Kind.METADATA}:
        shape, step = shape or acquisition.recorded_pixels or (), acquisition.pixel_size_a
        scanned = shape[-2:]
    else:
        scanned = shape[:-2] if acquisition.kind is Kind.SCAN_4D else shape[:-1]
    if step is None or len(scanned) > 2 or (not scanned and acquisition.kind is Kind.METADATA):
        return None
    rows, columns = (1, 1, *scanned)[-2:]
    return (rows, columns), step


def _scan_area(acquisition: Acquisition) -> _Area:
    grid, probe = _grid(acquisition), acquisition.beam_diameter_a
    if grid is None:
        beam = None if probe is None else disc(probe * UM_PER_A)
        if acquisition.kind is not Kind.SPECTRUM or beam is None:
            return _Area(why="not known: give the step of the scan in session.toml")
        return _Area(recorded=beam, illuminated=beam, why="the probe stood still")
    (rows, columns), step = grid
    height, width = scan_size_a((rows, columns), step_a=step, probe_diameter_a=probe)
    rectangle = camera_rectangle((1, 1), pixel_size_a=1.0) * [width, height]
    return _Area(
        recorded=rectangle,
        illuminated=rectangle,
        inner=_inscribed(min(width, height)),
        why="all positions of the scan",
        widening=height * width / (rows * columns * step**2),
    )


def _local_dose(acquisition: Acquisition) -> float | None:
    """Return the fluence under a probe that leaves gaps [e/Å²]."""
    grid, probe = _grid(acquisition), acquisition.beam_diameter_a
    if not _is_scan(acquisition) or grid is None or probe is None or probe >= grid[1]:
        return None
    if acquisition.dose_e_per_a2 is None:
        return None
    return acquisition.dose_e_per_a2 * grid[1] ** 2 / (math.pi * probe**2 / 4)


def _flyback(
    shot: Exposure, acquisition: Acquisition, time_s: float | None, placing: Mapping[str, Any]
) -> Iterable[Exposure]:
    """Yield what the edge of a scan gets while the beam waits there for the next line."""
    grid = _grid(acquisition)
    if not time_s or not _is_scan(acquisition) or grid is None:
        return
    (rows, columns), step = grid
    probe = acquisition.beam_diameter_a
    height, width = scan_size_a((rows, 1), step_a=step, probe_diameter_a=probe)
    edge = scan_size_a((rows, columns), step_a=step, probe_diameter_a=probe)[1] / 2
    strip = camera_rectangle((1, 1), pixel_size_a=1.0) * [width, height]
    strip[:, 0] -= (edge - width / 2) * UM_PER_A
    dose = local = None
    if acquisition.beam_current_pa is not None:
        waited = dose_of_scan(
            beam_current_pa=acquisition.beam_current_pa,
            dwell_time_s=time_s,
            positions=(rows, 1),
            step_a=step,
            probe_diameter_a=probe,
            scans=acquisition.frames or 1,
        )
        dose, gaps = waited.mean_e_per_a2, (waited.exposed_fraction or 1.0) < 1
        local = waited.local_e_per_a2 if gaps else None
    polygon = onto_specimen(strip, **placing)
    # Where the rotation is not known, it may be at any side of the scan.
    known = shot.inner_um is None
    middle = (float(polygon[:, 0].mean()), float(polygon[:, 1].mean()))
    yield replace(
        shot,
        key=f"{shot.key} flyback",
        place_um=middle if shot.place_um and known else shot.place_um,
        recorded_um=None if known else polygon,
        illuminated_um=polygon if known else None,
        inner_um=None if known else np.zeros((0, 2)),
        dose_e_per_a2=dose,
        local_dose_e_per_a2=local,
        prior_dose_e_per_a2=None,
        dose_rate_e_per_a2_s=None,
        sources={**shot.sources, "dose_e_per_a2": f"flyback of {time_s:g} s at each line's start"},
    )

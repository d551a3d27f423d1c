"""The record of what was exposed: where, when, with which beam, and how much.

The record knows no files. ``interphase.io`` fills it, and says for every field where the
number came from; what no source holds stays ``None`` with the reason and the remedy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

from interphase.errors import MissingValueError, ParameterError


class Kind(StrEnum):
    """What a file holds."""

    IMAGE = "image"
    MOVIE = "movie"
    DIFFRACTION = "diffraction"
    SCAN_4D = "4d-stem"
    SPECTRUM = "spectrum"
    SPECTRUM_IMAGE = "spectrum-image"
    METADATA = "metadata"


class Origin(StrEnum):
    """Where a number came from, in rising order of precedence."""

    DERIVED = "derived"
    """Computed from other fields of the same record."""
    LEDGER = "ledger"
    """Summed over the session's other exposures, where no source states more: a lower bound."""
    HEADER = "file header"
    SIDECAR = "sidecar"
    SESSION = "session.toml"
    USER = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where one field came from."""

    origin: Origin
    detail: str = ""
    """The key and unit it was read from, such as ``Dose [e/m²] in the FEI2 header``."""

    def __str__(self) -> str:
        return f"{self.origin}: {self.detail}" if self.detail else str(self.origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where on the specimen. Positions that no source holds are ``None``."""

    x_um: float | None = None
    """Stage x [µm]."""
    y_um: float | None = None
    """Stage y [µm]."""
    z_um: float | None = None
    """Stage height [µm]."""
    alpha_deg: float | None = None
    """Tilt about the holder's axis [degrees]."""
    beta_deg: float | None = None
    """Second tilt [degrees]."""
    beam_shift: tuple[float, float] | None = None
    """Beam shift (x, y) in the vendor's own units; equal stages with unequal shifts are
    different places."""
    image_shift: tuple[float, float] | None = None
    """Image shift (x, y) in the vendor's own units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseStatement:
    """One statement of the dose, as one source makes it."""

    dose_e_per_a2: float
    """Electron fluence at the specimen [e/Å²]."""
    source: Source
    """Who says so."""


_NON_NEGATIVE = (
    "dose_e_per_a2",
    "dose_rate_e_per_a2_s",
    "prior_dose_e_per_a2",
    "prior_dose_at_most_e_per_a2",
    "beam_current_pa",
)
_POSITIVE = (
    "pixel_size_a",
    "reciprocal_pixel_size_per_a",
    "scan_step_a",
    "dispersion_ev",
    "beam_energy_kev",
    "exposure_time_s",
    "dwell_time_s",
    "spectrum_exposure_s",
    "temperature_k",
    "beam_diameter_a",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """What was exposed, where, when and how much.

    Every field that is not ``None`` has an entry in `sources`; every field that a question
    commonly needs and no source holds has an entry in `missing` saying how to give it.
    """

    kind: Kind
    """What the file holds."""
    shape: tuple[int, ...] = ()
    """Array shape, (frame, row, column), spectrum axis last; ``()`` for metadata alone."""
    mode: str | None = None
    """``TEM`` or ``STEM``."""
    pixel_size_a: float | None = None
    """Image sampling [Å]."""
    reciprocal_pixel_size_per_a: float | None = None
    """Sampling of a diffraction pattern [1/Å], no 2π."""
    scan_step_a: float | None = None
    """Distance of the positions of a scan that records patterns or spectra [Å]."""
    dispersion_ev: float | None = None
    """Width of an energy channel [eV]."""
    energy_range_ev: tuple[float, float] | None = None
    """First and last channel of the energy axis as the file states it [eV]."""
    beam_energy_kev: float | None = None
    """Beam energy [keV]."""
    dose_e_per_a2: float | None = None
    """Electron fluence of this exposure at the specimen [e/Å²]; ``None`` also where the
    sources contradict each other."""
    dose_rate_e_per_a2_s: float | None = None
    """Fluence rate at the specimen [e/Å²/s]."""
    prior_dose_e_per_a2: float | None = None
    """Fluence this place had received before this exposure, discarded exposures included [e/Å²]; a
    lower bound where it is from a file or the ledger."""
    prior_dose_at_most_e_per_a2: float | None = None
    """Of one from the ledger the upper bound, where every exposure is known to be in it [e/Å²]."""
    exposure_time_s: float | None = None
    """Duration of the exposure, all frames [s]."""
    dwell_time_s: float | None = None
    """Time per position of a scan [s]."""
    spectrum_exposure_s: float | None = None
    """Time that the spectrometer counted each spectrum [s]; in dual EELS one of two or more, of
    which each takes a part of the time per position."""
    frames: int | None = None
    """Number of frames the exposure was divided into."""
    beam_current_pa: float | None = None
    """Probe or screen current [pA]."""
    beam_diameter_a: float | None = None
    """Diameter of the beam on the specimen, of the probe in a scan [Å]."""
    recorded_pixels: tuple[int, int] | None = None
    """Rows and columns of the image that a sidecar describes, as they are with `pixel_size_a`."""
    semi_convergence_angle_mrad: float | None = None
    """Semi-angle of convergence [mrad]."""
    collection_angle_mrad: float | None = None
    """Semi-angle of collection of a spectrometer [mrad]."""
    camera_length_mm: float | None = None
    """Nominal camera length [mm]."""
    defocus_a: float | None = None
    """Defocus, positive = underfocus [Å]."""
    spherical_aberration_mm: float | None = None
    """Coefficient of spherical aberration [mm]."""
    magnification: float | None = None
    """Nominal magnification."""
    stage: Stage | None = None
    """Where on the specimen."""
    time: datetime | None = None
    """When the exposure was made, as the file states it."""
    temperature_k: float | None = None
    """Specimen temperature [K]."""
    microscope: str | None = None
    """Instrument name."""
    detector: str | None = None
    """Camera or detector name."""
    sample: str | None = None
    """Specimen name."""
    electrolyte: str | None = None
    """Electrolyte of the cell."""
    electrode: str | None = None
    """Electrode of the cell."""
    dose_statements: tuple[DoseStatement, ...] = ()
    """Every statement of this exposure's dose that was found."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    """Field name → where its value came from."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Field name → why it is unknown and how to give it."""
    warnings: tuple[str, ...] = ()
    """Contradictions and doubts found while reading, one sentence each."""

    def __post_init__(self) -> None:
        for name in _NON_NEGATIVE:
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise ParameterError(f"{name} is {value!r}: expected a finite number >= 0")
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ParameterError(f"{name} is {value!r}: expected a finite number > 0")
        object.__setattr__(self, "sources", MappingProxyType(dict(self.sources)))
        object.__setattr__(self, "missing", MappingProxyType(dict(self.missing)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled, and a session sends records between processes.
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["sources"] = dict(self.sources)
        values["missing"] = dict(self.missing)
        return _rebuild, (values,)

    def with_values(self, origin: Origin, detail: str = "", **values: Any) -> Self:
        """Return a record in which `values` replace what was there, with their origin noted.

        ``None`` values are passed over: saying nothing does not erase what a file said.

        >>> record = Acquisition(kind=Kind.IMAGE, missing={"pixel_size_a": "give --pixel-size"})
        >>> record = record.with_values(Origin.USER, pixel_size_a=0.5)
        >>> record.pixel_size_a, str(record.sources["pixel_size_a"]), dict(record.missing)
        (0.5, 'user', {})
        """
        given = {name: value for name, value in values.items() if value is not None}
        if not given:
            return self
        source = Source(origin=origin, detail=detail)
        return replace(
            self,
            **given,
            sources={**self.sources, **dict.fromkeys(given, source)},
            missing={name: why for name, why in self.missing.items() if name not in given},
        )

    def require(self, name: str, *, of: str) -> Any:
        """Return field `name`, or raise with how to give it.

        Parameters
        ----------
        name
            A field of this record.
        of
            The file or object the message should name.

        Raises
        ------
        MissingValueError
            The field is ``None``.
        """
        value = getattr(self, name)
        if value is None:
            remedy = self.missing.get(name, f"give `{name}` in session.toml")
            raise MissingValueError(f"{name} is missing in {of}: {remedy}")
        return value


def _rebuild(values: dict[str, Any]) -> Acquisition:
    return Acquisition(**values)

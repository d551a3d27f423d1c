"""What one source says, gathered before it becomes a record, and refused where it is nonsense."""

import math
from dataclasses import dataclass, field
from typing import Any

from interphase.acquisition import Origin, Source

PLAUSIBLE: dict[str, tuple[float, float, str]] = {
    "pixel_size_a": (1e-3, 1e7, "Å"),
    "scan_step_a": (1e-3, 1e7, "Å"),
    "reciprocal_pixel_size_per_a": (1e-7, 10.0, "1/Å"),
    "dispersion_ev": (1e-5, 1e4, "eV"),
    "beam_energy_kev": (1.0, 3000.0, "keV"),
    "exposure_time_s": (1e-9, 1e6, "s"),
    "dwell_time_s": (1e-9, 1e5, "s"),
    "spectrum_exposure_s": (1e-9, 1e6, "s"),
    "beam_current_pa": (0.1, 1e7, "pA"),
    "beam_diameter_a": (0.1, 1e10, "Å"),
    "dose_e_per_a2": (1e-6, 1e12, "e/Å²"),
    "dose_rate_e_per_a2_s": (1e-9, 1e12, "e/Å²/s"),
    "prior_dose_e_per_a2": (0.0, 1e12, "e/Å²"),
    "semi_convergence_angle_mrad": (1e-4, 500.0, "mrad"),
    "collection_angle_mrad": (1e-4, 2000.0, "mrad"),
    "camera_length_mm": (1e-2, 1e6, "mm"),
    "defocus_a": (-1e8, 1e8, "Å"),
    "spherical_aberration_mm": (-100.0, 100.0, "mm"),
    "magnification": (1.0, 1e9, "×"),
    "temperature_k": (0.1, 3000.0, "K"),
    "frames": (1, 1e8, "frames"),
}
"""Field → smallest and largest value a microscope can mean, and the unit of both.

The limits are generous: they refuse a misread unit or a flipped bit, not an unusual experiment.
"""

_UNEQUAL = 0.01
"""Samplings along x and y that differ by a larger fraction are mentioned."""
_MOST_UNEQUAL = 0.1
"""Those that differ by a larger fraction are not averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseClaim:
    """One statement of the dose and where along the beam it was made."""

    dose_e_per_a2: float
    """Fluence [e/Å²]."""
    detail: str
    """The key and unit it was read from."""
    at_camera: bool = False
    """Whether it was counted behind the specimen, so that electrons lost there are not in it."""


@dataclass(slots=True, kw_only=True)
class Facts:
    """What one source says: a notebook that a reader fills in."""

    origin: Origin
    """The kind of source."""
    where: str = ""
    """The source in words, appended to every detail, such as ``FEI2 header``."""
    values: dict[str, Any] = field(default_factory=dict)
    """Field → value."""
    sources: dict[str, Source] = field(default_factory=dict)
    """Field → where its value came from."""
    missing: dict[str, str] = field(default_factory=dict)
    """Field → why it has no value."""
    doses: list[DoseClaim] = field(default_factory=list)
    """Every statement of the dose."""
    warnings: list[str] = field(default_factory=list)
    """Doubts, one sentence each."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """Rows and columns of the image that the source describes; several where it leaves open
    whether they are counted before or after binning, none where it does not say."""

    def source(self, detail: str) -> Source:
        """Return the source of a value read under `detail`."""
        return Source(origin=self.origin, detail=f"{detail} in the {self.where}")

    def add(self, name: str, value: Any, detail: str, *, zero_is_missing: bool = False) -> None:
        """Note that field `name` is `value`, unless that is nothing or nonsense.

        Parameters
        ----------
        name
            A field of the acquisition record.
        value
            What the source says, in the field's unit; ``None`` says nothing.
        detail
            The key and unit it was read from.
        zero_is_missing
            Whether a zero means that nobody recorded the value.
        """
        if value is None or value == "":
            return
        if name not in PLAUSIBLE:
            self._set(name, value, detail)
            return
        value = as_float(value)
        low, high, unit = PLAUSIBLE[name]
        if value == 0 and zero_is_missing:
            self.missing.setdefault(name, f"{detail} is 0, which means it was not recorded")
        elif value is None or not low <= value <= high:
            said = "not a number" if value is None else f"{value:.4g} {unit}"
            self.warnings.append(
                f"{detail} gives {name} = {said}, which no microscope means: it is not believed"
            )
            self.missing[name] = f"{detail} gives {said}, which is not believed"
        else:
            self._set(name, int(value) if name == "frames" else value, detail)

    def add_square(self, name: str, x: float, y: float, what: str, detail: str) -> None:
        """Note a sampling whose two axes `x` and `y` [Å or 1/Å] should agree.

        Up to a tenth of difference their geometric mean is taken and said. Beyond it no one number
        describes an image; the step of a scan, from which only areas follow, is still the mean.
        """
        unit = PLAUSIBLE[name][2]
        low, high = sorted((x, y))
        said = f"{what} has {x:.5g} {unit} along x and {y:.5g} {unit} along y"
        if low > 0 and high > (1 + _MOST_UNEQUAL) * low and name != "scan_step_a":
            self.missing[name] = f"{said}, which no one {name} describes"
            self.warnings.append(f"{said}: no {name} is taken")
            return
        if low > 0 and high > (1 + _UNEQUAL) * low:
            self.warnings.append(f"{said}: the geometric mean is used as {name}")
        self.add(name, math.sqrt(x * y), detail)

    def _set(self, name: str, value: Any, detail: str) -> None:
        self.values[name] = value
        self.sources[name] = self.source(detail)
        self.missing.pop(name, None)

    def add_dose(self, dose: float | None, detail: str, *, at_camera: bool = False) -> None:
        """Note one statement of the dose [e/Å²]; zero means that it was not recorded."""
        value = as_float(dose)
        low, high, unit = PLAUSIBLE["dose_e_per_a2"]
        if value is None:
            return
        if value == 0:
            self.missing.setdefault(
                "dose_e_per_a2",
                f"{detail} is 0, which means it was not recorded, not that no electrons came",
            )
        elif not low <= value <= high:
            self.warnings.append(f"{detail} gives {value:.4g} {unit}: it is not believed")
        else:
            self.doses.append(
                DoseClaim(
                    dose_e_per_a2=value,
                    detail=f"{detail} in the {self.where}",
                    at_camera=at_camera,
                )
            )


def as_float(value: Any) -> float | None:
    """Return `value` as a finite float, or ``None`` where it is none.

    >>> as_float("2.5e-010"), as_float("n/a"), as_float(float("nan"))
    (2.5e-10, None, None)
    """
    if value is None or isinstance(value, (list, tuple, dict, bool)):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def scaled(value: Any, factor: float) -> float | None:
    """Return `value` as a float times `factor`, or ``None`` where it is no number.

    >>> scaled("300000", 1e-3), scaled(None, 1e-3)
    (300.0, None)
    """
    number = as_float(value)
    return None if number is None else number * factor


def lookup(tree: Any, *keys: str) -> Any:
    """Return ``tree[keys[0]][keys[1]]...``, or ``None`` where a key is absent.

    >>> lookup({"Optics": {"Focus": "0"}}, "Optics", "Focus"), lookup({}, "Optics", "Focus")
    ('0', None)
    """
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return None
        tree = tree[key]
    return tree

"""A signal over successive exposures, and how it scatters."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from interphase.errors import ParameterError

MOST_ELECTRONS = 1e12
"""Electrons of an exposure, or power over the floor, up to which likelihoods have digits enough."""
MOST_DOSE_E_PER_A2 = 1e9
"""Nothing is left of any specimen then: a larger dose has another unit."""
MOST_SPECTRA = 300
"""Spectra whose mean power still has a law of its own; that of more is normal."""


class Law(StrEnum):
    """How a signal scatters about its expectation."""

    COUNTS = "counts"
    """Electrons: Poisson. Spots and rings of a diffraction pattern, with counts of a background."""
    POWER = "power"
    """Power of fringes over the floor of the spectrum, the mean of some spectra: non-central χ²,
    exponential where there are no fringes. Never Poisson."""
    VALUES = "values"
    """Anything with a variance: Gaussian. Edges of energy-loss spectra above their background,
    and means of many of the others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FadingSeries:
    """A signal over successive exposures of one place."""

    signal: np.ndarray
    """Electrons, or power over the floor, or values per electron of the beam, shape (F,)."""
    before_e_per_a2: np.ndarray
    """Dose accumulated before each exposure [e/Å²], shape (F,)."""
    after_e_per_a2: np.ndarray
    """Dose accumulated after it [e/Å²], shape (F,); between two exposures there may be more."""
    law: Law
    """How the signal scatters."""
    name: str = "signal"
    """What it is, in words that can begin a sentence: ``power of Li2O fringes``."""
    phase: str | None = None
    """Identifier of the phase it is of."""
    variance: np.ndarray | None = None
    """Variance of each value, shape (F,); for ``values`` alone."""
    background: np.ndarray | None = None
    """Electrons in an area without signal, shape (F,); for ``counts`` above a background."""
    background_ratio: float = 1.0
    """That area over the area of the signal."""
    spectra: float = 1.0
    """Independent spectra or spots whose power was averaged; for ``power`` alone."""

    def __post_init__(self) -> None:
        if self.law not in tuple(Law):
            raise ParameterError(f"law is {self.law!r}: expected one of {', '.join(Law)}")
        object.__setattr__(self, "law", Law(self.law))
        if not isinstance(self.name, str):
            raise ParameterError(f"name is {self.name!r}: expected words")
        for name in ("signal", "before_e_per_a2", "after_e_per_a2", "variance", "background"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, _numbers(name, value, self.signal))
        if self.before_e_per_a2[0] < 0:
            raise ParameterError(
                f"before_e_per_a2 begins with {self.before_e_per_a2[0]:g} e/Å²: expected at least 0"
            )
        if not np.all(self.after_e_per_a2 > self.before_e_per_a2):
            frame = int(np.argmin(self.after_e_per_a2 > self.before_e_per_a2)) + 1
            raise ParameterError(
                f"exposure {frame} ends at {self.after_e_per_a2[frame - 1]:g} e/Å², not above the "
                "dose it begins with: every exposure adds dose"
            )
        back = self.before_e_per_a2[1:] < self.after_e_per_a2[:-1] - 1e-6 * self.after_e_per_a2[-1]
        if back.any():
            frame = int(np.argmax(back)) + 2
            raise ParameterError(
                f"exposure {frame} begins at {self.before_e_per_a2[frame - 1]:g} e/Å², before the "
                "one ahead of it ended: accumulated dose never falls; are the frames in order?"
            )
        if self.after_e_per_a2[-1] > MOST_DOSE_E_PER_A2:
            raise ParameterError(
                f"after_e_per_a2 ends at {self.after_e_per_a2[-1]:.4g} e/Å²: expected at most "
                f"{MOST_DOSE_E_PER_A2:g}; was it given in e/nm² or e/m²?"
            )
        self._check_law()
        if self.law is Law.VALUES:
            if self.variance is None or not np.all(self.variance > 0):
                raise ParameterError("a series of values needs a variance above 0 for each of them")
        elif np.any(self.signal < 0):
            raise ParameterError(
                f"the smallest of signal is {self.signal.min():g}: {self.law} are not negative; "
                "for values less a background use Law.VALUES with their variance"
            )
        if self.background is not None and np.any(self.background < 0):
            raise ParameterError(
                f"the smallest of background is {self.background.min():g}: expected electrons"
            )
        if not 0 < self.background_ratio < float("inf"):
            raise ParameterError(
                f"background_ratio is {self.background_ratio!r}: expected a number above 0"
            )
        if not 0 < self.spectra <= MOST_SPECTRA:
            raise ParameterError(
                f"spectra is {self.spectra!r}: expected up to {MOST_SPECTRA}; means of more are "
                "Law.VALUES with variance (1 + 2 s) / spectra"
            )

    def _check_law(self) -> None:
        """Refuse what another law would need: it would be passed over in silence."""
        for name, law, given in (
            ("variance", Law.VALUES, self.variance is not None),
            ("background", Law.COUNTS, self.background is not None),
            ("spectra", Law.POWER, self.spectra != 1),
        ):
            if given and self.law is not law:
                raise ParameterError(
                    f"{name} is given and law is {self.law}: {name} is for {law} alone; leave it "
                    "out or give the other law"
                )
        if self.law is not Law.VALUES and self.signal.max() > MOST_ELECTRONS:
            raise ParameterError(
                f"the largest of signal is {self.signal.max():.4g}: expected at most "
                f"{MOST_ELECTRONS:g} electrons of an exposure, or power over the floor"
            )

    @property
    def dose_e_per_a2(self) -> np.ndarray:
        """Dose at the middle of each exposure [e/Å²], shape (F,)."""
        return np.asarray((self.before_e_per_a2 + self.after_e_per_a2) / 2)

    @property
    def weight(self) -> np.ndarray:
        """Expected signal of each exposure over that of a mean one, were there no damage."""
        width = self.after_e_per_a2 - self.before_e_per_a2
        return np.ones_like(width) if self.law is Law.VALUES else width / width.mean()

    @property
    def net(self) -> np.ndarray:
        """Signal less its background or noise, shape (F,); its expectation is what fades."""
        if self.law is Law.POWER:
            return self.signal - 1
        if self.background is None:
            return self.signal
        return np.asarray(self.signal - self.background / self.background_ratio)

    @property
    def variance_parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Variance of `net` without signal, and what each unit of level adds to it, (F,) each.

        The level is that of a mean exposure: an expectation of ``level * weight``.
        """
        if self.law is Law.VALUES:
            return np.asarray(self.variance), np.zeros_like(self.signal)
        if self.law is Law.POWER:
            return np.full_like(self.signal, 1 / self.spectra), 2 * self.weight / self.spectra
        ratio = self.background_ratio
        background = np.zeros_like(self.signal) if self.background is None else self.background
        return background / ratio * (1 + 1 / ratio), self.weight

    @property
    def standard_error(self) -> np.ndarray:
        """Standard error of `net` as the exposure itself says, shape (F,)."""
        constant, slope = self.variance_parts
        level = np.maximum(self.net / self.weight, 0)
        return np.asarray(np.sqrt(constant + slope * level))

    def say(self, words: str) -> str:
        """Return a sentence about the signal."""
        subject = "the signal" if self.name == "signal" else self.name
        return f"{subject[:1].upper()}{subject[1:]} {words}"


def _numbers(name: str, value: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Return a field as an array of its own that cannot be changed."""
    array = np.array(value, dtype=float)
    if array.ndim != 1 or array.shape != np.shape(signal) or not array.size:
        raise ParameterError(
            f"{name} has shape {array.shape} and signal {np.shape(signal)}: expected one number "
            "per exposure"
        )
    if not np.all(np.isfinite(array)):
        frame = int(np.argmin(np.isfinite(array))) + 1
        raise ParameterError(f"{name} of exposure {frame} is {array[frame - 1]}: expected a number")
    array.flags.writeable = False
    return array

"""What identification may be asked to do, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Self

from interphase.errors import ParameterError
from interphase.phases import Contrast


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePrior:
    """What is believed of an image's common scale error before looking at it.

    The prior is a narrow normal distribution with a wide one beside it, because a header's pixel
    size is sometimes wrong by several per cent. The numbers are working values.
    """

    sigma: float = 0.01
    """Standard deviation of a calibration that was looked after (fraction)."""
    wide_sigma: float = 0.04
    """Standard deviation of one that was not (fraction)."""
    wide_weight: float = 0.1
    """Share of images whose calibration was not looked after."""
    anisotropy: float = 0.003
    """Standard deviation of half the difference of scale between two directions (fraction); more
    for a scanned image, whose slow axis drifts."""

    @classmethod
    def for_scanned_image(cls) -> Self:
        """Return the belief about a scan, whose coils and drift set a scale unequal in x and y.

        The numbers are working values, wide enough for the scanned images of known lattices that
        the package is tested with, which are wrong by 2 to 5 %.
        """
        return cls(sigma=0.02, wide_sigma=0.05, wide_weight=0.3, anisotropy=0.02)

    def __post_init__(self) -> None:
        for name in ("sigma", "wide_sigma", "anisotropy"):
            value = getattr(self, name)
            if not 0 < value < 0.2:
                raise ParameterError(
                    f"{name} is {value!r}: expected a fraction between 0 and 0.2, such as 0.01"
                )
        if not 0 <= self.wide_weight < 1:
            raise ParameterError(f"wide_weight is {self.wide_weight!r}: expected 0 <= weight < 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The numbers of the evidence model, tuned on simulated calibration scenes.

    How and on what: ``simulations/phase_identification``.
    """

    clutter: float = 0.6
    """Expected number of spots per crystalline place that belong neither to its crystal nor to
    noise."""
    max_detection: float = 0.9
    """Probability to see a ring of a pattern that is predicted far above the noise."""
    unknown_prior: float = 0.15
    """Prior probability that a crystalline place is none of the candidates."""
    misfit: float = 0.06
    """Share of a candidate's crystals whose spots are as foreign to it as an unknown crystal's."""

    def __post_init__(self) -> None:
        for name in ("max_detection", "unknown_prior", "misfit"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ParameterError(f"{name} is {value!r}: expected a share between 0 and 1")
        if not 0 < self.clutter < 100:
            raise ParameterError(f"clutter is {self.clutter!r}: expected a number of spots > 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to look for phases in an image or a pattern."""

    windows_a: tuple[float, ...] = (32.0, 50.0, 80.0)
    """Sides of the windows whose power spectra are taken [Å]. A crystallite shows best in a window
    of 1.3 times its diameter; these lose at most a tenth of its power from 2.5 to 8 nm."""
    overlap: int = 4
    """Windows per window length: the step is a window's side over `overlap`."""
    d_min_a: float = 1.2
    """Smallest spacing looked for [Å]."""
    d_max_a: float = 6.0
    """Largest spacing looked for [Å]."""
    false_alarm: float = 0.01
    """Probability to report a crystalline place in an image that has none."""
    contrast: Contrast = Contrast.ELECTRON
    """What makes an atom bright in the image."""
    scale: ScalePrior = ScalePrior()
    """Belief about the common scale error."""
    evidence: Evidence = Evidence()
    """Numbers of the evidence model."""
    prior: Mapping[str, float] | None = None
    """Relative weights of candidates before looking, by identifier; those not named weigh 1. The
    answer stays that of equal weights; what these make of it stands beside it."""

    @classmethod
    def for_scanned_image(cls) -> Self:
        """Return options for a scanned image, dark or annular bright field.

        An annular bright field is dark where a dark field is bright: what an atom scatters out of
        the cone is missing from the ring. The phase contrast of inner and outer part of the ring
        cancels, and the weight of atoms that is left is nearer to the dark field's than to that of
        a plane wave, so one set of options serves both; it also says how far the scan errs.
        """
        return cls(contrast=Contrast.DARK_FIELD, scale=ScalePrior.for_scanned_image())

    def __post_init__(self) -> None:
        sides = self.windows_a if isinstance(self.windows_a, tuple) else ()
        if not sides or not all(isinstance(a, Real) and 1 <= a < float("inf") for a in sides):
            raise ParameterError(
                f"windows_a is {self.windows_a!r} Å: expected a tuple of lengths of at least 1, "
                "such as (32.0, 50.0, 80.0)"
            )
        if not (isinstance(self.overlap, int) and 1 <= self.overlap <= 16):
            raise ParameterError(
                f"overlap is {self.overlap!r}: expected a whole number from 1 to 16"
            )
        for name in ("d_min_a", "d_max_a", "false_alarm"):
            if not isinstance(getattr(self, name), Real):
                raise ParameterError(f"{name} is {getattr(self, name)!r}: expected a number")
        if not 0 < self.d_min_a < self.d_max_a:
            raise ParameterError(
                f"d_min_a is {self.d_min_a!r} and d_max_a is {self.d_max_a!r} Å: "
                "expected 0 < d_min_a < d_max_a"
            )
        if not 1e-12 <= self.false_alarm <= 0.5:
            raise ParameterError(
                f"false_alarm is {self.false_alarm!r}: expected a probability up to 0.5"
            )
        for phase, weight in (self.prior or {}).items():
            if not (isinstance(weight, Real) and 1e-3 <= weight <= 1e3):
                raise ParameterError(
                    f"the prior weight of {phase} is {weight!r}: expected a number > 0 between "
                    "0.001 and 1000; to leave a phase out, take it from the candidates"
                )

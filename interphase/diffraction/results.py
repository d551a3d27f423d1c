"""What identification returns: frozen records with plain arrays in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction.limits import DetectionLimit
from interphase.phases import DoseVerdict

UNKNOWN = "unknown"
"""Key of the hypothesis 'crystalline, but none of the candidates'."""
NONE = "none"
"""Key of the hypothesis 'nothing periodic', and of the area in which nothing was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spots:
    """Spots of a power spectrum or a diffraction pattern, one of each Friedel pair."""

    k_per_a: np.ndarray
    """Position (ky, kx) of each spot [1/Å], shape (S, 2)."""
    strength: np.ndarray
    """Power over the local noise floor, shape (S,)."""
    p_value: np.ndarray
    """Probability that noise alone makes a spot this strong anywhere it was looked for, (S,)."""
    sigma_per_a: float
    """Standard deviation of a spot's position [1/Å], the mean of both directions and all spots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One crystalline place and what it may be."""

    phase: str
    """The most probable hypothesis: a candidate's identifier, or ``unknown``."""
    probability: float
    """Posterior probability of `phase`."""
    alternatives: Mapping[str, float]
    """Posterior probability of every hypothesis, ``unknown`` and ``none`` included; sums to 1.
    All candidates weigh the same beforehand."""
    credible_set: tuple[str, ...]
    """The fewest hypotheses that hold 90 % of the probability, most probable first; then those that
    no lattice image separates from them, and ``unknown`` where one spacing is all there is."""
    assessment: Assessment
    """``ok``, ``ambiguous`` or ``unknown_phase``."""
    centre_a: tuple[float, float] | None
    """(y, x) of the region's centre, from the image's first pixel [Å]; ``None`` in a pattern."""
    area_a2: float | None
    """Area of the region [Å²], good to about half a window and too small at the image's border;
    ``None`` in a pattern."""
    d_spacings_a: tuple[float, ...]
    """Measured spacings, strongest first [Å], as the image's own calibration gives them."""
    zone_axis: tuple[int, int, int] | None
    """Zone axis of the best match, if two spots that are not in line support it."""
    scale_error: float | None
    """Fraction by which the image's lengths are too long if `phase` is right."""
    p_value: float
    """Probability that noise alone would make such a place anywhere in the image."""
    spots: Spots
    """The evidence."""
    window_a: float | None = None
    """Side of the window that shows the place best [Å]; ``None`` in a pattern."""
    sentence: str = ""
    """The verdict in words."""
    informed: Mapping[str, float] = field(default_factory=dict)
    """`alternatives` where the stated prior weights the candidates; empty where none is stated."""
    dose: DoseVerdict | None = None
    """What the beam may have done to `phase` here; ``None`` until somebody who knows the exposure
    fills it in."""
    matched: tuple[tuple[int, tuple[int, int, int]], ...] = ()
    """Best match of `phase`: row of each spot in `spots` that belongs to it, and its hkl, either
    one of the Friedel pair."""

    @property
    def informed_phase(self) -> str | None:
        """The most probable hypothesis with the stated prior; ``None`` where none is stated."""
        return max(self.informed, key=self.informed.__getitem__) if self.informed else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseMap:
    """Phases of an image or a diffraction pattern, place by place."""

    assessment: Assessment
    """What the answer is worth as a whole."""
    sentence: str
    """The verdict in words."""
    candidates: tuple[str, ...]
    """The phases that were considered."""
    regions: tuple[Region, ...] = ()
    """Crystalline places, most certain first."""
    labels: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int32))
    """Index of the region + 1 per window, 0 where nothing was found, shape (R, C)."""
    area_fraction: Mapping[str, float] = field(default_factory=dict)
    """Share of the searched area per phase, ``unknown`` and ``none`` included; sums to 1."""
    window_a: float | None = None
    """Side of the windows that `labels` are of [Å]."""
    step_a: float | None = None
    """Distance between windows [Å]."""
    origin_a: tuple[float, float] = (0.0, 0.0)
    """(y, x) of the centre of the first window [Å]."""
    limit: DetectionLimit | None = None
    """What would have been seen, where nothing was; ``None`` where something was."""
    centre_px: tuple[float, float] | None = None
    """(row, column) of a pattern's direct beam [pixels]; ``None`` for an image."""
    pixel_size_a: float | None = None
    """Sampling the analysis used [Å]."""
    warnings: tuple[str, ...] = ()
    """Doubts, one sentence each."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """What the analysis was asked to do, for provenance."""

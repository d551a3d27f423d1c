"""What would have been seen: the least fringe contrast and the smallest crystallite.

"Nothing periodic" says little without the limit below which it could not have been otherwise.
The limit follows from the noise floor of the image, the window, and the power over that floor
from which on a place is reported.
"""

from dataclasses import dataclass, replace

import numpy as np

from interphase.diffraction.spectra import Frequencies, hann
from interphase.errors import ParameterError
from interphase.noise import detection_probability

# Spacings at which the limit is told, as far as they were searched [Å].
SPACINGS_A = (1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
# The spacings that the sentence speaks of, where most strong reflections of an interphase lie [Å].
COMMON_A = (2.0, 3.0)
# The crystallite and the contrast that the sentence speaks of.
DIAMETER_A = 30.0
CONTRAST = 0.05
# The floor at a spacing is the mean over spatial frequencies within this fraction.
RING = 0.1
# More negative pixels than this share do not come from read-out noise about zero counts.
NEGATIVE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionLimit:
    """The weakest fringes that an image would have shown, one value per spacing."""

    probability: float
    """Probability to find fringes at the limit."""
    d_spacings_a: tuple[float, ...]
    """Spacings [Å]."""
    contrast: tuple[float, ...] = ()
    """Amplitude over mean intensity of fringes that fill a window; empty where the image's zero
    is not zero counts, or its floor holds no noise."""
    contrast_of_small: tuple[float, ...] = ()
    """The same for fringes of a crystallite of `small_a`; above 1 it cannot be seen."""
    small_a: float = DIAMETER_A
    """Diameter that `contrast_of_small` belongs to [Å]."""
    diameter_a: tuple[float | None, ...] = ()
    """Smallest diameter at `fixed_contrast` [Å]; ``None`` where not even a full window shows it."""
    fixed_contrast: float = CONTRAST
    """Contrast that `diameter_a` belongs to."""
    sentence: str
    """The limit in words, or why there is none."""


def detection_limit(
    image: np.ndarray,
    log_floor: np.ndarray,
    freq: Frequencies,
    *,
    step: int,
    least_power: float,
    probability: float = 0.9,
    small_a: float = DIAMETER_A,
    fixed_contrast: float = CONTRAST,
) -> DetectionLimit:
    r"""Return the weakest fringes that would have been found, if there were any.

    For one set of fringes of a crystallite near the middle of a window: one at the image's border
    needs more, and a crystal that shows several sets, or spreads over several windows, needs less.

    Parameters
    ----------
    image
        The image as it was transformed, shape (M, N); only its mean and its zero are used, so any
        factor goes if the floor has it too.
    log_floor
        Logarithm of the noise floor of a Hann window, from `spectra.image_floor`, shape
        (size, size // 2 + 1).
    freq
        The frequencies, with those that are searched.
    step
        Distance of neighbouring windows [pixels].
    least_power
        Power over the floor from which on one spot starts a place.
    probability
        Probability to find fringes at the limit.
    small_a
        Diameter for which the contrast is told [Å].
    fixed_contrast
        Contrast for which the diameter is told.

    Returns
    -------
    DetectionLimit
        Without contrasts where the image's zero is not zero counts; the sentence says so.

    Raises
    ------
    ParameterError
        A probability, a diameter or a contrast out of its range.

    Notes
    -----
    A fringe of amplitude :math:`C` times the mean :math:`m` has the power
    :math:`(m C / 2)^2 (\sum_\mathrm{disc} w)^2` in a window of weights :math:`w`, of which a disc
    shows a part. It is found with the probability of `noise.detection_probability`.

    Examples
    --------
    >>> from interphase.diffraction.spectra import frequencies
    >>> freq = frequencies(128, pixel_size_a=0.4, k_min=1 / 6, k_max=1 / 1.2)
    >>> counts = np.random.default_rng(0).poisson(16.0, (256, 256))
    >>> limit = detection_limit(
    ...     counts, np.full(freq.k.shape, np.log(16 * 128**2)), freq, step=32, least_power=18.0
    ... )
    >>> limit.d_spacings_a[1], round(limit.contrast[1], 3)
    (2.0, 0.034)
    """
    if not 0.5 <= probability < 1:
        raise ParameterError(f"probability is {probability!r}: expected 0.5 to 1, such as 0.9")
    if not (small_a > 0 and 0 < fixed_contrast <= 1):
        raise ParameterError(
            f"small_a is {small_a!r} Å and fixed_contrast {fixed_contrast!r}: expected a length "
            "above 0 and a contrast up to 1"
        )
    rings = {d: freq.searched & (np.abs(freq.k * d - 1) <= RING) for d in SPACINGS_A}
    if not any(ring.any() for ring in rings.values()):
        rings = {float(1 / np.median(freq.k[freq.searched])): freq.searched}
    rings = {d: ring for d, ring in rings.items() if ring.any()}
    spacings = tuple(rings)
    fault = zero_fault(image)
    if fault:
        return DetectionLimit(probability=probability, d_spacings_a=spacings, sentence=fault)
    size = len(freq.k)
    pixel_size_a = 1 / (size * freq.pixel)
    floor = np.exp(np.asarray(log_floor, dtype=float))
    level = np.array([floor[ring].mean() for ring in rings.values()])
    # Contrast whose fringes, with all of the window's weight, would equal the floor.
    unit = 2 * np.sqrt(level) / (float(np.mean(image)) * float(hann(size).sum()))

    def needed(diameter: float | None) -> float:
        width = None if diameter is None else min(diameter / (size * pixel_size_a), 1.0)
        power = signal_needed(least_power, probability, width=width, step=step / size)
        return float(np.sqrt(power))

    widths = np.linspace(0.1, 1.0, 19) * size * pixel_size_a
    needs = np.array([needed(width) for width in widths])
    smallest = np.interp(-fixed_contrast / unit, -needs, widths, right=np.nan)
    result = DetectionLimit(
        probability=probability,
        d_spacings_a=spacings,
        contrast=tuple(map(float, unit * needed(None))),
        contrast_of_small=tuple(map(float, unit * needed(small_a))),
        small_a=small_a,
        diameter_a=tuple(None if np.isnan(d) else float(d) for d in smallest),
        fixed_contrast=fixed_contrast,
        sentence="",
    )
    return replace(result, sentence=_sentence(result))


def zero_fault(image: np.ndarray) -> str:
    """Return why an image's zero is not zero counts, or nothing where it may be.

    A constant offset that leaves every pixel positive cannot be told from counts; it makes
    contrasts look smaller than they are.

    >>> zero_fault(np.array([[-1.0, 1.0]]))[:44]
    'The contrast that would have been seen is un'
    """
    below = float(np.mean(image < 0))
    if below <= NEGATIVE and np.mean(image) > 0:
        return ""
    return (
        f"The contrast that would have been seen is unknown: {100 * below:.0f} % of the pixels are "
        "negative, so zero is not zero counts (background taken off, or numbers wrapped round)."
    )


def disc_share(width: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    r"""Return the part of a Hann window's weight within a disc.

    Parameters
    ----------
    width
        Diameter of the disc over the side of the window, up to 1.
    y, x
        Place of its centre from the middle of the window, over the side of the window.

    Returns
    -------
    ndarray
        0 to 1, of the broadcast shape.

    Notes
    -----
    The window is nine plane waves, and the mean of one of frequency q over a disc is
    :math:`J(q) = 2 J_1(\pi q w) / (\pi q w)`:

    .. math:: \frac{\pi w^2}{4} \left[1 + J(1) (\cos 2\pi y + \cos 2\pi x)
              + J(\sqrt 2) \cos 2\pi y \cos 2\pi x\right].

    Examples
    --------
    >>> disc_share(np.array([0.5, 1.0]), 0.0, 0.0).round(3).tolist()
    [0.577, 0.994]
    """
    from scipy.special import j1

    def mean(q: float) -> np.ndarray:
        z = np.pi * q * np.asarray(width, dtype=float)
        return np.asarray(2 * j1(z) / z)

    down, across = np.cos(2 * np.pi * np.asarray(y)), np.cos(2 * np.pi * np.asarray(x))
    waves = 1 + mean(1.0) * (down + across) + mean(2**0.5) * down * across
    return np.asarray(np.pi * np.square(width) / 4 * waves)


def signal_needed(
    least_power: float, probability: float, *, width: float | None = None, step: float = 0.25
) -> float:
    """Return the power over the floor whose fringes are found with a probability.

    It is the power that the fringes would have with the full weight of the window, at a frequency
    of its transform. The mean over what they lose by lying elsewhere is taken: between two
    frequencies, δ steps off, they keep ``sinc(δ) / (1 - δ²)`` of their amplitude per axis; and a
    crystallite lies up to half a step of the windows from the middle of the nearest.

    Parameters
    ----------
    least_power
        Power over the floor from which on a spot starts a place.
    probability
        Probability to find the fringes.
    width
        Diameter of the crystallite over the side of the window; ``None`` where it fills it.
    step
        Distance of neighbouring windows over their side.

    Examples
    --------
    >>> round(signal_needed(18.0, 0.9), 1), round(signal_needed(18.0, 0.9, width=0.5), 1)
    (33.5, 122.0)
    """
    from scipy.optimize import brentq

    # Gauss-Legendre nodes from 0 to 1, for both axes.
    node, weight = np.polynomial.legendre.leggauss(3)
    node, both = (node + 1) / 2, np.outer(weight, weight) / 4
    off = node / 2
    one = (np.sinc(off) / (1 - off**2)) ** 2
    kept, chance = np.outer(one, one), both
    if width is not None:
        place = node * step / 2
        share = disc_share(np.array(width), place[:, None], place) ** 2
        kept, chance = np.multiply.outer(kept, share), np.multiply.outer(both, both)

    def excess(log_signal: float) -> float:
        found = detection_probability(np.exp(log_signal) * kept, least_power)
        return float(np.sum(chance * found)) - probability

    return float(np.exp(brentq(excess, -5.0, 25.0, xtol=1e-4)))


def _sentence(limit: DetectionLimit) -> str:
    """Return the limit in words."""
    common = [n for n, d in enumerate(limit.d_spacings_a) if COMMON_A[0] <= d <= COMMON_A[1]]
    told = common or list(range(len(limit.d_spacings_a)))
    spacings = [limit.d_spacings_a[n] for n in told]
    contrast = max(limit.contrast_of_small[n] for n in told)
    diameters = [limit.diameter_a[n] for n in told]
    span = f"{spacings[0]:.1f}" + (f"-{spacings[-1]:.1f}" if len(spacings) > 1 else "")
    fringes = f"Fringes of {span} Å of a {limit.small_a / 10:g} nm crystallite would have been seen"
    seen = (
        f"{fringes} from {100 * contrast:.2g} % contrast on"
        if contrast < 1
        else f"{fringes} at no contrast"
    )
    size = (
        f"none at {100 * limit.fixed_contrast:g} % contrast, whatever its size"
        if None in diameters
        else f"at {100 * limit.fixed_contrast:g} % contrast crystallites from "
        f"{max(d for d in diameters if d is not None) / 10:.1f} nm on"
    )
    return f"{seen}; {size} (in {100 * limit.probability:g} % of cases)."

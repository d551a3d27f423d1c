"""Profiles across an interface: along a line or its normal, what comes first, and gradients.

Pixels are summed into steps of distance and nothing is interpolated, so that the errors of the
steps are independent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import blocks, check_number, check_spectra, usable
from interphase.errors import ParameterError

# Standard errors that an amount must have for its place to be told.
_AMOUNT = 4.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """A quantity against distance."""

    distance_a: np.ndarray
    """Mean distance of each step's pixels [Å], shape (B,), rising."""
    value: np.ndarray
    """Mean value, shape (B,)."""
    standard_error: np.ndarray
    """Standard error, shape (B,)."""
    step_a: float
    """Width of a step [Å]."""

    def __post_init__(self) -> None:
        shapes = {np.shape(self.distance_a), np.shape(self.value), np.shape(self.standard_error)}
        if len(shapes) != 1 or len(next(iter(shapes))) != 1:
            raise ParameterError(f"a profile's arrays have shapes {shapes}: expected one, (B,)")
        if not (np.isfinite(self.value).all() and (np.diff(self.distance_a) > 0).all()):
            raise ParameterError(
                "a profile holds what are no numbers, or distances that do not rise: expected "
                "finite values [any unit] at rising distances [Å]"
            )
        if not (np.isfinite(self.standard_error).all() and (self.standard_error > 0).all()):
            raise ParameterError("a profile has standard errors that are not above 0: give each")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """Spectra summed into steps of distance."""

    distance_a: np.ndarray
    """Mean distance of each step's pixels [Å], shape (B,), rising."""
    spectra: np.ndarray
    """Sum of their spectra [counts], shape (B, E)."""
    pixels: np.ndarray
    """Number of pixels in each sum, shape (B,)."""
    step_a: float
    """Width of a step [Å]."""

    def profile(self, value: np.ndarray, *, standard_error: np.ndarray) -> Profile:
        """Return what was measured of the sums as a profile, without what is no number.

        Parameters
        ----------
        value, standard_error
            Of each sum, shape (B,).

        Returns
        -------
        Profile
            The profile.
        """
        shapes = {np.shape(value), np.shape(standard_error), self.distance_a.shape}
        if len(shapes) != 1:
            raise ParameterError(f"values, errors and steps have shapes {shapes}: expected one")
        known = np.isfinite(value) & np.isfinite(standard_error)
        return Profile(
            distance_a=self.distance_a[known],
            value=np.asarray(value, dtype=float)[known],
            standard_error=np.asarray(standard_error, dtype=float)[known],
            step_a=self.step_a,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What comes first along a profile."""

    names: tuple[str, ...]
    """Phases or elements in the order of their mean distances."""
    centre_a: tuple[float, ...]
    """Mean distance of each, weighted by its amount [Å]."""
    centre_error_a: tuple[float, ...]
    """Standard errors [Å]."""
    probability: tuple[float, ...]
    """Probability that each comes before the next, one fewer."""
    left_out: tuple[str, ...]
    """Those of which there is too little to tell where they are."""
    assessment: Assessment
    """``ok``: each neighbour is told with 95 %. ``ambiguous``. ``too_few_electrons``: fewer than
    two are there."""
    sentence: str
    """The same in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """How a quantity changes with distance."""

    per_a: float
    """Change of the value per distance [1/Å]."""
    standard_error: float
    """Its standard error [1/Å]."""
    p_value: float
    """Probability of a slope as far from 0 if there is none."""
    straightness: float
    """Probability of a misfit as large as this for a straight line."""


def distance_along_line(
    shape: tuple[int, int],
    *,
    start_px: tuple[float, float],
    end_px: tuple[float, float],
    pixel_size_a: float,
    width_a: float,
) -> np.ndarray:
    """Return how far along a line each pixel lies.

    Parameters
    ----------
    shape
        Shape (M, N) of the map.
    start_px, end_px
        Ends of the line, (row, column) [px].
    pixel_size_a
        Size of a pixel [Å].
    width_a
        Width of the strip along the line whose pixels count [Å].

    Returns
    -------
    ndarray
        Distance from the start [Å], shape (M, N); NaN outside the strip.

    Raises
    ------
    ParameterError
        The line has no length, or a size is not above 0.

    Examples
    --------
    >>> line = dict(start_px=(1, 0), end_px=(1, 3), pixel_size_a=2.0, width_a=2.0)
    >>> distance_along_line((3, 4), **line)[1].tolist()
    [0.0, 2.0, 4.0, 6.0]
    """
    check_number("pixel_size_a", pixel_size_a, 1e-3, 1e6, "Å")
    check_number("width_a", width_a, 1e-3, 1e9, "Å")
    start, end = np.asarray(start_px, dtype=float), np.asarray(end_px, dtype=float)
    length = float(np.linalg.norm(end - start)) if start.shape == end.shape == (2,) else 0.0
    if not 0 < length < np.inf:
        raise ParameterError(
            f"the line goes from {start_px!r} to {end_px!r}: expected two different (row, column)"
        )
    along, across = (end - start) / length, np.array([start[1] - end[1], end[0] - start[0]])
    pixels = np.indices(shape).reshape(2, -1).T - start
    distance, aside = pixels @ along, np.abs(pixels @ across) / length
    inside = (distance > -0.5) & (distance < length + 0.5) & (aside * pixel_size_a <= width_a / 2)
    return np.where(inside, distance * pixel_size_a, np.nan).reshape(shape)


def distance_from_interface(electrode: np.ndarray, *, pixel_size_a: float) -> np.ndarray:
    """Return how far each pixel is from the edge of the electrode, along its normal.

    Parameters
    ----------
    electrode
        Where the electrode is, shape (M, N) of bool.
    pixel_size_a
        Size of a pixel [Å].

    Returns
    -------
    ndarray
        Distance [Å], shape (M, N): below 0 inside the electrode, 0 between its last pixel and the
        first outside.

    Raises
    ------
    ParameterError
        The mask is no map of bool, or is all or nothing.

    Examples
    --------
    >>> distance_from_interface(np.array([[True, True, False, False]]), pixel_size_a=2.0).tolist()
    [[-3.0, -1.0, 1.0, 3.0]]
    """
    from scipy.ndimage import distance_transform_edt

    check_number("pixel_size_a", pixel_size_a, 1e-3, 1e6, "Å")
    mask = np.asarray(electrode)
    if mask.ndim != 2 or mask.dtype != bool or mask.all() or not mask.any():
        raise ParameterError(
            f"electrode has shape {mask.shape} and type {mask.dtype}: expected a map (row, column) "
            "of bool with pixels of both kinds"
        )
    outside, inside = distance_transform_edt(~mask), distance_transform_edt(mask)
    return np.asarray(np.where(mask, 0.5 - inside, outside - 0.5) * pixel_size_a)


def sum_steps(
    spectra: Any, *, distance_a: np.ndarray, step_a: float, read_noise: float = 0.0
) -> Steps:
    """Return the spectra of a map summed into steps of distance, to be measured as sums.

    For doses at which pixels by themselves have no answer: what is left out of a map for lack of
    electrons is left out by chance of its counts, and biases the mean of what remains. Core and low
    loss of the same pixels are summed with the same distances.

    Parameters
    ----------
    spectra
        Counts, shape (M, N, E), aligned; a Dask array is read a chunk at a time.
    distance_a
        Distance of each pixel [Å], shape (M, N), from `distance_along_line` or
        `distance_from_interface`; pixels that are NaN are left out.
    step_a
        Width of a step [Å].
    read_noise
        Standard deviation of the read noise of `spectra` [counts].

    Returns
    -------
    Steps
        Sums of the spectra that hold nothing but counts, in each step that has any.

    Raises
    ------
    ParameterError
        Shapes differ, or fewer than three steps hold pixels.

    Examples
    --------
    >>> distance = np.tile(np.arange(4.0), (5, 1))
    >>> steps = sum_steps(np.ones((5, 4, 7)), distance_a=distance, step_a=1.0)
    >>> steps.distance_a.tolist(), steps.spectra[0].tolist()
    ([0.0, 1.0, 2.0, 3.0], [5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0])
    """
    data = check_spectra("spectra", spectra)
    distance = np.array(distance_a, dtype=float)
    if distance.shape != data.shape[:-1]:
        raise ParameterError(
            f"spectra have shape {data.shape} and distance_a {distance.shape}: expected "
            f"{data.shape[:-1]}"
        )
    place, _, _ = _placed(distance, step_a)
    sums = np.zeros((place.max() + 1, data.shape[-1]))
    for where, block in blocks(data):
        distance[where][~usable(block, read_noise)] = np.nan
        used = np.isfinite(distance[where])
        np.add.at(sums, place[where][used], block[used])
    # Steps without any usable spectrum are none.
    kept = np.unique(place[np.isfinite(distance)])
    _, number, far = _placed(distance, step_a)
    return Steps(distance_a=far, spectra=sums[kept], pixels=number, step_a=float(step_a))


def _placed(distance: np.ndarray, step_a: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the step of each pixel, -1 outside, pixels of each step and their mean distance."""
    check_number("step_a", step_a, 1e-6, 1e9, "Å")
    used = np.isfinite(distance)
    # Distances that are the same but for rounding belong to the same step.
    step = np.floor(distance[used] / step_a + 1e-9).astype(int)
    _, found, number = np.unique(step, return_inverse=True, return_counts=True)
    if len(number) < 3:
        raise ParameterError(
            f"{used.sum()} pixels fall into {len(number)} steps of {step_a:g} Å: expected at least "
            "3; take smaller steps or a longer line, and where pixels hold too few electrons for a "
            "number measure sums of them, by sum_steps"
        )
    place = np.full(distance.shape, -1)
    place[used] = found
    return place, number, np.bincount(found, distance[used]) / number


def measure_profile(
    values: np.ndarray, *, variance: np.ndarray, distance_a: np.ndarray, step_a: float
) -> Profile:
    """Return a map against distance, along a line or the normal of an interface.

    Not for maps that lack pixels for want of electrons: see `sum_steps`.

    Parameters
    ----------
    values
        Map of the quantity, shape (M, N); pixels that are NaN are left out.
    variance
        Variance of each pixel, shape (M, N); pixels must be independent.
    distance_a
        Distance of each pixel [Å], shape (M, N), from `distance_along_line` or
        `distance_from_interface`; pixels that are NaN are left out.
    step_a
        Width of a step [Å].

    Returns
    -------
    Profile
        Plain means and their errors of the pixels in each step that holds any.

    Raises
    ------
    ParameterError
        Shapes differ, a variance is negative, or fewer than three steps hold pixels.

    Examples
    --------
    >>> values = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 5.0]])
    >>> distance = np.array([[0.5, 1.5, 2.5]] * 2)
    >>> measure_profile(
    ...     values, variance=np.ones((2, 3)), distance_a=distance, step_a=1.0
    ... ).value.tolist()
    [2.0, 2.0, 4.0]
    """
    arrays = [np.asarray(a, dtype=float) for a in (values, variance, distance_a)]
    if len({a.shape for a in arrays}) != 1:
        raise ParameterError(
            f"values, variance and distance_a have shapes {[a.shape for a in arrays]}: expected one"
        )
    value, spread, distance = arrays
    used = np.logical_and.reduce([np.isfinite(a) for a in arrays])
    if (spread[used] < 0).any():
        raise ParameterError(f"variance goes down to {spread[used].min():g}: expected at least 0")
    place, number, far = _placed(np.where(used, distance, np.nan), step_a)
    mean = np.bincount(place[used], value[used]) / number
    error = np.sqrt(np.bincount(place[used], spread[used])) / number
    if not (error > 0).all():
        raise ParameterError(
            "variance is 0 throughout a step: where nothing was counted it is that of what was "
            "expected; give the variance of a fit"
        )
    return Profile(distance_a=far, value=mean, standard_error=error, step_a=float(step_a))


def order_along(profiles: Mapping[str, Profile]) -> Order:
    r"""Return in which order phases or elements come along a profile, with probabilities.

    Parameters
    ----------
    profiles
        Name → profile of its amount, which is 0 where there is none of it.

    Returns
    -------
    Order
        Names by their mean distance :math:`\bar x = \sum x v / \sum v`; the probability that one
        comes before the next takes their errors for independent.

    Raises
    ------
    ParameterError
        There is no profile.

    Examples
    --------
    >>> x = np.arange(5.0)
    >>> def there(*v):
    ...     error = np.full(5, 0.1)
    ...     return Profile(distance_a=x, value=np.array(v), standard_error=error, step_a=1.0)
    >>> order_along({"LiF": there(0, 0, 0, 1, 1), "Li2O": there(1, 1, 0, 0, 0)}).names
    ('Li2O', 'LiF')
    """
    from scipy.special import ndtr

    if not profiles:
        raise ParameterError("profiles are empty: give at least one")
    found, left_out = [], []
    for name, profile in profiles.items():
        amount = profile.value.sum()
        error = np.sqrt((profile.standard_error**2).sum())
        if amount < _AMOUNT * error:
            left_out.append(name)
            continue
        centre = float(profile.distance_a @ profile.value / amount)
        lever = (profile.distance_a - centre) / amount
        found.append((centre, float(np.sqrt((lever**2) @ profile.standard_error**2)), name))
    found.sort()
    pairs = list(pairwise(found))
    probability = tuple(
        float(ndtr((second[0] - first[0]) / np.hypot(first[1], second[1])))
        for first, second in pairs
    )
    assessment = Assessment.OK if all(p >= 0.95 for p in probability) else Assessment.AMBIGUOUS
    words = " before ".join(name for _, _, name in found)
    if len(found) < 2:
        assessment = Assessment.TOO_FEW_ELECTRONS
        words = "Fewer than two are there in amounts whose place can be told"
    elif assessment is Assessment.OK:
        words = f"{words} (each with {min(probability):.3g} or more)"
    else:
        doubt = [
            f"{a[2]} and {b[2]} ({p:.2f})"
            for (a, b), p in zip(pairs, probability, strict=True)
            if p < 0.95
        ]
        words = f"{words}; cannot tell which comes first: {', '.join(doubt)}"
    words += f"; too little of {', '.join(left_out)}." if left_out else "."
    return Order(
        names=tuple(name for _, _, name in found),
        centre_a=tuple(centre for centre, _, _ in found),
        centre_error_a=tuple(error for _, error, _ in found),
        probability=probability,
        left_out=tuple(left_out),
        assessment=assessment,
        sentence=words,
    )


def measure_gradient(profile: Profile, *, from_a: float, to_a: float) -> Gradient:
    """Return the slope of a profile between two distances.

    A Gaussian blur leaves a straight line as it is, except within its width of the line's ends.

    Parameters
    ----------
    profile
        The profile.
    from_a, to_a
        Distances between which it is taken [Å].

    Returns
    -------
    Gradient
        Slope by weighted least squares.

    Raises
    ------
    ParameterError
        Fewer than three steps lie between.

    Examples
    --------
    >>> x = np.arange(10.0)
    >>> profile = Profile(distance_a=x, value=3 * x, standard_error=np.ones(10), step_a=1.0)
    >>> round(measure_gradient(profile, from_a=2, to_a=8).per_a, 6)
    3.0
    """
    from scipy.stats import chi2

    inside = (profile.distance_a >= from_a) & (profile.distance_a <= to_a)
    if inside.sum() < 3:
        raise ParameterError(
            f"{inside.sum()} steps lie between {from_a!r} and {to_a!r} Å: expected at least 3"
        )
    x, v = profile.distance_a[inside], profile.value[inside]
    weight = profile.standard_error[inside] ** -2
    middle = (weight @ x) / weight.sum()
    error = float(1 / np.sqrt(weight @ (x - middle) ** 2))
    slope = float(weight @ ((x - middle) * v)) * error**2
    rest = v - (weight @ v) / weight.sum() - slope * (x - middle)
    return Gradient(
        per_a=slope,
        standard_error=error,
        p_value=float(chi2.sf((slope / error) ** 2, 1)),
        straightness=float(chi2.sf(weight @ rest**2, len(x) - 2)),
    )

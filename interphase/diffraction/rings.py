"""Rings and halos of a diffraction pattern, from the statistics of its azimuths."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

# Sectors of azimuth, and fewer where a cell of a sector and a pixel of radius holds few electrons.
SECTORS = (36, 24, 12)
# Electrons per cell from which on the mean of the middle sectors is a fair mean.
FEW = 4.0
# Share of the sectors left out at either end: single spots and the arm of a beam stop.
TRIM = 0.25
# Variance of that mean over the variance of the plain one, for normal noise.
TRIMMED_VARIANCE = 1.2
# A place is in shadow if it is darker than this share of its circle's median, by this many
# standard deviations.
SHADOW, SHADOW_SIGMAS = 0.5, 4.0
# Standard deviation of a ring's radius from which on it is a halo [1/Å]: crystallites below some
# 3 nm (Scherrer's 0.9 over the full width at half maximum), and the order of a glass.
HALO_SIGMA = 0.0125
# Standard deviation of the sharpest halo of a glass, which no ring may be mistaken for [1/Å]. A
# working value: the first halo of vitreous ice is about as wide.
SHARPEST_HALO = 0.02
# Widths that are tried differ by this factor.
WIDTH_STEP = 1.5
# Least share of a circle that must be seen.
LEAST_SEEN = 0.15
# Most rings of one pattern.
MOST_RINGS = 25
# A ring may have skirts of this share of its height, out to some three widths.
SKIRT = 0.12
# A width whose clearest ring is as clear as that of the best width but for this factor will do.
NEARLY = 0.6
# Share of the azimuth that must shine for a ring to be one.
RING_COVERAGE = 0.3
# Standard deviations above its feet from which on a ring's azimuths can be compared, and without
# which it is none.
SURE, FAINT = 6.0, 2.5
# Below this share it is called textured.
TEXTURED = 0.7
# Standard deviations of halos that are tried [1/Å].
HALO_WIDTHS = (0.02, 0.03, 0.045)
# Share of the azimuth over which a halo shines: glasses have no directions.
HALO_COVERAGE = 0.6
# Halos below this share of the strongest may be what the filter makes of that.
FAINT_HALO = 0.3
# Least height of a halo over its own error, and over what is below it.
HALO_SIGMAS, HALO_HEIGHT = 8.0, 0.04


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a pattern's centre is and how its camera stretches it."""

    centre: tuple[float, float]
    """(row, column) of the direct beam [pixels]."""
    stretch: tuple[float, float] = (0.0, 0.0)
    """(c, s): a ring's radius is r (1 + c cos 2φ + s sin 2φ), φ from columns towards rows."""

    def undistorted(self, offset: np.ndarray) -> np.ndarray:
        """Return offsets (row, column) from the centre as a round camera shows them, (..., 2).

        >>> Frame(centre=(0.0, 0.0), stretch=(0.02, 0.0)).undistorted(np.array([0.0, 100.0]))
        array([ 0., 98.])
        """
        c, s = self.stretch
        y, x = offset[..., 0], offset[..., 1]
        return np.stack([y * (1 + c) - x * s, x * (1 - c) - y * s], axis=-1)

    def polar(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return the undistorted radius [pixels] and the azimuth [radians] of every pixel."""
        offset = np.moveaxis(np.indices(shape, dtype=float), 0, -1) - np.asarray(self.centre)
        y, x = np.moveaxis(self.undistorted(offset), -1, 0)
        return np.hypot(y, x), np.arctan2(y, x)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Mean counts on circles, and how well they are known."""

    mean: np.ndarray
    """Mean over the middle sectors, interpolated where there is none, shape (R,)."""
    variance: np.ndarray
    """Its variance; infinite where nothing was seen, shape (R,)."""
    shadow: np.ndarray
    """Whether a pixel is behind the beam stop, shape (M, N), bool."""
    seen: np.ndarray
    """Share of each circle that is in the frame and in no shadow, shape (R,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rings:
    """Rings of one pattern, from the centre outwards."""

    radius: np.ndarray
    """Radius [pixels], shape (P,)."""
    radius_sigma: np.ndarray
    """Its standard error [pixels], shape (P,)."""
    width: np.ndarray
    """Standard deviation of the ring's profile [pixels], shape (P,)."""
    area: np.ndarray
    """Counts in the whole ring, shape (P,)."""
    area_sigma: np.ndarray
    """Their standard error, shape (P,)."""
    p_value: np.ndarray
    """Upper bound of the probability that noise makes such a ring anywhere in the pattern, shape
    (P,): the probability at one place times the number of places and widths."""
    coverage: np.ndarray
    """Share of the azimuth over which the ring shines; 1 if evenly, shape (P,)."""
    limit: np.ndarray
    """Least counts of a ring that would be seen, per pixel of radius, shape (R,)."""
    model: np.ndarray
    """Mean counts on circles that the rings make, shape (R,)."""

    def __len__(self) -> int:
        return len(self.radius)

    @property
    def textured(self) -> bool:
        """Whether most rings shine over a part of the azimuth only."""
        return len(self) > 0 and float(np.median(self.coverage)) < TEXTURED


def find_shadow(pattern: np.ndarray, frame: Frame) -> np.ndarray:
    """Return which pixels lie behind a beam stop, shape (M, N), bool.

    They are much darker than the median of their circle, together, and touch the centre or the
    frame. A disc that hides whole circles is darker than the circles outside it.
    """
    from scipy import ndimage

    radius, _ = frame.polar(pattern.shape)
    smooth = ndimage.uniform_filter(pattern.astype(float), 5)
    ring = np.rint(radius).astype(int)
    median = ndimage.median(smooth, ring, np.arange(ring.max() + 1))
    # The brightest circle further out: the scattering falls outwards.
    level = np.maximum.accumulate(median[::-1])[::-1]
    level = np.where(np.arange(len(level)) < min(pattern.shape) / 4, level, median)
    scatter = np.sqrt(np.maximum(level, 0) / 25)
    dark = smooth < np.minimum(SHADOW * level, level - SHADOW_SIGMAS * scatter)[ring]
    dark = ndimage.binary_opening(dark, iterations=2)
    label, number = ndimage.label(dark)
    row, column = (
        int(np.clip(round(c), 0, n - 1)) for c, n in zip(frame.centre, pattern.shape, strict=True)
    )
    edge = {label[row, column], *label[0], *label[-1], *label[:, 0], *label[:, -1]} - {0}
    near = ndimage.minimum(radius, label, np.arange(1, number + 1)) if number else np.zeros(0)
    edge |= {n + 1 for n in np.flatnonzero(near < 4)}
    return np.asarray(ndimage.binary_dilation(np.isin(label, list(edge)), iterations=4))


def radial_profile(pattern: np.ndarray, frame: Frame) -> Profile:
    """Return the mean over the azimuth that single spots and a beam stop do not disturb.

    Parameters
    ----------
    pattern
        Counts, ndarray of shape (M, N), finite.
    frame
        Centre and distortion.

    Notes
    -----
    Every circle, one pixel wide, is cut into sectors; the mean is that of the middle half of
    them, and its variance comes from the scatter of the pixels within the sectors, or from that
    between the sectors where it is larger.
    """
    from scipy import ndimage

    radius, azimuth = frame.polar(pattern.shape)
    shadow = find_shadow(pattern, frame)
    bins = int(radius.max()) + 1
    ring = np.minimum(np.rint(radius).astype(int), bins - 1)
    valid = ~shadow
    for sectors in SECTORS:
        sector = ((azimuth / (2 * np.pi) + 0.5) * sectors).astype(int).clip(0, sectors - 1)
        cell = (ring * sectors + sector)[valid]
        values = pattern[valid].astype(float)
        count, total, square = (
            np.bincount(cell, w, bins * sectors).reshape(bins, sectors)
            for w in (None, values, values**2)
        )
        if np.median(total[count > 0]) >= FEW:
            break
    per_ring = count.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        spread = np.nansum(square - total * mean, axis=1) / np.maximum(
            per_ring - (count > 0).sum(axis=1), 1
        )
    variance = ndimage.median_filter(spread, 9)
    few = np.median(total[count > 0]) < FEW
    middle = total.sum(axis=1) / np.maximum(per_ring, 1) if few else _trimmed(mean, count)
    # Scatter between sectors over what that within them predicts.
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = (mean - middle[:, None]) ** 2 * count / variance[:, None]
    known = np.isfinite(excess).any(axis=1)
    ratio = np.ones(bins)
    ratio[known] = np.nanmedian(excess[known], axis=1) / 0.455
    ratio = np.maximum(ndimage.median_filter(ratio, 21), 1)
    some = per_ring >= 4
    variance = np.where(some, TRIMMED_VARIANCE * ratio * variance / np.maximum(per_ring, 1), np.inf)
    at = np.arange(bins)
    middle = np.interp(at, at[some], middle[some]) if some.any() else np.zeros(bins)
    return Profile(
        mean=middle,
        variance=variance,
        shadow=shadow,
        seen=np.minimum(per_ring / np.maximum(2 * np.pi * at, 1), 1),
    )


def _trimmed(mean: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the mean of the middle sectors of each row, weighted by their pixels, shape (R,)."""
    order = np.argsort(np.where(count > 0, mean, np.inf), axis=1)
    value = np.take_along_axis(np.where(count > 0, mean, 0), order, axis=1)
    weight = np.take_along_axis(count.astype(float), order, axis=1)
    held = np.cumsum(weight, axis=1)
    total = np.maximum(held[:, -1:], 1e-30)
    low, high = (held - weight) / total, held / total
    kept = np.clip(np.minimum(high, 1 - TRIM) - np.maximum(low, TRIM), 0, None)
    return np.asarray((kept * value).sum(axis=1) / np.maximum(kept.sum(axis=1), 1e-30))


def find_rings(
    pattern: np.ndarray,
    frame: Frame,
    profile: Profile,
    *,
    sampling: float,
    r_min: float,
    r_max: float,
    false_alarm: float,
) -> Rings:
    """Return the rings that stand out of the smooth scattering.

    Parameters
    ----------
    pattern, frame, profile
        Counts, geometry, and what `radial_profile` makes of them.
    sampling
        Size of a pixel [1/Å], which tells rings from halos by their width.
    r_min, r_max
        Range of radii that is searched [pixels].
    false_alarm
        Probability to find a ring anywhere in a pattern that has none.

    Notes
    -----
    A ring is a Gaussian upon a cubic in a window of eight of its standard deviations. What the
    sharpest halo of a glass would add to it is taken off first, so that more electrons never make
    a ring of a halo. All rings are then fitted at once upon a smooth curve, twice, because strong
    ones hide weak ones.
    """
    at = np.arange(len(profile.mean), dtype=float)
    widths = [1.0]
    while widths[-1] * WIDTH_STEP < HALO_SIGMA / sampling:
        widths.append(widths[-1] * WIDTH_STEP)
    allowed = (at >= r_min) & (at <= r_max) & (profile.seen > LEAST_SEEN)
    trials = sum(max(allowed.sum() / w, 1) for w in widths)
    least = _z_of(false_alarm / trials)
    first = [_filtered(profile, profile.mean, w, sampling) for w in widths]
    z = np.array([np.where(allowed, (a - doubt) / e, -np.inf) for a, e, doubt in first])
    # All rings of a pattern are about as wide: the narrowest that is nearly as clear.
    sharp = int(np.argmax(z.max(axis=1) >= NEARLY * z.max()))
    width = _common_width(profile, z[sharp], widths[sharp], least, sampling)
    _, error, doubt = _filtered(profile, profile.mean, width, sampling)
    limit = np.full(len(at), np.inf)
    limit[allowed] = (least * error + doubt)[allowed] * width
    limit[allowed] *= (2 * np.pi) ** 1.5 * at[allowed]

    fitted, sigma = np.zeros((0, 3)), np.zeros((0, 2))
    while len(fitted) < MOST_RINGS:
        left = profile.mean - _peaks(at, fitted).sum(axis=1)
        height, error, doubt = _filtered(profile, left, width, sampling)
        apart = abs(at[:, None] - fitted[:, 0]) / width
        skirt = SKIRT * fitted[:, 2] * np.exp(-0.5 * (apart / 3) ** 2)
        z = (height - doubt - skirt.max(axis=1, initial=0)) / error
        z[~allowed | (apart < 1.5).any(axis=1)] = -np.inf
        i = int(z.argmax())
        if not z[i] > least:
            break
        fitted = np.concatenate([fitted, [[at[i], width, height[i]]]])
        fitted, sigma = _adjusted(profile, fitted, width, sampling)
    stands = fitted[:, 2] > least * sigma[:, 1]
    if not stands.all():
        fitted, sigma = _adjusted(profile, fitted[stands], width, sampling)
    order = np.argsort(fitted[:, 0])
    fitted, sigma = fitted[order], sigma[order]
    coverage = _coverage(pattern, frame, profile, fitted)
    inside = (fitted[:, 0] >= r_min) & (fitted[:, 0] <= r_max) & (coverage >= RING_COVERAGE)
    fitted, sigma, coverage = fitted[inside], sigma[inside], coverage[inside]
    radii, breadth, height = fitted.T
    girth = (2 * np.pi) ** 1.5 * radii
    p_value = np.array(
        [min(1.0, trials * _tail(h / s)) for h, s in zip(height, sigma[:, 1], strict=True)]
    )
    return Rings(
        radius=radii,
        radius_sigma=np.hypot(sigma[:, 0], 0.05),
        width=breadth,
        area=height * breadth * girth,
        area_sigma=sigma[:, 1] * breadth * girth,
        p_value=p_value,
        coverage=coverage,
        limit=limit,
        model=_peaks(at, fitted).sum(axis=1),
    )


def find_halos(
    pattern: np.ndarray,
    frame: Frame,
    profile: Profile,
    rings: Rings,
    *,
    sampling: float,
    r_min: float,
    r_max: float,
) -> np.ndarray:
    """Return the spacings of the diffuse halos of a glass, strongest first [Å].

    A halo is wider than any ring that is told apart from one and rises over what is below it by
    some per cent and by many standard deviations.
    """
    at = np.arange(len(profile.mean), dtype=float)
    allowed = (at >= r_min) & (at <= r_max) & (profile.seen > LEAST_SEEN)
    found: list[int] = []
    best = np.full(len(at), -np.inf)
    smooth = profile.mean - rings.model
    for sigma in HALO_WIDTHS:
        w = sigma / sampling
        amplitude, error, _ = _filtered(profile, smooth, w, sampling, ring=False)
        share = amplitude / np.maximum(smooth - amplitude, 1e-30)
        good = allowed & (amplitude > HALO_SIGMAS * error) & (share > HALO_HEIGHT)
        best = np.maximum(best, np.where(good, amplitude * w, -np.inf))
    highest = np.max(best, initial=-np.inf)
    apart = 0.05 / sampling
    for i in np.argsort(-best, kind="stable"):
        if not best[i] > FAINT_HALO * highest:
            break
        if best[i] >= best[max(i - 1, 0) : i + 2].max() and all(abs(i - o) > apart for o in found):
            found.append(int(i))
    radius = np.array(found, dtype=float)
    width = np.full(len(found), HALO_WIDTHS[0] / sampling)
    peaks = np.stack([radius, width, np.ones(len(found))], axis=1)
    even = _coverage(pattern, frame, profile, peaks) > HALO_COVERAGE
    return 1 / (radius[even] * sampling)


@lru_cache(maxsize=256)
def _kernel(width: float, halo: float, ring: bool) -> tuple[np.ndarray, float]:
    """Return the filter that gives the height of a Gaussian, and what a halo adds at most.

    The filter is the least-squares one in a window with a polynomial beside the Gaussian, and for
    a ring with a halo beside it too. The second value is the height that halos of other widths
    and places feign, as a share of their own rise in the window. Lengths in pixels.
    """
    half = max(int(np.ceil((3.5 if ring else 2.5) * width)), 5)
    x = np.arange(-half, half + 1.0)
    peak = np.exp(-0.5 * (x / width) ** 2)
    beside = [(x / half) ** n for n in range(3)]
    if ring:
        beside += [(x / half) ** 3, np.exp(-0.5 * (x / halo) ** 2)]
    matrix = np.stack(beside, axis=1)
    kernel = peak - matrix @ np.linalg.lstsq(matrix, peak, rcond=None)[0]
    kernel /= kernel @ peak
    sigma = halo * np.array([1.0, 1.3, 1.8, 2.5])[:, None, None]
    offset = sigma * np.linspace(-2, 2, 17)[:, None]
    halos = np.exp(-0.5 * ((x - offset) / sigma) ** 2)
    feigned = np.abs(halos @ kernel) / np.maximum(np.ptp(halos, axis=-1), 1e-3)
    return kernel, float(feigned.max())


def _filtered(
    profile: Profile, values: np.ndarray, width: float, sampling: float, *, ring: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the height of a Gaussian at each radius, its error, and what halos feign of it."""
    from scipy import ndimage

    kernel, feigned = _kernel(width, SHARPEST_HALO / sampling, ring)
    size = len(kernel)
    if len(values) < size:
        return np.zeros_like(values), np.full_like(values, np.inf), np.zeros_like(values)
    amplitude = ndimage.correlate1d(values, kernel, axis=0, mode="nearest")
    if values.ndim > 1:
        return amplitude, np.zeros(0), np.zeros(0)
    unseen = ~np.isfinite(profile.variance)
    variance = np.where(unseen, 0, profile.variance)
    error = np.sqrt(ndimage.correlate1d(variance, kernel**2, mode="nearest"))
    blind = ndimage.correlate1d(1.0 * unseen, kernel**2, mode="constant", cval=1.0)
    error[(blind > 0.02 * (kernel**2).sum()) | (error <= 0)] = np.inf
    # Low percentiles leave halos and take rings away.
    smooth = ndimage.percentile_filter(values, 30, size, mode="nearest")
    rise = ndimage.maximum_filter1d(smooth, size) - ndimage.minimum_filter1d(smooth, size)
    return amplitude, error, feigned * rise


def _peaks(at: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    return np.asarray(peaks[:, 2] * np.exp(-0.5 * ((at[:, None] - peaks[:, 0]) / peaks[:, 1]) ** 2))


def _common_width(
    profile: Profile, z: np.ndarray, width: float, least: float, sampling: float
) -> float:
    """Return the width that suits the clearest rings best, or that given if none is clear."""
    at = np.arange(len(z), dtype=float)
    tries = width * np.geomspace(0.6, 1.6, 13)
    misfit = np.zeros(len(tries))
    filtered, error, _ = _filtered(profile, profile.mean, width, sampling)
    clear = np.flatnonzero((z > max(0.3 * z.max(), 2 * least)) & (z == _highest(z, 5)))
    for i in clear[np.argsort(-z[clear])][:4]:
        near = abs(at - i) <= np.ceil(3 * width)
        for number, w in enumerate(tries):
            shape = np.exp(-0.5 * ((at - i) / w) ** 2)
            columns = np.stack([shape, shape * (at - i)], axis=1)
            columns = _filtered(profile, columns, width, sampling)[0][near]
            left = np.linalg.lstsq(columns, filtered[near], rcond=None)[1]
            misfit[number] += left.sum() / error[i] ** 2
    best = float(tries[int(misfit.argmin())]) if misfit.any() else width
    return float(np.clip(best, 0.8, HALO_SIGMA / sampling))


def _highest(values: np.ndarray, size: int) -> np.ndarray:
    from scipy import ndimage

    return np.asarray(ndimage.maximum_filter1d(values, size))


def _adjusted(
    profile: Profile, peaks: np.ndarray, width: float, sampling: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return rings with radius and height that suit all of them, and the errors of both.

    The fit is made to the filtered profile, which knows no background; its noise is correlated
    by the filter, and the errors account for that.
    """
    from scipy import ndimage

    if len(peaks) == 0:
        return peaks, np.zeros((0, 2))
    at = np.arange(len(profile.mean), dtype=float)
    kernel, _ = _kernel(width, SHARPEST_HALO / sampling, True)
    filtered, error, _ = _filtered(profile, profile.mean, width, sampling)
    used = np.isfinite(error) & (np.abs(at[:, None] - peaks[:, 0]) < 3 * peaks[:, 1]).any(axis=1)
    weight = 1 / error[used]
    noise = np.diag(np.sqrt(np.where(np.isfinite(profile.variance), profile.variance, 0)))
    noise = ndimage.correlate1d(noise, kernel, axis=0, mode="nearest")[used] * weight[:, None]
    peaks = peaks.copy()
    for _ in range(3):
        shape = _peaks(at, np.column_stack([peaks[:, :2], np.ones(len(peaks))]))
        slope = shape * (at[:, None] - peaks[:, 0]) / peaks[:, 1] ** 2 * peaks[:, 2]
        columns = np.concatenate([shape, slope], axis=1)
        columns = ndimage.correlate1d(columns, kernel, axis=0, mode="nearest")[used]
        columns *= weight[:, None]
        # Radii stay where they were put to within a width.
        belief = np.diag(np.concatenate([np.zeros(len(peaks)), 1 / peaks[:, 1]]))
        inverse = np.linalg.pinv(columns.T @ columns + belief**2, hermitian=True)
        solution = inverse @ (columns.T @ (filtered[used] * weight))
        peaks[:, 2] = np.maximum(solution[: len(peaks)], 1e-9)
        shift = np.clip(solution[len(peaks) :], -0.5 * peaks[:, 1], 0.5 * peaks[:, 1])
        peaks[:, 0] += shift
    spread = inverse @ (columns.T @ noise)
    sigma = np.sqrt((spread**2).sum(axis=1))
    return peaks, np.stack([sigma[len(peaks) :], sigma[: len(peaks)]], axis=1)


def _coverage(pattern: np.ndarray, frame: Frame, profile: Profile, peaks: np.ndarray) -> np.ndarray:
    """Return over which share of the azimuth each ring shines, shape (P,).

    The squared sum of what sectors hold above their surroundings over the sum of squares, noise
    taken off: 1 for an even ring, the share of lit sectors for arcs and spots.
    """
    radius, azimuth = frame.polar(pattern.shape)
    sectors = SECTORS[0]
    sector = ((azimuth / (2 * np.pi) + 0.5) * sectors).astype(int).clip(0, sectors - 1)
    covered = np.ones(len(peaks))
    for number, (centre, width, _) in enumerate(peaks):
        off = abs(radius - centre) / max(width, 1.0)
        near = (off < 4) & ~profile.shadow
        place, off, values = sector[near], off[near], pattern[near].astype(float)
        sums = {}
        for name, part in (("ring", off < 1.5), ("foot", off > 2.5)):
            n = np.bincount(place[part], minlength=sectors)
            total, square = (
                np.bincount(place[part], v[part], sectors) for v in (values, values**2)
            )
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = total / n
                sums[name] = mean, (square / n - mean**2) / np.maximum(n - 1, 1)
        excess = sums["ring"][0] - sums["foot"][0]
        noise = sums["ring"][1] + sums["foot"][1]
        good = np.isfinite(excess) & np.isfinite(noise)
        if good.sum() < 4:
            continue
        # Sectors with spots scatter more than noise does: the typical sector tells the noise.
        excess, noise = excess[good], np.full(good.sum(), np.median(noise[good]))
        clear = excess.sum() / np.sqrt(max(noise.sum(), 1e-30))
        if clear < SURE:
            # Too faint to tell; or no ring at all, once every azimuth counts.
            covered[number] = float(clear > FAINT)
            continue
        power = max((excess**2 - noise).sum(), 1e-30)
        covered[number] = min(excess.sum() ** 2 / (len(excess) * power), 1)
    return covered


def _z_of(p: float) -> float:
    from scipy import stats

    return float(stats.norm.isf(p))


def _tail(z: float) -> float:
    from scipy import stats

    return float(stats.norm.sf(z))

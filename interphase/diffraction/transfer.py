"""What the microscope lets through, as the image's own background shows it.

The amorphous film around the crystallites scatters into all directions alike, so the mean power of
the image along a circle of its spectrum shows the contrast transfer: rings (Thon 1966) where it is
strong, dark between them, upon the level of the counting noise. Two numbers place all rings,
the phase being χ(k) = -a2 k² + a4 k⁴ with a2 = π λ Δf and a4 = ½ π C_s λ³; neither beam energy nor
defocus need be known. The slope of χ is how far fringes are displaced from their crystal.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from interphase.diffraction.checks import check_image, check_number, check_sampling
from interphase.diffraction.spectra import WindowGrid, log_power, power_rows
from interphase.errors import ParameterError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transfer:
    """How visible fringes are against the floor, and how far they are displaced."""

    k_per_a: np.ndarray
    """Spatial frequencies, evenly spaced [1/Å], shape (K,)."""
    film_share: np.ndarray
    """Share of the floor that the specimen makes, the rest being counting noise, shape (K,)."""
    shift_a: np.ndarray
    """How far fringes are displaced from their crystal [Å], shape (K,)."""
    fitted: bool = False
    """Whether `shift_a` was fitted to the rings of the film. Else it is `TYPICAL_SHIFT` times k."""
    a2: float | None = None
    """π λ Δf of the fit [Å²]; its sign is known only where `a4` is well above 0."""
    a4: float | None = None
    """½ π C_s λ³ of the fit [Å⁴]."""

    def visibility(self, k_per_a: np.ndarray) -> np.ndarray:
        """Return the power of fringes over the floor, relative, of the shape of `k_per_a`."""
        share = np.interp(k_per_a, self.k_per_a, self.film_share)
        return np.asarray(share**SHARE_POWER)

    def shift(self, k_per_a: np.ndarray) -> np.ndarray:
        """Return how far fringes are displaced [Å], of the shape of `k_per_a`."""
        return np.asarray(np.interp(k_per_a, self.k_per_a, self.shift_a))

    def passed(self, k_per_a: np.ndarray) -> np.ndarray:
        """Return the share of power let through, without envelope, of the shape of `k_per_a`.

        It is 0 where spots are deleted; without a fit it is ½, the mean of all phases.
        """
        if self.a2 is None or self.a4 is None:
            return np.full(np.shape(k_per_a), 0.5)
        chi = aberration(np.asarray(k_per_a), self.a2, self.a4)
        return np.asarray(np.sin(chi - AMPLITUDE_PHASE) ** 2)


# Power of the film's share of the floor with which the power of fringes over the floor goes.
# Fitted, see `Evidence`.
SHARE_POWER = 0.7
# Displacement over spatial frequency where nothing is known [Å²]: 50 nm of defocus at 200 kV.
TYPICAL_SHIFT = 12.0
# The least share of the floor that is told from none: rings of the floor are known to 3 %.
LEAST_SHARE = 0.03
# Windows are as wide as the finest rings need, and no more in number than the mean needs.
WINDOW_A = 200.0
WINDOW_MIN, WINDOW_MAX = 32, 512
WINDOWS = 6
# Side of the smallest image whose spectrum has circles [pixels].
SMALLEST = 8
# Sectors of half a turn that are compared.
SECTORS = 8
# Quantile of the sectors that is taken for the film's.
CALM = 0.3
# The rings are fitted from where amorphous matter scatters evenly to where lenses pass little.
FIT_RANGE = (0.1, 0.9)
# The film is there where it makes this share of the floor, and rings are fitted to this many
# frequencies at least.
FILM_SHARE = 0.08
FREQUENCIES = 25
# Degree of the polynomial in k that stands for the film's scattering and the envelopes.
TREND = 5
# The bounds of a2 [Å²] and a4 [Å⁴]: 150 nm at 80 kV; 2.7 mm at 200 kV.
A2_MAX = 200.0
A4_MAX = 700.0
# Amplitude contrast of light matter is 0.07 to 0.1 of the phase contrast, and shifts the rings.
AMPLITUDE_PHASE = 0.1
# Decay of the rings' strength that is tried beside none [1/Å], and candidates kept of each.
DECAY = 0.3
CANDIDATES = 3
# Share of the best gain that a lens without spherical aberration must reach to be preferred: it
# reaches 0.8 to 1 where that is the truth, 0.1 to 0.6 at 1.2 and 2.7 mm.
CORRECTED = 0.7
# Variance ratio of rings to residual above which rings are believed. It is largest of thousands of
# trials: up to 32 in counting noise and 37 in films without rings, of which 60 each were tried.
SIGNIFICANT = 45.0
# Greater values have no power spectrum in single precision.
LARGEST_VALUE = 1e15


def aberration(k: np.ndarray, a2: np.ndarray | float, a4: np.ndarray | float) -> np.ndarray:
    """Return the phase χ at `k` [1/Å] for `a2` [Å²] and `a4` [Å⁴]."""
    return np.asarray(-a2 * k**2 + a4 * k**4)


def displacement(k: np.ndarray, a2: np.ndarray | float, a4: np.ndarray | float) -> np.ndarray:
    """Return the displacement |dχ/dk| / 2π [Å] at `k` [1/Å] for `a2` [Å²] and `a4` [Å⁴]."""
    return np.asarray(np.abs(-2 * a2 * k + 4 * a4 * k**3) / (2 * np.pi))


def measure_transfer(image: np.ndarray, *, pixel_size_a: float, k_max: float) -> Transfer:
    r"""Return what the background of an image says about the contrast transfer.

    Without an amorphous film, or near focus, where there is less than a ring, the displacement is
    a typical one and `Transfer.fitted` is False.

    Parameters
    ----------
    image
        Image, on any scale, ndarray of shape (M, N).
    pixel_size_a
        Size of a pixel [Å].
    k_max
        Largest spatial frequency of interest [1/Å]; where pixels end before, so does the answer.

    Returns
    -------
    Transfer
        The film's share of the floor and the displacement of fringes from 0 to `k_max`. An image
        too small to have a spectrum tells nothing, as one without a film.

    Raises
    ------
    ParameterError
        The image has not two axes or pixels that are no finite numbers, or a number is outside
        what it can mean.

    Notes
    -----
    The logarithm of the power over the counting noise is a smooth trend in k minus, for each a2
    and a4 of a grid, :math:`\cos(2\chi(k) - 2q)` times the film's share and a factor by which the
    window blurs rings of period 1/(2R), R being the displacement. The best few are refined.
    The displacement is that of crystals at half the film's thickness. Astigmatism blurs the rings;
    it is not fitted. A floor that falls steadily from k = 0 on, as in incoherent images (annular
    dark field), cannot be told from a camera's response and counts as noise.

    Rings: Thon, Z. Naturforsch. A 21, 476 (1966),
    https://doi.org/10.1515/zna-1966-0417.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(9.0, (256, 256))
    >>> measure_transfer(counts, pixel_size_a=0.5, k_max=0.8).fitted
    False
    """
    image = check_image(image)
    check_sampling("pixel_size_a", pixel_size_a, "Å per pixel")
    check_number("k_max", k_max, 1e-9, 1e9, "1/Å")
    if not max(abs(float(image.min())), abs(float(image.max()))) < LARGEST_VALUE:
        raise ParameterError(
            f"the image holds values from {image.min():g} to {image.max():g}: expected finite "
            f"numbers below {LARGEST_VALUE:g}; replace the others by the mean of their surroundings"
        )
    image = image.astype(np.float32, copy=False)
    if min(image.shape) < SMALLEST:
        k = np.linspace(0, k_max, 2)
        return Transfer(k_per_a=k, film_share=np.full(2, LEAST_SHARE), shift_a=TYPICAL_SHIFT * k)
    k, log_floor = _radial_floor(image, pixel_size_a)
    excess = log_floor - _counting_noise(k, log_floor)
    share = 1 - np.exp(-_smooth(excess, 0.03 / k[1]))
    rings = _fit_rings(k, excess, window_a=1 / k[1])
    kept = k <= max(k_max, k[1])
    k = k[kept]
    common = {"k_per_a": k, "film_share": np.clip(share[kept], LEAST_SHARE, 1)}
    if rings is None:
        return Transfer(**common, shift_a=TYPICAL_SHIFT * k)
    a2, a4 = rings
    return Transfer(**common, shift_a=displacement(k, a2, a4), fitted=True, a2=a2, a4=a4)


def in_phase(image: np.ndarray, transfer: Transfer, *, pixel_size_a: float) -> np.ndarray:
    """Return the image with the contrast of all spatial frequencies of one sign.

    Where the transfer was fitted, fringes then lie upon their crystal, but for weak images of
    them to both sides. Counting noise stays what it was: only signs are turned.

    Parameters
    ----------
    image
        Image, ndarray of shape (M, N).
    transfer
        Its transfer; without a fit the image is returned as it is.
    pixel_size_a
        Size of a pixel [Å].
    """
    from scipy import fft

    if transfer.a2 is None or transfer.a4 is None:
        return image
    ky = fft.fftfreq(image.shape[0], pixel_size_a)[:, None]
    kx = fft.rfftfreq(image.shape[1], pixel_size_a)
    chi = aberration(np.hypot(ky, kx).astype(np.float32), transfer.a2, transfer.a4)
    spectrum = fft.rfft2(image, workers=-1)
    # The mean stays as it is, and atoms are dark.
    spectrum *= np.where(np.sin(chi - AMPLITUDE_PHASE) > 0, np.float32(-1), np.float32(1))
    return np.asarray(fft.irfft2(spectrum, s=image.shape, overwrite_x=True, workers=-1))


def _radial_floor(image: np.ndarray, pixel_size_a: float) -> tuple[np.ndarray, np.ndarray]:
    """Return spatial frequencies [1/Å] and the logarithm of the power, but for a constant."""
    from scipy import fft, ndimage

    size = min(WINDOW_MAX, max(WINDOW_MIN, int(WINDOW_A / pixel_size_a)), *image.shape)
    size = 2 * fft.prev_fast_len(size // 2)
    along = [int(np.clip(-(-2 * n // size) - 1, 1, WINDOWS)) for n in image.shape]
    steps = [(n - size) // (m - 1) for n, m in zip(image.shape, along, strict=True) if m > 1]
    grid = WindowGrid(size=size, step=min(steps, default=1), rows=along[0], columns=along[1])
    total = sum(log_power(power).sum(axis=0) for power in power_rows(image, grid))
    mean = np.asarray(total) / (grid.rows * grid.columns)
    ky, kx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    ring = np.rint(np.hypot(ky, kx) * size).astype(int)
    sector = ((np.arctan2(ky, kx) / np.pi + 0.5) * SECTORS).astype(int) % SECTORS
    # Spots of a lattice are outliers of the median within a sector, and where they are many the
    # sector lies high among all, since crystals scatter into directions and films do not.
    medians = ndimage.median(mean, ring * SECTORS + sector, np.arange(size // 2 * SECTORS))
    radial = np.nanquantile(medians.reshape(-1, SECTORS), CALM, axis=1)
    # The innermost rings have too few coefficients to be parted.
    inner = min(SECTORS, size // 2)
    radial[:inner] = ndimage.median(mean, ring, np.arange(inner))
    return np.arange(size // 2) / (size * pixel_size_a), np.asarray(radial)


def _smooth(values: np.ndarray, width: float) -> np.ndarray:
    """Return a running mean over `width` rings, each weighted by its circumference."""
    size = max(3, round(width))
    if size > len(values):
        return np.full(len(values), values.mean())
    kernel = np.hanning(size + 2)[1:-1]
    weight = np.arange(len(values)) + 0.5
    sums = [np.convolve(v, kernel, "same") for v in (values * weight, weight)]
    return np.asarray(sums[0] / sums[1])


def _counting_noise(k: np.ndarray, log_floor: np.ndarray) -> np.ndarray:
    """Return the logarithm of the level of counting noise: the lower hull of the floor.

    The floor comes down to it next to k = 0, in the zeros of the transfer and at large k, and in
    between a camera's response makes it neither jump nor bend much.
    """
    width = max(3.0, 0.06 / k[1])
    ring = np.arange(len(k)) + 0.5
    # A hull runs along what noise made low, least so where it is lifted by twice the noise.
    scatter = 1.05 * np.median(np.abs(np.diff(log_floor)) * np.sqrt(ring[1:]))
    level = _smooth(log_floor, width) + 2 * scatter / np.sqrt(ring * width / 2)
    points: list[tuple[float, float]] = []
    for x, y in zip(k, level, strict=True):
        if x < FIT_RANGE[0] / 2:
            continue
        while len(points) > 1:
            (x0, y0), (x1, y1) = points[-2:]
            if (y1 - y0) * (x - x0) < (y - y0) * (x1 - x0):
                break
            points.pop()
        points.append((x, y))
    if not points:
        return log_floor
    return np.asarray(np.interp(k, *np.transpose(points)))


def _fit_rings(k: np.ndarray, excess: np.ndarray, *, window_a: float) -> tuple[float, float] | None:
    """Return a2 and a4 of the rings in the logarithm of power over counting noise, if any."""
    used = (k >= FIT_RANGE[0]) & (k <= FIT_RANGE[1])
    film = used & (1 - np.exp(-_smooth(excess, 0.1 / k[1])) > FILM_SHARE)
    used &= k <= k[film].max(initial=0)
    if film.sum() < FREQUENCIES:
        return None
    root = np.sqrt(np.arange(len(k))[used])
    k = k[used]
    x = np.linspace(-1, 1, len(k))
    smooth, _ = np.linalg.qr(np.polynomial.legendre.legvander(x, TREND) * root[:, None])
    data = root * excess[used]
    trend = smooth @ (smooth.T @ data)
    data -= trend
    strength = root * np.clip(1 - np.exp(-trend / root), LEAST_SHARE, 1)

    # The rings' phase is known to half a radian on this grid, up to where they are seldom seen.
    reach = min(k[-1], 0.65)
    a2 = np.arange(-A2_MAX, A2_MAX, reach**-2)
    a4 = np.arange(0, A4_MAX, reach**-4)
    starts = []
    for gain in _gains_on_grid(
        k, data, smooth, (strength, strength * np.exp(-((k / DECAY) ** 2))), a2, a4
    ):
        for _ in range(CANDIDATES):
            i, j = np.unravel_index(np.argmax(gain), gain.shape)
            starts.append((a2[j], a4[i]))
            gain[max(0, i - 3) : i + 4, max(0, j - 3) : j + 4] = 0
    points = np.array(starts)
    side = np.linspace(-1, 1, 9)
    around = np.stack(np.meshgrid(side / reach**2, side / reach**4), axis=-1).reshape(-1, 2)
    for zoom, kept in ((1.0, 3), (0.3, 1), (0.08, 1)):
        near = points[:, None] + zoom * around
        near[..., 1] = np.abs(near[..., 1])
        gain = _gains(k, data, smooth, strength, near.reshape(-1, 2), window_a)
        gain = gain.reshape(len(points), -1)
        best = np.argsort(gain.max(axis=1))[::-1][:kept]
        points = near[best, gain[best].argmax(axis=1)]
    won = gain.max()
    # A corrected lens is the simpler answer: it stays unless a4 explains clearly more.
    line = np.arange(-A2_MAX, A2_MAX, 0.1 / reach**2)
    corrected = np.stack([line, np.zeros(len(line))], axis=-1)
    gain = _gains(k, data, smooth, strength, corrected, window_a)
    if gain.max() > CORRECTED * won:
        won, points = gain.max(), corrected[[np.argmax(gain)]]
    freedom = len(k) - (TREND + 1) - 3
    if won < SIGNIFICANT * (data @ data - won) / freedom:
        return None
    return float(points[0, 0]), float(points[0, 1])


def _gains_on_grid(
    k: np.ndarray,
    data: np.ndarray,
    smooth: np.ndarray,
    strengths: tuple[np.ndarray, ...],
    a2: np.ndarray,
    a4: np.ndarray,
) -> Iterator[np.ndarray]:
    """Yield what rings explain of `data` for all of `a4` (rows) and `a2` (columns).

    The cosine of a sum splits into products, so that sums over k are products of two matrices.
    """

    def halves(multiple: int) -> tuple[np.ndarray, np.ndarray]:
        left, right = multiple * np.outer(a4, k**4), multiple * np.outer(k**2, a2)
        left -= multiple * AMPLITUDE_PHASE
        return (
            np.hstack([np.cos(left), np.sin(left)]).astype(np.float32),
            np.vstack([np.cos(right), np.sin(right)]).astype(np.float32),
        )

    def sums(table: tuple[np.ndarray, np.ndarray], weight: np.ndarray) -> np.ndarray:
        return np.asarray((table[0] * np.tile(weight, 2).astype(np.float32)) @ table[1])

    double, fourfold = halves(2), halves(4)
    for strength in strengths:
        overlap = sums(double, data * strength)
        half = np.sum(strength**2) / 2
        norm = half + sums(fourfold, strength**2) / 2
        for column in smooth.T:
            norm -= sums(double, column * strength) ** 2
        # Rings are dark where χ is 0. What the trend can hardly be told from is no ring.
        yield np.where(overlap < 0, overlap**2 / np.maximum(norm, 0.15 * half), 0)


def _gains(
    k: np.ndarray,
    data: np.ndarray,
    smooth: np.ndarray,
    strength: np.ndarray,
    points: np.ndarray,
    window_a: float,
) -> np.ndarray:
    """Return what rings of (a2, a4), shape (P, 2), blurred by the window, explain of `data`."""
    a2, a4 = points[:, :1], points[:, 1:]
    blur = _hann_overlap(2 * displacement(k, a2, a4) / window_a)
    rings = np.cos(2 * aberration(k, a2, a4) - 2 * AMPLITUDE_PHASE) * blur * strength
    rings -= (rings @ smooth) @ smooth.T
    overlap = rings @ data
    norm = np.maximum(np.sum(rings**2, axis=1), 1e-9)
    return np.where(overlap < 0, overlap**2 / norm, 0)


def _hann_overlap(lag: np.ndarray) -> np.ndarray:
    """Return the autocorrelation of a Hann window at a `lag` in window widths, 1 at 0."""
    lag = np.minimum(lag, 1)
    turn = 2 * np.pi * lag
    return np.asarray((1 - lag) * (2 + np.cos(turn)) / 3 + np.sin(turn) / (2 * np.pi))

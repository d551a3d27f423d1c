"""Windowed power spectra of an image and the noise floor they stand on.

The image is cut into overlapping windows, each multiplied by a Hann window and transformed.
Where nothing is periodic, the power at one spatial frequency is exponentially distributed
about a floor: shot noise plus the amorphous film seen through the contrast transfer. The
floor is taken from the data in three factors: a radial profile of the whole image (rings and
contrast-transfer oscillations), a smooth two-dimensional correction (astigmatism, scan lines),
and a few numbers per window (thickness, intensity). All three are means of logarithms and
medians, which a few strong spots hardly move.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import numpy as np

from interphase.noise import hann_window

# Mean of the logarithm of an exponential variable of mean 1 is minus Euler's constant.
LOG_BIAS = float(np.euler_gamma)
# Ratio of the floor within five frequencies that is a cliff.
CLIFF = 8.0
# Bands in which the floor of one window may differ from the floor of the image.
BANDS = 5
# Rows of overlapping windows whose spectra are computed together. At a step of a quarter window
# half as many transform 27 % more along x, and twice as many hold 1.7 times the memory.
BLOCK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowGrid:
    """Where the windows of an image lie."""

    size: int
    """Side of a window [pixels]."""
    step: int
    """Distance of neighbouring windows [pixels]."""
    rows: int
    """Number of windows along y."""
    columns: int
    """Number of windows along x."""

    @property
    def centre(self) -> float:
        """Centre of the first window, along y and along x [pixels]."""
        return (self.size - 1) / 2

    def thinned(self, stride: int) -> Self:
        """Return the grid of every `stride`-th row and column."""
        return replace(
            self,
            step=self.step * stride,
            rows=(self.rows - 1) // stride + 1,
            columns=(self.columns - 1) // stride + 1,
        )

    @property
    def blocks(self) -> list[range]:
        """Rows of windows whose spectra are computed together."""
        block = BLOCK if self.step < self.size else 1
        return [range(n, min(n + block, self.rows)) for n in range(0, self.rows, block)]

    @property
    def independent(self) -> float:
        """Number of windows whose greatest powers are independent of each other.

        Windows a quarter of their side apart share most of their electrons, yet what is extreme in
        one is rarely extreme in the next: only denser windows count for less than one.
        """
        share = min(1.0, self.step / (self.size / 4))
        return max(1.0, self.rows * share) * max(1.0, self.columns * share)


def window_grid(shape: tuple[int, int], *, size: int, overlap: int) -> WindowGrid:
    """Return the grid of windows of `size` pixels that fits into an image of `shape`."""
    step = max(1, size // overlap)
    rows, columns = ((n - size) // step + 1 for n in shape)
    return WindowGrid(size=size, step=step, rows=rows, columns=columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frequencies:
    """Spatial frequencies of a half spectrum and which of them are searched."""

    ky: np.ndarray
    """Row frequency [1/Å], shape (N, 1)."""
    kx: np.ndarray
    """Column frequency [1/Å], shape (1, N // 2 + 1)."""
    k: np.ndarray
    """Modulus [1/Å], shape (N, N // 2 + 1)."""
    searched: np.ndarray
    """Frequencies in the searched range, one of each Friedel pair, shape (N, N // 2 + 1)."""
    bands: np.ndarray
    """Weight of each floor band per frequency, (N * (N // 2 + 1), BANDS); rows sum to 1."""

    @property
    def pixel(self) -> float:
        """Distance of neighbouring frequencies [1/Å]."""
        return float(self.ky[1, 0] - self.ky[0, 0])


def frequencies(size: int, *, pixel_size_a: float, k_min: float, k_max: float) -> Frequencies:
    """Return the frequencies of a window of `size` pixels of `pixel_size_a` [Å].

    The searched range is ``k_min <= k <= k_max`` [1/Å].
    """
    ky = np.fft.fftfreq(size, pixel_size_a)[:, None]
    kx = np.fft.rfftfreq(size, pixel_size_a)[None, :]
    k = np.hypot(ky, kx)
    searched = (k >= k_min) & (k <= k_max)
    # On the column kx = 0 both members of a Friedel pair are stored, and at Nyquist again.
    searched[:, 0] &= ky[:, 0] > 0
    if size % 2 == 0:
        searched[:, -1] = False
        searched[size // 2, :] = False
    centres = np.linspace(k_min, k_max, BANDS)
    position = np.clip((k - k_min) / (centres[1] - centres[0]), 0, BANDS - 1)
    bands = np.clip(1 - np.abs(position[..., None] - np.arange(BANDS)), 0, 1)
    return Frequencies(
        ky=ky, kx=kx, k=k, searched=searched, bands=bands.reshape(-1, BANDS).astype(np.float32)
    )


@lru_cache(maxsize=16)
def hann(size: int) -> np.ndarray:
    """Return the two-dimensional Hann window, shape (size, size), float32, unit mean square."""
    return np.outer(_hann(size), _hann(size))


@lru_cache(maxsize=16)
def _hann(size: int) -> np.ndarray:
    """Return its factor along each axis, shape (size,)."""
    window = hann_window(size)
    return np.asarray(window / np.sqrt(np.mean(window**2)), dtype=np.float32)


def power_rows(
    image: np.ndarray, grid: WindowGrid, rows: range | None = None
) -> Iterator[np.ndarray]:
    """Yield the power spectra of one row of windows after another.

    Parameters
    ----------
    image
        ndarray of shape (M, N), float32.
    grid
        Where the windows lie.
    rows
        One of the grid's `blocks`, all if not given.

    Yields
    ------
    power
        ndarray of shape (columns, size, size // 2 + 1), float32. Each window's mean is taken
        off before the Hann window, so that the power at small k is the specimen's.
    """
    from scipy import fft

    size, step, window = grid.size, grid.step, _hann(grid.size)
    left = step * np.arange(grid.columns)
    # The window transforms a mean to the three smallest frequencies of each axis.
    of_mean = np.outer([1, -0.5, -0.5], [1, -0.5]) * (window.sum() / size) ** 2
    for block in grid.blocks if rows is None else [rows]:
        strip = image[block.start * step : block[-1] * step + size]
        strip = strip - strip.mean(dtype=float).astype(np.float32)
        views = np.lib.stride_tricks.sliding_window_view(strip, size, axis=1)[:, ::step]
        # Axes: window, pixel along y, frequency along x. Windows above each other share it.
        along_x = fft.rfft(views[:, : grid.columns].transpose(1, 0, 2) * window, overwrite_x=True)
        for top in step * np.arange(len(block)):
            pixels = slice(top, top + size)
            # Reals, since NumPy would widen the window to complex numbers.
            parts = along_x[:, pixels].view(np.float32) * window[:, None]
            spectrum = fft.fft(parts.view(np.complex64), axis=1, overwrite_x=True)
            sums = np.append(0, np.cumsum(strip[pixels].sum(axis=0, dtype=float)))
            spectrum[:, [0, 1, -1], :2] -= of_mean * (sums[left + size] - sums[left])[:, None, None]
            power = np.square(spectrum.real)
            power += np.square(spectrum.imag)
            yield power


def image_floor(image: np.ndarray, grid: WindowGrid, freq: Frequencies) -> np.ndarray:
    """Return the logarithm of the floor that all windows of an image share.

    Shape (size, size // 2 + 1). A lattice that fills the image does not raise it: across the
    angle of a ring, and across a neighbourhood of the spectrum, spots are outliers of a median.
    """
    from scipy import ndimage

    # Some hundred windows spread over the image fix the common floor well enough.
    total = np.zeros(freq.k.shape)
    count = 0
    for power in power_rows(image, grid.thinned(max(1, grid.rows // 24))):
        total += log_power(power).sum(axis=0)
        count += len(power)
    mean_log = total / count + LOG_BIAS
    ring = np.rint(freq.k / freq.pixel).astype(int)
    radial = ndimage.median(mean_log, ring, np.arange(ring.max() + 1))
    # Between the rings, because the rings of contrast transfer may be as narrow.
    radial = np.interp(freq.k / freq.pixel, np.arange(len(radial)), radial)
    residual = mean_log - radial
    smooth = ndimage.median_filter(residual, size=15, mode="nearest")
    # Scan lines and camera columns make lines along the axes of the spectrum that are one or
    # two pixels wide: a median along the line keeps them and drops the spots on it.
    for line in (np.s_[:, :3], np.s_[:2, :], np.s_[-2:, :]):
        shape = (31, 1) if line[0] == slice(None) else (1, 31)
        along = ndimage.median_filter(residual[line], size=shape, mode="nearest")
        smooth[line] = np.maximum(smooth[line], along)
    return np.asarray(radial + smooth, dtype=np.float32)


def without_cliffs(freq: Frequencies, floor: np.ndarray) -> Frequencies:
    """Return the frequencies without those at the foot of a cliff of the floor.

    Stripes and sharp filters make the floor fall so steeply that what leaks from above looks like
    spots below.
    """
    from scipy import ndimage

    mode = ("wrap", "reflect")
    steep = ndimage.maximum_filter(floor, 5, mode=mode) - ndimage.minimum_filter(
        floor, 5, mode=mode
    )
    return replace(freq, searched=freq.searched & (steep < np.log(CLIFF)))


def least_power(size: int) -> float:
    """Return the least power that is told from what rounding leaves of a full-scale image.

    Images are scaled to 1, so that a window of N × N pixels holds up to N² of power at one
    frequency; no camera reaches 1e-12 of that, but a computed picture without noise does.
    """
    return 1e-12 * size**2


def log_power(power: np.ndarray) -> np.ndarray:
    """Return the logarithm of power, no less than that of `least_power`."""
    log = np.maximum(power, np.float32(least_power(power.shape[-2])))
    return np.asarray(np.log(log, out=log))


def above_floor(power: np.ndarray, shared: np.ndarray, freq: Frequencies) -> np.ndarray:
    """Return the logarithm of power over its local floor.

    Without a lattice the power over its floor is exponentially distributed with mean 1.

    Parameters
    ----------
    power
        Spectra of windows, ndarray of shape (W, N, N // 2 + 1).
    shared
        Logarithm of the image's floor, shape (N, N // 2 + 1).
    freq
        The frequencies.

    Returns
    -------
    log_ratio
        ndarray of the shape of `power`, float32.
    """
    from interphase.diffraction.spectra_kernels import subtract_floor

    log = log_power(power).reshape(len(power), -1)
    bands = np.ascontiguousarray(freq.bands.T)
    weight = bands * freq.searched.ravel()
    weight /= weight.sum(axis=1, keepdims=True) + np.float32(1e-6)
    subtract_floor(log, shared.ravel(), bands, weight, np.float32(LOG_BIAS))
    return log.reshape(power.shape)

"""Small pictures of large data, for the report."""

import math
from typing import Any

import numpy as np

from interphase.diffraction.results import PhaseMap
from interphase.diffraction.scan import ScanMap
from interphase.session.records import Pictures
from interphase.session.spectrum_maps import SpectrumMaps

THUMBNAIL_PX = 512
"""Largest side of a picture [pixels]."""
FIGURE_DPI = 110
"""Resolution of figures that are kept as pictures [1/inch]."""
SCAN_PX = 256
"""Least side of the picture of a scan, about [pixels]."""


def bin_image(image: np.ndarray, factor: int) -> np.ndarray:
    """Return the means of blocks of `factor` × `factor` pixels; what does not fill one is cut.

    A side of fewer pixels than `factor` becomes one pixel.

    Parameters
    ----------
    image
        ndarray of shape (M, N).
    factor
        Side of a block [pixels].

    >>> bin_image(np.arange(16.0).reshape(4, 4), 2)
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    high, wide = (max(1, min(factor, n)) for n in image.shape)
    rows, columns = (n // side for n, side in zip(image.shape, (high, wide), strict=True))
    blocks = image[: rows * high, : columns * wide].reshape(rows, high, columns, wide)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float64))


def binning(shape: tuple[int, ...], largest: int = THUMBNAIL_PX) -> int:
    """Return the smallest factor that brings a picture of `shape` to `largest` pixels.

    >>> binning((4096, 4096)), binning((100, 513), 512)
    (8, 2)
    """
    return max(1, math.ceil(max(shape) / largest))


def grey(image: np.ndarray, *, percentiles: tuple[float, float] = (0.5, 99.5)) -> np.ndarray:
    """Return an image as uint8, black and white at the percentiles of its finite pixels."""
    from interphase.plotting import grey_levels

    low, high = grey_levels(image, percentiles=percentiles)
    scaled = (np.nan_to_num(image, nan=low, posinf=high, neginf=low) - low) / (high - low)
    return np.asarray(np.rint(np.clip(scaled, 0, 1) * 255), dtype=np.uint8)


def grey_pattern(pattern: np.ndarray) -> np.ndarray:
    """Return a diffraction pattern as uint8: the logarithm of what exceeds its background.

    Patterns span decades, and one at low dose is zero almost everywhere: black is the median of
    all pixels, white the brightest of those above it, three in a hundred.

    Parameters
    ----------
    pattern
        Counts, ndarray of shape (M, N).
    """
    finite = np.nan_to_num(pattern, nan=0.0, posinf=0.0, neginf=0.0)
    above = np.maximum(finite - np.median(finite), 0)
    bright = above[above > 0]
    if bright.size == 0:
        return np.zeros(pattern.shape, dtype=np.uint8)
    shown = np.log1p(above / np.median(bright))
    white = np.percentile(shown[above > 0], 97)
    return np.asarray(np.rint(np.clip(shown / white, 0, 1) * 255), dtype=np.uint8)


def mean_power(image: np.ndarray, size: int) -> np.ndarray:
    """Return the mean power of half-overlapping Hann windows.

    Parameters
    ----------
    image
        ndarray of shape (M, N).
    size
        Side of a window [pixels], at most the image's smaller side.

    Returns
    -------
    power
        ndarray of shape (size, size), zero frequency at (size // 2, size // 2). Its sampling is
        the reciprocal of ``size`` times the image's.
    """
    one = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    taper = np.outer(one, one).astype(np.float32)
    total = np.zeros((size, size))
    starts = [
        np.unique(np.linspace(0, n - size, math.ceil(2 * n / size) - 1, dtype=int))
        for n in image.shape
    ]
    for row in starts[0]:
        for column in starts[1]:
            window = image[row : row + size, column : column + size].astype(np.float32)
            total += np.abs(np.fft.fft2((window - window.mean()) * taper)) ** 2
    return np.asarray(np.fft.fftshift(total) / (len(starts[0]) * len(starts[1])))


def power_picture(
    image: np.ndarray, *, pixel_size_a: float, size: int, k_max_per_a: float = 0.85
) -> tuple[np.ndarray, float]:
    """Return the logarithm of the mean power as a picture, and its sampling [1/Å].

    Parameters
    ----------
    image
        ndarray of shape (M, N).
    pixel_size_a
        Sampling [Å].
    size
        Side of the windows [pixels].
    k_max_per_a
        Largest frequency shown [1/Å].
    """
    power = mean_power(image, size)
    step = 1 / (size * pixel_size_a)
    half = min(size // 2, max(8, round(k_max_per_a / step)))
    centre = size // 2
    inner = slice(centre - half, centre + half)
    shown = np.log(np.maximum(power[inner, inner], np.finfo(np.float32).tiny))
    # The zero frequency holds what the window's mean left over: not part of the picture.
    ky, kx = np.indices(shown.shape) - half
    away = np.hypot(ky, kx) > 3
    low, high = np.percentile(shown[away], (5, 99.9)) if away.any() else (0.0, 1.0)
    scaled = np.clip((shown - low) / max(high - low, 1e-12), 0, 1)
    return np.rint(scaled * 255).astype(np.uint8), step


def picture_labels(
    phase_map: PhaseMap, shape: tuple[int, ...], *, pixel_size_a: float
) -> np.ndarray:
    """Return the region of each pixel of a picture: that of the nearest window.

    Parameters
    ----------
    phase_map
        What was found in the image, from windows on a grid.
    shape
        Shape (M, N) of the picture.
    pixel_size_a
        Sampling of the picture [Å]; its first pixel begins where the image begins.

    Returns
    -------
    labels
        Index of the region + 1, 0 where there is none or no window is near, int16, shape (M, N).
    """
    if phase_map.step_a is None or phase_map.labels.size == 0 or phase_map.pixel_size_a is None:
        return np.zeros(shape, dtype=np.int16)
    nearest = []
    # Positions in Å are those of the image's pixel centres, the first of which is at zero.
    first = 0.5 * (pixel_size_a - phase_map.pixel_size_a)
    for pixels, windows, origin in zip(
        shape, phase_map.labels.shape, phase_map.origin_a, strict=True
    ):
        position = (first + pixel_size_a * np.arange(pixels) - origin) / phase_map.step_a
        index = np.rint(position).astype(int)
        nearest.append(np.where((index >= 0) & (index < windows), index, windows))
    padded = np.pad(phase_map.labels, ((0, 1), (0, 1)))
    return padded[np.ix_(*nearest)].astype(np.int16)


def scan_pictures(scan: ScanMap) -> Pictures:
    """Return a scan's scattered electrons as a picture, with its regions.

    Parameters
    ----------
    scan
        What was found, with at least one region.
    """
    labels = scan.phases.labels
    # Scans are small: a position becomes a square of pixels.
    side = max(1, SCAN_PX // max(labels.shape))
    factor = binning(labels.shape)
    square = np.ones((side, side), dtype=np.uint8)
    step_a = scan.phases.step_a
    return Pictures(
        thumbnail=np.kron(grey(bin_image(scan.scattered_share, factor)), square),
        thumbnail_pixel_size=None if step_a is None else step_a * factor / side,
        labels=np.kron(labels[::factor, ::factor].astype(np.int16), square.astype(np.int16)),
    )


def crop_about(image: np.ndarray, centre: tuple[float, float], size: int) -> np.ndarray:
    """Return the square of `size` pixels about `centre` (row, column), moved inside the image."""
    starts = [
        int(np.clip(round(c - (size - 1) / 2), 0, n - size))
        for c, n in zip(centre, image.shape, strict=True)
    ]
    return image[starts[0] : starts[0] + size, starts[1] : starts[1] + size]


def decimate(
    counts: np.ndarray, axis: np.ndarray, most: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """Return a spectrum and its axis with at most `most` points, as means of neighbours.

    >>> decimate(np.array([1.0, 3, 5, 7, 9]), np.arange(5.0), most=2)
    (array([3.]), array([1.]))
    """
    factor = max(1, math.ceil(len(counts) / most))
    full = len(counts) // factor * factor
    return (
        counts[:full].reshape(-1, factor).mean(axis=1),
        axis[:full].reshape(-1, factor).mean(axis=1),
    )


def figure_picture(maps: SpectrumMaps) -> np.ndarray:
    """Return the figure of spectra and their maps as uint8, shape (M, N, 3)."""
    from interphase.session.spectrum_figure import draw_maps

    figure = draw_maps(maps)
    figure.set_dpi(FIGURE_DPI)
    canvas: Any = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()

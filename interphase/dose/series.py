"""Follow what fades through a movie, or a series of images or diffraction patterns.

Each function gives one `FadingSeries` per thing followed. Power does not know where in a window a
crystal lies, so that drift does not matter until it comes to the window's border; beyond that the
windows move with a drift that is given. Stacks may be lazy: one block of frames is held at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from interphase.dose.signals import MOST_SPECTRA, FadingSeries, Law
from interphase.errors import ParameterError
from interphase.noise import detection_threshold, hann_window

_INNER, _OUTER = 2.5, 6
"""Rim about a spot from which its floor is taken [1 / side of the window]: a Hann window spreads a
spot over 2."""
_FALSE_ALARM = 0.01
_SMALLEST_WINDOW = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crystallinity:
    """How much of what is seen is periodic, image by image."""

    series: FadingSeries
    """Mean power over the floor of the maxima: what to fit."""
    share: np.ndarray
    """Power above the floor in the maxima over all power, shape (F,)."""
    share_error: np.ndarray
    """Its standard error, shape (F,)."""


def follow_fringes(
    images: Any,
    *,
    spots_per_a: Mapping[str, np.ndarray],
    pixel_size_a: float,
    before_e_per_a2: np.ndarray,
    after_e_per_a2: np.ndarray,
    centres_px: Mapping[str, tuple[float, float]] | None = None,
    window_a: float | None = None,
    drift_px: np.ndarray | None = None,
) -> dict[str, FadingSeries]:
    r"""Return the power of lattice fringes over the floor of the spectrum, image by image.

    For crystals whose fringes were found in the sum, as by `interphase.diffraction.identify_image`.
    A spot of a small crystal is as wide as the crystal is small: choose windows of about its size.

    Parameters
    ----------
    images
        Counts, array of shape (F, M, N), of NumPy or Dask.
    spots_per_a
        Name, such as the phase → positions (ky, kx) of its spots, one of each Friedel pair [1/Å],
        shape (S, 2); true to a third of the inverse of the window, and at least two of it apart.
    pixel_size_a
        Pixel size [Å].
    before_e_per_a2
        Dose accumulated before each image [e/Å²], shape (F,).
    after_e_per_a2
        Dose accumulated after it [e/Å²], shape (F,).
    centres_px
        Name → (row, column) of the middle of its window [px]; the middle of the image where none
        is given.
    window_a
        Side of the windows [Å]; the smaller side of the image if not given.
    drift_px
        Movement (row, column) of the specimen since the first image [px], shape (F, 2); the windows
        follow it by whole pixels.

    Returns
    -------
    dict
        Name → series of power, the mean of its spots.

    Raises
    ------
    ParameterError
        The stack has not three axes, the window does not fit or leaves the images, one of them is
        empty there, or a spot lies where the image holds no frequency.

    Notes
    -----
    :math:`|\sum w\,n\,e^{-2\pi i k x}|^2 / \sum w^2 n` is 1 for counts alone, with a Hann window w.
    Film and camera change that: it is divided by its mean over a rim about the spot and all images.
    What a film scatters into the spot itself is the same in all images and does not fade; it adds
    to the amplitude of the fringes.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> fringes = np.cos(2 * np.pi * 0.25 * np.arange(128))
    >>> fading = np.exp(-np.arange(0.5, 10.5) / 10)[:, None, None]
    >>> edges = np.arange(0.0, 101.0, 10.0)
    >>> found = follow_fringes(
    ...     rng.poisson(10 * (1 + 0.1 * fading * fringes) * np.ones((128, 1))),
    ...     spots_per_a={"LiF": np.array([[0.0, 0.25]])},
    ...     pixel_size_a=1.0,
    ...     before_e_per_a2=edges[:-1],
    ...     after_e_per_a2=edges[1:],
    ... )
    >>> bool(found["LiF"].signal[0] > 50)
    True
    """
    frames, shape = _checked(images, before_e_per_a2, after_e_per_a2, pixel_size_a=pixel_size_a)
    size = min(shape)
    if window_a is not None:
        size = round(_positive("window_a", window_a) / pixel_size_a)
    if not _SMALLEST_WINDOW <= size <= min(shape):
        raise ParameterError(
            f"window_a is {window_a!r} Å, {size} px: expected {_SMALLEST_WINDOW} px to the image's "
            f"{min(shape)} px"
        )
    drift = np.zeros((frames, 2)) if drift_px is None else np.asarray(drift_px, dtype=float)
    if drift.shape != (frames, 2) or not np.all(np.isfinite(drift)):
        raise ParameterError(
            f"drift_px has shape {drift.shape}: expected finite numbers, ({frames}, 2)"
        )
    if not isinstance(spots_per_a, Mapping):
        raise ParameterError(f"spots_per_a is {repr(spots_per_a)[:80]}: expected name → positions")
    _check_windows(centres_px or {}, spots_per_a, drift, shape)
    drift = np.rint(drift).astype(int)
    step = 1 / (size * pixel_size_a)
    places = {name: _spot_positions(name, k, pixel_size_a) for name, k in spots_per_a.items()}
    window = np.outer(hann_window(size), hann_window(size))
    probes = {name: _Probe(k, places, step=step, size=size) for name, k in places.items()}
    middle = (np.asarray(shape) - 1) / 2
    corners = {
        name: np.rint(np.subtract((centres_px or {}).get(name, middle), (size - 1) / 2)).astype(int)
        for name in places
    }
    powers: dict[str, list[np.ndarray]] = {name: [] for name in places}
    for number, frame in enumerate(frames_of(images)):
        for name, probe in probes.items():
            corner = corners[name] + drift[number]
            row, column = np.clip(corner, 0, np.asarray(shape) - size)
            cut = frame[row : row + size, column : column + size].astype(np.float64)
            noise = float(np.sum(window**2 * cut))
            if not noise > 0:
                raise ParameterError(
                    f"image {number + 1} has {noise:.4g} counts in the window of {name}: expected "
                    "counts above 0, nothing subtracted; leave out an empty image, not its dose"
                )
            powers[name].append(probe.powers((cut - cut.mean()) * window, noise))
    found = {}
    for name, probe in probes.items():
        power = np.array(powers[name])
        floor = probe.floor(power.mean(axis=0))
        if not np.all(floor > 0):
            raise ParameterError(f"the images are empty in the window of {name}: nothing fades")
        found[name] = FadingSeries(
            signal=(power[:, :, _OUTER, _OUTER] / floor).mean(axis=1),
            before_e_per_a2=before_e_per_a2,
            after_e_per_a2=after_e_per_a2,
            law=Law.POWER,
            name=f"power of {name} fringes",
            phase=name,
            spectra=len(places[name]),
        )
    return found


def _check_windows(
    centres_px: Mapping[str, tuple[float, float]],
    spots_per_a: Mapping[str, np.ndarray],
    drift_px: np.ndarray,
    shape: tuple[int, int],
) -> None:
    """Raise where what is followed is not among what is looked for, or leaves the image."""
    if unknown := [name for name in centres_px if name not in spots_per_a]:
        raise ParameterError(
            f"centres_px has {unknown[0]!r}, which spots_per_a has not: expected some of "
            f"{', '.join(map(repr, spots_per_a))}"
        )
    middle = (np.asarray(shape) - 1) / 2
    for name in spots_per_a:
        centre = centres_px.get(name, middle)
        if np.shape(centre) != (2,):
            raise ParameterError(f"the centre of {name} is {centre!r}: expected (row, column)")
        inside = np.all((drift_px + centre >= 0) & (drift_px + centre < shape), axis=1)
        if not inside.all():
            raise ParameterError(
                f"the centre of {name} is outside of image {int(np.argmin(inside)) + 1}: what "
                "leaves the image seems to fade; take fewer images, or another place"
            )


def follow_pattern_spots(
    patterns: Any,
    *,
    spots_per_a: Mapping[str, np.ndarray],
    radius_per_a: float,
    centre_px: tuple[float, float],
    reciprocal_pixel_size_per_a: float,
    before_e_per_a2: np.ndarray,
    after_e_per_a2: np.ndarray,
    counts_per_electron: float = 1.0,
    valid: np.ndarray | None = None,
) -> dict[str, FadingSeries]:
    """Return the electrons in the spots of diffraction patterns, beside those around them.

    Parameters
    ----------
    patterns
        Counts, array of shape (F, M, N), of NumPy or Dask.
    spots_per_a
        Name, such as the phase → positions (ky, kx) of its spots [1/Å], shape (S, 2).
    radius_per_a
        Radius of the discs that hold a spot [1/Å]. The background is that of rims from 1.5 to 2.5
        radii, clear of all spots.
    centre_px
        (row, column) of the undiffracted beam [px].
    reciprocal_pixel_size_per_a
        Size of a pixel [1/Å].
    before_e_per_a2
        Dose accumulated before each pattern [e/Å²], shape (F,).
    after_e_per_a2
        Dose accumulated after it [e/Å²], shape (F,).
    counts_per_electron
        Gain of the camera; a wrong one makes intervals wrong by its square root.
    valid
        Pixels that may be used, such as those outside the beam stop, shape (M, N).

    Returns
    -------
    dict
        Name → series of counts, the sum of its spots.

    Raises
    ------
    ParameterError
        The stack has not three axes, or of a spot or its background no pixel is left.
    """
    row, column = _pattern_frequencies(patterns, centre_px, reciprocal_pixel_size_per_a)
    radius = _positive("radius_per_a", radius_per_a)
    if not isinstance(spots_per_a, Mapping) or not spots_per_a:
        raise ParameterError(f"spots_per_a is {spots_per_a!r}: expected name → positions")
    places = {name: _positions(name, k) for name, k in spots_per_a.items()}
    distance = {
        name: np.min([np.hypot(row - ky, column - kx) for ky, kx in k], axis=0)
        for name, k in places.items()
    }
    nearest = np.min(list(distance.values()), axis=0)
    areas = {
        name: (d <= radius, (nearest > 1.5 * radius) & (d <= 2.5 * radius))
        for name, d in distance.items()
    }
    return _follow_areas(
        patterns, areas, before_e_per_a2, after_e_per_a2, counts_per_electron, valid, "spots"
    )


def follow_rings(
    patterns: Any,
    *,
    rings_per_a: Mapping[str, Sequence[float]],
    width_per_a: float,
    centre_px: tuple[float, float],
    reciprocal_pixel_size_per_a: float,
    before_e_per_a2: np.ndarray,
    after_e_per_a2: np.ndarray,
    counts_per_electron: float = 1.0,
    valid: np.ndarray | None = None,
) -> dict[str, FadingSeries]:
    """Return the electrons in the rings of diffraction patterns, beside those next to them.

    The background is the mean of both sides, as if it fell in a straight line across the ring;
    where it is steeper, what is too much or too little of it fades with the background and not at
    all: fit with ``fit_rest=True``.

    Parameters
    ----------
    patterns
        Counts, array of shape (F, M, N), of NumPy or Dask.
    rings_per_a
        Name, such as the phase → radii of its rings [1/Å].
    width_per_a
        Width of a ring [1/Å]. The background is that of as much on both sides, half a width away,
        clear of all rings.
    centre_px
        (row, column) of the undiffracted beam [px].
    reciprocal_pixel_size_per_a
        Size of a pixel [1/Å].
    before_e_per_a2
        Dose accumulated before each pattern [e/Å²], shape (F,).
    after_e_per_a2
        Dose accumulated after it [e/Å²], shape (F,).
    counts_per_electron
        Gain of the camera; a wrong one makes intervals wrong by its square root.
    valid
        Pixels that may be used, such as those outside the beam stop, shape (M, N).

    Returns
    -------
    dict
        Name → series of counts, the sum of its rings.

    Raises
    ------
    ParameterError
        The stack has not three axes, or of a ring or its background no pixel is left.
    """
    row, column = _pattern_frequencies(patterns, centre_px, reciprocal_pixel_size_per_a)
    half = _positive("width_per_a", width_per_a) / 2
    k = np.hypot(row, column)
    if not isinstance(rings_per_a, Mapping) or not rings_per_a:
        raise ParameterError(f"rings_per_a is {rings_per_a!r}: expected name → radii")
    for name, radii in rings_per_a.items():
        if np.ndim(radii) != 1 or not len(radii):
            raise ParameterError(f"the rings of {name} are {radii!r}: expected radii in 1/Å")
        for radius in radii:
            _positive(f"a radius of {name}", radius)
    distance = {
        name: np.min([np.abs(k - radius) for radius in radii], axis=0)
        for name, radii in rings_per_a.items()
    }
    nearest = np.min(list(distance.values()), axis=0)
    areas = {
        name: (d <= half, (nearest > 2 * half) & (d <= 3 * half)) for name, d in distance.items()
    }
    return _follow_areas(
        patterns, areas, before_e_per_a2, after_e_per_a2, counts_per_electron, valid, "rings"
    )


def follow_crystallinity(
    images: Any,
    *,
    pixel_size_a: float,
    before_e_per_a2: np.ndarray,
    after_e_per_a2: np.ndarray,
    d_range_a: tuple[float, float] = (1.0, 5.0),
) -> Crystallinity:
    r"""Return the share of an image's spectral power that stands in maxima, image by image.

    Knows no phases: whatever is periodic counts. For images of equal dose.

    Parameters
    ----------
    images
        Counts, array of shape (F, M, N), of NumPy or Dask; it is read twice.
    pixel_size_a
        Pixel size [Å].
    before_e_per_a2
        Dose accumulated before each image [e/Å²], shape (F,).
    after_e_per_a2
        Dose accumulated after it [e/Å²], shape (F,).
    d_range_a
        Shortest and longest spacing that counts [Å].

    Returns
    -------
    Crystallinity
        The power above the floor in the maxima of the mean spectrum, as a series and as a share of
        all power in that range. Without a maximum both are those of noise.

    Raises
    ------
    ParameterError
        The stack has not three axes, the images differ in dose, or no frequency lies in the range.

    Notes
    -----
    A maximum is a frequency where the mean spectrum exceeds what its floor, the median of its ring,
    exceeds anywhere in one of 100 spectra. How many independent spectra the mean is worth is taken
    from its scatter about the floor: fewer than its images where a film has a speckle of its own.
    """
    frames, shape = _checked(images, before_e_per_a2, after_e_per_a2, pixel_size_a=pixel_size_a)
    width = np.asarray(after_e_per_a2) - np.asarray(before_e_per_a2)
    if np.ptp(width) > 0.02 * width.mean():
        raise ParameterError(
            f"the images have from {width.min():.3g} to {width.max():.3g} e/Å²: a share of power "
            "grows with the dose, so they must have the same"
        )
    window = np.outer(hann_window(shape[0]), hann_window(shape[1]))

    def spectrum(frame: np.ndarray) -> np.ndarray:
        counts = frame.astype(np.float64)
        power = np.abs(np.fft.rfft2((counts - counts.mean()) * window)) ** 2
        return np.asarray(power / max(float(np.sum(window**2 * counts)), 1e-12))

    mean = np.asarray(sum(spectrum(frame) for frame in frames_of(images))) / frames
    k = np.hypot(
        np.fft.fftfreq(shape[0], pixel_size_a)[:, None], np.fft.rfftfreq(shape[1], pixel_size_a)
    )
    if np.shape(d_range_a) != (2,) or not all(_positive("d_range_a", d) for d in d_range_a):
        raise ParameterError(f"d_range_a is {d_range_a!r}: expected two spacings in Å")
    low, high = sorted(1 / np.asarray(d_range_a, dtype=float))
    band = (k >= low) & (k <= high)
    band[:, [0, -1]] = False
    if not band.any():
        raise ParameterError(
            f"d_range_a is {d_range_a!r} Å: the images hold no frequency in that range"
        )
    if not np.all(mean[band] > 0):
        raise ParameterError("the images are empty, or hold what is no number: nothing fades")
    floor, maxima = _maxima(mean, k, band)
    number = int(maxima.sum())
    amplitude = np.where(maxima, np.sqrt(np.maximum(mean / floor - 1, 0.0)), 0.0)
    independent = number / _shared_noise(amplitude)
    powers, shares = [], []
    for frame in frames_of(images):
        power = spectrum(frame) / floor
        powers.append(power[maxima].mean() if number else 1.0)
        shares.append((powers[-1] - 1) * number / power[band].sum())
    series = FadingSeries(
        signal=np.array(powers),
        before_e_per_a2=before_e_per_a2,
        after_e_per_a2=after_e_per_a2,
        law=Law.POWER,
        name="crystallinity",
        spectra=float(np.clip(independent, 1, MOST_SPECTRA)),
    )
    share = np.array(shares)
    per_power = np.divide(share, series.net, out=np.zeros(frames), where=series.net != 0)
    return Crystallinity(series=series, share=share, share_error=series.standard_error * per_power)


def frames_of(stack: Any) -> Iterator[np.ndarray]:
    """Yield the frames of a stack (F, M, N), computing one block of a lazy one at a time."""
    chunks = getattr(stack, "chunks", None)
    sizes = chunks[0] if hasattr(stack, "compute") and chunks else [1] * len(stack)
    for end, size in zip(np.cumsum(sizes), sizes, strict=True):
        yield from np.asarray(stack[end - size : end])


class _Probe:
    """Powers of a window at some spots and on a small grid of frequencies about each."""

    def __init__(
        self, k_per_a: np.ndarray, others: Mapping[str, np.ndarray], *, step: float, size: int
    ) -> None:
        offsets = np.arange(-_OUTER, _OUTER + 1) * step
        pixel_size_a = 1 / (step * size)
        at = np.arange(size) * pixel_size_a
        grid = k_per_a[:, :, None] + offsets  # (S, 2, 13)
        self._waves = np.exp(-2j * np.pi * grid[..., None] * at)
        radius = np.hypot(offsets[:, None], offsets) / step
        near = (radius > _INNER) & (radius <= _OUTER)
        ky, kx = np.broadcast_arrays(grid[:, 0, :, None], grid[:, 1, None, :])
        known = np.concatenate([np.zeros((1, 2)), *others.values()])
        for y, x in np.concatenate([known, -known]):
            near = near & (np.hypot(ky - y, kx - x) > _INNER * step)
        self._rim = near & (np.maximum(np.abs(ky), np.abs(kx)) < 0.5 / pixel_size_a)
        if not self._rim.any(axis=(1, 2)).all():
            y, x = k_per_a[int(np.argmin(self._rim.any(axis=(1, 2))))]
            raise ParameterError(
                f"the spot at ({y:.4g}, {x:.4g}) 1/Å has no floor about it that is clear of other "
                "spots: give larger windows, or fewer spots"
            )

    def powers(self, window: np.ndarray, noise: float) -> np.ndarray:
        """Return the powers over that of counting noise, shape (S, 13, 13)."""
        amplitudes = self._waves[:, 0] @ window @ np.swapaxes(self._waves[:, 1], 1, 2)
        return np.asarray(np.abs(amplitudes) ** 2 / max(noise, 1e-12))

    def floor(self, power: np.ndarray) -> np.ndarray:
        """Return the mean power of the rim of each spot, shape (S,)."""
        return np.asarray(power.mean(axis=(1, 2), where=self._rim))


def _follow_areas(
    patterns: Any,
    areas: Mapping[str, tuple[np.ndarray, np.ndarray]],
    before_e_per_a2: np.ndarray,
    after_e_per_a2: np.ndarray,
    counts_per_electron: float,
    valid: np.ndarray | None,
    what: str,
) -> dict[str, FadingSeries]:
    """Return the counts of areas and of the areas of their backgrounds."""
    _, shape = _checked(patterns, before_e_per_a2, after_e_per_a2)
    gain = _positive("counts_per_electron", counts_per_electron)
    if valid is not None and np.shape(valid) != shape:
        raise ParameterError(f"valid has shape {np.shape(valid)} and a pattern {shape}")
    usable = np.ones(shape, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    places = {name: tuple(np.flatnonzero(a & usable) for a in both) for name, both in areas.items()}
    for name, (on, off) in places.items():
        if not on.size or not off.size:
            part = "background" if on.size else "signal"
            raise ParameterError(f"no pixel is left for the {part} of {name}: choose another size")
    sums: dict[str, list[tuple[float, float]]] = {name: [] for name in places}
    for pattern in frames_of(patterns):
        flat = pattern.ravel()
        for name, (on, off) in places.items():
            sums[name].append((flat[on].sum(dtype=float), flat[off].sum(dtype=float)))
    found = {}
    for name, (on, off) in places.items():
        signal, background = np.array(sums[name]).T / gain
        found[name] = FadingSeries(
            signal=signal,
            before_e_per_a2=before_e_per_a2,
            after_e_per_a2=after_e_per_a2,
            law=Law.COUNTS,
            name=f"intensity of {name} {what}",
            phase=name,
            background=background,
            background_ratio=off.size / on.size,
        )
    return found


def _maxima(mean: np.ndarray, k: np.ndarray, band: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the floor of a mean spectrum, and where in a band it has maxima."""
    from scipy import ndimage
    from scipy.special import gammainccinv

    ring = np.rint(k / k[0, 1]).astype(int)
    radial = ndimage.median(mean, ring, np.arange(ring.max() + 1))
    median = np.interp(k / k[0, 1], np.arange(len(radial)), radial)
    ratio = mean[band] / median[band]
    # Quantiles below the median know nothing of the spots.
    spectra = _worth(float(np.quantile(ratio, 0.1)))
    floor = median * spectra / gammainccinv(spectra, 0.5)
    threshold = detection_threshold(
        false_alarm=_FALSE_ALARM, places=int(band.sum()), effective_spectra=spectra
    )
    return floor, band & (mean > threshold * floor)


def _worth(tenth: float) -> float:
    """Return of how many spectra a mean is whose first tenth ends at this share of its median."""
    from scipy.optimize import brentq
    from scipy.special import gammaincinv

    def tenth_of(log: float) -> float:
        m = np.exp(log)
        return float(gammaincinv(m, 0.1) / gammaincinv(m, 0.5) - tenth)

    few, many = np.log(0.5), np.log(1e5)
    if tenth_of(few) >= 0:
        return float(np.exp(few))
    return float(np.exp(many if tenth_of(many) <= 0 else brentq(tenth_of, few, many)))


def _shared_noise(amplitude: np.ndarray) -> float:
    """Return by what a sum of powers varies more than if its frequencies were independent.

    The noise of frequencies 0, 1 and 2 apart correlates by 1, 2/3 and 1/6 under a Hann window, in
    phase with the wave it interferes with, whose amplitude over that of the noise is given. Where
    there is no wave it varies less.
    """
    from scipy.ndimage import convolve

    if not amplitude.any():
        return 1.0
    one = np.array([1 / 6, 2 / 3, 1, 2 / 3, 1 / 6])
    around = convolve(amplitude, np.outer(one, one), mode="constant")
    return float(np.sum(amplitude * around) / np.sum(amplitude**2))


def _checked(
    stack: Any,
    before_e_per_a2: np.ndarray,
    after_e_per_a2: np.ndarray,
    *,
    pixel_size_a: float | None = None,
) -> tuple[int, tuple[int, int]]:
    """Return the number of frames and their shape."""
    shape: tuple[int, ...] = getattr(stack, "shape", ())
    if len(shape) != 3 or 0 in shape:
        raise ParameterError(
            f"the stack has shape {shape}: expected frames, rows and columns; an image alone is no "
            "series"
        )
    for name, dose in (("before_e_per_a2", before_e_per_a2), ("after_e_per_a2", after_e_per_a2)):
        if np.shape(dose) != shape[:1]:
            raise ParameterError(
                f"{name} has shape {np.shape(dose)} and the stack {shape[0]} frames: expected one "
                "dose per frame"
            )
    if pixel_size_a is not None:
        _positive("pixel_size_a", pixel_size_a)
    return shape[0], (shape[1], shape[2])


def _positions(name: str, k_per_a: np.ndarray) -> np.ndarray:
    k = np.asarray(k_per_a, dtype=float)
    if k.ndim != 2 or k.shape[1] != 2 or not len(k) or not np.all(np.isfinite(k)):
        raise ParameterError(
            f"spots of {name} have shape {k.shape}: expected finite (ky, kx) in 1/Å, shape (S, 2)"
        )
    return k


def _spot_positions(name: str, k_per_a: np.ndarray, pixel_size_a: float) -> np.ndarray:
    k = _positions(name, k_per_a)
    if np.abs(k).max() >= 0.5 / pixel_size_a:
        raise ParameterError(
            f"a spot of {name} is at {np.abs(k).max():.4g} 1/Å: pixels of {pixel_size_a:g} Å hold "
            f"no frequency from {0.5 / pixel_size_a:.4g} 1/Å on"
        )
    return k


def _pattern_frequencies(
    patterns: Any, centre_px: tuple[float, float], sampling: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the frequencies of the rows (M, 1) and of the columns (1, N) of a pattern [1/Å]."""
    _positive("reciprocal_pixel_size_per_a", sampling)
    centre = np.asarray(centre_px, dtype=float)
    if centre.shape != (2,) or not np.all(np.isfinite(centre)):
        raise ParameterError(f"centre_px is {centre_px!r}: expected (row, column)")
    shape: tuple[int, ...] = getattr(patterns, "shape", ())
    if len(shape) != 3:
        raise ParameterError(f"the stack has shape {shape}: expected frames, rows and columns")
    return (
        (np.arange(shape[1])[:, None] - centre[0]) * sampling,
        (np.arange(shape[2])[None, :] - centre[1]) * sampling,
    )


def _positive(name: str, value: float) -> float:
    if not isinstance(value, Real) or not 0 < value < float("inf"):
        raise ParameterError(f"{name} is {value!r}: expected a finite number above 0")
    return value

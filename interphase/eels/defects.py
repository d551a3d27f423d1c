"""What is wrong with spectra before anything is measured in them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import blocks, check_axis, check_number, check_spectra
from interphase.noise import p_anywhere

_FALSE_ALARM = 0.01
"""Probability of calling anything a spike or a dead channel in a whole image without one."""
_MATERIAL = 0.01
"""Share of all counts that counts below 0 must have to be held against spectra."""
_SATURATED = 3
"""Channels side by side that hold exactly the largest number."""
_CEILING, _SPECTRA = 10, 5
"""Counts above which a largest number that so many spectra share is the detector's."""
_EDGE = 8
"""Channels on either side from which a step is judged."""
_AROUND = 12
"""Channels around a spike from which the ratio of one spectrum to the mean is taken."""
_BLOCK_BYTES = 2**24
"""Of spectra that are searched for spikes at a time, in double precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why spectra cannot be measured."""

    assessment: Assessment
    """How bad it is: unusable, or uncalibrated where a correction would help."""
    sentence: str
    """What is wrong and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Defects:
    """Single channels that do not show the specimen."""

    spikes: Any
    """True where a cosmic ray or the like hit, shape (..., E); a lazy Dask array for lazy spectra,
    in the same chunks along the map."""
    dead: np.ndarray
    """True for channels that are dead or hot in all spectra, shape (E,)."""
    sentence: str
    """How many there are; spikes of lazy spectra are only found when they are computed."""


def find_fault(
    counts: Any, energy_ev: np.ndarray, *, gain: float = 1.0, read_noise: float = 0.0
) -> Fault | None:
    """Return why spectra cannot be measured, ``None`` if nothing speaks against it.

    Parameters
    ----------
    counts
        Spectra, shape (..., E), an array or a Dask array [counts].
    energy_ev
        Energy loss of the channels, shape (E,) [eV].
    gain
        Counts per electron.
    read_noise
        Standard deviation of the readout per channel [counts].

    Returns
    -------
    Fault or None
        The worst fault: no numbers, saturation, negative counts, steps of the gain.

    Raises
    ------
    ParameterError
        The spectra are no spectra, or the axis is not in eV.

    Examples
    --------
    >>> energy = np.arange(300.0, 400.0)
    >>> find_fault(np.full(100, np.nan), energy).sentence
    'no spectrum is free of NaN or infinite counts: repair or reload the file'
    """
    counts = check_spectra("counts", counts)
    energy = check_axis(energy_ev, counts.shape[-1], least=8)
    check_number("gain", gain, 1e-9, 1e12, "counts per electron")
    check_number("read_noise", read_noise, 0, 1e12, "counts")
    channels, number, bad, clipped = len(energy), 0, 0, 0
    total, lowest = np.zeros(channels), 0
    for _, block in blocks(counts):
        rows = block.reshape(-1, channels)
        finite = np.isfinite(rows).all(axis=1)
        bad += int((~finite).sum())
        rows = rows[finite]
        number += len(rows)
        total += rows.sum(axis=0)
        if len(rows):
            clipped += int(_clipped(rows).sum())
            noise = np.sqrt(channels * (read_noise**2 + gain * np.abs(rows).mean(axis=1)))
            lowest += int((rows.sum(axis=1) < -5 * noise).sum())
    if not number:
        return _unusable("no spectrum is free of NaN or infinite counts: repair or reload the file")
    if not np.ptp(total) > 0:
        return _unusable(f"every channel holds the same {total[0] / number:g} counts")
    if clipped > 0.01 * number:
        return _unusable(
            f"the detector is saturated in {_of(clipped, number)} spectra: several channels side "
            "by side hold the largest number there is; record with a shorter exposure"
        )
    noise = np.sqrt(gain * np.maximum(total, gain) + number * read_noise**2)
    negative = total < -5 * noise
    # A dark reference leaves counts below 0 that are nothing beside a peak of a million times more.
    material = -total[negative].sum() > _MATERIAL * np.abs(total).sum()
    if material or lowest > 0.01 * number:
        return Fault(
            assessment=Assessment.UNUSABLE,
            sentence=f"counts are negative beyond noise in {_of(int(negative.sum()), channels)} "
            "channels of the sum: a background or dark reference was subtracted; give the counts "
            "as recorded, or the read noise",
        )
    steps = _gain_steps(total, noise)
    if steps:
        where = ", ".join(f"{energy[k]:.1f}" for k in steps[:4])
        return Fault(
            assessment=Assessment.UNCALIBRATED,
            sentence=f"counts step within one channel at {where} eV in the sum of the spectra: "
            "parts of the detector have different gains; correct the gain, or leave those "
            "channels out",
        )
    if bad:
        return Fault(
            assessment=Assessment.OK,
            sentence=f"{_of(bad, bad + number)} of the spectra hold NaN and are left out",
        )
    return None


def find_defects(
    counts: Any, *, gain: float = 1.0, read_noise: float = 0.0, resolution_channels: float
) -> Defects:
    r"""Find spikes of cosmic rays and channels that are dead or hot.

    A spike rises above what the neighbours of a channel allow a feature as wide as the resolution
    to be, and above what the other spectra lead one to expect. A channel is dead or hot if the sum
    of all spectra is beyond such bounds there. Do not use it before spectra with a zero-loss peak
    have been brought into one place: a peak that moved is not expected by the others.

    Parameters
    ----------
    counts
        Spectra, shape (..., E), an array or a Dask array [counts]. They are read a block at a
        time, twice: once for their sum, once for the spikes.
    gain
        Counts per electron.
    read_noise
        Standard deviation of the readout per channel [counts].
    resolution_channels
        Full width at half maximum of the zero-loss peak [channels]; nothing in a spectrum is
        narrower. Below 3 channels spikes cannot be told from peaks in single spectra.

    Returns
    -------
    Defects
        Masks: leave those channels out of fits, rather than filling them with invented counts.

    Raises
    ------
    ParameterError
        A number cannot be.

    Notes
    -----
    Of a Gaussian of full width w the maximum is :math:`2^{4 d^2 / w^2}` times the value d channels
    away. A channel that exceeds that by chance in less than 1 % of images without a spike is one.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(20.0, (30, 200)).astype(float)
    >>> counts[3, 50] += 200
    >>> np.argwhere(find_defects(counts, resolution_channels=4).spikes).tolist()
    [[3, 50]]
    """
    data = check_spectra("counts", counts)
    check_number("gain", gain, 1e-9, 1e12, "counts per electron")
    check_number("read_noise", read_noise, 0, 1e12, "counts")
    check_number("resolution_channels", resolution_channels, 0.5, 1e5, "channels")
    channels = data.shape[-1]
    number = data.size // channels
    total = np.zeros(channels)
    for _, block in blocks(data):
        total += np.nan_to_num(block).reshape(-1, channels).sum(axis=0)
    distance = 2 if resolution_channels >= 3 else 1
    sharpest = 2.0 ** (4 * distance**2 / resolution_channels**2)

    dead = np.zeros(channels, dtype=bool)
    if number > 1:
        bounds = _bounds(total[None], distance, sharpest)
        p_dead = _unlikely(total[None], *bounds, sharpest, gain, number * read_noise**2)
        dead = np.asarray(p_anywhere(p_dead[0], 2 * channels) < _FALSE_ALARM)

    def mark(spectra: np.ndarray) -> np.ndarray:
        spikes = np.empty(spectra.shape, dtype=bool)
        for where, block in blocks(spectra, most_bytes=_BLOCK_BYTES):
            rows = np.nan_to_num(block.reshape(-1, channels))
            low, high = _bounds(rows, distance, sharpest)
            if number > 1:
                p_value = _unlike_others(rows, (total - rows) / (number - 1), gain, read_noise**2)
            else:
                p_value = _unlikely(rows, low, high, sharpest, gain, read_noise**2)
            p_value = np.where(rows > high, p_value, 1.0)
            found = (p_anywhere(p_value, number * channels) < _FALSE_ALARM) & ~dead
            spikes[where] = found.reshape(block.shape)
        return spikes

    hit = f"{int(dead.sum())} of {channels} channels dead or hot"
    if hasattr(data, "dask"):
        whole = data.rechunk({data.ndim - 1: -1})
        lazy = whole.map_blocks(mark, dtype=bool, meta=np.empty((0,) * data.ndim, dtype=bool))
        return Defects(spikes=lazy, dead=dead, sentence=f"{hit}; spikes are not yet counted")
    spikes = mark(data)
    return Defects(
        spikes=spikes,
        dead=dead,
        sentence=f"{int(spikes.sum())} spikes in {data.size} channels of all spectra; {hit}",
    )


def _unlike_others(
    rows: np.ndarray, others: np.ndarray, gain: float, read_variance: float
) -> np.ndarray:
    """Return the probability of channels above the mean of the others, scaled by what is around."""
    from scipy.ndimage import maximum_filter1d, uniform_filter1d

    # A white line is sharp in all.
    size = 2 * _AROUND + 1
    around = size * uniform_filter1d(rows, size, axis=-1) - rows
    mean_around = size * uniform_filter1d(others, size, axis=-1) - others
    scale = np.maximum(around, gain) / np.maximum(mean_around, gain)
    # A channel to either side, for what is left of shifts.
    expected = scale * maximum_filter1d(others, 3, axis=-1)
    extra = expected**2 * gain / np.maximum(around, gain)
    return _upper(rows, expected, gain, read_variance + extra)


def _unusable(sentence: str) -> Fault:
    return Fault(assessment=Assessment.UNUSABLE, sentence=sentence)


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole}"


def _clipped(rows: np.ndarray) -> np.ndarray:
    """Return which spectra have several largest numbers side by side, well above the rest."""
    top = rows.max(axis=1, keepdims=True)
    at_top = rows == top
    run = at_top.copy()
    for shift in range(1, _SATURATED):
        run[:, shift:] &= at_top[:, :-shift]
    run[:, : _SATURATED - 1] = False
    flat = run.any(axis=1) & (top[:, 0] > np.median(rows, axis=1))
    # A few counts are often equal by chance, but not side by side in several spectra at the very
    # largest number of all.
    ceiling = flat & (top[:, 0] == rows.max()) & (rows.max() > _CEILING)
    if ceiling.sum() < _SPECTRA:
        ceiling[:] = False
    return np.asarray(ceiling | (flat & (top[:, 0] > 1000)))


def _gain_steps(total: np.ndarray, noise: np.ndarray) -> list[int]:
    """Return the channels at which counts step although both sides are smooth lines."""
    if len(total) < 4 * _EDGE:
        return []
    fit = np.linalg.pinv(np.stack([np.ones(_EDGE), np.arange(_EDGE)], axis=1))
    windows = np.lib.stride_tricks.sliding_window_view(total, _EDGE)
    end = np.array([1.0, _EDGE - 0.5]) @ fit
    left, right = windows[:-_EDGE] @ end, windows[_EDGE:] @ end[::-1]
    # Differences of neighbours within the lines, against the one between them: of an edge, however
    # steep, several are large, and noise makes 6 times its own size nowhere.
    inner = np.diff(windows, axis=1)
    calm = np.sqrt((inner**2).mean(axis=1))
    calm = np.maximum(calm[:-_EDGE], calm[_EDGE:])
    jump = np.diff(total)[_EDGE - 1 : len(total) - _EDGE]
    error = noise[_EDGE : len(total) - _EDGE + 1] * np.sqrt(2 * end @ end)
    step = right - left
    least = np.maximum(5.5 * error, 0.01 * np.maximum(np.maximum(left, right), 0))
    found = (np.abs(step) > least) & (np.abs(jump) > 6 * calm) & (np.sign(jump) == np.sign(step))
    return [int(c) for c in np.flatnonzero(found) + _EDGE]


def _bounds(rows: np.ndarray, distance: int, sharpest: float) -> tuple[np.ndarray, np.ndarray]:
    """Return between what channels lie if nothing is sharper than the resolution."""
    padded = np.pad(rows, ((0, 0), (distance, distance)), mode="constant")
    left, right = padded[:, : -2 * distance], padded[:, 2 * distance :]
    return np.minimum(left, right) / sharpest, np.maximum(np.maximum(left, right), 0) * sharpest


def _unlikely(
    rows: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    sharpest: float,
    gain: float,
    read_variance: float,
) -> np.ndarray:
    """Return the probability of channels beyond their bounds, which are uncertain themselves."""
    from scipy.stats import norm

    noise = gain * np.maximum(high, gain) + read_variance
    above = _upper(rows, high, gain, read_variance + sharpest**2 * noise)
    noise = gain * np.maximum(low, gain) * (1 + 1 / sharpest)
    spread = np.sqrt(noise + read_variance * (1 + 1 / sharpest**2))
    return np.where(rows > high, above, norm.cdf((rows - low) / spread))


def _upper(
    rows: np.ndarray, expected: np.ndarray, gain: float, extra_variance: np.ndarray | float
) -> np.ndarray:
    r"""Return a bound of the probability of so many counts or more.

    Chernoff's, :math:`\exp[\min_\theta K(\theta) - \theta x]`, for counts of a Poisson law times
    the gain and a Gaussian of the extra variance.
    """
    mean = np.maximum(expected, 1e-3 * gain)
    extra = np.broadcast_to(extra_variance, rows.shape)
    p = np.ones(rows.shape)
    high = rows > mean + 2 * np.sqrt(gain * mean + extra)
    x, m, v = rows[high], mean[high], extra[high]
    # Both laws alone overshoot: the root lies below, where the function is convex.
    theta = np.log(x / m) / gain
    theta = np.where(v > 0, np.minimum(theta, (x - m) / np.maximum(v, 1e-300)), theta)
    for _ in range(40):
        grown = m * np.exp(gain * theta)
        theta = theta - (grown + v * theta - x) / (gain * grown + v)
    p[high] = np.exp(m / gain * np.expm1(gain * theta) + v * theta**2 / 2 - theta * x)
    return p

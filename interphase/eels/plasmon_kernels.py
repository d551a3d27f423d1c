"""Compiled loops of `interphase.eels.low_loss`: one plasmon fitted to each spectrum.

Import it inside functions: numba takes a moment to load.
"""

from math import erf

import numpy as np

from interphase.eels.fit_kernels import _compiled, _factor, _solve, _summing

PARTS = 4
"""Energies at which a plasmon is taken between places of the grid: it can be narrower."""
_ROUNDS = 30
"""Steps of scoring at most."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@_summing  # type: ignore[untyped-decorator]
def loss_fits(
    rows: np.ndarray,
    first: np.ndarray,
    part: np.ndarray,
    elastic: np.ndarray,
    starts: np.ndarray,
    limits: np.ndarray,
    span: tuple[int, int],
    loss: np.ndarray,
    collected: np.ndarray,
    finer: int,
    width: float,
    sigma: float,
    gain: float,
    read_variance: float,
) -> np.ndarray:
    """Return the most likely plasmon of each spectrum, scattered to any number of times.

    Parameters
    ----------
    rows
        Counts, shape (N, E).
    first, part
        First channel above zero loss, and its energy loss [eV], shape (N,).
    elastic
        Counts without loss, shape (N,).
    starts
        Energy and width [eV] to begin with, shape (N, 2).
    limits
        Least and largest t/λ, energy and width, shape (2, 3).
    span
        Channels after the first between which the losses are looked at.
    loss, collected
        Energies [eV], `PARTS` after each place of a grid that begins at no loss, and the share of
        losses that is collected there.
    finer
        Places of the grid per channel.
    width, sigma
        Width of a channel, and standard deviation of the resolution without it and without the
        spread over the grid's steps [eV].
    gain, read_variance
        Counts per electron, and variance of the readout [square of counts].

    Returns
    -------
    ndarray
        Energy and width of the plasmon, their errors, significance and misfit, shape (N, 6).
    """
    number, channels = rows.shape
    low, high = span
    places = len(loss) // PARTS
    step = width / finer
    reach = int(np.ceil((width / 2 + step / 2 + 5 * sigma) / step))
    size = min(high * finer + finer + reach + 1, places)
    logs = np.log(limits)
    found = np.full((number, 6), np.nan)
    taps = np.empty(2 * reach + finer + 1)
    single, plural = np.empty((3, places)), np.empty((4, size))
    backwards = np.empty(size)
    seen = np.empty(high - low)
    mean, trial = np.empty((4, high - low)), np.empty((4, high - low))
    normal, matrix = np.empty((3, 3)), np.empty((3, 3))
    right, change, p, tried = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for n in range(number):
        used = min(high, channels - first[n]) - low
        # Three parameters, and something left to judge them by.
        if used < 5:
            continue
        data = rows[n, first[n] + low : first[n] + low + used]
        # What falls into a channel of losses that are spread over a step around a place.
        for j in range(len(taps)):
            away = part[n] - (j - reach) * step
            taps[j] = 0.0
            for end in (-0.5, 0.5):
                edge_ev = away + end * width
                rise = _below(edge_ev + step / 2, sigma) - _below(edge_ev - step / 2, sigma)
                taps[j] += 2 * end * rise / step
        total = 0.0
        for i in range(used):
            seen[i] = max(data[i] / gain + read_variance / gain**2, 0.0)
            total += max(data[i], 0.0)
        p[0] = np.log(max(np.log1p(total / elastic[n]), 1e-6))
        p[1], p[2] = np.log(starts[n, 0]), np.log(max(starts[n, 1], 0.3 * starts[n, 0]))
        for k in range(3):
            p[k] = min(max(p[k], logs[0, k]), logs[1, k])
        _losses(p, loss, collected, taps, reach, finer, low, used, elastic[n], single, plural,
                backwards, mean)  # fmt: skip
        cost = _cost(seen, mean[0], used, gain, read_variance)
        damping = 1e-3
        for _ in range(_ROUNDS):
            _normal(data, mean, used, gain, read_variance, normal, right)
            if not _step(normal, right, damping, matrix, change):
                break
            moved = 0.0
            for k in range(3):
                tried[k] = p[k] + min(max(change[k], -0.4), 0.4)
                tried[k] = min(max(tried[k], logs[0, k]), logs[1, k])
                moved = max(moved, abs(tried[k] - p[k]))
            _losses(tried, loss, collected, taps, reach, finer, low, used, elastic[n], single,
                    plural, backwards, trial)  # fmt: skip
            new = _cost(seen, trial[0], used, gain, read_variance)
            if new <= cost + 1e-9:
                p[:] = tried
                cost = new
                mean, trial = trial, mean
                damping /= 10
            else:
                damping = 10 * damping + 1e-6
            if moved <= 3e-4:
                break
        chi = _normal(data, mean, used, gain, read_variance, normal, right)
        edge = False
        for k in range(3):
            edge |= p[k] <= logs[0, k] + 1e-6 or p[k] >= logs[1, k] - 1e-6
            tried[k] = _error(normal, k, matrix, change)
        # What is not known within its half is not seen.
        edge |= not (tried[0] < np.inf and tried[1] <= 0.5 and tried[2] <= 0.5)
        for k in range(2):
            found[n, k] = np.exp(p[k + 1])
            found[n, 2 + k] = tried[k + 1] * found[n, k]
        found[n, 4] = 0.0 if edge else 1 / tried[0]
        found[n, 5] = chi / (used - 3)
    return found


@_summing  # type: ignore[untyped-decorator]
def _losses(
    p: np.ndarray,
    loss: np.ndarray,
    collected: np.ndarray,
    taps: np.ndarray,
    reach: int,
    finer: int,
    low: int,
    used: int,
    elastic: float,
    single: np.ndarray,
    plural: np.ndarray,
    backwards: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write expected counts and their slopes by the logarithms of t/λ, energy and width."""
    strength, peak, width = np.exp(p[0]), np.exp(p[1]), np.exp(p[2])
    resonance, by_peak, by_width = _resonance(peak, width)
    places, size = single.shape[1], plural.shape[1]
    square = width * width
    # One loss, and its slopes by resonance and width; what is common to all places cancels.
    total, total_r, total_w = 0.0, 0.0, 0.0
    left, left_r, left_w = 0.0, 0.0, 0.0
    for k in range(places):
        one, slope_r, slope_w = 0.0, 0.0, 0.0
        right, right_r, right_w = 0.0, 0.0, 0.0
        for i in range(PARTS):
            e = loss[PARTS * k + i]
            off = e * e - resonance
            over = 1 / (off * off + e * e * square)
            value = e * over * collected[PARTS * k + i]
            by_r, by_w = 2 * value * off * over, -2 * width * value * e * e * over
            # Shared between the places to either side, which keeps the mean energy.
            share = (i + 0.5) / PARTS
            one += (1 - share) * value
            slope_r += (1 - share) * by_r
            slope_w += (1 - share) * by_w
            right += share * value
            right_r += share * by_r
            right_w += share * by_w
        single[0, k], single[1, k], single[2, k] = one + left, slope_r + left_r, slope_w + left_w
        left, left_r, left_w = right, right_r, right_w
        total += single[0, k]
        total_r += single[1, k]
        total_w += single[2, k]
    norm = strength / total
    for k in range(size):
        one = norm * single[0, k]
        slope_r = norm * single[1, k] - one * total_r / total
        slope_w = norm * single[2, k] - one * total_w / total
        single[0, k] = one
        single[1, k] = peak * by_peak * slope_r
        single[2, k] = width * (slope_w + by_width * slope_r)
    # exp of a series: its slope is its product with the slope of the exponent.
    for k in range(size):
        plural[1, k] = k * single[0, k]
    backwards[size - 1] = np.exp(single[0, 0])
    for i in range(1, size):
        backwards[size - 1 - i] = _dot(plural[1, 1 : i + 1], backwards[size - i :]) / i
    for i in range(max(low * finer - reach, 0), size):
        behind = backwards[size - 1 - i :]
        plural[0, i] = behind[0] - (1.0 if i == 0 else 0.0)
        for k in range(3):
            plural[1 + k, i] = _dot(single[k, : i + 1], behind)
    for i in range(used):
        at = (low + i) * finer - reach
        skip = max(-at, 0)
        stop = min(len(taps), size - at)
        for k in range(4):
            out[k, i] = elastic * _dot(taps[skip:stop], plural[k, at + skip :])


@_summing  # type: ignore[untyped-decorator]
def _dot(one: np.ndarray, other: np.ndarray) -> float:
    """Return the product of the first of two rows with as much of the other."""
    total = 0.0
    for k in range(len(one)):
        total += one[k] * other[k]
    return total


@_compiled  # type: ignore[untyped-decorator]
def _below(x: float, sigma: float) -> float:
    """Return the integral of a Gaussian's distribution function up to x."""
    u = x / sigma
    normal = 0.5 * (1 + erf(u / np.sqrt(2.0)))
    return float(x * normal + sigma * np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi))


@_compiled  # type: ignore[untyped-decorator]
def _resonance(peak: float, width: float) -> tuple[float, float, float]:
    """Return the square of the resonance of a peak, and its slopes by the peak and its width."""
    square = peak * peak
    root = np.sqrt(4 + width * width / square)
    by_square = root - 1 - width * width / (2 * root * square)
    return square * (root - 1), 2 * peak * by_square, width / root


@_compiled  # type: ignore[untyped-decorator]
def _cost(
    seen: np.ndarray, mean: np.ndarray, used: int, gain: float, read_variance: float
) -> float:
    """Return the loss of log-likelihood, counting and readout together."""
    # A Poisson law of the counts, gains and readout noise added to both sides.
    total = 0.0
    for i in range(used):
        expected = max(mean[i] / gain + read_variance / gain**2, 1e-9)
        total += expected - seen[i] * np.log(expected)
    return total


@_compiled  # type: ignore[untyped-decorator]
def _normal(
    data: np.ndarray,
    mean: np.ndarray,
    used: int,
    gain: float,
    read_variance: float,
    normal: np.ndarray,
    right: np.ndarray,
) -> float:
    """Write the normal equations of a step, slopes following the mean, and return χ²."""
    size = len(right)
    normal[:] = 0.0
    right[:] = 0.0
    chi = 0.0
    least = _least(mean[0], used, gain)
    for i in range(used):
        weight = 1 / (gain * max(mean[0, i], least) + read_variance)
        rest = data[i] - mean[0, i]
        chi += weight * rest * rest
        for p in range(size):
            slope = weight * mean[1 + p, i]
            right[p] += slope * rest
            for q in range(p + 1):
                normal[p, q] += slope * mean[1 + q, i]
    return chi


@_compiled  # type: ignore[untyped-decorator]
def _least(mean: np.ndarray, used: int, gain: float) -> float:
    """Return what a channel is expected to hold at least: none is almost without any."""
    return 0.02 * max(float(mean[:used].mean()), 0.0) + 1e-9 * gain


@_compiled  # type: ignore[untyped-decorator]
def _step(
    normal: np.ndarray, right: np.ndarray, damping: float, matrix: np.ndarray, change: np.ndarray
) -> bool:
    """Write the solution of normal equations, damped in units of their diagonal, if any."""
    size = len(right)
    for p in range(size):
        change[p] = right[p] / np.sqrt(normal[p, p])
        for q in range(p):
            matrix[p, q] = normal[p, q] / np.sqrt(normal[p, p] * normal[q, q])
        matrix[p, p] = 1.0 + damping
        if not normal[p, p] > 0:
            return False
    if not _factor(matrix):
        return False
    _solve(matrix, change)
    for p in range(size):
        change[p] /= np.sqrt(normal[p, p])
    return True


@_compiled  # type: ignore[untyped-decorator]
def _error(normal: np.ndarray, which: int, matrix: np.ndarray, work: np.ndarray) -> float:
    """Return the standard error of one parameter, NaN where there is none."""
    unit = np.zeros(len(normal))
    unit[which] = 1.0
    return np.sqrt(work[which]) if _step(normal, unit, 0.0, matrix, work) else np.nan


@_compiled  # type: ignore[untyped-decorator]
def peak_fits(
    rows: np.ndarray,
    begin: np.ndarray,
    starts: np.ndarray,
    lowest: float,
    table: np.ndarray,
    finer: float,
    width: float,
    sigma: float,
    gain: float,
    read_variance: float,
) -> np.ndarray:
    """Return the most likely single peak of each spectrum upon a straight line around it.

    Parameters
    ----------
    rows
        Counts, shape (N, E).
    begin
        Energy loss of the first channel [eV], shape (N,).
    starts
        Energy and width [eV] to begin with, shape (N, 2).
    lowest
        Energy loss below which nothing is looked at [eV].
    table, finer
        Share of losses that is collected at energies from 0 on, and how many of them lie in 1 eV.
    width, sigma
        Width of a channel, and standard deviation of the resolution with it [eV].
    gain, read_variance
        Counts per electron, and variance of the readout [square of counts].

    Returns
    -------
    ndarray
        Energy and width of the plasmon, their errors, significance and misfit, shape (N, 6).
    """
    number, channels = rows.shape
    found = np.full((number, 6), np.nan)
    design = np.empty((6, channels))
    for n in range(number):
        centre, peak, wide = starts[n, 0], starts[n, 0], starts[n, 1]
        for _ in range(3):
            reach = min(max(3 * wide + 3 * sigma, 8 * width), 0.4 * centre)
            first = int(np.ceil((max(centre - reach, lowest) - begin[n]) / width))
            last = int(np.floor((centre + reach - begin[n]) / width)) + 1
            first, last = max(first, 0), min(last, channels)
            found[n] = np.nan
            if last - first < 8:
                break
            _fit_peak(
                rows[n, first:last], begin[n] + first * width, centre, peak, wide, table, finer,
                width, sigma, gain, read_variance, design, found[n],
            )  # fmt: skip
            # The window follows the plasmon that was found.
            if not abs(found[n, 0] - centre) >= width:
                break
            centre, peak, wide = found[n, 0], found[n, 0], found[n, 1]
    return found


@_compiled  # type: ignore[untyped-decorator]
def _fit_peak(
    data: np.ndarray,
    begin: float,
    centre: float,
    peak: float,
    wide: float,
    table: np.ndarray,
    finer: float,
    width: float,
    sigma: float,
    gain: float,
    read_variance: float,
    design: np.ndarray,
    found: np.ndarray,
) -> None:
    """Fit height, a straight line, energy and width by scoring."""
    size = len(data)
    # Expected counts, and their slopes by height, level, tilt, energy and width.
    mean, level = design[0], data.mean()
    for i in range(size):
        mean[i] = max(data[i], level)
        design[2, i] = 1.0
        design[3, i] = (begin + i * width - centre) / centre
    limits = 0.3 * centre
    normal, matrix = np.empty((5, 5)), np.empty((5, 5))
    right, change = np.empty(5), np.empty(5)
    amplitude = np.empty(3)
    found[:] = np.nan
    for _ in range(_ROUNDS):
        _smeared(peak, wide, begin, width, sigma, table, finer, size, design)
        # At given energy and width the rest is linear.
        least = _least(mean, size, gain)
        normal[:] = 0.0
        right[:] = 0.0
        for i in range(size):
            weight = 1 / (gain * max(mean[i], least) + read_variance)
            for p in range(3):
                right[p] += weight * design[1 + p, i] * data[i]
                for q in range(p + 1):
                    normal[p, q] += weight * design[1 + p, i] * design[1 + q, i]
        if not _step(normal[:3, :3], right[:3], 1e-12, matrix[:3, :3], amplitude):
            return
        for i in range(size):
            mean[i] = 0.0
            for p in range(3):
                mean[i] += amplitude[p] * design[1 + p, i]
            design[4, i] *= amplitude[0]
            design[5, i] *= amplitude[0]
        chi = _normal(data, design, size, gain, read_variance, normal, right)
        if not _step(normal, right, 1e-12, matrix, change):
            return
        by_peak = min(max(change[3], -0.2 * wide), 0.2 * wide)
        by_width = min(max(change[4], -0.2 * wide), 0.2 * wide)
        peak = min(max(peak + by_peak, centre - limits), centre + limits)
        wide = min(max(wide + by_width, 0.02 * centre), 1.2 * centre)
        if max(abs(by_peak), abs(by_width)) < 1e-4:
            break
    found[0], found[1] = peak, wide
    found[2] = _error(normal, 3, matrix, change)
    found[3] = _error(normal, 4, matrix, change)
    significance = amplitude[0] / _error(normal, 0, matrix, change)
    # Noise makes narrow plasmons, the line makes some as wide as the window.
    edge = abs(peak - centre) >= limits * (1 - 1e-6) or wide >= 1.2 * centre * (1 - 1e-6)
    edge |= not (found[2] < np.inf and found[3] <= wide and abs(significance) < np.inf)
    found[4] = 0.0 if edge else significance
    found[5] = chi / max(size - 5, 1)


@_compiled  # type: ignore[untyped-decorator]
def _smeared(
    peak: float,
    wide: float,
    begin: float,
    width: float,
    sigma: float,
    table: np.ndarray,
    finer: float,
    size: int,
    design: np.ndarray,
) -> None:
    """Write a plasmon at the resolution, and its slopes by energy and width."""
    resonance, by_peak, by_width = _resonance(peak, wide)
    for i in range(size):
        one, slope_r, slope_w = 0.0, 0.0, 0.0
        for k in range(len(_NODES)):
            e = max(begin + i * width - _NODES[k] * sigma, 1e-3)
            at = min(int(e * finer), len(table) - 2)
            collected = table[at] + (e * finer - at) * (table[at + 1] - table[at])
            off = e * e - resonance
            over = 1 / (off * off + e * e * wide * wide)
            value = _WEIGHTS[k] * collected * e * wide * resonance * over
            one += value
            slope_r += value * (1 / resonance + 2 * off * over)
            slope_w += value * (1 / wide - 2 * e * e * wide * over)
        design[1, i] = one
        design[4, i] = by_peak * slope_r
        design[5, i] = slope_w + by_width * slope_r

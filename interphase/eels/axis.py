"""The energy axis against edges whose energies are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import blocks, check_axis, check_number, check_spectra
from interphase.eels.zero_loss import even_step
from interphase.errors import ParameterError

_SIGNIFICANT = 5.0
"""Standard errors that the steepest rise must be steep."""
_FIRST = 0.4
"""Steepness over that of the steepest rise from which on a rise is the edge's first."""
_DISAGREE = 2.0
"""Standard errors by which edges may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownEdge:
    """An edge that the specimen certainly has."""

    name: str
    """Element and shell, such as ``O_K``."""
    onset_ev: float
    """Where its first rise is steepest, as tables define onsets [eV]."""
    error_ev: float
    """Standard error of that in this specimen, the chemical shift's among it [eV]."""

    def __post_init__(self) -> None:
        check_number("onset_ev", self.onset_ev, 1.0, 2e4, "eV")
        check_number("error_ev", self.error_ev, 1e-6, 50.0, "eV")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEdge:
    """Where an edge was found on the axis of the file."""

    name: str
    """Element and shell."""
    onset_ev: float
    """Where its first rise is steepest on the axis of the file [eV]; NaN where none is seen."""
    error_ev: float
    """Standard error of counting [eV]."""
    significance: float
    """Steepness over its standard error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisCheck:
    """What must be added to an energy axis."""

    correction_ev: float
    """Energy to add to the axis [eV]; NaN where no edge was found."""
    error_ev: float
    """Standard error, the onsets' in it, widened where the edges disagree [eV]."""
    dispersion_factor: float
    """Known over seen distances of edges: what channels are to be multiplied with; NaN for one."""
    dispersion_factor_error: float
    """Standard error of the factor."""
    edges: tuple[SeenEdge, ...]
    """The edges one by one."""
    assessment: Assessment
    """Whether the correction can be used."""
    sentence: str
    """The same in words."""


def check_energy_axis(
    counts: Any,
    energy_ev: np.ndarray,
    edges: Sequence[KnownEdge],
    *,
    within_ev: float = 10.0,
    smoothing_ev: float = 1.0,
    gain: float = 1.0,
    read_noise: float = 0.0,
) -> AxisCheck:
    r"""Find what an energy axis is off by, from edges that the specimen certainly has.

    Core-loss axes of files are commonly off by 3 to 9 eV. With dual spectra use the zero-loss peak
    instead, `find_zero_loss`. Do not use it for edges without a steep rise, such as delayed M
    edges, or for an element that may be absent: another rise nearby would be taken for it.

    Parameters
    ----------
    counts
        Core losses, shape (..., E), an array or a Dask array; all spectra are added [counts].
    energy_ev
        Energy loss of the channels as the file states it, shape (E,) [eV].
    edges
        The edges to look for.
    within_ev
        How far the axis may be off [eV].
    smoothing_ev
        Standard deviation of the Gaussian whose slope the rise is compared with [eV]; about the
        resolution.
    gain
        Counts per electron.
    read_noise
        Standard deviation of the readout per channel [counts].

    Returns
    -------
    AxisCheck
        The correction is reported, nothing is changed.

    Raises
    ------
    ParameterError
        No edge is given, or a number cannot be.

    Notes
    -----
    The slope D of the smoothed counts is largest at the onset, and
    :math:`\mathrm{var}(x) = \mathrm{var}(D') / D''^2` there. Of several rises, as of white lines,
    the first is taken that has 0.4 of the steepest one's slope, both relative to the counts. Edges
    are averaged with weights; where they differ by more than their errors, a wrong dispersion may
    be why.

    Examples
    --------
    >>> energy = np.arange(480.0, 600, 0.5)
    >>> edge = np.where(energy > 528, 3000 * np.exp(-(energy - 528) / 80), 0)
    >>> counts = np.random.default_rng(0).poisson(1e4 * (energy / 480) ** -3 + edge)
    >>> oxygen = KnownEdge(name="O_K", onset_ev=532.0, error_ev=1.0)
    >>> check = check_energy_axis(counts, energy, [oxygen])
    >>> round(check.correction_ev), round(check.error_ev)
    (4, 1)
    """
    counts = check_spectra("counts", counts)
    energy = check_axis(energy_ev, counts.shape[-1], least=32)
    even_step(energy)
    check_number("within_ev", within_ev, 0.5, 100.0, "eV")
    check_number("smoothing_ev", smoothing_ev, 1e-3, 20.0, "eV")
    if not edges:
        raise ParameterError("edges is empty: give at least one edge that the specimen has")
    total, number = np.zeros(len(energy)), 0
    for _, block in blocks(counts):
        rows = block.reshape(-1, block.shape[-1])
        rows = rows[np.isfinite(rows).all(axis=1)]
        total += rows.sum(axis=0)
        number += len(rows)
    variance = gain * np.maximum(total, gain) + number * read_noise**2
    seen = tuple(
        _find_edge(total, variance, energy, edge, within_ev, smoothing_ev) for edge in edges
    )
    pairs = [
        (known.onset_ev, found.onset_ev, np.hypot(known.error_ev, found.error_ev))
        for known, found in zip(edges, seen, strict=True)
        if np.isfinite(found.onset_ev) and found.error_ev < within_ev
    ]
    if not pairs:
        names = ", ".join(edge.name for edge in edges)
        return AxisCheck(
            correction_ev=float("nan"),
            error_ev=float("nan"),
            dispersion_factor=float("nan"),
            dispersion_factor_error=float("nan"),
            edges=seen,
            assessment=Assessment.UNCALIBRATED,
            sentence=f"no rise of {names} is seen within {within_ev:g} eV of its place: the axis "
            "stays unchecked",
        )
    known_ev, seen_ev, errors = np.array(pairs).T
    off, weight = known_ev - seen_ev, 1 / errors**2
    correction = float(weight @ off / weight.sum())
    misfit = float(weight @ (off - correction) ** 2) / max(len(off) - 1, 1)
    error = float(np.sqrt(max(misfit, 1.0) / weight.sum()))
    factor, factor_error = float("nan"), float("nan")
    apart = seen_ev - weight @ seen_ev / weight.sum()
    if np.ptp(seen_ev) > 5 * smoothing_ev:
        factor = float(weight * apart @ known_ev / (weight @ apart**2))
        factor_error = float(1 / np.sqrt(weight @ apart**2))
    listed = ", ".join(
        f"{found.name} at {found.onset_ev:.1f} instead of {known.onset_ev:.1f}"
        for known, found in zip(edges, seen, strict=True)
        if np.isfinite(found.onset_ev)
    )
    sentence = f"add {correction:+.1f} ± {error:.2g} eV to the energy axis: {listed}"
    missing = [found.name for found in seen if not np.isfinite(found.onset_ev)]
    if missing:
        sentence += f"; {', '.join(missing)} is not seen"
    assessment = Assessment.OK
    if misfit > _DISAGREE**2:
        assessment = Assessment.AMBIGUOUS
        sentence += (
            "; the edges disagree: one is another element's, or the dispersion has to be "
            f"multiplied by {factor:.3f} ± {factor_error:.3f}"
        )
    elif abs(correction) < 2 * error:
        sentence += "; within the error it needs none"
    return AxisCheck(
        correction_ev=correction,
        error_ev=error,
        dispersion_factor=factor,
        dispersion_factor_error=factor_error,
        edges=seen,
        assessment=assessment,
        sentence=sentence,
    )


def _find_edge(
    counts: np.ndarray,
    variance: np.ndarray,
    energy: np.ndarray,
    edge: KnownEdge,
    within_ev: float,
    smoothing_ev: float,
) -> SeenEdge:
    """Return where the first steep rise near an edge's place is."""
    from scipy.ndimage import convolve1d

    step = float(energy[1] - energy[0])
    sigma = max(smoothing_ev / step, 1.0)
    k = np.arange(-int(np.ceil(4 * sigma)), int(np.ceil(4 * sigma)) + 1)
    bell = np.exp(-((k / sigma) ** 2) / 2)
    # Slope of a smoothed signal and the slope of that: derivatives of a Gaussian.
    first = -k * bell / (np.sum(k**2 * bell))
    second = (k**2 / sigma**2 - 1) * bell
    second -= second.mean()
    second *= 2 / np.sum(k**2 * second)
    smooth = convolve1d(counts, bell / bell.sum(), mode="nearest")
    level = np.maximum(smooth, 1e-3 * max(float(smooth.max()), 1e-300))
    # In the logarithm a power law has almost no slope, whatever it starts from.
    spread = variance / level**2
    slope = convolve1d(counts, first, mode="nearest") / level
    noise = np.sqrt(convolve1d(spread, first**2, mode="nearest"))
    reach = within_ev + 3 * smoothing_ev
    none = SeenEdge(name=edge.name, onset_ev=np.nan, error_ev=np.nan, significance=0.0)
    inner = (energy >= energy[0] + 4 * sigma * step) & (energy <= energy[-1] - 4 * sigma * step)
    near = np.flatnonzero(inner & (np.abs(energy - edge.onset_ev) <= reach))
    before = inner & (energy >= edge.onset_ev - reach - 20) & (energy < edge.onset_ev - 0.5 * reach)
    if len(near) < 5:
        return none
    rise = slope - (np.median(slope[before]) if before.sum() > 5 else 0.0)
    steepest = float(rise[near].max())
    peaks = near[1:-1][
        (rise[near[1:-1]] >= rise[near[:-2]])
        & (rise[near[1:-1]] > rise[near[2:]])
        & (rise[near[1:-1]] > _FIRST * steepest)
        & (rise[near[1:-1]] > _SIGNIFICANT * noise[near[1:-1]])
    ]
    if not len(peaks):
        return none
    # The rise of the counts themselves: that of the logarithm is steepest a little before.
    steep = slope * level
    around = np.arange(
        max(peaks[0] - int(sigma) - 1, 1), min(peaks[0] + int(2 * sigma) + 2, len(steep) - 1)
    )
    at = int(around[steep[around].argmax()])
    left, top, right = steep[at - 1 : at + 2]
    bend = left - 2 * top + right
    place = float(np.clip(0.5 * (left - right) / bend, -1, 1)) if bend < 0 else 0.0
    # The slope's own slope has noise, which moves the place of its maximum.
    wobble = float(np.sqrt(convolve1d(variance, second**2, mode="nearest")[at]))
    error = wobble / max(-bend, 1e-300) * step
    return SeenEdge(
        name=edge.name,
        onset_ev=float(energy[at] + place * step),
        error_ev=float(np.hypot(error, 0.05 * step)),
        significance=float(rise[peaks[0]] / noise[peaks[0]]),
    )

"""The onset of losses across a band gap."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import check_axis, check_spectra
from interphase.eels.thickness import aligned_mean
from interphase.eels.zero_loss import ZeroLoss, even_step
from interphase.electron import velocity_ratio
from interphase.errors import MissingValueError, ParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class BandGap:
    """The onset of losses above the tail of the zero-loss peak."""

    energy_ev: float
    """Band gap [eV]; NaN where no onset is seen."""
    error_ev: float
    """Standard error of counting [eV]."""
    interval_ev: tuple[float, float]
    """Gaps that the likelihood allows at 95 % [eV]."""
    assessment: Assessment
    """Whether an onset is seen."""
    sentence: str
    """The same in words, with what else can make losses in a gap."""


def find_band_gap(
    counts: np.ndarray,
    energy_ev: np.ndarray,
    zero_loss: ZeroLoss,
    *,
    search_ev: tuple[float, float],
    transition: Literal["direct", "indirect"] = "direct",
    refractive_index: float | None = None,
    beam_energy_kev: float | None = None,
    gain: float = 1.0,
    read_noise: float = 0.0,
) -> BandGap:
    r"""Find the onset of losses above the tail of the zero-loss peak.

    Give the sum of a region of one phase. Do not use it where the gap is below about three widths
    of the zero-loss peak, or for metals.

    Parameters
    ----------
    counts
        Low losses: one spectrum, or several that are added once their peaks are in one place,
        shape (..., E) [counts].
    energy_ev
        Energy loss of the channels as the file states it, shape (E,) [eV].
    zero_loss
        From `find_zero_loss` of the same counts.
    search_ev
        Losses within which tail and onset are fitted [eV]: from where the tail of the zero-loss
        peak is smooth to a few eV above the gap, before the first structure of the losses.
    transition
        Direct gaps begin as a square root, indirect ones as its cube.
    refractive_index
        Of the phase; with the beam energy it tells whether Cerenkov radiation fills the gap.
    beam_energy_kev
        Beam energy [keV].
    gain
        Counts per electron.
    read_noise
        Standard deviation of the readout per channel [counts].

    Returns
    -------
    BandGap
        The likeliest onset and its interval.

    Raises
    ------
    ParameterError
        The window lies outside the axis, or a word or number cannot be.
    MissingValueError
        No zero-loss peak was found.

    Notes
    -----
    :math:`a + b e^{-E/c} + d\,(E - E_g)^{p}` above the gap, p = 1/2 or 3/2 [1]_, smeared by the
    resolution; a, b, d not negative. The likelihood is followed over :math:`E_g` and c.

    References
    ----------
    .. [1] B. Rafferty and L. M. Brown, Phys. Rev. B 58, 10326 (1998),
           doi:10.1103/PhysRevB.58.10326
    """
    from scipy.optimize import nnls

    power = {"direct": 0.5, "indirect": 1.5}.get(transition)
    if power is None:
        raise ParameterError(
            f"transition is {transition!r}: expected 'direct' or 'indirect', as theory has it"
        )
    counts = np.asarray(check_spectra("counts", counts), dtype=float)
    energy = check_axis(energy_ev, counts.shape[-1], least=32)
    step = even_step(energy)
    if not np.isfinite(zero_loss.position_ev).any():
        raise MissingValueError(f"losses have no origin: {zero_loss.sentence}")
    mean, axis = aligned_mean(counts, energy, zero_loss)
    number = int(np.isfinite(zero_loss.position_ev).sum())
    low, high = search_ev
    if not (0 < low < high <= axis[-1] and high - low >= 12 * step):
        raise ParameterError(
            f"search_ev is {search_ev!r}: expected at least 12 channels of {step:.3g} eV between "
            f"0 and {axis[-1]:.1f} eV"
        )
    near = (axis >= low) & (axis <= high)
    loss, data = axis[near], mean[near] * number
    smear = float(np.hypot(zero_loss.fwhm_ev / 2.355, step / np.sqrt(12)))

    # A root begins too steeply for the few nodes that do for a plasmon.
    nodes = np.linspace(-4, 4, 81)
    bell = np.exp(-(nodes**2) / 2) / np.exp(-(nodes**2) / 2).sum()

    def onset(gap: float) -> np.ndarray:
        above = loss[:, None] - smear * nodes - gap
        return np.asarray(np.maximum(above, 0) ** power @ bell)

    def cost(columns: list[np.ndarray]) -> float:
        """Return χ² at the best heights; weights follow the fit, as for counts they must."""
        design = np.stack(columns, axis=1)
        design = design / np.maximum(np.abs(design).max(axis=0), 1e-300)
        expected = np.maximum(data, gain)
        for _ in range(3):
            root = 1 / np.sqrt(gain * np.maximum(expected, gain) + number * read_noise**2)
            heights, _ = nnls(design * root[:, None], data * root)
            expected = design @ heights
        level = np.maximum(expected, gain)
        if read_noise:
            variance = gain * level + number * read_noise**2
            return float(np.sum((data - expected) ** 2 / variance + np.log(variance)))
        seen = np.maximum(data, 0)
        log = np.where(seen > 0, seen * np.log(np.maximum(seen, 1e-300) / level), 0)
        return float(2 * np.sum(log - seen + level) / gain)

    flat = np.ones_like(loss)

    def tails(decays: np.ndarray) -> list[np.ndarray]:
        return [np.exp(-(loss - low) / decay) for decay in decays]

    decays = np.geomspace(0.5 * step, high - low, 10)
    gaps, costs = np.empty(0), np.empty(0)
    trial = np.linspace(low + 2 * step, high - 4 * step, 40)
    for _ in range(4):
        fit = np.array([[cost([flat, t, onset(g)]) for t in tails(decays)] for g in trial])
        gaps, costs = np.concatenate([gaps, trial]), np.concatenate([costs, fit.min(axis=1)])
        # Closer around the best of both.
        decay = decays[fit.min(axis=0).argmin()]
        decays = decay * (decays[1] / decays[0]) ** np.linspace(-1, 1, 5)
        spacing = float(np.diff(trial)[0])
        trial = gaps[costs.argmin()] + spacing * np.linspace(-1.5, 1.5, 13)
        trial = trial[(trial >= low + 2 * step) & (trial <= high - 4 * step)]
    without = min(cost([flat, t]) for t in tails(np.geomspace(0.5 * step, high - low, 40)))
    order = np.argsort(gaps)
    gaps, costs = gaps[order], costs[order]
    least = float(costs.min())
    gap = float(gaps[costs.argmin()])
    allowed = gaps[costs <= least + 3.84]
    within = gaps[costs <= least + 1]
    interval = (float(allowed[0]), float(allowed[-1]))
    error = max((float(within[-1]) - float(within[0])) / 2, spacing / np.sqrt(12))
    dof = len(loss) - 5
    nan = float("nan")
    if without - least < 16:
        return BandGap(
            energy_ev=nan,
            error_ev=nan,
            interval_ev=(nan, nan),
            assessment=Assessment.TOO_FEW_ELECTRONS,
            sentence=f"no onset rises above the tail of the zero-loss peak between {low:g} and "
            f"{high:g} eV: the gap lies elsewhere, or the electrons do not suffice",
        )
    sentence = f"losses begin at {gap:.2f} ± {error:.2g} eV, if the gap is {transition}"
    assessment = Assessment.OK
    at_edge = interval[0] <= gaps[1] or interval[1] >= gaps[-2]
    if at_edge or (not read_noise and least > 3 * dof):
        assessment = Assessment.AMBIGUOUS
        sentence += (
            "; the likelihood does not close within search_ev"
            if at_edge
            else f"; χ² is {least / dof:.2g} per degree of freedom: the tail or the onset has "
            "another shape, choose another search_ev"
        )
    if beam_energy_kev is None or refractive_index is None:
        sentence += "; Cerenkov radiation can fill a gap of a phase with refractive index above c/v"
    elif velocity_ratio(beam_energy_kev) * refractive_index > 1:
        assessment = Assessment.AMBIGUOUS
        sentence += (
            f"; at {beam_energy_kev:g} keV Cerenkov radiation is emitted above an index of "
            f"{1 / velocity_ratio(beam_energy_kev):.2f} and makes losses within the gap"
        )
    return BandGap(
        energy_ev=gap,
        error_ev=error,
        interval_ev=interval,
        assessment=assessment,
        sentence=sentence,
    )

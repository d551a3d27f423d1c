"""Which edges a spectrum shows by itself: what rises over a power law, and where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from interphase.eels.axis import KnownEdge, check_energy_axis
from interphase.eels.checks import check_axis, check_number
from interphase.eels.cross_sections import edge_onsets
from interphase.eels.elements import ElementOptions
from interphase.errors import ParameterError
from interphase.power_law import PowerLawFit, fit_power_law

KNOWN_EDGES: Mapping[str, KnownEdge] = MappingProxyType(
    {
        name: KnownEdge(name=name, onset_ev=onset, error_ev=error)
        for name, onset, error in (
            ("C_K", 286.5, 3.0),
            ("N_K", 401.0, 2.0),
            ("Ti_L", 457.0, 1.0),
            ("O_K", 531.0, 2.5),
            ("Cr_L", 575.0, 1.5),
            ("Mn_L", 640.0, 1.5),
            ("F_K", 687.0, 2.5),
            ("Fe_L", 708.0, 1.5),
            ("Co_L", 779.0, 1.5),
            ("Ni_L", 855.0, 1.5),
        )
    }
)
"""Edge → where its first rise is steepest, and how far compounds move it. The onsets of N, Cr, Mn,
Fe, Co and Ni are those of eXSpy's table (grade A); C K is steepest at 284 in carbon and at 290 in
carbonate, which the axis must not decide; those of Ti, O and F, which it has at 456, 532
and 685 eV, and the scatter of compounds are remembered from practice of the field (grade C)."""
USUAL_ELEMENTS = ("Li", "C", "O", "F")
"""Elements of battery interphases, looked for where none are named."""
_BEFORE_EV, _GAP_EV, _AFTER_EV = 30.0, 8.0, 30.0
"""The background is fitted from so far before an onset up to a gap before it, for near-edge
structure and a wrong axis; a lasting rise is told from a gap behind the onset up to so far behind
it [eV]."""
_FEWEST_CHANNELS, _SHORTEST_EV = 8, 8.0
"""Channels before an onset, and their range [eV], from which a background is extrapolated."""
_RISE, _SURE = 0.1, 5.0
"""Rise over the background from which an edge is there, and standard errors from no rise."""
_ALIKE = 2.5
"""Standard errors by which the corrections that two edges want may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetSum:
    """The counts of an edge in a window, one number for each spectrum; NaN where none is told."""

    net: np.ndarray
    """Counts less the background, shape (...)."""
    variance: np.ndarray
    """Its variance, the error that the background's channels have in common among it [counts²]."""
    low: np.ndarray
    """Lower limit [counts]."""
    high: np.ndarray
    """Upper limit [counts]."""
    background: np.ndarray
    """The background in the window [counts]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetEdge:
    """Spectra about an onset, and the power law under them."""

    channels: slice
    """Channels of the spectra that these are: K of them."""
    energy_ev: np.ndarray
    """Their energy losses [eV], shape (K,)."""
    counts: np.ndarray
    """Their counts, shape (..., K)."""
    background: PowerLawFit
    """What precedes the onset, in electrons; NaN for spectra of too few of them."""
    gain: float
    """Counts per electron."""
    read_noise: float
    """Standard deviation of the readout per channel [counts]."""

    @property
    def net(self) -> np.ndarray:
        """Counts less the background, shape (..., K)."""
        return np.asarray(self.counts - self.gain * self.background.mean(self.energy_ev))

    @property
    def variance(self) -> np.ndarray:
        """Variance of `net` channel by channel [counts²], shape (..., K).

        A channel without counts has that of one electron. The background's part is common to all
        channels: see `total`.
        """
        own = self.gain * np.maximum(self.counts, self.gain) + self.read_noise**2
        return np.asarray(own + self.gain**2 * self.background.variance(self.energy_ev))

    def total(self, low_ev: float, high_ev: float, *, sigmas: float = 1.96) -> NetSum:
        r"""Return the net counts of a window.

        Parameters
        ----------
        low_ev, high_ev
            First and last energy of the window, which lies among the channels here [eV].
        sigmas
            Standard errors from the value to the limits: 1.96 for 95 %.

        Returns
        -------
        NetSum
            NaN where there is no background.

        Raises
        ------
        ParameterError
            The window holds no channel, or ends beyond the last one here.

        Notes
        -----
        With gross counts g and background b, each with limits of its own,
        :math:`l = g - b - \sqrt{(g - l_g)^2 + (u_b - b)^2}` and likewise for the upper limit [1]_;
        those of b are even in its logarithm. Limits at even distances from the value cover less
        than they state where the background has few counts.

        References
        ----------
        .. [1] G. Y. Zou and A. Donner, Stat. Med. 27, 1693 (2008), doi:10.1002/sim.3095
        """
        within = (self.energy_ev >= low_ev) & (self.energy_ev <= high_ev)
        step = self.energy_ev[-1] - self.energy_ev[-2]
        if not within.any() or high_ev > self.energy_ev[-1] + step:
            raise ParameterError(
                f"a sum from {low_ev:g} to {high_ev:g} eV was asked for: expected a window within "
                f"{self.energy_ev[0]:g} to {self.energy_ev[-1]:g} eV; give a larger after_ev"
            )
        energy = self.energy_ev[within]
        under, spread = self.background.total(energy)
        least, most = self.background.limits(energy, sigmas=sigmas)
        gross = self.counts[..., within].sum(axis=-1)
        own = self.gain * np.maximum(gross, 0) + len(energy) * self.read_noise**2
        net = gross - self.gain * under
        # A correction of the bias may put the background itself beyond a limit.
        below = self.gain * np.maximum(most - under, 0)
        above = self.gain * np.maximum(under - least, 0)
        return NetSum(
            net=net,
            variance=own + self.gain**2 * spread,
            low=net - np.sqrt(sigmas**2 * own + below**2),
            high=net + np.sqrt(sigmas**2 * own + above**2),
            background=self.gain * under,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OnsetCheck:
    """What edges that were seen say of the energy axis."""

    edges: tuple[str, ...]
    """Those that agree with each other, the ones to believe; empty where none is told."""
    correction_ev: float
    """Energy to add to the axis [eV]; NaN where no edge tells."""
    error_ev: float
    """Its standard error, the onsets' in it [eV]."""
    sentence: str
    """The same in words."""

    @property
    def needed(self) -> bool:
        """Whether the axis is off by more than the error of this."""
        return bool(abs(self.correction_ev) > 2 * self.error_ev)


def net_edge(
    counts: np.ndarray,
    energy_ev: np.ndarray,
    *,
    onset_ev: float,
    after_ev: float,
    gain: float = 1.0,
    read_noise: float = 0.0,
) -> NetEdge | None:
    """Return spectra about an onset less the power law that precedes it.

    For a look at one edge without a model of the others, as for fine structure and for whether an
    edge is there. Amounts come from `fit_elements`. Below 100 eV there is no power law.

    Parameters
    ----------
    counts
        Spectra, shape (..., E) [counts].
    energy_ev
        Energy losses of the channels, shape (E,) [eV].
    onset_ev
        Onset of the edge [eV].
    after_ev
        How far behind the onset to go [eV].
    gain
        Counts per electron.
    read_noise
        Standard deviation of the readout per channel [counts].

    Returns
    -------
    NetEdge or None
        The channels from 30 eV before the onset to `after_ev` behind it; ``None`` where fewer than
        8 channels, or less than 8 eV, lie between 30 and 8 eV before the onset.

    Raises
    ------
    ParameterError
        The shapes do not fit or a number cannot be.

    Examples
    --------
    >>> energy = np.arange(220.0, 340.0)
    >>> counts = 1e10 * energy**-3.0 + np.where(energy >= 284, 200.0, 0.0)
    >>> edge = net_edge(counts, energy, onset_ev=284.0, after_ev=50.0)
    >>> found = edge.total(284.0, 333.0)
    >>> [round(float(value), -1) for value in (found.net, found.low, found.high)]
    [10030.0, 8070.0, 11740.0]
    """
    counts = np.asarray(counts)
    energy = check_axis(energy_ev, counts.shape[-1])
    check_number("onset_ev", onset_ev, 1.0, 2e4, "eV")
    check_number("after_ev", after_ev, 0.1, 2e4, "eV")
    check_number("gain", gain, 1e-12, 1e12, "counts per electron")
    check_number("read_noise", read_noise, 0, 1e12, "counts")
    low, high = max(onset_ev - _BEFORE_EV, 1.0), onset_ev - _GAP_EV
    before = energy[(energy >= low) & (energy <= high)]
    if len(before) < _FEWEST_CHANNELS or np.ptp(before) < _SHORTEST_EV:
        return None
    first = np.searchsorted(energy, low)
    last = np.searchsorted(energy, onset_ev + after_ev, side="right")
    channels = slice(int(first), int(last))
    near = counts[..., channels].astype(float)
    background = fit_power_law(
        near / gain,
        energy[channels],
        window_ev=(low, high),
        read_variance=(read_noise / gain) ** 2,
    )
    return NetEdge(
        channels=channels,
        energy_ev=energy[channels],
        counts=near,
        background=background,
        gain=gain,
        read_noise=read_noise,
    )


def rises(
    counts: np.ndarray,
    energy_ev: np.ndarray,
    *,
    onset_ev: float,
    gain: float = 1.0,
    read_noise: float = 0.0,
) -> np.ndarray:
    """Return whether counts rise lastingly over what precedes an onset.

    A white line or a spike alone is no edge, nor is a rise of less than a tenth of the background:
    a power law does not describe one better. For onsets above 100 eV.

    Parameters
    ----------
    counts
        Spectra, shape (..., E) [counts].
    energy_ev
        Energy losses of the channels, shape (E,) [eV].
    onset_ev
        Onset of the edge [eV].
    gain
        Counts per electron.
    read_noise
        Standard deviation of the readout per channel [counts].

    Returns
    -------
    ndarray of bool
        Shape (...); ``False`` too where the axis or the electrons do not suffice.

    Raises
    ------
    ParameterError
        The shapes do not fit or a number cannot be.

    Examples
    --------
    >>> energy = np.arange(220.0, 340.0)
    >>> background = 1e10 * energy**-3.0
    >>> both = np.stack([background, background + np.where(energy >= 284, 200.0, 0.0)])
    >>> rises(both, energy, onset_ev=284.0).tolist()
    [False, True]
    """
    energy = np.asarray(energy_ev, dtype=float)
    low, high = onset_ev + _GAP_EV, onset_ev + _AFTER_EV
    none = np.zeros(np.shape(counts)[:-1], dtype=bool)
    if np.sum((energy > low) & (energy < high)) < 4 or energy[-1] < onset_ev + 2 * _GAP_EV:
        return none
    edge = net_edge(
        counts, energy, onset_ev=onset_ev, after_ev=_AFTER_EV, gain=gain, read_noise=read_noise
    )
    if edge is None:
        return none
    found = edge.total(low, min(high, energy[-1]), sigmas=_SURE)
    return np.asarray((found.net > _RISE * found.background) & (found.low > 0))


def seen_edges(
    counts: np.ndarray, energy_ev: np.ndarray, *, gain: float = 1.0, read_noise: float = 0.0
) -> list[str]:
    """Return the names of the known edges that rise in a spectrum, on the axis as it is.

    Parameters
    ----------
    counts
        One spectrum, shape (E,) [counts].
    energy_ev
        Energy losses of the channels, shape (E,) [eV].
    gain
        Counts per electron.
    read_noise
        Standard deviation of the readout per channel [counts].

    Returns
    -------
    list of str
        Some of `KNOWN_EDGES`; `check_on_known_edges` tells which of them to believe.

    Examples
    --------
    >>> energy = np.arange(220.0, 340.0)
    >>> seen_edges(1e10 * energy**-3.0 + np.where(energy >= 284, 200.0, 0.0), energy)
    ['C_K']
    """
    return [
        name
        for name, edge in KNOWN_EDGES.items()
        if rises(counts, energy_ev, onset_ev=edge.onset_ev, gain=gain, read_noise=read_noise)
    ]


def check_on_known_edges(
    counts: Any,
    energy_ev: np.ndarray,
    names: Sequence[str],
    *,
    gain: float = 1.0,
    read_noise: float = 0.0,
) -> OnsetCheck:
    """Check an energy axis on edges that were seen, and tell which of them to believe.

    What rises near a known onset may be the edge of another element, on an axis that is off: a rise
    that wants another correction than most others is not believed. Do not use it where a zero loss
    tells the axis.

    Parameters
    ----------
    counts
        Spectra, shape (..., E); all are added [counts].
    energy_ev
        Energy losses of the channels as the file states them, shape (E,) [eV].
    names
        Those of `KNOWN_EDGES` that rise.
    gain
        Counts per electron.
    read_noise
        Standard deviation of the readout per channel [counts].

    Returns
    -------
    OnsetCheck
        The axis itself is left as it is.

    Raises
    ------
    ParameterError
        A name is not among `KNOWN_EDGES`, or a number cannot be.

    Examples
    --------
    >>> energy = np.arange(240.0, 420.0, 0.5)
    >>> edge = 3000 / (1 + np.exp(-2 * (energy - 289.5)))
    >>> counts = np.random.default_rng(0).poisson(1e4 * (energy / 240) ** -3 + edge)
    >>> check = check_on_known_edges(counts, energy, ["C_K"])
    >>> check.edges, round(check.correction_ev), check.needed
    (('C_K',), -3, False)
    """
    unknown = [name for name in names if name not in KNOWN_EDGES]
    if unknown:
        raise ParameterError(
            f"{unknown[0]!r} is not a known edge: expected some of {', '.join(KNOWN_EDGES)}"
        )
    none = OnsetCheck(
        edges=(),
        correction_ev=float("nan"),
        error_ev=float("nan"),
        sentence="the energy axis stays unchecked: no known edge is seen",
    )
    if not names:
        return none
    noise = {"gain": gain, "read_noise": read_noise}
    known = [KNOWN_EDGES[name] for name in names]
    seen = check_energy_axis(counts, energy_ev, known, **noise).edges
    off = np.array([one.onset_ev - found.onset_ev for one, found in zip(known, seen, strict=True)])
    error = np.array([one.error_ev for one in known])
    alike = np.abs(off[:, None] - off) <= _ALIKE * np.hypot(error[:, None], error)
    # Edges that agree with each other, and not only with a vague one between them.
    groups = []
    for first in np.flatnonzero(alike.diagonal()):
        group = [int(first)]
        for other in np.argsort(error):
            if other != first and alike[other, group].all():
                group.append(int(other))
        groups.append(sorted(group))
    if not groups:
        return none
    believed = max(groups, key=lambda group: float((error[group] ** -2.0).sum()))
    kept = [known[k] for k in believed]
    check = check_energy_axis(counts, energy_ev, kept, **noise)
    if not np.isfinite(check.correction_ev):
        return none
    return OnsetCheck(
        edges=tuple(one.name for one in kept),
        correction_ev=check.correction_ev,
        error_ev=check.error_ev,
        sentence=check.sentence,
    )


def usual_elements(seen: Sequence[str]) -> list[str]:
    """Return the elements to look for where none are named: the usual ones, and those seen.

    Of the usual ones that are not seen none is kept that begins in the near-edge window of one that
    is: only the sum of the counts of such a window is known, and it would be shared between the
    two.

    Parameters
    ----------
    seen
        Edges that rise, such as ``O_K``.

    Returns
    -------
    list of str
        Symbols.

    Examples
    --------
    >>> usual_elements(["O_K", "Ti_L"])
    ['Li', 'C', 'O', 'F', 'Ti']
    """
    width = ElementOptions().near_edge_ev
    found = {name.partition("_")[0]: name for name in seen}
    taken = [edge_onsets(element)[name] for element, name in found.items()]
    kept = [
        element
        for element in USUAL_ELEMENTS
        if element in found
        or all(abs(edge_onsets(element)[f"{element}_K"] - onset) >= width for onset in taken)
    ]
    return list(dict.fromkeys([*kept, *found]))

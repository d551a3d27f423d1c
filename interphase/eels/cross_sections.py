"""What an atom of an element adds to each channel, and the edges that can be taken for others."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from interphase.core_loss import (
    CrossSection,
    cross_section,
    import_exspy,
    installed_tables,
    known_edges,
)
from interphase.electron import BARN_A2
from interphase.errors import ParameterError

_SUBCHANNELS = 8
"""Parts of a channel over which a cross-section is summed, so that an onset may lie within one."""
_UNQUANTIFIED_DECAY = 3.0
"""Exponent with which an M edge is taken to fall. An assumption, grade C: no shell of eXSpy's
hydrogenic model is an M shell, so the amount of such an edge is no number of atoms."""


_WHITE_LINES = frozenset("K Ca Sc Ti V Cr Mn Fe Co Ni Cu".split())
"""Elements whose 2p electrons find empty 3d states in compounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """An ionisation edge as channels see it, before plural scattering."""

    name: str
    """Element and shell, such as ``Li_K``, ``Ti_L`` or ``Ti_M``."""
    onset_ev: float
    """Energy loss at which it begins [eV]."""
    per_channel_nm2: np.ndarray
    """Cross-section of each channel [nm²], shape (E,); in units of its first 50 eV where not
    `quantitative`."""
    table: str
    """Where the cross-section comes from: ``hydrogenic``, ``dft``, ``dirac`` or a file."""
    quantitative: bool
    """Whether its strength is a number of atoms."""
    relative_uncertainty: float
    """Trust in the cross-section, one standard deviation over the value; it is common to all
    spectra and in none of their standard errors. NaN where not `quantitative`."""

    white_lines: bool = False
    """Whether it begins with lines into empty d states, which no table knows: only what follows
    the near-edge window tells the atoms."""

    @property
    def element(self) -> str:
        """Symbol of the element."""
        return self.name.partition("_")[0]


@cache
def _m_onset(element: str) -> float | None:
    """Return the onset of an M2,3 edge [eV], for elements whose 3d shell is being filled."""
    energies = import_exspy().material.elements[element].Atomic_properties.Binding_energies
    onset = float(energies["M3"]["onset_energy (eV)"]) if "M3" in energies else None
    return onset if onset is not None and onset < 100 else None


def edge_onsets(element: str) -> dict[str, float]:
    """Return the edges of an element that a fit can hold, and where they begin.

    Parameters
    ----------
    element
        Symbol.

    Returns
    -------
    dict
        Edge → energy loss [eV]. ``Ti_M`` stands for M2,3, whose strength is no number of atoms.

    Raises
    ------
    ParameterError
        No such element, or one without an edge.

    Examples
    --------
    >>> edge_onsets("Ti")
    {'Ti_L': 456.0, 'Ti_M': 35.0}
    """
    if element not in import_exspy().material.elements:
        raise ParameterError(f"{element!r} is not an element: expected a symbol such as Li")
    found = dict(known_edges(element))
    if found and (onset := _m_onset(element)) is not None:
        found[f"{element}_M"] = onset
    if not found:
        raise ParameterError(f"{element} has no K, L or M edge that a fit can hold: leave it out")
    return found


def onset_ev(name: str) -> float:
    """Return where an edge begins [eV].

    Parameters
    ----------
    name
        Edge, such as ``Li_K``.

    Examples
    --------
    >>> onset_ev("Li_K")
    55.0
    """
    onsets = edge_onsets(name.partition("_")[0])
    if name not in onsets:
        raise ParameterError(f"{name!r} is not an edge: expected one of {', '.join(onsets)}")
    return onsets[name]


def edges_within(
    elements: Sequence[str], energy_ev: np.ndarray, *, before_ev: float = 5.0
) -> dict[str, tuple[str, ...]]:
    """Return which edges of some elements begin within a range of energies.

    Parameters
    ----------
    elements
        Symbols.
    energy_ev
        Energy losses of the channels [eV], rising.
    before_ev
        Channels there must be before an onset, to see the background, and after it [eV].

    Returns
    -------
    dict
        Element → its edges; none where the range shows no edge of it.

    Examples
    --------
    >>> edges_within(["C", "Ti", "F"], np.arange(250.0, 600.0))
    {'C': ('C_K',), 'Ti': ('Ti_L',), 'F': ()}
    """
    first, last = energy_ev[0] + before_ev, energy_ev[-1] - before_ev
    return {
        element: tuple(
            name for name, onset in edge_onsets(element).items() if first <= onset <= last
        )
        for element in elements
    }


def edge_cross_section(
    name: str,
    energy_ev: np.ndarray,
    *,
    beam_energy_kev: float,
    collection_mrad: float,
    convergence_mrad: float,
    table: str | None = None,
) -> Edge:
    """Return an edge's cross-section in each channel.

    Parameters
    ----------
    name
        Edge, one of `edge_onsets`.
    energy_ev
        Energy losses of the channels [eV], equally spaced, shape (E,).
    beam_energy_kev
        Beam energy [keV].
    collection_mrad, convergence_mrad
        Semi-angles [mrad].
    table
        One of `interphase.core_loss.installed_tables` or the path of a GOSH file; the best one
        that is installed and holds the edge unless given.

    Returns
    -------
    Edge
        The cross-section of a channel is that of its whole width.

    Raises
    ------
    ParameterError
        There is no such edge, or the table does not hold it.

    Examples
    --------
    >>> energy = np.arange(250.0, 400.0, 0.5)
    >>> carbon = edge_cross_section("C_K", energy, beam_energy_kev=300, collection_mrad=10,
    ...               convergence_mrad=0, table="hydrogenic")
    >>> barn = float(carbon.per_channel_nm2[energy < 334].sum()) * 1e10
    >>> round(barn / 2999, 2)
    1.0
    """
    onset, shell = onset_ev(name), name.partition("_")[2]
    step = (energy_ev[-1] - energy_ev[0]) / (len(energy_ev) - 1)
    within = (np.arange(_SUBCHANNELS) + 0.5) / _SUBCHANNELS - 0.5
    fine = energy_ev[:, np.newaxis] + step * within
    above = fine >= onset
    if shell == "M":
        shape = np.where(above, (np.maximum(fine, onset) / onset) ** -_UNQUANTIFIED_DECAY, 0.0)
        power = 1 - _UNQUANTIFIED_DECAY
        first_50_ev = onset / -power * (1 - ((onset + 50) / onset) ** power)
        return Edge(
            name=name,
            onset_ev=onset,
            per_channel_nm2=shape.mean(axis=1) * step / first_50_ev,
            table="assumed shape",
            quantitative=False,
            relative_uncertainty=np.nan,
        )
    section, chosen = _section(
        name,
        installed_tables() if table is None else (table,),
        beam_energy_kev=beam_energy_kev,
        collection_semi_angle_mrad=collection_mrad,
        convergence_semi_angle_mrad=convergence_mrad,
    )
    barns = np.where(above, section(np.maximum(fine, onset)), 0.0)
    return Edge(
        name=name,
        onset_ev=onset,
        per_channel_nm2=barns.mean(axis=1) * step * BARN_A2 / 100,
        table=chosen,
        quantitative=True,
        relative_uncertainty=_trust(name, chosen),
        white_lines=shell == "L" and name.partition("_")[0] in _WHITE_LINES,
    )


def _section(name: str, tables: Sequence[str], **optics: float) -> tuple[CrossSection, str]:
    """Return the cross-section of the first table that holds an edge, and the table."""
    for table in tables[:-1]:
        with contextlib.suppress(ParameterError):
            return cross_section(name, table=table, **optics), table
    return cross_section(name, table=tables[-1], **optics), tables[-1]


def _trust(name: str, table: str) -> float:
    """Return the relative uncertainty of a cross-section.

    Hydrogenic K edges are trusted within 10 to 20 %, Li K within 30 to 50 %; L edges share the
    worst figure. Tabulated oscillator
    strengths are given the better figure of the K edges (grade C).
    """
    if table != "hydrogenic":
        return 0.1
    return 0.2 if name.endswith("_K") and name != "Li_K" else 0.5

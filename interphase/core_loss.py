"""Cross-sections of core losses, from eXSpy's models of the inner shells."""

import contextlib
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from interphase.electron import checked_energy
from interphase.errors import ParameterError

CrossSection = Callable[[np.ndarray], np.ndarray]


def import_exspy() -> Any:
    """Return eXSpy, whose import of a deprecated name is not the user's concern."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import exspy
    return exspy


@cache
def known_edges(element: str) -> Mapping[str, float]:
    """Return the edges of an element that the hydrogenic model covers.

    The L edge stands for the whole shell, L1 to L3. The M and N edges of heavier elements are
    not covered; hydrogen's ionisation is part of the valence losses.

    Parameters
    ----------
    element
        Symbol.

    Returns
    -------
    dict
        Edge, such as ``Li_K`` or ``P_L`` → energy of its onset [eV].

    Examples
    --------
    >>> known_edges("P")
    {'P_K': 2146.0, 'P_L': 132.0}
    """
    entry = import_exspy().material.elements[element]
    if "Binding_energies" not in entry.Atomic_properties or element in ("H", "He"):
        return {}
    energies = entry.Atomic_properties.Binding_energies
    found = {}
    for shell, names in {"K": ("K",), "L": ("L3", "L2,3")}.items():
        for name in names:
            if name in energies:
                found[f"{element}_{shell}"] = float(energies[name]["onset_energy (eV)"])
    return found


def installed_tables() -> tuple[str, ...]:
    """Return the tables of generalised oscillator strengths at hand, the best one first.

    Nothing is downloaded: a table counts once eXSpy has fetched it.

    Returns
    -------
    tuple of str
        Some of ``dirac`` (relativistic), ``dft``, ``hydrogenic``; the last is always there.

    References
    ----------
    .. [1] Z. Zhang, I. Lobato et al., Dirac GOS database, doi:10.5281/zenodo.12800856
    .. [2] L. Segger, G. Guzzinati, H. Kohl, GOSH database, doi:10.5281/zenodo.7645765

    Examples
    --------
    >>> installed_tables()[-1]
    'hydrogenic'
    """
    return (*(name for name in ("dirac", "dft") if _table_file(name).is_file()), "hydrogenic")


@cache
def _table_file(table: str) -> Path:
    import_exspy()
    import pooch
    from exspy._misc.eels.gosh_gos import _GOSH_SOURCES
    from pooch.utils import unique_file_name

    name: str = unique_file_name(_GOSH_SOURCES[table]["URL"])
    return Path(pooch.os_cache("pooch")) / name


@cache
def cross_section(
    edge: str,
    *,
    beam_energy_kev: float,
    collection_semi_angle_mrad: float,
    convergence_semi_angle_mrad: float = 0.0,
    table: str = "hydrogenic",
) -> CrossSection:
    """Return the differential cross-section of an edge as a function of energy loss.

    The hydrogenic model is trusted within 10 to 20 % for most K edges, 30 to 50 % for Li K, and
    does not know white lines. No table knows near-edge structure.

    Parameters
    ----------
    edge
        Element and shell, such as ``Li_K`` or ``P_L``.
    beam_energy_kev
        Beam energy [keV].
    collection_semi_angle_mrad
        Collection semi-angle [mrad].
    convergence_semi_angle_mrad
        Convergence semi-angle, which eXSpy turns into an effective collection angle [mrad].
    table
        One of `installed_tables`, or the path of a file in the GOSH format.

    Returns
    -------
    callable
        Energy loss [eV] → dσ/dE [barn/eV], 0 below the onset.

    Raises
    ------
    ParameterError
        The table does not cover the edge, or energy or angles cannot be.
    """
    checked_energy(beam_energy_kev)
    _checked_angles(collection_semi_angle_mrad, convergence_semi_angle_mrad)
    element, _, shell = edge.partition("_")
    onsets = known_edges(element) if element in import_exspy().material.elements else {}
    if edge not in onsets:
        raise ParameterError(
            f"{edge!r} is not an edge of the hydrogenic model: expected one such as Li_K or P_L"
        )
    if table == "hydrogenic":
        components = [_hydrogenic(element, shell, onsets[edge])]
    else:
        components = _tabulated(edge, table)
    for component in components:
        component.set_microscope_parameters(
            E0=beam_energy_kev,
            alpha=convergence_semi_angle_mrad,
            beta=collection_semi_angle_mrad,
            energy_scale=1.0,
        )
    return lambda energy: np.sum([component.function(energy) for component in components], axis=0)


def _tabulated(edge: str, table: str) -> list[Any]:
    """Return the subshells of an edge that a file of oscillator strengths holds."""
    path = _table_file(table) if table in ("dirac", "dft") else Path(table)
    if not path.is_file():
        raise ParameterError(
            f"the table {table!r} is not installed: expected one of "
            f"{', '.join(installed_tables())} or the path of a .gosh file"
        )
    element, _, shell = edge.partition("_")
    found = []
    for subshell in ("K",) if shell == "K" else ("L3", "L2", "L1"):
        with contextlib.suppress(ValueError, KeyError):
            found.append(
                import_exspy().components.EELSCLEdge(
                    f"{element}_{subshell}", GOS="dft", gos_file_path=str(path)
                )
            )
    if not found:
        raise ParameterError(f"the table {table!r} does not hold {edge}: give another table")
    return found


def _hydrogenic(element: str, shell: str, onset_ev: float) -> Any:
    edge_of = import_exspy().components.EELSCLEdge
    elements = import_exspy().material.elements
    if shell == "K":
        return edge_of(f"{element}_K", GOS="hydrogenic")
    energies = elements[element].Atomic_properties.Binding_energies
    if "L3" in energies:
        return edge_of(f"{element}_L3", GOS="hydrogenic")
    # eXSpy's table has Na, Al, P, S and Cl with one "L2,3", but its model asks for "L3": it is
    # given their numbers in the place of silicon's.
    component = edge_of("Si_L3", GOS="hydrogenic")
    model = component.GOS
    onset_l1_ev = float(energies["L1"]["onset_energy (eV)"])
    model.element, model.Z = element, elements[element].General_properties.Z
    model.onset_energy = model.onset_energy_L3 = onset_ev
    model.onset_energy_L1 = onset_l1_ev
    above = model.get_parametrized_energy_axis(50, 3, 50)
    below = above[above < onset_l1_ev - onset_ev]
    model.rel_energy_axis = np.concatenate([below, above + onset_l1_ev - onset_ev])
    model.energy_axis = model.rel_energy_axis + onset_ev
    with component.onset_energy.events.value_changed.suppress():
        component.onset_energy.value = onset_ev
    component.name = f"{element}_L"
    return component


def partial_cross_section(
    edge: str,
    *,
    window_ev: float,
    beam_energy_kev: float,
    collection_semi_angle_mrad: float,
    convergence_semi_angle_mrad: float = 0.0,
) -> float:
    """Return the cross-section of an edge up to some energy above its onset.

    Parameters
    ----------
    edge
        Element and shell, such as ``Li_K`` or ``P_L``.
    window_ev
        Energies above the onset that count [eV].
    beam_energy_kev
        Beam energy [keV].
    collection_semi_angle_mrad, convergence_semi_angle_mrad
        Semi-angles [mrad].

    Returns
    -------
    float
        σ(β, Δ) [barn].

    Raises
    ------
    ParameterError
        The model does not cover the edge, or a number cannot be.

    Examples
    --------
    >>> lithium = partial_cross_section(
    ...     "Li_K", window_ev=50, beam_energy_kev=300, collection_semi_angle_mrad=10
    ... )
    >>> round(lithium / 1e3)
    61
    """
    if not 0 < window_ev < np.inf:
        raise ParameterError(f"window_ev is {window_ev!r}: expected a finite number above 0")
    section = cross_section(
        edge,
        beam_energy_kev=beam_energy_kev,
        collection_semi_angle_mrad=collection_semi_angle_mrad,
        convergence_semi_angle_mrad=convergence_semi_angle_mrad,
    )
    onset = known_edges(edge.partition("_")[0])[edge]
    energy = onset + np.linspace(0, window_ev, 4001)
    return float(np.trapezoid(section(energy), energy))


def _checked_angles(collection_mrad: float, convergence_mrad: float) -> None:
    if not 0 < collection_mrad < np.inf:
        raise ParameterError(
            f"collection_semi_angle_mrad is {collection_mrad!r}: expected a finite number > 0"
        )
    if not 0 <= convergence_mrad < np.inf:
        raise ParameterError(
            f"convergence_semi_angle_mrad is {convergence_mrad!r}: expected a finite number >= 0; "
            "0 is a parallel beam"
        )

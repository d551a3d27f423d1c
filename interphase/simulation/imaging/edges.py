"""Cross-sections of core losses, from eXSpy's hydrogenic model of the K and L shells."""

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from interphase.electron import checked_energy
from interphase.errors import ParameterError
from interphase.simulation.checks import check_not_negative, check_positive
from interphase.simulation.imaging.materials import NearEdgePeak

CrossSection = Callable[[np.ndarray], np.ndarray]

WINDOW_EV = 50.0
"""Energies above an onset within which near-edge peaks take events from the rest of the edge."""
BELOW_ONSET_EV = 10.0
"""Energies below an onset that the foot of a near-edge peak may reach."""
A2_PER_BARN = 1e-8


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


@cache
def cross_section(
    edge: str,
    *,
    beam_energy_kev: float,
    collection_semi_angle_mrad: float,
    convergence_semi_angle_mrad: float = 0.0,
) -> CrossSection:
    """Return the differential cross-section of an edge as a function of energy loss.

    The hydrogenic model is trusted within 10 to 20 % for most K edges, 30 to 50 % for Li K, and
    does not know white lines or near-edge structure.

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

    Returns
    -------
    callable
        Energy loss [eV] → dσ/dE [barn/eV], 0 below the onset.

    Raises
    ------
    ParameterError
        The model does not cover the edge, or energy or angles cannot be.
    """
    checked_energy(beam_energy_kev)
    check_positive(collection_semi_angle_mrad=collection_semi_angle_mrad)
    check_not_negative(convergence_semi_angle_mrad=convergence_semi_angle_mrad)
    element, _, shell = edge.partition("_")
    onsets = known_edges(element) if element in import_exspy().material.elements else {}
    if edge not in onsets:
        raise ParameterError(
            f"{edge!r} is not an edge of the hydrogenic model: expected one such as Li_K or P_L"
        )
    component = _component(element, shell, onsets[edge])
    component.set_microscope_parameters(
        E0=beam_energy_kev,
        alpha=convergence_semi_angle_mrad,
        beta=collection_semi_angle_mrad,
        energy_scale=1.0,
    )
    section: CrossSection = component.function
    return section


def _component(element: str, shell: str, onset_ev: float) -> Any:
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
    check_positive(window_ev=window_ev)
    section = cross_section(
        edge,
        beam_energy_kev=beam_energy_kev,
        collection_semi_angle_mrad=collection_semi_angle_mrad,
        convergence_semi_angle_mrad=convergence_semi_angle_mrad,
    )
    onset = known_edges(edge.partition("_")[0])[edge]
    energy = onset + np.linspace(0, window_ev, 4001)
    return float(np.trapezoid(section(energy), energy))


def with_near_edge(
    section: CrossSection, onset_ev: float, peaks: tuple[NearEdgePeak, ...]
) -> CrossSection:
    """Return a cross-section with near-edge peaks and the same integral up to `WINDOW_EV`.

    What the peaks take is taken from the edge with a weight that falls linearly from the onset to
    the end of the window, so the edge stays continuous there.

    Parameters
    ----------
    section
        Energy loss [eV] → dσ/dE.
    onset_ev
        Where it begins [eV].
    peaks
        Gaussian peaks with their shares of the integral; some lie below the onset.

    Returns
    -------
    callable
        Energy loss [eV] → dσ/dE.

    Raises
    ------
    ParameterError
        The peaks take more than there is.
    """
    window = onset_ev + np.linspace(0, WINDOW_EV, 4001)

    def weight(energy: np.ndarray) -> np.ndarray:
        return np.clip(1 - (energy - onset_ev) / WINDOW_EV, 0, 1)

    area = float(np.trapezoid(section(window), window))
    weighted = float(np.trapezoid(section(window) * weight(window), window))
    taken = sum(peak.share for peak in peaks) * area / weighted
    if taken > 1:
        raise ParameterError(
            f"the peaks above {onset_ev:g} eV take {sum(peak.share for peak in peaks):.2f} of the "
            f"edge: expected at most {weighted / area:.2f}"
        )

    def shaped(energy: np.ndarray) -> np.ndarray:
        density = section(energy) * (1 - taken * weight(energy))
        for peak in peaks:
            sigma = peak.fwhm_ev / np.sqrt(8 * np.log(2))
            gaussian = np.exp(-(((energy - peak.peak_ev) / sigma) ** 2) / 2)
            density = density + peak.share * area * gaussian / (sigma * np.sqrt(2 * np.pi))
        return np.asarray(density)

    return shaped

"""What a material does to the energy of the beam: atoms per volume, plasmon, near-edge peaks."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import numpy as np

from interphase.errors import ParameterError
from interphase.inelastic import free_electron_plasmon
from interphase.phases import known_phases, load_phase
from interphase.phases.elements import atomic_mass
from interphase.simulation.models.matrices import AVOGADRO_G_A3, MATRICES

VALENCE_ELECTRONS: Mapping[str, int] = MappingProxyType(
    {
        element: number
        for number, elements in {
            1: "H Li Na Cu Au",
            2: "Mg",
            3: "Al La",
            4: "C Si Ge Ti Zr",
            5: "N P",
            6: "O S",
            7: "F Cl Br I",
        }.items()
        for element in elements.split()
    }
)
"""Electrons of an atom that take part in a plasmon: those outside closed shells."""

RELATIVE_WIDTH = 0.5
"""Width of a plasmon over its energy where no width is known: compounds' plasmons are broad.

An assumption, grade C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearEdgePeak:
    """A peak just above an ionisation edge."""

    edge: str
    """Element and shell, such as ``C_K`` or ``P_L``."""
    peak_ev: float
    """Energy loss [eV]."""
    fwhm_ev: float
    """Full width at half maximum [eV]; an assumption, grade C."""
    share: float
    """Part of the edge's events within 50 eV of its onset; an assumption, grade C."""
    grade: str
    """Trust in `peak_ev`."""
    source: str
    """Where `peak_ev` comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossMaterial:
    """A material as energy-loss spectra see it."""

    identifier: str
    """Phase, or key of `MATRICES`."""
    atoms_per_a3: Mapping[str, float]
    """Element → number of atoms per volume [1/Å³]."""
    density_g_per_cm3: float
    """Mass density [g/cm³]."""
    plasmon_ev: float
    """Where the loss function is largest [eV]."""
    plasmon_fwhm_ev: float
    """Width of the loss function [eV]."""
    plasmon_source: str
    """Where position and width come from, with grades."""
    near_edge: tuple[NearEdgePeak, ...] = ()
    """Peaks above its edges; none where nothing is known."""

    def __post_init__(self) -> None:
        if not (0 < self.plasmon_ev < np.inf and 0 < self.plasmon_fwhm_ev < np.inf):
            raise ParameterError(
                f"the plasmon of {self.identifier} is at {self.plasmon_ev!r} eV and "
                f"{self.plasmon_fwhm_ev!r} eV wide: expected numbers above 0"
            )


@cache
def loss_material(identifier: str) -> LossMaterial:
    """Return what is known of a material's energy losses.

    The plasmon is the remembered one where the table has it, else that of free electrons
    (grade C, too low or too high by several eV for compounds). It is one broad peak: excitons,
    interband transitions, the π plasmon of carbon and the band gap are left out.

    Parameters
    ----------
    identifier
        Phase of the package's table, or key of `MATRICES`.

    Returns
    -------
    LossMaterial
        The same object at every call. Phases have their tabulated cell.

    Raises
    ------
    ParameterError
        No such material.

    Examples
    --------
    >>> oxide = loss_material("Li2O")
    >>> oxide.plasmon_ev, round(oxide.atoms_per_a3["Li"], 4)
    (18.5, 0.0816)
    """
    if identifier in MATRICES:
        matrix = MATRICES[identifier]
        density = matrix.density_g_per_cm3
        mass = sum(atomic_mass(element) * n for element, n in matrix.composition.items())
        per_a3 = AVOGADRO_G_A3 * density / mass
        atoms = {element: n * per_a3 for element, n in matrix.composition.items()}
    elif identifier in known_phases():
        phase = load_phase(identifier)
        density = phase.density_g_cm3
        atoms = {element: n / phase.volume_a3 for element, n in phase.atoms_per_cell.items()}
    else:
        raise ParameterError(
            f"{identifier!r} is not a material: give a phase of the table or one of "
            f"{', '.join(MATRICES)}"
        )
    row = _plasmons().get(identifier)
    if row is None:
        electrons = sum(VALENCE_ELECTRONS[element] * n for element, n in atoms.items())
        peak, source = free_electron_plasmon(electrons), "free electrons (C)"
    else:
        peak, source = float(row["peak_ev"]), f"{row['peak_source']} ({row['peak_grade']})"
    if row is not None and row["fwhm_ev"]:
        width = float(row["fwhm_ev"])
        source += f"; width {row['fwhm_source']} ({row['fwhm_grade']})"
    else:
        width = RELATIVE_WIDTH * peak
        source += f"; width assumed, {RELATIVE_WIDTH} of the energy (C)"
    return LossMaterial(
        identifier=identifier,
        atoms_per_a3=MappingProxyType(atoms),
        density_g_per_cm3=density,
        plasmon_ev=peak,
        plasmon_fwhm_ev=width,
        plasmon_source=source,
        near_edge=_near_edges().get(identifier, ()),
    )


def _rows(name: str) -> Iterator[dict[str, str]]:
    text = files("interphase.simulation").joinpath(f"data/{name}").read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())


@cache
def _plasmons() -> dict[str, dict[str, str]]:
    return {row["material"]: row for row in _rows("plasmons.csv")}


@cache
def _near_edges() -> dict[str, tuple[NearEdgePeak, ...]]:
    peaks: dict[str, list[NearEdgePeak]] = defaultdict(list)
    for row in _rows("near_edge.csv"):
        peaks[row["material"]].append(
            NearEdgePeak(
                edge=row["edge"],
                peak_ev=float(row["peak_ev"]),
                fwhm_ev=float(row["fwhm_ev"]),
                share=float(row["share"]),
                grade=row["grade"],
                source=row["source"],
            )
        )
    return {material: tuple(found) for material, found in peaks.items()}

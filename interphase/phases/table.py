"""The record of a candidate phase and the table of those the package knows."""

import csv
import difflib
import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from interphase.errors import ParameterError, PhaseError
from interphase.phases.elements import atomic_mass

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

_U_PER_A3_IN_G_PER_CM3 = 1.66053906892
_SAME_TEMPERATURE_K = 15.0
_ROOM_TEMPERATURE_K = 298.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contraction:
    """How much a cell shortens on cooling, as one source gives it."""

    fraction: float
    """Fraction by which every edge shortens from the phase's temperature to `to_k`."""
    to_k: float
    """Temperature at which the whole contraction is reached [K]."""
    grade: str
    """Trust in the number: A, B or C."""
    source: str
    """Who says so."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Phase:
    """A crystalline phase an image or pattern may show: cell, atoms and where they come from.

    Phases compare by identity; `load_phase` gives the same object for the same identifier.
    """

    identifier: str
    """Formula with a suffix where needed, such as ``Li3N-alpha``; a CIF's file stem."""
    name: str
    """The phase in words."""
    formula: str
    """Chemical formula."""
    category: str
    """``metal``, ``sei``, ``electrode``, ``solid-electrolyte``, ``artefact``, ``calibrant``
    or ``cif``."""
    space_group: str
    """Hermann-Mauguin symbol."""
    lattice: tuple[float, float, float, float, float, float]
    """Edges a, b, c [Å] and angles α, β, γ [degrees] of the conventional cell."""
    species: tuple[str, ...]
    """Element of each site of the full cell, N entries."""
    fractional: np.ndarray
    """Fractional coordinates of each site, shape (N, 3)."""
    occupancies: np.ndarray
    """Share of each site that is filled, shape (N,)."""
    omitted: Mapping[str, float]
    """Element → atoms per cell that exist but have no site here."""
    temperature_k: float | None
    """Temperature the cell belongs to [K]; ``None`` where a CIF does not say."""
    grade: str
    """Trust in the cell: A read or recomputed, B remembered and physically checked, C rough;
    ``user`` for a CIF."""
    site_grade: str | None
    """Trust in the coordinates; ``None`` where symmetry fixes them."""
    source: str
    """Where the numbers come from."""
    note: str = ""
    """Doubts and simplifications a reader should know."""
    contraction: Contraction | None = None
    """Known contraction on cooling."""
    doubts: tuple[str, ...] = ()
    """What a result that uses the structure must warn of, one sentence each; of a CIF."""

    @property
    def lattice_vectors(self) -> np.ndarray:
        """Cell vectors a, b, c as rows [Å], shape (3, 3); c is along z, a in the xz plane."""
        a, b, c, *angles = self.lattice
        alpha, beta, gamma = np.radians(angles)
        cos_gamma_star = (np.cos(alpha) * np.cos(beta) - np.cos(gamma)) / (
            np.sin(alpha) * np.sin(beta)
        )
        sin_gamma_star = np.sqrt(1 - cos_gamma_star**2)
        rows = [
            [a * np.sin(beta), 0.0, a * np.cos(beta)],
            [
                -b * np.sin(alpha) * cos_gamma_star,
                b * np.sin(alpha) * sin_gamma_star,
                b * np.cos(alpha),
            ],
            [0.0, 0.0, c],
        ]
        return np.array(rows)

    @property
    def reciprocal_vectors(self) -> np.ndarray:
        """Reciprocal cell vectors a*, b*, c* as rows [1/Å], no 2π, shape (3, 3)."""
        reciprocal: np.ndarray = np.linalg.inv(self.lattice_vectors).T
        return reciprocal

    @property
    def volume_a3(self) -> float:
        """Volume of the conventional cell [Å³]."""
        return float(np.linalg.det(self.lattice_vectors))

    @property
    def atoms_per_cell(self) -> Mapping[str, float]:
        """Element → atoms per conventional cell, omitted ones included."""
        counts: Counter[str] = Counter()
        for element, occupancy in zip(self.species, self.occupancies, strict=True):
            counts[element] += float(occupancy)  # type: ignore[assignment]
        for element, number in self.omitted.items():
            counts[element] += number  # type: ignore[assignment]
        return dict(counts)

    @property
    def density_g_cm3(self) -> float:
        """Mass density of the cell, omitted atoms included [g/cm³].

        >>> round(load_phase("Li2CO3").density_g_cm3, 3)
        2.099
        """
        mass = sum(atomic_mass(el) * n for el, n in self.atoms_per_cell.items())
        return mass / self.volume_a3 * _U_PER_A3_IN_G_PER_CM3

    def at(self, temperature_k: float) -> Self:
        """Return the phase as its cell is at a temperature, as far as that is known.

        Between the two temperatures of a known contraction the strain is interpolated
        linearly; below the lower one it is kept. Where nothing is known the cell stays as it
        is and `note` says so.

        Parameters
        ----------
        temperature_k
            Temperature of the specimen [K].

        Returns
        -------
        Phase
            With cell and `temperature_k` changed, or unchanged within 15 K.

        Examples
        --------
        >>> round(load_phase("Li").at(90).lattice[0], 4)
        3.4873
        """
        if not (isinstance(temperature_k, Real) and 0 < temperature_k < float("inf")):
            raise ParameterError(
                f"temperature_k is {temperature_k!r}: expected a finite temperature above 0 K"
            )
        if (
            self.temperature_k is not None
            and abs(temperature_k - self.temperature_k) <= _SAME_TEMPERATURE_K
        ):
            return self
        known = self.contraction
        if known is None or self.temperature_k is None or temperature_k > self.temperature_k:
            doubt = f"The change of the cell to {temperature_k:g} K is unknown and not applied."
            return replace(self, note=f"{self.note} {doubt}".strip())
        share = (self.temperature_k - temperature_k) / (self.temperature_k - known.to_k)
        factor = 1 - known.fraction * min(share, 1.0)
        a, b, c, alpha, beta, gamma = self.lattice
        remark = (
            f"Cell contracted by {100 * (1 - factor):.2f} % to {temperature_k:g} K "
            f"(grade {known.grade}; {known.source})."
        )
        return replace(
            self,
            lattice=(a * factor, b * factor, c * factor, alpha, beta, gamma),
            temperature_k=float(temperature_k),
            grade=max(self.grade, known.grade, key=lambda grade: grade[0]),
            note=f"{self.note} {remark}".strip(),
            contraction=None,
        )

    def structure(self) -> "Structure":
        """Return the full cell as a pymatgen ``Structure`` (loads pymatgen).

        Returns
        -------
        Structure
            In the frame of `lattice_vectors`; omitted atoms are absent.
        """
        from pymatgen.core.lattice import Lattice
        from pymatgen.core.structure import Structure

        shared = [tuple(np.round(position, 6)) for position in self.fractional]
        sites: dict[tuple[float, ...], dict[str, float]] = defaultdict(dict)
        for key, element, occupancy in zip(shared, self.species, self.occupancies, strict=True):
            sites[key][element] = float(occupancy)
        positions = [self.fractional[shared.index(key)] for key in sites]
        return Structure(Lattice(self.lattice_vectors), list(sites.values()), positions)


@cache
def _rows() -> dict[str, dict[str, Any]]:
    text = files("interphase.phases").joinpath("data/phases.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def _sites() -> dict[str, list[tuple[str, tuple[float, float, float], float]]]:
    text = files("interphase.phases").joinpath("data/sites.csv").read_text(encoding="utf-8")
    sites = defaultdict(list)
    for identifier, element, x, y, z, occupancy in list(csv.reader(text.splitlines()))[1:]:
        sites[identifier].append((element, (float(x), float(y), float(z)), float(occupancy)))
    return dict(sites)


def known_phases() -> tuple[str, ...]:
    """Return the identifiers of every phase in the package's table, in its order."""
    return tuple(_rows())


@cache
def load_phase(identifier: str) -> Phase:
    """Return one phase of the package's table.

    Parameters
    ----------
    identifier
        Such as ``Li2O``, ``LiOH.H2O``, ``Li3N-alpha`` or ``ice-Ih``.

    Returns
    -------
    Phase
        The same object at every call.

    Raises
    ------
    PhaseError
        No such phase; the message names the closest.

    Examples
    --------
    >>> phase = load_phase("Li2O")
    >>> phase.formula, phase.space_group, phase.lattice[0], phase.grade
    ('Li2O', 'Fm-3m', 4.6114, 'B')
    """
    rows = _rows()
    if identifier not in rows:
        raise PhaseError(
            f"{identifier!r} is not a phase of the table: {closest(str(identifier), rows)}"
        )
    row = rows[identifier]
    sites = _sites()[identifier]
    contraction = None
    if "contraction" in row:
        contraction = Contraction(
            fraction=row["contraction"],
            to_k=row["contraction_to_k"],
            grade=row["contraction_grade"],
            source=row["contraction_source"],
        )
    fractional = np.array([position for _, position, _ in sites])
    occupancies = np.array([occupancy for _, _, occupancy in sites])
    fractional.setflags(write=False)
    occupancies.setflags(write=False)
    a, b, c, alpha, beta, gamma = map(float, row["cell"])
    return Phase(
        identifier=identifier,
        name=row["name"],
        formula=row["formula"],
        category=row["category"],
        space_group=row["space_group"],
        lattice=(a, b, c, alpha, beta, gamma),
        species=tuple(element for element, _, _ in sites),
        fractional=fractional,
        occupancies=occupancies,
        omitted=row.get("omitted", {}),
        temperature_k=float(row["temperature_k"]),
        grade=row["grade"],
        site_grade=row.get("site_grade"),
        source=row["source"],
        note=row.get("note", ""),
        contraction=contraction,
    )


def check_phase(phase: object) -> None:
    """Raise where something is given in the place of a `Phase`, such as its name."""
    if not isinstance(phase, Phase):
        raise ParameterError(
            f"phase is {phase!r}: expected a Phase, such as interphase.phases.load_phase('LiF')"
        )


def closest(word: str, known: Any) -> str:
    """Return the end of a sentence that names the known words nearest to `word`.

    >>> closest("lif", ["Li", "LiF", "Cu"])
    'the closest are LiF, Li'
    """
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=3, cutoff=0.5)
    if near:
        return "the closest are " + ", ".join(by_lower[name] for name in near)
    return "known are " + ", ".join(known)

"""Any crystal structure as a candidate, from a CIF."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from interphase.errors import PhaseError
from interphase.phases.elements import scattering_parameters
from interphase.phases.table import Phase

if TYPE_CHECKING:
    from pymatgen.core.lattice import Lattice
    from pymatgen.core.structure import Structure
    from pymatgen.symmetry.groups import SpaceGroup

_EDGE_A = (1.5, 150.0)
_ANGLE_DEG = (20.0, 160.0)
_ANGLES = ("alpha", "beta", "gamma")
_VOLUME_PER_ATOM_A3 = (2.0, 500.0)
_LARGEST_FILE = 20_000_000
_MOST_ATOMS = 4000
# Osmium, the densest solid, has 22.6 g/cm³; the emptiest frameworks known have 0.17 g/cm³
# (El-Kaderi et al., Science 2007, doi:10.1126/science.1139915); lithium, the lightest solid
# without pores, has 0.53 g/cm³.
_DENSITY_G_CM3 = (0.1, 25.0)
_LIGHTEST_G_CM3 = 0.5
# Two atoms nearer than this are one, or alternatives of each other [Å]; H-H in H2 is 0.74 Å.
_APART_A = 0.6
_OCCUPANCY = 1.05
# A cell this near to that of its space group (fraction, degrees) is taken as it stands.
_NEAR_EDGE, _NEAR_ANGLE_DEG = 0.02, 2.0
# What the reader remarks though nothing is wrong.
_NO_DOUBT = (
    "Spacegroup from _symmetry_space_group_name_H-M used",
    "Spacegroup from _space_group",
    "Cannot determine chemical composition",
)


def phase_from_cif(path: str | Path) -> Phase:
    """Return the first structure of a CIF as a candidate phase.

    Further data blocks with a cell are left out, and disorder is kept as partial occupancy.
    Symmetry is taken as the file states it. What is doubtful stands in `Phase.doubts`, and every
    result that uses the phase repeats it.

    Parameters
    ----------
    path
        A CIF of at most 20 MB.

    Returns
    -------
    Phase
        Its identifier is the file's stem, its grade ``user``, and its temperature unknown
        unless the file states one.

    Raises
    ------
    PhaseError
        The file is missing, is no CIF, leaves its cell or its atoms open, describes a cell or a
        density that no crystal has, puts two atoms in one place, or contradicts itself.
    """
    path = Path(path)
    text, left_out = _first_structure(_read(path))
    from pymatgen.core.periodic_table import DummySpecies
    from pymatgen.io.cif import CifParser

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            parser = CifParser.from_str(text, occupancy_tolerance=_OCCUPANCY)
            block = next(iter(parser.as_dict().values()))
            _check_block(path, block)
            structure = parser.parse_structures(primitive=False, on_error="raise")[0]
        except PhaseError:
            raise
        except Exception as error:  # the parser lets any exception of a bad file through
            said = " ".join(str(error).split())[:200]
            if crowded := re.search(r"Occupancy ([\d.]+) exceeded", said):
                raise PhaseError(
                    f"{path.name} fills one place with {crowded[1]} atoms: list each atom once, "
                    "and give alternatives their occupancies"
                ) from error
            raise PhaseError(f"{path.name} holds no usable crystal structure: {said}") from error
    lattice = structure.lattice.parameters
    _check_cell(path, lattice, structure)

    species, positions, occupancies = [], [], []
    for site in structure:
        for element, occupancy in site.species.items():
            if isinstance(element, DummySpecies):
                raise PhaseError(
                    f"{path.name} has an atom called {element.symbol!r}: expected chemical elements"
                )
            symbol = "H" if element.symbol in {"D", "T"} else element.symbol
            scattering_parameters(symbol)
            species.append(symbol)
            positions.append(site.frac_coords % 1)
            occupancies.append(float(occupancy))
    space_group = _space_group(block)
    doubts = []
    if left_out:
        doubts.append(f"the first of {left_out + 1} structures of the file is used")
    if not structure.is_ordered:
        doubts.append("sites are partly occupied; the structure factors use the average atom")
    doubts += _check_atoms(path, structure)
    doubts += _check_symmetry(path, block, space_group, structure.lattice)
    remarks = (" ".join(str(w.message).split()).rstrip(".") for w in caught)
    for remark in dict.fromkeys(remarks):
        if "Defaulting to P1" in remark:
            doubts.append("it states no symmetry, so only the atoms it lists are used")
        elif not any(usual in remark for usual in _NO_DOUBT):
            doubts.append(f"the reader says: {remark}")
    return Phase(
        identifier=path.stem,
        name=path.stem,
        formula=structure.composition.reduced_formula,
        category="cif",
        space_group=space_group,
        lattice=tuple(map(float, lattice)),  # type: ignore[arg-type]
        species=tuple(species),
        fractional=np.array(positions),
        occupancies=np.array(occupancies),
        omitted={},
        temperature_k=_temperature(block),
        grade="user",
        site_grade="user",
        source=str(path),
        note=" ".join(f"{doubt[0].upper()}{doubt[1:]}." for doubt in doubts),
        doubts=tuple(f"{path.name}: {doubt}." for doubt in doubts),
    )


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise PhaseError(f"{path.name} is larger than 20 MB: expected the CIF of one structure")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise PhaseError(f"{path} cannot be read: {error.strerror}") from error
    if "_cell_length_a" not in text:
        raise PhaseError(
            f"{path.name} is not a CIF of a crystal structure: expected a _cell_length_a in it"
        )
    return text


def _first_structure(text: str) -> tuple[str, int]:
    """Return the text of the first data block with a cell, and how many more have one."""
    blocks = re.split(r"^(?=[ \t]*data_)", text, flags=re.MULTILINE)
    whole = [block for block in blocks if "_cell_length_a" in block]
    return (whole[0], len(whole) - 1) if whole[0].lstrip().startswith("data_") else (text, 0)


def _check_block(path: Path, block: Mapping[str, object]) -> None:
    """Refuse a block that leaves its cell or its atoms open."""
    for key in (
        *(f"_cell_length_{edge}" for edge in "abc"),
        *map("_cell_angle_{}".format, _ANGLES),
    ):
        value = str(block.get(key, "?"))
        number = _number(value)
        if number is None:
            raise PhaseError(
                f"{path.name} holds no usable crystal structure: its {key} is {value[:40]!r}, "
                "expected a number"
            )
        if not number > 0:
            raise PhaseError(f"{path.name} has {key} = {number:g}: expected a positive number")
    for axis in "xyz":
        key = f"_atom_site_fract_{axis}"
        values = block.get(key)
        if not values:
            raise PhaseError(f"{path.name} lists no atoms: expected {key} in it")
        if len(values) > _MOST_ATOMS:  # type: ignore[arg-type]
            raise PhaseError(
                f"{path.name} lists {len(values)} atoms: expected the cell of a crystal, of at "  # type: ignore[arg-type]
                f"most {_MOST_ATOMS}"
            )
        unknown = [v for v in values if str(v).strip() in {"?", "."}]  # type: ignore[attr-defined]
        if unknown:
            raise PhaseError(
                f"{path.name} leaves {key} of {len(unknown)} atoms open ({unknown[0]!r}): expected "
                "fractions of the cell"
            )

    from pymatgen.core.periodic_table import Element

    labels = block.get("_atom_site_type_symbol", [])
    for label in dict.fromkeys(map(str, labels)):  # type: ignore[call-overload]
        symbol = re.match("[A-Za-z]*", label.strip())[0]  # type: ignore[index]
        if symbol and not Element.is_valid_symbol(symbol.capitalize()):
            raise PhaseError(
                f"{path.name} has an atom called {label!r}: expected chemical elements; leave "
                "vacancies and dummy atoms out"
            )
    for filled in block.get("_atom_site_occupancy", []):  # type: ignore[attr-defined]
        occupancy = _number(filled)
        if occupancy is not None and not 0 <= occupancy <= _OCCUPANCY:
            raise PhaseError(
                f"{path.name} fills a site to {occupancy:g}: expected an occupancy of 0 to 1"
            )


def _number(text: object) -> float | None:
    """Return a CIF's number without its uncertainty, or nothing where it is left open."""
    try:
        return float(str(text).split("(")[0])
    except ValueError:
        return None


def _check_atoms(path: Path, structure: "Structure") -> list[str]:
    """Refuse atoms upon each other and densities no crystal has; return what is doubtful."""
    density = float(structure.density)
    if not _DENSITY_G_CM3[0] <= density <= _DENSITY_G_CM3[1]:
        raise PhaseError(
            f"{path.name} has a density of {density:.3g} g/cm³: expected {_DENSITY_G_CM3[0]:g} to "
            f"{_DENSITY_G_CM3[1]:g}, check cell, symmetry and atoms"
        )
    first, second, _, distance = structure.get_neighbor_list(_APART_A)
    filled = np.array([site.species.num_atoms for site in structure])
    for i, j, apart in zip(first, second, distance, strict=True):
        if filled[i] + filled[j] > _OCCUPANCY:
            raise PhaseError(
                f"{path.name} has atoms {structure[i].species_string} and "
                f"{structure[j].species_string} {apart:.2f} Å apart, which together fill more than "
                "one site: give alternatives their occupancies, and each atom once"
            )
    if density < _LIGHTEST_G_CM3:
        return [
            f"its density of {density:.2g} g/cm³ is below that of lithium: atoms or symmetry "
            "operators may be missing"
        ]
    return []


def _check_symmetry(
    path: Path, block: Mapping[str, object], name: str, lattice: "Lattice"
) -> list[str]:
    """Refuse a cell that its space group excludes; return what is doubtful."""
    from pymatgen.symmetry.groups import SpaceGroup

    try:
        group = SpaceGroup(name.split(":")[0])
    except ValueError:
        return []
    doubts = []
    stated = block.get("_space_group_IT_number", block.get("_symmetry_Int_Tables_number"))
    number = _number(stated)
    if number is not None and number != group.int_number:
        doubts.append(f"it calls {name} number {number:g}, which is {group.int_number}")
    if _fits(group, lattice, tol=1e-3, angle_tol=0.1):
        return doubts
    contradiction = (
        f"its space group {name} is {group.crystal_system}, and its cell "
        f"{_join(lattice.lengths)} Å, {_join(lattice.angles)} degrees is not"
    )
    if _fits(group, lattice, tol=_NEAR_EDGE, angle_tol=_NEAR_ANGLE_DEG):
        return [*doubts, f"{contradiction}; the cell is taken as it stands"]
    raise PhaseError(
        f"{path.name} contradicts itself: {contradiction}; correct the cell or the space group"
    )


def _fits(group: "SpaceGroup", lattice: "Lattice", *, tol: float, angle_tol: float) -> bool:
    """Return whether a space group allows a cell, in any usual setting."""
    edges, angles = np.array(lattice.lengths), np.array(lattice.angles)
    if group.crystal_system == "monoclinic":
        return int(np.sum(np.abs(angles - 90) < angle_tol)) >= 2
    rhombohedral = np.ptp(edges) < tol * edges.mean() and np.ptp(angles) < angle_tol
    if group.symbol.startswith("R") and rhombohedral:
        return True
    return bool(group.is_compatible(lattice, tol=tol * edges.mean(), angle_tol=angle_tol))


def _check_cell(path: Path, lattice: tuple[float, ...], structure: object) -> None:
    edges, angles = lattice[:3], lattice[3:]
    if not all(_EDGE_A[0] <= edge <= _EDGE_A[1] for edge in edges):
        raise PhaseError(
            f"{path.name} has cell edges {_join(edges)} Å: expected {_EDGE_A[0]:g} to "
            f"{_EDGE_A[1]:g} Å, check the unit in the file"
        )
    volume = structure.lattice.volume  # type: ignore[attr-defined]
    if not all(_ANGLE_DEG[0] <= angle <= _ANGLE_DEG[1] for angle in angles) or not volume > 0:
        raise PhaseError(
            f"{path.name} has cell angles {_join(angles)} degrees, which close no crystal cell"
        )
    atoms = structure.composition.num_atoms  # type: ignore[attr-defined]
    if not _VOLUME_PER_ATOM_A3[0] <= volume / atoms <= _VOLUME_PER_ATOM_A3[1]:
        raise PhaseError(
            f"{path.name} has {volume / atoms:.3g} Å³ per atom: expected "
            f"{_VOLUME_PER_ATOM_A3[0]:g} to {_VOLUME_PER_ATOM_A3[1]:g}, check cell and sites"
        )


def _join(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _space_group(block: dict[str, object]) -> str:
    for key in ("_space_group_name_H-M_alt", "_symmetry_space_group_name_H-M"):
        if isinstance(block.get(key), str):
            return str(block[key]).strip().replace(" ", "")
    return "not stated"


def _temperature(block: dict[str, object]) -> float | None:
    for key in ("_diffrn_ambient_temperature", "_cell_measurement_temperature"):
        value = _number(block.get(key))
        if value is not None and 0 < value < 5000:
            return value
    return None

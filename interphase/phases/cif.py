"""Any crystal structure as a candidate, from a CIF."""

import warnings
from pathlib import Path

import numpy as np

from interphase.errors import PhaseError
from interphase.phases.elements import scattering_parameters
from interphase.phases.table import Phase

_EDGE_A = (1.5, 150.0)
_ANGLE_DEG = (20.0, 160.0)
_VOLUME_PER_ATOM_A3 = (2.0, 500.0)
_LARGEST_FILE = 20_000_000


def phase_from_cif(path: str | Path) -> Phase:
    """Return the first structure of a CIF as a candidate phase.

    Disorder is kept as partial occupancy and said in the note. Symmetry is taken as the file
    states it.

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
        The file is missing, is no CIF, or describes a cell that no crystal has.
    """
    path = Path(path)
    text = _read(path)
    from pymatgen.core.periodic_table import DummySpecies
    from pymatgen.io.cif import CifParser

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            parser = CifParser.from_str(text, occupancy_tolerance=1.05)
            structure = parser.parse_structures(primitive=False, on_error="raise")[0]
        except Exception as error:  # the parser lets any exception of a bad file through
            raise PhaseError(f"{path.name} holds no usable crystal structure: {error}") from error
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
    block = next(iter(parser.as_dict().values()))
    notes = []
    if not structure.is_ordered:
        notes.append("Sites are partly occupied; the structure factors use the average atom.")
    if caught:
        doubts = dict.fromkeys(" ".join(str(w.message).split()) for w in caught)
        notes.append("Doubts of the reader: " + "; ".join(doubts) + ".")
    return Phase(
        identifier=path.stem,
        name=path.stem,
        formula=structure.composition.reduced_formula,
        category="cif",
        space_group=_space_group(block),
        lattice=tuple(map(float, lattice)),  # type: ignore[arg-type]
        species=tuple(species),
        fractional=np.array(positions),
        occupancies=np.array(occupancies),
        omitted={},
        temperature_k=_temperature(block),
        grade="user",
        site_grade="user",
        source=str(path),
        note=" ".join(notes),
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
        try:
            value = float(str(block[key]).split("(")[0])
        except (KeyError, ValueError):
            continue
        if 0 < value < 5000:
            return value
    return None

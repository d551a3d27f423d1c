"""Any crystal structure as a candidate, from a CIF."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from interphase.errors import PhaseError
from interphase.phases.elements import scattering_parameters
from interphase.phases.table import Phase

_EDGE_A = (1.5, 150.0)
_ANGLE_DEG = (20.0, 160.0)
_ANGLES = ("alpha", "beta", "gamma")
_VOLUME_PER_ATOM_A3 = (2.0, 500.0)
_LARGEST_FILE = 20_000_000


def phase_from_cif(path: str | Path) -> Phase:
    """Return the first structure of a CIF as a candidate phase.

    Further data blocks with a cell are left out, and disorder is kept as partial occupancy; the
    note says both. Symmetry is taken as the file states it.

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
        The file is missing, is no CIF, leaves its cell or its atoms open, or describes
        a cell that no crystal has.
    """
    path = Path(path)
    text, left_out = _first_structure(_read(path))
    from pymatgen.core.periodic_table import DummySpecies
    from pymatgen.io.cif import CifParser

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            parser = CifParser.from_str(text, occupancy_tolerance=1.05)
            block = next(iter(parser.as_dict().values()))
            _check_block(path, block)
            structure = parser.parse_structures(primitive=False, on_error="raise")[0]
        except PhaseError:
            raise
        except Exception as error:  # the parser lets any exception of a bad file through
            said = " ".join(str(error).split())[:200]
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
    notes = []
    if left_out:
        notes.append(f"The first of {left_out + 1} structures of the file.")
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
        try:
            number = float(value.split("(")[0])
        except ValueError:
            raise PhaseError(
                f"{path.name} holds no usable crystal structure: its {key} is {value[:40]!r}, "
                "expected a number"
            ) from None
        if not number > 0:
            raise PhaseError(f"{path.name} has {key} = {number:g}: expected a positive number")
    for axis in "xyz":
        key = f"_atom_site_fract_{axis}"
        values = block.get(key)
        if not values:
            raise PhaseError(f"{path.name} lists no atoms: expected {key} in it")
        unknown = [v for v in values if str(v).strip() in {"?", "."}]  # type: ignore[attr-defined]
        if unknown:
            raise PhaseError(
                f"{path.name} leaves {key} of {len(unknown)} atoms open ({unknown[0]!r}): expected "
                "fractions of the cell"
            )


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

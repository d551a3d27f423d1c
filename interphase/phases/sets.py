"""Named sets of candidates, and how a caller's words become candidates."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from interphase.errors import ParameterError, PhaseError
from interphase.phases.table import Phase, closest, known_phases, load_phase

_NUISANCE = ("ice-Ih", "ice-Ic", "Cu", "Cu2O", "graphite")
"""Considered with every set of battery phases, because grids, holders and water make them."""

_LITHIUM = (
    "Li",
    "Li2O",
    "LiF",
    "Li2CO3",
    "LiOH",
    "LiOH.H2O",
    "Li2O2",
    "LiH",
    "Li3N-alpha",
    "Li3N-beta",
    "Li2S",
    "LiCl",
    "Li3PO4-beta",
    "Li3PO4-gamma",
    "Li2C2",
    "LiNO3",
)

_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "lithium-sei": _LITHIUM + _NUISANCE,
        "solid-electrolyte": (
            "LLZO-cubic",
            "LLZO-tetragonal",
            "La2Zr2O7",
            "La2O3",
            "Li2ZrO3",
            "Li6PS5Cl",
            "Li3PS4-beta",
            "Li3PS4-gamma",
            "LATP",
            "LAGP",
            "Li",
            "Li2O",
            "LiOH",
            "Li2CO3",
            "Li3N-alpha",
            "Li2S",
            "Li3P",
            "LiCl",
            "LiBr",
            "LiI",
            "Li3PO4-beta",
            "Li3PO4-gamma",
            "Ge",
            *_NUISANCE,
        ),
        "llzo": (
            "LLZO-cubic",
            "LLZO-tetragonal",
            "La2Zr2O7",
            "La2O3",
            "Li2ZrO3",
            "Li",
            "Li2O",
            "LiOH",
            "Li2CO3",
            *_NUISANCE,
        ),
        "lipon": (
            "Li",
            "Li2O",
            "Li3N-alpha",
            "Li3N-beta",
            "Li3P",
            "Li3PO4-beta",
            "Li3PO4-gamma",
            "LiOH",
            "Li2CO3",
            *_NUISANCE,
        ),
        "argyrodite": (
            "Li6PS5Cl",
            "Li",
            "Li2S",
            "Li3P",
            "LiCl",
            "LiBr",
            "Li2O",
            "LiOH",
            "Li2CO3",
            *_NUISANCE,
        ),
        "sodium-sei": (
            "Na",
            "NaF",
            "Na2O",
            "Na2CO3",
            "NaH",
            "NaCl",
            "Na2S",
            "Na3P",
            *_NUISANCE,
        ),
        "artefacts": (*_NUISANCE, "CuO", "Au", "Al"),
        "all": known_phases(),
    }
)


def phase_sets() -> Mapping[str, tuple[str, ...]]:
    """Return the named sets: name → identifiers.

    ``lithium-sei`` and ``sodium-sei`` are interphases of liquid electrolytes. Against lithium,
    ``llzo``, ``lipon`` and ``argyrodite`` hold the electrolyte, what it is known or expected to
    become, and what air makes of that; ``solid-electrolyte`` is wider than the three together.
    Each holds both ices, copper, cuprite and graphite as well: what grids, supports and frozen
    water put into an image, so that it is never mistaken for an interphase. ``artefacts`` are
    these with tenorite and the calibrants; ``all`` is the whole table.

    Phases that have been reported and are in no set, because no source of their atoms was at
    hand: Na3PO4 and NaOH of sodium cells (the first was seen by Han et al., Nat. Commun. 2021,
    doi:10.1038/s41467-021-23368-6), Zr3O at LLZO, Li15Ge4 and Li15Si4. Give a CIF of them. LiPON
    itself is a glass.

    >>> "ice-Ih" in phase_sets()["lithium-sei"]
    True
    """
    return _SETS


def candidates(spec: "str | Path | Phase | Sequence[str | Path | Phase]") -> tuple[Phase, ...]:
    """Return the phases a caller's words stand for, each once, in the order given.

    Parameters
    ----------
    spec
        The name of a set, an identifier, the path of a CIF, a `Phase`, several of these
        separated by commas, or a sequence of these.

    Returns
    -------
    tuple of Phase
        At least one.

    Raises
    ------
    PhaseError
        A word is none of these, a CIF cannot be used, or two different structures share an
        identifier.
    ParameterError
        What is given is of another kind.

    Examples
    --------
    >>> [phase.identifier for phase in candidates("Li2O, LiF")]
    ['Li2O', 'LiF']
    """
    items: Sequence[str | Path | Phase]
    if isinstance(spec, str):
        items = [word.strip() for word in spec.split(",") if word.strip()]
    elif isinstance(spec, Path | Phase):
        items = [spec]
    elif not isinstance(spec, Iterable):
        raise ParameterError(
            f"candidates are {spec!r}: expected a set such as lithium-sei, or LiF,Li2O"
        )
    else:
        items = spec
    found: dict[str, Phase] = {}
    for phase in (phase for item in items for phase in _phases_of(item)):
        if found.setdefault(phase.identifier, phase) is not phase:
            raise PhaseError(
                f"two candidates are called {phase.identifier!r}: rename one of the files, since "
                "a CIF's identifier is its file's stem"
            )
    if not found:
        raise PhaseError(
            "no candidate phase was given: give a set such as lithium-sei, or LiF,Li2O"
        )
    return tuple(found.values())


def _phases_of(item: str | Path | Phase) -> tuple[Phase, ...]:
    if isinstance(item, Phase):
        return (item,)
    if isinstance(item, str):
        if item in _SETS:
            return tuple(map(load_phase, _SETS[item]))
        if item in known_phases():
            return (load_phase(item),)
    if not isinstance(item, str | Path):
        raise ParameterError(f"a candidate is {item!r}: expected a name, a path or a Phase")
    if Path(item).suffix.lower() == ".cif":
        from interphase.phases.cif import phase_from_cif

        return (phase_from_cif(item),)
    raise PhaseError(
        f"{str(item)!r} is neither a phase, a set nor a .cif file: "
        f"{closest(str(item), [*known_phases(), *_SETS])}"
    )

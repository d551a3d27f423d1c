"""Where lithium compounds, carbon and ice have their features: the table, with grades."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from interphase.errors import ParameterError

LOW_LOSS = "low_loss"
"""Stands for an edge where a feature is the plasmon."""
_GRADES = ("A", "B", "C")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A feature of a spectrum."""

    edge: str
    """Element and shell, such as ``C_K``, or ``low_loss``."""
    kind: str
    """``onset``, ``plasmon``, ``exciton`` (shoulders and π* as well), ``peak`` or ``sigma``."""
    low_ev: float
    """It lies from here [eV]."""
    high_ev: float
    """To here [eV]."""
    grade: str
    """Trust in the range: A read or recomputed, B remembered and fitting, C approximate."""
    source: str
    """Where it comes from."""

    def __post_init__(self) -> None:
        if not 0 < self.low_ev <= self.high_ev:
            raise ParameterError(
                f"a feature of {self.edge} lies from {self.low_ev!r} to {self.high_ev!r} eV: "
                "expected 0 < low_ev <= high_ev"
            )
        if self.grade not in _GRADES:
            raise ParameterError(f"grade is {self.grade!r}: expected one of {', '.join(_GRADES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What is known of the spectrum of a species."""

    identifier: str
    """Identifier of a phase, or name of a kind of carbon or ice."""
    name: str
    """In words."""
    features: tuple[Feature, ...]
    """What is known."""
    lithium: bool = False
    """Whether it holds lithium."""
    carbon_as: str | None = None
    """Species whose C K edge it has."""
    needs: str | None = None
    """Species whose C K peak must be seen before this one is claimed."""
    missing: tuple[str, ...] = ()
    """What no source could be found for."""
    atoms: Mapping[str, float] = field(default_factory=dict)
    """Element → how many of its atoms there are for those of the others; of a kind of carbon, what
    its atoms are bonded to at the least."""

    def of(self, edge: str) -> tuple[Feature, ...]:
        """Return the features of an edge."""
        return tuple(feature for feature in self.features if feature.edge == edge)


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintTable:
    """The species, and what holds for all of them."""

    species: Mapping[str, Fingerprint]
    """Identifier → fingerprint."""
    onset_ev: Mapping[str, float]
    """Edge → binding energy [eV]."""
    overlap_ev: Mapping[str, Mapping[str, float]]
    """Edge → elements whose edges lie under it → their onsets [eV]."""
    uncertainty_ev: Mapping[str, float]
    """Grade → standard error of a range's ends [eV], a working value."""
    width_ev: Mapping[str, tuple[float, float]]
    """Kind of peak → full widths at half maximum it may have [eV], an assumption."""
    share: Mapping[str, tuple[float, float]]
    """Kind of peak → part of an edge's counts within 30 eV it may have, an assumption."""


@cache
def fingerprint_table() -> FingerprintTable:
    """Return the table of the package.

    Examples
    --------
    >>> carbonate = fingerprint_table().species["carbonate"]
    >>> carbonate.features[0].low_ev, carbonate.features[0].high_ev, carbonate.missing[0]
    (290.2, 290.3, 'plasmon of organic carbonates')
    """
    text = files("interphase.eels").joinpath("data/fingerprints.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)

    def pairs(key: str) -> Mapping[str, tuple[float, float]]:
        return MappingProxyType({kind: tuple(ends) for kind, ends in table[key].items()})

    return FingerprintTable(
        species=MappingProxyType(
            {key: _fingerprint(key, row) for key, row in table["species"].items()}
        ),
        onset_ev=MappingProxyType(table["onset"]),
        overlap_ev=MappingProxyType(table["overlap"]),
        uncertainty_ev=MappingProxyType(table["uncertainty"]),
        width_ev=pairs("width"),
        share=pairs("share"),
    )


def _fingerprint(identifier: str, row: dict[str, Any]) -> Fingerprint:
    known = {key: value for key, value in row.items() if key not in ("feature", "missing")}
    return Fingerprint(
        identifier=identifier,
        features=tuple(Feature(**feature) for feature in row["feature"]),
        missing=tuple(row.get("missing", ())),
        **known,
    )

"""What is asked of files of energy-loss spectra, and what comes back, with its verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interphase.assessment import Assessment
from interphase.errors import InterphaseError
from interphase.files import write_json, write_whole

if TYPE_CHECKING:
    from interphase.eels import ElementMaps
    from interphase.session.spectrum_maps import SpectrumMaps


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementAmount:
    """How much there is of an element, and how much could have been seen."""

    detected: bool
    """Whether it is above noise, and no other element explains its edge as well."""
    areal_density_per_nm2: float | None
    """Atoms per area [1/nm²]; ``None`` where the electrons or the fit do not allow a number."""
    standard_error: float | None
    """Its standard error of counting [1/nm²]."""
    detection_limit_per_nm2: float | None
    """Areal density that would have been detected with 95 % probability [1/nm²]."""
    relative_uncertainty: float
    """Trust in the cross-section, one standard deviation over the value, beside the error."""
    ratio: float | None = None
    """Atoms over those of `EelsResult.ratios_to`, which needs no low losses."""
    ratio_error: float | None = None
    """Standard error of `ratio` by counting."""
    instead: tuple[str, ...] = ()
    """Edges of other elements that explain the spectrum as well."""

    @property
    def doubtful(self) -> bool:
        """Whether what is above the limit is not believed to be this element."""
        value, limit = self.areal_density_per_nm2, self.detection_limit_per_nm2
        above = value is not None and limit is not None and value > limit
        return bool(self.instead) or (above and not self.detected)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSummary:
    """What a map of an element is worth."""

    binning: int
    """Side of its squares [pixels]."""
    resolved: bool
    """Whether 80 % of its atoms are in squares in which it is detected."""
    detected_share: float | None
    """Share of the squares with an answer in which it is detected; ``None`` without any."""
    detection_limit_per_nm2: float | None
    """Median areal density that would have been detected in these [1/nm²]."""
    sentence: str
    """The same in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumRegion:
    """What the sum of the spectra of one part of a map shows."""

    spectra: int
    """Spectra that were added up."""
    share: float
    """Their share of the map."""
    assessment: Assessment
    """What this is worth."""
    sentence: str
    """The same in words."""
    relative_thickness: Mapping[str, float | None] | None
    """``mean`` of t/λ, and its scatter ``std``."""
    elements: Mapping[str, ElementAmount]
    """Symbol → amount."""
    ratios_to: str | None
    """The element to which ratios of atoms are given."""
    species: Mapping[str, float]
    """Species → probability that it is there."""

    @classmethod
    def of(cls, result: "EelsResult", *, share: float) -> "SpectrumRegion":
        """Return the part of a result that is one region's."""
        return cls(
            spectra=result.spectra,
            share=share,
            assessment=result.assessment,
            sentence=result.sentence,
            relative_thickness=result.relative_thickness,
            elements=result.elements,
            ratios_to=result.ratios_to,
            species=result.species,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EelsResult:
    """What the sum of a file's spectra shows, and what the parts of a map do."""

    file: str
    """The file, as it was given."""
    assessment: Assessment
    """What the result is worth."""
    sentence: str
    """The same in words."""
    spectra: int = 0
    """Spectra that were added up."""
    relative_thickness: Mapping[str, float | None] | None = None
    """``mean`` of t/λ and ``std``: the standard error for one spectrum, the scatter over the pixels
    of an image; ``None`` without a zero-loss peak."""
    energy_shift_ev: float | None = None
    """What must be added to the axis of the file [eV]; ``None`` where nothing in it tells."""
    energy_shift_error_ev: float | None = None
    """Its standard error [eV]."""
    elements: Mapping[str, ElementAmount] = field(default_factory=dict)
    """Symbol → amount; empty where none could be fitted."""
    ratios_to: str | None = None
    """The detected element that is best known, to which ratios of atoms are given."""
    species: Mapping[str, float] = field(default_factory=dict)
    """Species → probability that it is there; those of which nothing can be said are left out."""
    cross_sections: Mapping[str, str] = field(default_factory=dict)
    """Edge → the table its cross-section comes from."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """What is missing → how to give it."""
    regions: tuple[SpectrumRegion, ...] = ()
    """Parts of a map that differ by more than noise, the largest first."""
    maps: Mapping[str, MapSummary] = field(default_factory=dict)
    """Symbol → what its map is worth."""
    notes: tuple[str, ...] = ()
    """What was found and doubted on the way, one sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectraOptions:
    """What to look for in spectra, and what no file holds."""

    elements: tuple[str, ...] | None = None
    """Symbols; `interphase.eels.usual_elements` unless given."""
    low_loss: Path | None = None
    """Low losses of the same place, with their zero-loss peak."""
    exposure_ratio: float | None = None
    """Exposure of the spectra over that of `low_loss`; that of the files' times unless given."""
    rivals: tuple[str, ...] | None = None
    """Elements whose shallow edges may be taken for lithium's; all common ones unless given."""
    binning: int | None = None
    """Side of the squares in which elements are mapped [pixels]; as the electrons allow."""
    given: Mapping[str, float | None] = field(default_factory=dict)
    """Fields of the acquisition that the caller states, such as ``beam_energy_kev``."""


def element_amounts(
    maps: "ElementMaps", detected: Sequence[bool]
) -> tuple[dict[str, ElementAmount], str | None]:
    """Return the amounts of a fit of one spectrum, and the element to which ratios are given."""
    error = np.sqrt(np.diagonal(maps.covariance))
    best = max(
        (k for k, there in enumerate(detected) if there),
        key=lambda k: float(maps.strength[k] / error[k]),
        default=None,
    )
    to = None if best is None else maps.elements[best]
    amounts = {}
    for k, element in enumerate(maps.elements):
        ratio, ratio_error = maps.ratio(element, to) if to else (np.nan, np.nan)
        amounts[element] = ElementAmount(
            detected=detected[k],
            areal_density_per_nm2=finite(maps.areal_density_per_nm2[k]),
            standard_error=finite(maps.standard_error_per_nm2[k]),
            detection_limit_per_nm2=finite(maps.detection_limit_per_nm2[k]),
            relative_uncertainty=float(maps.relative_uncertainty[element]),
            ratio=finite(ratio),
            ratio_error=finite(ratio_error),
            instead=tuple(maps.contested.get(element, ())),
        )
    return amounts, to


def known_atoms(elements: Mapping[str, ElementAmount]) -> dict[str, Any]:
    """Return amounts as `interphase.eels.identify_species` takes them; empty if they tell nothing.

    Amounts that another element's edge explains as well are left out.
    """
    atoms, trust = {}, {}
    for element, amount in elements.items():
        value, error = amount.areal_density_per_nm2, amount.standard_error
        if value is not None and error is not None and error > 0 and not amount.instead:
            atoms[element] = np.asarray(value), np.asarray(error)
            trust[element] = amount.relative_uncertainty
    return atoms_of(atoms, trust)


def atoms_of(
    atoms: Mapping[str, tuple[np.ndarray, np.ndarray]], trust: Mapping[str, float]
) -> dict[str, Any]:
    """Return amounts and the trust in them as arguments, if they can tell compounds apart."""
    if len(atoms) < 2 or not {"Li", "C"} & set(atoms):
        return {}
    return {"atoms": atoms, "atoms_relative_error": {e: min(trust[e], 0.9) for e in atoms}}


def finite(value: Any) -> float | None:
    """Return a number, or ``None`` for what is none."""
    return float(value) if np.isfinite(value) else None


def judged(result: EelsResult) -> EelsResult:
    """Return a result with its verdict in words."""
    from interphase.eels import lithium_warning

    parts = []
    relative = (result.relative_thickness or {}).get("mean")
    notes = result.notes
    if relative is not None:
        parts.append(f"t/λ is {relative:.2f}")
    shift, error = result.energy_shift_ev, result.energy_shift_error_ev or 0.0
    if shift is not None and abs(shift) > 2 * error:
        parts.append(f"the axis is off by {-shift:+.2f} ± {error:.2g} eV")
    warning = lithium_warning(relative) if relative and "Li" in result.elements else None
    notes = (*notes, warning) if warning else notes
    there = [element for element, amount in result.elements.items() if amount.detected]
    told = any(a.areal_density_per_nm2 is not None for a in result.elements.values())
    if result.elements and not (told or there or "exposure_ratio" in result.missing):
        parts.append(f"no amount of {', '.join(result.elements)} can be told")
    elif result.elements:
        doubtful = [e for e, a in result.elements.items() if a.doubtful and e not in there]
        absent = [e for e in result.elements if e not in there and e not in doubtful]
        parts.append(f"detected: {', '.join(there) or 'none'}")
        if doubtful:
            parts.append(f"in doubt: {', '.join(doubtful)}")
        if absent:
            parts.append(f"not detected: {', '.join(absent)}")
    for element, amount in result.elements.items():
        density, limit = amount.areal_density_per_nm2, amount.detection_limit_per_nm2
        if amount.instead and density is not None and limit is not None and density > limit:
            names = " or ".join(edge.replace("_", " ") for edge in amount.instead)
            parts.append(
                f"what looks like {element} can be {names}: give --rivals with the elements that "
                "the specimen can hold"
            )
    sure = [name for name, p in result.species.items() if p >= 0.9]
    if sure:
        parts.append(f"species: {', '.join(sure)}")
    elif result.species:
        parts.append("no species is certain")
    assessment = result.assessment
    needed = [name for name in result.missing if name != "exposure_ratio"]
    if needed:
        assessment = Assessment.UNCALIBRATED
        remedies = "; ".join(f"{name} is missing, {result.missing[name]}" for name in needed)
        parts.append(f"elements have no number: {remedies}")
    elif result.missing and result.elements:
        parts.append(f"areal densities have no number: {result.missing['exposure_ratio']}")
    if not parts:
        assessment = Assessment.UNUSABLE
        parts.append(
            "the spectra show neither a zero-loss peak nor an edge that was looked for: name the "
            "elements with --elements"
        )
    return replace(result, assessment=assessment, sentence="; ".join(parts), notes=notes)


def write_spectra(result: EelsResult, maps: "SpectrumMaps | None", out: Path, *, name: str) -> None:
    """Write a result as JSON, its maps as numbers and all of it as a figure.

    Parameters
    ----------
    result
        What was found.
    maps
        What can be drawn.
    out
        Folder; made if it is not there. Files of the same name are replaced.
    name
        What the files are called before their suffix: ``.json``, ``.npz`` (see `map_arrays`) and
        ``.png``.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InterphaseError(
            f"{out} cannot be made ({error.strerror}): give another folder with --out"
        ) from error
    write_json(out / f"{name}.json", result)
    if maps is None:
        return
    from interphase.session.spectrum_figure import draw_maps
    from interphase.session.spectrum_maps import map_arrays

    arrays: dict[str, Any] = dict(map_arrays(maps))
    write_whole(out / f"{name}.npz", lambda stream: np.savez_compressed(stream, **arrays))
    draw_maps(maps, title=Path(result.file).name).savefig(out / f"{name}.png", dpi=150)

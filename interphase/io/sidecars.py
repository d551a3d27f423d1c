"""Sidecars: which files beside a data file speak of it, and what they say."""

import math
from functools import lru_cache
from pathlib import Path

from interphase.acquisition import Origin, Stage
from interphase.errors import FileReadError
from interphase.io import mdoc
from interphase.io.dose import reconcile
from interphase.io.epu import facts_of_epu
from interphase.io.facts import DoseClaim, Facts

SIDECAR_SUFFIXES = frozenset({".mdoc", ".nav", ".xml"})
"""Suffixes of files that hold no array but say what was exposed."""

_SAME_PLACE_UM = 5.0
"""Sections of one .mdoc whose stages spread wider are different places, whose doses do not add;
a tilt series wanders by a micrometre or two."""


def sidecars_of(path: Path) -> tuple[Path, ...]:
    """Return the metadata files beside a data file that speak of it.

    ``X.tif.mdoc`` and ``X.mdoc``; an .mdoc one of whose sections names the file; EPU's ``X.xml``,
    also for ``X_Fractions.tiff`` and the like.
    """
    folder = path.parent
    stem = path.stem
    for ending in ("_fractions", "_eer", "_aligned", "_doseweighted"):
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
    named = [folder / f"{path.name}.mdoc", folder / f"{path.stem}.mdoc", folder / f"{stem}.xml"]
    found = [candidate for candidate in dict.fromkeys(named) if candidate.is_file()]
    if not any(candidate.suffix == ".mdoc" for candidate in found):
        found += [
            candidate
            for candidate in sorted(folder.glob("*.mdoc"))
            if path.name in _names_in(candidate, candidate.stat().st_mtime_ns)
        ]
    return tuple(found)


@lru_cache(maxsize=256)
def _names_in(path: Path, modified_ns: int) -> frozenset[str]:
    """Return the data files that the sections of an .mdoc name; the time keeps the cache honest."""
    try:
        head, sections = mdoc.read_sections(path)
    except FileReadError:
        return frozenset()
    names = (mdoc.data_file_name(section) for section in mdoc.exposures(head, sections))
    return frozenset(name for name in names if name)


def facts_of_sidecars(
    sidecars: tuple[Path, ...], path: Path, *, size: tuple[int, int] | None = None
) -> list[Facts]:
    """Read what sidecars say of a data file; a broken one gives a warning, not an error.

    Parameters
    ----------
    sidecars
        The files that speak of it.
    path
        The data file.
    size
        Its rows and columns, where it holds images: the pixel size of a sidecar that describes an
        image of another size is not believed.

    Returns
    -------
    list of Facts
        One per sidecar.
    """
    facts = []
    for sidecar in sidecars:
        try:
            said = _facts_of_sidecar(sidecar, path)
            if size is not None:
                _compare_size(said, size, sidecar)
            facts.append(said)
        except FileReadError as error:
            broken = Facts(origin=Origin.SIDECAR, where=sidecar.name)
            broken.warnings.append(f"its sidecar was not used: {error}")
            facts.append(broken)
    return facts


def _compare_size(facts: Facts, size: tuple[int, int], sidecar: Path) -> None:
    """Leave out a pixel size, and doses made with it, where another image is described.

    An image turned by 90° has the same pixels. Doses in e/Å², the beam energy and the stage hold
    for the exposure, however its image was cropped or binned afterwards.
    """
    if not facts.sizes or sorted(size) in [sorted(said) for said in facts.sizes]:
        return
    rows, columns = facts.sizes[0]
    said = f"the sidecar describes {rows} × {columns} pixels, the file has {size[0]} × {size[1]}"
    facts.warnings.append(f"{sidecar.name}: {said}; its pixel size is not used")
    if facts.values.pop("pixel_size_a", None) is not None:
        del facts.sources["pixel_size_a"]
        facts.missing["pixel_size_a"] = said
    if any(claim.at_camera for claim in facts.doses):
        facts.doses = [claim for claim in facts.doses if not claim.at_camera]
        if not facts.doses:
            facts.missing["dose_e_per_a2"] = (
                f"the sidecar counts electrons per pixel, whose size is unknown because {said}"
            )


def _facts_of_sidecar(sidecar: Path, path: Path) -> Facts:
    if sidecar.suffix == ".mdoc" and sidecar.name != f"{path.name}.mdoc":
        head, sections = mdoc.read_sections(sidecar)
        for section in mdoc.exposures(head, sections):
            if mdoc.data_file_name(section) == path.name:
                return mdoc.facts_of_section(section)
    return summary(sidecar)


def each_exposure(path: Path) -> list[Facts]:
    """Read the exposures of an .mdoc file or the places of a .nav file, one by one."""
    head, sections = mdoc.read_sections(path)
    if path.suffix.lower() == ".nav":
        items = [section for section in sections if section.kind == "Item"]
        if not items:
            raise FileReadError(f"{path.name} holds no [Item]: it is truncated or of another kind")
        return [mdoc.facts_of_item(item) for item in items]
    found = mdoc.exposures(head, sections)
    if not found:
        raise FileReadError(
            f"{path.name} holds no [ZValue] or [FrameSet]: it is truncated or of another kind"
        )
    parts = mdoc.parts_of_frame_set(sections) if len(found) == 1 else []
    return [mdoc.facts_of_section(section, parts=parts) for section in found]


def summary(path: Path) -> Facts:
    """Sum up a sidecar: one exposure as it is, several as their total at one place."""
    if path.suffix.lower() == ".xml":
        return facts_of_epu(path)
    each = each_exposure(path)
    if len(each) == 1:
        return each[0]
    total_sizes = {tuple(facts.sizes) for facts in each}
    is_nav = path.suffix.lower() == ".nav"
    what = "places" if is_nav else "exposures"
    total = Facts(origin=Origin.SIDECAR, where=f"{len(each)} {what} of {path.name}")
    if len(total_sizes) == 1:
        total.sizes = list(total_sizes.pop())
    for name in ("pixel_size_a", "beam_energy_kev", "magnification", "defocus_a"):
        said = {facts.values.get(name) for facts in each}
        if len(said) == 1 and None not in said:
            total.add(name, said.pop(), f"the same {name}")
    if is_nav:
        total.missing["dose_e_per_a2"] = "a navigator lists places, not exposures"
        total.missing["stage"] = f"{len(each)} places: read_acquisitions gives each"
        return total
    times = [float(facts.values.get("exposure_time_s", math.nan)) for facts in each]
    if all(map(math.isfinite, times)):
        total.add("exposure_time_s", math.fsum(times), "sum of ExposureTime [s]")
    total.add("frames", len(each), "number of exposures")
    total.add("time", each[0].values.get("time"), "DateTime of the first section")
    spread = _spread_um([facts.values.get("stage") for facts in each])
    if spread is not None and spread > _SAME_PLACE_UM:
        reason = f"the exposures are {spread:.3g} µm apart: read_acquisitions gives each"
        total.missing["dose_e_per_a2"] = total.missing["stage"] = reason
        return total
    if spread is not None:
        total.add("stage", each[0].values["stage"], "stage of the first section")
    _sum_doses(total, each)
    return total


def _spread_um(stages: list[Stage | None]) -> float | None:
    known = [
        (stage.x_um, stage.y_um)
        for stage in stages
        if stage is not None and stage.x_um is not None and stage.y_um is not None
    ]
    if not known:
        return None
    spread: float = max(max(axis) - min(axis) for axis in zip(*known, strict=True))
    return spread


def _sum_doses(total: Facts, each: list[Facts]) -> None:
    chosen: list[DoseClaim] = []
    notes: list[str] = []
    for facts in each:
        claim, doubts = reconcile(facts.doses)
        notes += doubts
        if claim is not None:
            chosen.append(claim)
    if notes:
        total.warnings.append(f"{len(notes)} of {len(each)} exposures: {notes[0]}")
    if len(chosen) < len(each):
        unknown = len(each) - len(chosen)
        reasons = [facts.missing["dose_e_per_a2"] for facts in each if facts.missing]
        why = f" ({reasons[0]})" if reasons else ""
        total.missing["dose_e_per_a2"] = (
            f"the dose of {unknown} of {len(each)} exposures is unknown{why}"
        )
        return
    kept = math.fsum(claim.dose_e_per_a2 for claim in chosen)
    total.add_dose(
        kept,
        f"sum of ExposureDose [e/Å²] of {len(each)} kept exposures",
        at_camera=any(claim.at_camera for claim in chosen),
    )
    reached = [
        facts.values["prior_dose_e_per_a2"] + claim.dose_e_per_a2
        for facts, claim in zip(each, chosen, strict=True)
        if "prior_dose_e_per_a2" in facts.values
    ]
    if not reached:
        return
    besides = max(0.0, max(reached) - kept)
    total.add(
        "prior_dose_e_per_a2",
        besides,
        f"largest PriorRecordDose + ExposureDose ({max(reached):.2f} e/Å²) less the kept exposures",
    )
    if besides > 0.01 * kept:
        total.warnings.append(
            f"this place received {max(reached):.2f} e/Å², of which {besides:.2f} e/Å² went into "
            "exposures that were not kept"
        )

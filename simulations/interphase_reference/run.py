"""Make interphases with known truth: ``interphase simulate interphase_reference``.

`interphase.simulation.load_references` gives them one by one afterwards.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from interphase.simulation import (
    Case,
    ImagingRanges,
    InterphaseRanges,
    Reference,
    ReferencePlan,
    make_reference,
    pack_reference,
    plan_references,
    unpack_reference,
)

BINS = 10
"""Depths of the profile from the electrode to the outer surface."""


def cases(study: dict[str, Any]) -> list[Case]:
    """Name the members."""
    return [
        Case(
            name=plan.name,
            seed=plan.seed,
            parameters={**asdict(plan), "models": study["models"], "imaging": study["imaging"]},
        )
        for plan in plan_references(study["set"]["count"], seed=study["set"]["seed"])
    ]


def measure(case: Case) -> dict[str, Any]:
    """Make one member."""
    asked = dict(case.parameters)
    models, imaging = (
        {key: tuple(value) if isinstance(value, list) else value for key, value in ranges.items()}
        for ranges in (asked.pop("models"), asked.pop("imaging"))
    )
    return pack_reference(
        make_reference(
            ReferencePlan(**asked),
            models=InterphaseRanges(**models),
            imaging=ImagingRanges(**imaging),
        )
    )


def tables(
    study: dict[str, Any], results: Iterable[tuple[Case, dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """Return what was built and how it was imaged, and what lies at which depth."""
    summary, profiles = [], []
    for _, packed in results:
        member = unpack_reference(packed)
        summary.append(row_of(member))
        profiles += profile_of(member)
    return {"summary": summary, "profiles": profiles}


def row_of(member: Reference) -> dict[str, Any]:
    """Return the truth about one member."""
    recipe, conditions, truth = member.recipe, member.conditions, member.truth
    optics = conditions.optics
    diameters = [row.diameter_a for row in truth.crystallites]
    return {
        "name": member.plan.name,
        "half": member.plan.half,
        "structure": recipe.structure.value,
        "architecture": recipe.architecture,
        "electrode": recipe.electrode,
        "outside": recipe.outside,
        "foil_nm": round(recipe.foil_thickness_a / 10, 2),
        "thickness_nm": round(truth.thickness_a / 10, 2),
        "thickness_std_nm": round(truth.thickness_std_a / 10, 3),
        "crystalline_fraction": round(truth.crystalline_fraction, 4),
        "crystallites": len(diameters),
        "median_diameter_nm": round(float(np.median(diameters)) / 10, 2) if diameters else None,
        "tilt_deg": round(recipe.tilt_deg, 2),
        "radius_nm": None if recipe.radius_a is None else round(recipe.radius_a / 10, 1),
        "beam_energy_kev": conditions.beam_energy_kev,
        "pixel_size_a": round(conditions.pixel_size_a, 4),
        "defocus_nm": round(optics.defocus_a / 10, 2),
        "spherical_aberration_mm": round(optics.spherical_aberration_mm, 4),
        "dose_e_per_a2": round(conditions.dose_e_per_a2, 2),
        "dqe0": round(conditions.detector.dqe0, 3),
        "rows": member.image.shape[0],
        "columns": member.image.shape[1],
        "contrast": round(float(member.image.std() / member.image.mean()), 4),
    }


def profile_of(member: Reference) -> list[dict[str, Any]]:
    """Return the share of each material, in tenths of the interphase's mean thickness."""
    profile, thickness = member.truth.profile, member.truth.thickness_a
    bins = np.floor(profile.depth_a / thickness * BINS).astype(int)
    rows = []
    for number in range(BINS):
        here = bins == number
        for material, share in profile.fraction.items():
            mean = float(share[here].mean()) if here.any() else 0.0
            if mean > 0.005:
                rows.append(
                    {
                        "name": member.plan.name,
                        "depth_over_thickness": (number + 0.5) / BINS,
                        "material": material,
                        "fraction": round(mean, 3),
                    }
                )
    return rows

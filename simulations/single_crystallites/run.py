"""Ask how well single crystallites in an amorphous film are found and named.

``interphase simulate simulations/single_crystallites [--quick]``

Makes a field by multislice, exposes it at every dose, identifies phases with a pixel size that is
a little wrong, once with the true phase among the candidates and once without, and compares with
what was put in.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction import UNKNOWN, PhaseMap, Region, identify_image
from interphase.phases import candidates
from interphase.simulation import (
    IDEAL_COUNTER,
    Case,
    CrystalliteTruth,
    Field,
    FieldPlan,
    make_field,
    plan_fields,
    record_counts,
)

# A region belongs to a crystallite if its centre lies this far outside it at most [Å]: windows
# are 50 Å wide and fringes are displaced by defocus.
MARGIN_A = 15.0
RELIABILITY_BINS = (0.0, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0001)


def cases(study: dict[str, Any]) -> list[Case]:
    """Return one case per field of the half that is asked for."""
    half = study["half"]
    plans = plan_fields(seed=study["seeds"][half], **study["fields"])
    return [
        Case(
            name=f"{half}-{plan.name}",
            seed=plan.seed,
            parameters={
                "phase": plan.phase,
                "diameter_a": plan.diameter_a,
                "alignment": plan.alignment,
                "exposure": study["exposure"],
                "candidates": study["analysis"]["candidates"],
            },
        )
        for plan in plans
    ]


def measure(case: Case) -> dict[str, Any]:
    """Make a field and say what is found in it, with its phase among the candidates and without."""
    given = case.parameters
    field = make_field(
        FieldPlan(
            name=case.name,
            seed=case.seed,
            **{key: given[key] for key in ("phase", "diameter_a", "alignment")},
        )
    )
    # LiH and LiF have the same lattice: without both, neither is in the list.
    absent = {"LiF", "LiH"} if given["phase"] == "LiF" else {given["phase"]}
    return {
        "listed": expose(field, given, absent=set()),
        "unlisted": expose(field, given, absent=absent),
    }


def expose(field: Field, given: dict[str, Any], absent: set[str]) -> list[dict[str, Any]]:
    """Return, for every dose, what was found upon each crystallite and how many regions beside."""
    phases = [p for p in candidates(given["candidates"]) if p.identifier not in absent]
    exposed = []
    for number, dose in enumerate(given["exposure"]["doses_e_per_a2"]):
        rng = np.random.default_rng([field.plan.seed, number])
        counts = record_counts(
            field.intensity,
            dose_e_per_a2=dose,
            pixel_size_a=field.pixel_size_a,
            detector=IDEAL_COUNTER,
            rng=rng,
        )
        wrong = 1 + rng.normal(0, given["exposure"]["scale_sigma"])
        found = identify_image(counts, pixel_size_a=field.pixel_size_a * wrong, candidates=phases)
        regions, spare = assign(found, field.truths, wrong)
        exposed.append(
            {
                "dose_e_per_a2": dose,
                "regions": [None if region is None else told(region) for region in regions],
                "false_regions": spare,
            }
        )
    return exposed


def told(region: Region) -> dict[str, Any]:
    """Return what the tables need of a region."""
    return {
        "phase": region.phase,
        "probability": region.probability,
        "credible_set": region.credible_set,
        "assessment": region.assessment,
    }


def assign(
    found: PhaseMap, truths: Sequence[CrystalliteTruth], wrong: float
) -> tuple[list[Region | None], int]:
    """Give each crystallite the most certain region upon it; count the regions left over."""
    free = list(found.regions)
    mine: list[Region | None] = []
    for truth in truths:
        at = np.asarray(truth.centre_a[:2])
        near = [
            region
            for region in free
            if np.linalg.norm(np.asarray(region.centre_a) / wrong - at)
            < truth.diameter_a / 2 + MARGIN_A
        ]
        best = min(near, key=lambda region: region.p_value) if near else None
        mine.append(best)
        if best is not None:
            free.remove(best)
    return mine, len(free)


def tables(
    study: dict[str, Any], results: Iterable[tuple[Case, dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """Return what is found, what a probability is worth, false alarms, and unlisted phases."""
    kept = list(results)
    listed = crystallites(kept, "listed")
    return {
        "summary": summary(listed),
        "reliability": reliability(listed),
        "false_alarms": false_alarms(kept),
        "unlisted": unlisted(crystallites(kept, "unlisted")),
    }


def crystallites(
    results: Iterable[tuple[Case, dict[str, Any]]], candidates: str
) -> list[dict[str, Any]]:
    """Return one row per crystallite and dose: what it is, and what was reported there."""
    return [
        {
            "phase": case.parameters["phase"],
            "group": (case.parameters["alignment"], case.parameters["diameter_a"]),
            "dose_e_per_a2": exposed["dose_e_per_a2"],
            "region": region,
        }
        for case, result in results
        for exposed in result[candidates]
        for region in exposed["regions"]
    ]


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per alignment, diameter and dose."""
    groups: dict[tuple[str, float, float], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((*row["group"], row["dose_e_per_a2"]), []).append(row)
    return [
        {"alignment": key[0], "diameter_a": key[1], "dose_e_per_a2": key[2], **scores(group)}
        for key, group in sorted(groups.items(), key=lambda item: (item[0][0] != "zone", item[0]))
    ]


def scores(group: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return recall, accuracy and coverage of a group of crystallites."""
    seen = [(row["phase"], row["region"]) for row in group if row["region"]]

    def mean(values: Sequence[float]) -> float | None:
        return round(float(np.mean(values)), 3) if values else None

    return {
        "crystallites": len(group),
        "recall": mean([row["region"] is not None for row in group]),
        "top1": mean([region["phase"] == phase for phase, region in seen]),
        "coverage90": mean([phase in region["credible_set"] for phase, region in seen]),
        "set_size": mean([len(region["credible_set"]) for _, region in seen]),
        "mean_probability": mean([region["probability"] for _, region in seen]),
    }


def reliability(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how often the most probable phase was right, by its stated probability."""
    seen = [(row["phase"], row["region"]) for row in rows if row["region"]]
    probability = np.array([region["probability"] for _, region in seen])
    right = np.array([region["phase"] == phase for phase, region in seen])
    inside = {
        (low, min(high, 1.0)): (probability >= low) & (probability < high)
        for low, high in itertools.pairwise(RELIABILITY_BINS)
    }
    return [
        {
            "stated_from": low,
            "stated_to": high,
            "regions": int(here.sum()),
            "mean_stated": round(float(probability[here].mean()), 3),
            "right": round(float(right[here].mean()), 3),
        }
        for (low, high), here in inside.items()
        if here.any()
    ]


def unlisted(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is said of crystallites whose phase is not among the candidates, per dose."""
    made = []
    for dose in sorted({row["dose_e_per_a2"] for row in rows}):
        regions = [r["region"] for r in rows if r["dose_e_per_a2"] == dose and r["region"]]
        made.append(
            {
                "dose_e_per_a2": dose,
                "regions": len(regions),
                "named_alone_wrongly": sum(r["assessment"] == Assessment.OK for r in regions),
                "unknown_in_set": sum(UNKNOWN in r["credible_set"] for r in regions),
                "unknown_alone": sum(r["assessment"] == Assessment.UNKNOWN_PHASE for r in regions),
            }
        )
    return made


def false_alarms(results: Sequence[tuple[Case, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return, per dose, pure films with a region, and regions beside the crystallites."""
    # For each dose the regions that belong to no crystallite, of films and of the other fields.
    spare: dict[float, tuple[list[int], list[int]]] = {}
    for case, result in results:
        for exposed in result["listed"]:
            films, fields = spare.setdefault(exposed["dose_e_per_a2"], ([], []))
            (fields if case.parameters["phase"] else films).append(exposed["false_regions"])
    return [
        {
            "dose_e_per_a2": dose,
            "films": len(films),
            "films_with_a_region": sum(many > 0 for many in films),
            "fields": len(fields),
            "regions_beside_crystallites": sum(fields),
        }
        for dose, (films, fields) in sorted(spare.items())
    ]

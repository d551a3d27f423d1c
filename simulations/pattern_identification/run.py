"""Are ring patterns named rightly?  ``interphase simulate pattern_identification``."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from interphase.diffraction import NONE, UNKNOWN, identify_pattern
from interphase.phases import candidates, families, load_phase, reflections
from interphase.simulation import Case, spawn_seed

# Halos as (k [1/Å], standard deviation [1/Å], height).
HALOS = {
    "ice": [(0.27, 0.026, 1.0), (0.465, 0.045, 0.5)],
    "carbon": [(0.476, 0.04, 1.0), (0.83, 0.05, 0.5)],
    "organic": [(0.23, 0.035, 1.0), (0.45, 0.07, 0.4)],
}
BINS = np.array([0.0, 0.5, 0.8, 0.95, 0.99, 1.0])


def cases(study: dict[str, Any]) -> list[Case]:
    """Name the patterns: some of each powder and brightness, and of each halo."""
    patterns, halos = study["patterns"], study["halos"]
    shared = {"camera": study["camera"], "candidates": study["analysis"]["candidates"]}
    rings = [
        Case(
            name=f"{powder}-{counts:g}-{number}",
            seed=spawn_seed(patterns["seed"], powder, f"{counts:g}", number),
            parameters={"powder": powder, "counts": counts, "stop": bool(number % 2), **shared},
        )
        for powder in patterns["powders"]
        for counts in patterns["counts"]
        for number in range(patterns["repeats"])
    ]
    return rings + [
        Case(
            name=f"halo-{kind}-{number}",
            seed=spawn_seed(halos["seed"], kind, number),
            parameters={"halo": kind, "stop": bool(number % 2), **shared},
        )
        for kind in halos["kinds"]
        for number in range(halos["repeats"])
    ]


def measure(case: Case) -> dict[str, Any]:
    """Draw one pattern and ask what it shows."""
    asked, rng = case.parameters, np.random.default_rng(case.seed)
    camera = asked["camera"]
    step, size = camera["reciprocal_pixel_size_per_a"], camera["pixels"]
    c, s = camera["stretch"] * rng.standard_normal(2)
    row, column = size / 2 + rng.uniform(-4, 4, 2)
    y, x = np.indices((size, size), dtype=float)
    y, x = y - row, x - column
    k = np.hypot(y * (1 + c) - x * s, x * (1 - c) - y * s) * step
    kind = asked.get("halo") or str(rng.choice(list(HALOS)))
    counts = asked.get("counts", 0.0)
    low, high = np.log(camera["halo_counts"])
    height = counts if counts else float(np.exp(rng.uniform(low, high)))
    mean = 1 + height * np.exp(-k / 0.15)
    for at, sigma, share in HALOS[kind]:
        mean += height * share * np.exp(-0.5 * ((k - at) / sigma) ** 2)
    if counts:
        mean += counts * rings(asked["powder"].split("+"), k, camera, rng)
    mean += 3e4 * np.exp(-0.5 * (k / step / 2) ** 2)
    if asked["stop"]:
        arm = (abs(y) < 4) & (x > 0)
        mean[(np.hypot(y, x) < camera["beam_stop_pixels"]) | arm] = 0.02
    found = identify_pattern(
        rng.poisson(mean),
        reciprocal_pixel_size_per_a=step,
        candidates=candidates(asked["candidates"]),
    )
    return {
        "assessment": str(found.assessment),
        "amorphous": "Amorphous" in found.sentence,
        "regions": [
            {"phase": r.phase, "probability": r.probability, "set": list(r.credible_set)}
            for r in found.regions
        ],
    }


def rings(
    powders: list[str], k: np.ndarray, camera: dict[str, Any], rng: np.random.Generator
) -> np.ndarray:
    """Return rings of equal parts, the strongest of each of height 1 and about its brightness."""
    width = rng.uniform(*camera["ring_sigma_per_a"])
    fall = rng.uniform(*camera["fall_a2"])
    scale = 1 + camera["scale_error"] * rng.standard_normal()
    axis = np.arange(0, k.max() + 0.01, 0.0005)
    profile = np.zeros_like(axis)
    for name in powders:
        lines = families(reflections(load_phase(name), d_min_a=0.9), merge_rings=True)
        # The height of a ring goes as its electrons over its length.
        height = lines.relative * lines.d_a**2 * np.exp(-fall / lines.d_a**2)
        spread = np.log(camera["brightness_spread"]) * rng.standard_normal(len(height))
        height = height / height.max() * np.exp(spread)
        for d, share in zip(lines.d_a, height, strict=True):
            profile += share * np.exp(-0.5 * ((axis - scale / d) / width) ** 2)
    return np.asarray(np.interp(k, axis, profile))


def tables(
    study: dict[str, Any], results: Iterable[tuple[Case, dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """Return how often the answers are right, by powder and brightness and by probability."""
    known = {phase.identifier for phase in candidates(study["analysis"]["candidates"])}
    groups: dict[tuple[str, float], list[tuple[list[str], list[dict[str, Any]]]]] = {}
    halos: dict[str, list[dict[str, Any]]] = {}
    stated: list[tuple[float, bool]] = []
    for case, result in results:
        if "halo" in case.parameters:
            halos.setdefault(case.parameters["halo"], []).append(result)
            continue
        powder = case.parameters["powder"]
        truth = [name if name in known else UNKNOWN for name in powder.split("+")]
        regions = [region for region in result["regions"] if region["phase"] != NONE]
        groups.setdefault((powder, case.parameters["counts"]), []).append((truth, regions))
        stated += [(r["probability"], r["phase"] in truth) for r in regions]
    summary = []
    for (powder, counts), many in groups.items():
        regions = [(truth, region) for truth, seen in many for region in seen]
        summary.append(
            {
                "powder": powder,
                "counts": counts,
                "patterns": len(many),
                "with_rings": sum(bool(seen) for _, seen in many),
                "all_phases_named": sum(
                    set(truth) <= {r["phase"] for r in seen} for truth, seen in many
                ),
                "a_wrong_phase_alone_in_its_set": sum(
                    r["set"][0] not in (*truth, UNKNOWN) and len(r["set"]) == 1
                    for truth, r in regions
                ),
                "regions": len(regions),
                "set_holds_the_truth": sum(bool(set(t) & set(r["set"])) for t, r in regions),
                "mean_set_size": round(
                    float(np.mean([len(r["set"]) for _, r in regions] or [0])), 2
                ),
            }
        )
    calibration = []
    for low, high in pairwise(BINS):
        inside = [(p, right) for p, right in stated if low < p <= high]
        calibration.append(
            {
                "from": float(low),
                "to": float(high),
                "regions": len(inside),
                "stated": round(float(np.mean([p for p, _ in inside])), 3) if inside else None,
                "right": round(float(np.mean([r for _, r in inside])), 3) if inside else None,
            }
        )
    false_alarms = [
        {
            "halo": kind,
            "patterns": len(many),
            "with_a_region": sum(bool(result["regions"]) for result in many),
            "called_amorphous": sum(result["amorphous"] for result in many),
            "without_a_centre": sum(result["assessment"] == "unusable" for result in many),
        }
        for kind, many in halos.items()
    ]
    return {"summary": summary, "calibration": calibration, "false_alarms": false_alarms}

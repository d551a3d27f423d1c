"""How small may a crystallite be to be found?  ``interphase simulate smallest_crystallite``."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import binomtest

from interphase.diffraction import identify_image
from interphase.phases import candidates, load_phase
from interphase.simulation import (
    Case,
    Detector,
    Grain,
    Optics,
    Transfer,
    draw_centres,
    exit_wave,
    film_scene,
    image_from_exit_wave,
    match_places,
    multislice_for,
    near_zone_axis,
    record_counts,
    resample,
    spawn_seed,
    strong_zone_axes,
)

PER_FIELD = 4


def cases(study: dict[str, Any]) -> list[Case]:
    """Name the fields: some of each phase and diameter."""
    fields = study["fields"]
    rest = {key: fields[key] for key in ("film_thickness_a", "largest_tilt_deg")}
    rest |= {"microscope": study["microscope"], **study["exposure"], **study["analysis"]}
    return [
        Case(
            name=f"{phase}-{diameter:g}-{repeat}",
            seed=spawn_seed(fields["seed"], phase, f"{diameter:g}", repeat),
            parameters={"phase": phase, "diameter_a": diameter, **rest},
        )
        for phase in fields["phases"]
        for diameter in fields["diameters_a"]
        for repeat in range(fields["repeats"])
    ]


def measure(case: Case) -> dict[str, Any]:
    """Make one field and look for its crystallites at every dose."""
    asked, rng = case.parameters, np.random.default_rng(case.seed)
    microscope = asked["microscope"]
    phase, diameter = load_phase(asked["phase"]), asked["diameter_a"]
    side, thickness = (160.0 if diameter <= 50 else 216.0), asked["film_thickness_a"]
    axes = strong_zone_axes(phase)
    grains = [
        Grain(
            phase=phase,
            diameter_a=diameter,
            centre_a=centre,
            orientation=near_zone_axis(
                phase,
                axes[int(rng.integers(len(axes)))],
                asked["largest_tilt_deg"] * float(np.sqrt(rng.random())),
                rng,
            ),
        )
        for centre in draw_centres(
            (side, side), thickness, [diameter] * PER_FIELD, gap_a=15.0, rng=rng
        )
    ]
    scene = film_scene((side, side), thickness, grains, seed=int(rng.integers(2**32)))
    energy, pixel = microscope["beam_energy_kev"], microscope["pixel_size_a"]
    optics = Optics(
        defocus_a=float(rng.uniform(*microscope["defocus_a"])),
        spherical_aberration_mm=microscope["spherical_aberration_mm"],
        focal_spread_a=microscope["focal_spread_a"],
    )
    pixels = round(side / pixel)
    settings = multislice_for(microscope["image_error"], beam_energy_kev=energy)
    wave = exit_wave(scene, beam_energy_kev=energy, settings=settings)
    image = resample(image_from_exit_wave(wave, optics), (pixels, pixels))
    camera = Detector(dqe0=microscope["dqe0"], mtf=Transfer(**microscope["mtf"]))
    known = candidates(asked["candidates"])
    found, named, spare = [], [], []
    for dose in asked["doses_e_per_a2"]:
        counts = record_counts(
            image, dose_e_per_a2=dose, pixel_size_a=pixel, detector=camera, rng=rng
        )
        regions = identify_image(counts, pixel_size_a=pixel, candidates=known).regions
        shown, beside = match_places(scene.truths, regions, beam_energy_kev=energy)
        found.append(sum(i is not None for i in shown))
        named.append(sum(i is not None and regions[i].phase == phase.identifier for i in shown))
        spare.append(len(beside))
    return {"found": found, "named": named, "spare": spare}


def tables(
    study: dict[str, Any], results: Iterable[tuple[Case, dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """Return recall per phase, diameter and dose, and the size found half and nine times in ten."""
    doses = study["exposure"]["doses_e_per_a2"]
    fields: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for case, result in results:
        key = (case.parameters["phase"], case.parameters["diameter_a"])
        fields.setdefault(key, []).append(result)
    recall = []
    for (phase, diameter), many in fields.items():
        total = PER_FIELD * len(many)
        for i, dose in enumerate(doses):
            found = sum(result["found"][i] for result in many)
            named = sum(result["named"][i] for result in many)
            low, high = wilson(found, total)
            recall.append(
                {
                    "phase": phase,
                    "diameter_a": diameter,
                    "dose_e_per_a2": dose,
                    "crystallites": total,
                    "found": found,
                    "share_from": low,
                    "share_to": high,
                    "named_right": named,
                    "places_beside": sum(result["spare"][i] for result in many),
                }
            )
    summary = []
    for phase in dict.fromkeys(phase for phase, _ in fields):
        sizes = sorted(d for p, d in fields if p == phase)
        for i, dose in enumerate(doses):
            share = [np.mean([r["found"][i] / PER_FIELD for r in fields[phase, d]]) for d in sizes]
            summary.append(
                {
                    "phase": phase,
                    "dose_e_per_a2": dose,
                    "half_found_from_a": size_at(0.5, sizes, share),
                    "nine_in_ten_found_from_a": size_at(0.9, sizes, share),
                }
            )
    return {"summary": summary, "recall": recall}


def wilson(found: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a share by Wilson (1927), doi:10.1080/01621459.1927.10502953."""
    interval = binomtest(found, total).proportion_ci(method="wilson")
    return round(interval.low, 2), round(interval.high, 2)


def size_at(wanted: float, sizes: list[float], share: list[float]) -> float | None:
    """Return the diameter from which a share is found, interpolated; ``None`` if none is enough.

    The smallest diameter that was tried stands for itself and all below.
    """
    rising = isotonic_regression(share).x
    if rising[-1] < wanted:
        return None
    first = int(np.argmax(rising >= wanted))
    if first == 0:
        return sizes[0]
    pair = slice(first - 1, first + 1)
    return round(float(np.interp(wanted, rising[pair], sizes[pair])), 1)

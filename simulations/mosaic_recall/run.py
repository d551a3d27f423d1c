"""How much of a mosaic SEI does an image not show?  ``interphase simulate mosaic_recall``."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from interphase.diffraction import identify_image
from interphase.phases import candidates
from interphase.simulation import (
    Case,
    CrystalliteTruth,
    Detector,
    Interphase,
    Layer,
    Optics,
    Population,
    Structure,
    Transfer,
    build_interphase,
    interphase_image,
    interphase_truth,
    interphase_wave,
    match_places,
    record_counts,
    shown_planes,
    spawn_seed,
)

Row = dict[str, Any]


def cases(study: dict[str, Any]) -> list[Case]:
    """Name the interphases: some of each foil."""
    models = study["models"]
    rest = {key: models[key] for key in models if key not in ("foils_a", "repeats", "seed")}
    rest |= {"microscope": study["microscope"], **study["exposure"], **study["analysis"]}
    return [
        Case(
            name=f"foil{foil:g}-{repeat}",
            seed=spawn_seed(models["seed"], f"{foil:g}", repeat),
            parameters={"foil_thickness_a": foil, **rest},
        )
        for foil in models["foils_a"]
        for repeat in range(models["repeats"])
    ]


def measure(case: Case) -> dict[str, Any]:
    """Make one mosaic and look for each of its crystallites at every dose."""
    asked, rng = case.parameters, np.random.default_rng(case.seed)
    microscope = asked["microscope"]
    energy, pixel = microscope["beam_energy_kev"], microscope["pixel_size_a"]
    grains = tuple(
        Population(
            phase=phase,
            volume_fraction=asked["fraction"],
            diameter_a=float(rng.uniform(*asked["diameters_a"])),
        )
        for phase in asked["phases"]
    )
    mosaic = Layer(
        name="mosaic",
        thickness_a=asked["thickness_a"],
        matrix=asked["matrix"],
        populations=grains,
    )
    model = build_interphase(
        Interphase(
            architecture="mosaic",
            structure=Structure.MOSAIC,
            electrode="Li",
            layers=(mosaic,),
            foil_thickness_a=asked["foil_thickness_a"],
            length_a=asked["length_a"],
            seed=int(rng.integers(2**32)),
        )
    )
    optics = Optics(
        defocus_a=float(rng.uniform(*microscope["defocus_a"])),
        spherical_aberration_mm=microscope["spherical_aberration_mm"],
        focal_spread_a=microscope["focal_spread_a"],
    )
    image = interphase_image(
        model, interphase_wave(model, energy), optics=optics, pixel_size_a=pixel
    )
    truth = interphase_truth(model, pixel_size_a=pixel, shape=image.shape)
    field = np.array(image.shape) * pixel
    inside = [
        row
        for row in truth.crystallites
        if all(0 <= at < end for at, end in zip(row.centre_a[:2], field, strict=True))
    ]
    planes = [shown_planes(row, beam_energy_kev=energy).k_per_a for row in inside]
    known = candidates(asked["candidates"])
    camera = Detector(dqe0=microscope["dqe0"], mtf=Transfer(**microscope["mtf"]))
    # Turned about the beam by chance, they show which matches are accidents.
    turned = [turn(row, float(rng.uniform(20, 160))) for row in inside]
    found, chance = [], []
    for dose in asked["doses_e_per_a2"]:
        counts = record_counts(
            image, dose_e_per_a2=dose, pixel_size_a=pixel, detector=camera, rng=rng
        )
        regions = identify_image(counts, pixel_size_a=pixel, candidates=known).regions
        shown, _ = match_places(inside, regions, beam_energy_kev=energy)
        found.append([i is not None for i in shown])
        shown, _ = match_places(turned, regions, beam_energy_kev=energy)
        chance.append([i is not None for i in shown])
    return {
        "phase": [row.phase for row in inside],
        "diameter_a": [row.diameter_a for row in inside],
        "volume_a3": [row.volume_a3 for row in inside],
        "planes": [len(k) for k in planes],
        "lattice": [len(k) > 1 and int(np.linalg.matrix_rank(k, tol=0.05)) == 2 for k in planes],
        "found": found,
        "chance": chance,
    }


def turn(row: CrystalliteTruth, degrees: float) -> CrystalliteTruth:
    """Return a crystallite turned about the beam."""
    about = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    matrix = about @ np.array(row.orientation)
    return replace(row, orientation=tuple(tuple(line) for line in matrix.tolist()))


def tables(
    study: dict[str, Any], results: Iterable[tuple[Case, dict[str, Any]]]
) -> dict[str, list[Row]]:
    """Return the share that is found by foil, size and phase, and what corrects for the rest."""
    doses = study["exposure"]["doses_e_per_a2"]
    by_model = []
    for number, (case, result) in enumerate(results):
        many = len(result["phase"])
        keys = ("phase", "diameter_a", "volume_a3", "planes", "lattice")
        by_model += [
            {
                "model": number,
                "foil_a": case.parameters["foil_thickness_a"],
                **{key: result[key][i] for key in keys},
                **{f"found_{dose:g}": result["found"][j][i] for j, dose in enumerate(doses)},
                **{f"chance_{dose:g}": result["chance"][j][i] for j, dose in enumerate(doses)},
            }
            for i in range(many)
        ]
    size = {"below 3 nm": (0, 30), "3-4 nm": (30, 40), "4-6 nm": (40, 60), "above 6 nm": (60, 1e9)}
    groups: dict[str, Callable[[Row], bool]] = {"all": lambda row: True}
    for foil in study["models"]["foils_a"]:
        groups[f"foil {foil / 10:g} nm"] = lambda row, foil=foil: row["foil_a"] == foil
    for name, (low, high) in size.items():
        groups[name] = lambda row, low=low, high=high: low <= row["diameter_a"] < high
    for phase in study["models"]["phases"]:
        groups[phase] = lambda row, phase=phase: row["phase"] == phase
    groups["two planes not in line"] = lambda row: row["lattice"]
    groups["planes in line only"] = lambda row: row["planes"] > 0 and not row["lattice"]
    groups["no strong plane near its Bragg condition"] = lambda row: row["planes"] == 0
    summary = []
    for name, belongs in groups.items():
        rows = [row for row in by_model if belongs(row)]
        for dose in doses if rows else ():
            row = {"group": name, "dose_e_per_a2": dose, **recall(rows, f"found_{dose:g}")}
            chance = float(np.mean([row[f"chance_{dose:g}"] for row in rows]))
            summary.append(row | {"found_by_chance": round(chance, 3)})
    return {"summary": summary}


def recall(rows: list[Row], found: str) -> Row:
    """Return shares that are found, with 95 % intervals from interphases drawn again.

    With few interphases such intervals are too narrow, by about a fifth with eight.
    """
    models = sorted({row["model"] for row in rows})
    volume = np.array([sum(r["volume_a3"] for r in rows if r["model"] == m) for m in models])
    seen = np.array(
        [sum(r["volume_a3"] for r in rows if r["model"] == m and r[found]) for m in models]
    )
    drawn = np.random.default_rng(0).integers(len(models), size=(2000, len(models)))
    ratio = seen[drawn].sum(axis=1) / volume[drawn].sum(axis=1)
    low, high = np.quantile(ratio, [0.025, 0.975])
    share = float(seen.sum() / volume.sum())
    return {
        "crystallites": len(rows),
        "found": round(float(np.mean([row[found] for row in rows])), 3),
        "volume_found": round(share, 3),
        "volume_found_from": round(float(low), 3),
        "volume_found_to": round(float(high), 3),
        "correction": round(1 / share, 2) if share else None,
        "correction_from": round(1 / float(high), 2) if high else None,
        "correction_to": round(1 / float(low), 2) if low else None,
    }

"""What does a tilt of the interface do to layers?  ``interphase simulate tilted_layers``."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from interphase.diffraction import identify_image
from interphase.phases import candidates
from interphase.simulation import (
    Case,
    Detector,
    Interphase,
    Layer,
    Optics,
    Packing,
    Population,
    Structure,
    Transfer,
    build_interphase,
    draw_roughness,
    interphase_image,
    interphase_truth,
    interphase_wave,
    match_places,
    record_counts,
    spawn_seed,
)


def cases(study: dict[str, Any]) -> list[Case]:
    """Name the interphases; the same seeds at every tilt and in every foil."""
    models = study["models"]
    rest = {
        key: models[key] for key in ("inner_a", "outer_a", "grain_a", "length_a", "roughness_a")
    }
    rest |= {"microscope": study["microscope"], **study["analysis"]}
    return [
        Case(
            name=f"foil{foil:g}-tilt{tilt:g}-{repeat}",
            seed=spawn_seed(models["seed"], repeat),
            parameters={"foil_thickness_a": foil, "tilt_deg": tilt, **rest},
        )
        for foil in models["foils_a"]
        for tilt in models["tilts_deg"]
        for repeat in range(models["repeats"])
    ]


def measure(case: Case) -> dict[str, Any]:
    """Make one layered interphase, and measure its layers in projection and in an image."""
    asked, rng = case.parameters, np.random.default_rng(case.seed)
    microscope = asked["microscope"]
    energy, pixel = microscope["beam_energy_kev"], microscope["pixel_size_a"]
    grain = Population(
        phase="Li2O", volume_fraction=1.0, diameter_a=asked["grain_a"], texture=(1, 1, 1)
    )
    inner = Layer(name="inner", thickness_a=asked["inner_a"], matrix="LEDC")
    outer = Layer(
        name="outer",
        thickness_a=asked["outer_a"],
        packing=Packing.COLUMNAR,
        populations=(grain,),
    )
    model = build_interphase(
        Interphase(
            architecture="layered",
            structure=Structure.LAYERED,
            electrode="Li",
            layers=(inner, outer),
            foil_thickness_a=asked["foil_thickness_a"],
            length_a=asked["length_a"],
            electrode_width_a=80.0,
            outside_width_a=80.0,
            tilt_deg=asked["tilt_deg"],
            roughness=draw_roughness(asked["roughness_a"], periods_a=(60.0, 300.0), rng=rng),
            seed=int(rng.integers(2**32)),
        )
    )
    optics = Optics(
        defocus_a=microscope["defocus_a"],
        spherical_aberration_mm=microscope["spherical_aberration_mm"],
        focal_spread_a=microscope["focal_spread_a"],
    )
    image = interphase_image(
        model, interphase_wave(model, energy), optics=optics, pixel_size_a=pixel
    )
    truth = interphase_truth(model, pixel_size_a=pixel, shape=image.shape)
    counts = record_counts(
        image,
        dose_e_per_a2=microscope["dose_e_per_a2"],
        pixel_size_a=pixel,
        detector=Detector(dqe0=microscope["dqe0"], mtf=Transfer(**microscope["mtf"])),
        rng=rng,
    )
    found = identify_image(counts, pixel_size_a=pixel, candidates=candidates(asked["candidates"]))
    shown, _ = match_places(truth.crystallites, found.regions, beam_energy_kev=energy)
    volume = np.array([row.volume_a3 for row in truth.crystallites])
    seen = np.array([i is not None for i in shown])
    organic, oxide = (truth.projected_fraction(name) for name in ("LEDC", "Li2O"))
    depth = truth.depth_a
    # The boundary of both layers, away from the metal and the vacuum.
    at, share = profile(depth, oxide, low=0.0, high=asked["inner_a"] + asked["outer_a"] / 2)
    return {
        "width_a": width_10_90(at, share),
        "pure_inner_a": float((organic > 0.9).mean() * depth.shape[1] * pixel),
        "pure_outer_a": float((oxide > 0.9).mean() * depth.shape[1] * pixel),
        "metal_above_inner": float(
            truth.projected_fraction("Li")[(depth > 0) & (depth < asked["inner_a"])].mean()
        ),
        "volume_found": float(volume[seen].sum() / volume.sum()),
    }


def profile(
    depth: np.ndarray, share: np.ndarray, *, low: float, high: float, bin_a: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean share at each depth."""
    edges = np.arange(low, high + bin_a, bin_a)
    bins = np.digitize(depth.ravel(), edges) - 1
    kept = (bins >= 0) & (bins < len(edges) - 1)
    many = np.bincount(bins[kept], minlength=len(edges) - 1)
    total = np.bincount(bins[kept], share.ravel()[kept], minlength=len(edges) - 1)
    return edges[:-1] + bin_a / 2, total / np.maximum(many, 1)


def width_10_90(at: np.ndarray, share: np.ndarray) -> float:
    """Return the distance over which a rising share goes from a tenth to nine tenths."""
    rising = np.maximum.accumulate(share)
    low, high = np.interp([0.1, 0.9], rising, at)
    return float(high - low)


def tables(
    study: dict[str, Any], results: Iterable[tuple[Case, dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """Return what is measured beside the formula, per foil and tilt."""
    groups: dict[tuple[float, float], list[dict[str, Any]]] = {}
    for case, result in results:
        key = (case.parameters["foil_thickness_a"], case.parameters["tilt_deg"])
        groups.setdefault(key, []).append(result)
    summary = []
    for (foil, tilt), many in groups.items():
        row = {"foil_nm": foil / 10, "tilt_deg": tilt}
        row["width_formula_a"] = round(0.8 * foil * float(np.sin(np.deg2rad(tilt))), 1)
        for key, digits in (
            ("width_a", 1),
            ("pure_inner_a", 1),
            ("pure_outer_a", 1),
            ("metal_above_inner", 3),
            ("volume_found", 2),
        ):
            row[key] = round(float(np.mean([result[key] for result in many])), digits)
        summary.append(row)
    return {"summary": summary}

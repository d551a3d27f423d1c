"""How far does defocus move a crystallite?  ``interphase simulate delocalisation``."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from interphase.diffraction import identify_image
from interphase.electron import delocalisation
from interphase.phases import candidates, load_phase
from interphase.simulation import (
    Case,
    Detector,
    Grain,
    Optics,
    exit_wave,
    film_scene,
    image_from_exit_wave,
    match_places,
    multislice_for,
    record_counts,
    resample,
    shown_planes,
    spawn_seed,
    strong_zone_axes,
    zone_axis_orientation,
)

ENVELOPE_A = 8.0
"""Standard deviation of the window in which the amplitude of fringes is measured [Å]."""


def cases(study: dict[str, Any]) -> list[Case]:
    """Name the crystallites: some of each phase."""
    asked = study["crystallites"]
    rest = {key: asked[key] for key in ("diameter_a", "field_a", "film_thickness_a")}
    rest |= {"microscope": study["microscope"], **study["analysis"]}
    return [
        Case(
            name=f"{phase}-{repeat}",
            seed=spawn_seed(asked["seed"], phase, repeat),
            parameters={"phase": phase, **rest},
        )
        for phase in asked["phases"]
        for repeat in range(asked["repeats"])
    ]


def measure(case: Case) -> dict[str, Any]:
    """Image one crystallite in the middle of a film at every defocus, from one multislice."""
    asked, rng = case.parameters, np.random.default_rng(case.seed)
    microscope = asked["microscope"]
    energy, pixel = microscope["beam_energy_kev"], microscope["pixel_size_a"]
    phase, side, thickness = load_phase(asked["phase"]), asked["field_a"], asked["film_thickness_a"]
    axes = strong_zone_axes(phase)
    lies = zone_axis_orientation(
        phase, axes[int(rng.integers(len(axes)))], in_plane_deg=float(rng.uniform(0, 360))
    )
    centre = (side / 2, side / 2, thickness / 2)
    grain = Grain(phase=phase, diameter_a=asked["diameter_a"], centre_a=centre, orientation=lies)
    seed = int(rng.integers(2**32))
    scene, film = (film_scene((side, side), thickness, g, seed=seed) for g in ([grain], []))
    settings = multislice_for(microscope["image_error"], beam_energy_kev=energy)
    wave, film_wave = (
        exit_wave(s, beam_energy_kev=energy, settings=settings) for s in (scene, film)
    )
    (truth,) = scene.truths
    k = shown_planes(truth, beam_energy_kev=energy, d_min_a=1.3, relative_min=0.3).k_per_a
    shape = (round(side / pixel),) * 2
    known = candidates(asked["candidates"])
    rows = []
    for aberration in microscope["spherical_aberrations_mm"]:
        for defocus in microscope["defocus_a"]:
            optics = Optics(
                defocus_a=defocus,
                spherical_aberration_mm=aberration,
                focal_spread_a=microscope["focal_spread_a"],
            )
            image = resample(image_from_exit_wave(wave, optics), shape)
            background = resample(image_from_exit_wave(film_wave, optics), shape)
            counts = record_counts(
                image,
                dose_e_per_a2=microscope["dose_e_per_a2"],
                pixel_size_a=pixel,
                detector=Detector(dqe0=microscope["dqe0"]),
                rng=rng,
            )
            regions = identify_image(counts, pixel_size_a=pixel, candidates=known).regions
            (place,), _ = match_places([truth], regions, beam_energy_kev=energy, margin_a=side)
            away = None
            if place is not None:
                away = float(np.linalg.norm(np.subtract(regions[place].centre_a, centre[:2])))
            rows += [
                {
                    "spherical_aberration_mm": aberration,
                    "defocus_a": defocus,
                    "d_a": float(1 / np.linalg.norm(plane)),
                    **displaced(image - background, plane, pixel, truth.diameter_a),
                    "place_away_a": away,
                }
                for plane in k
            ]
    return {"rows": rows}


def displaced(
    fringes: np.ndarray, k: np.ndarray, pixel: float, diameter: float
) -> dict[str, float]:
    """Return how far fringes lie from the middle along their frequency, and their share outside."""
    fy, fx = np.fft.fftfreq(fringes.shape[0], pixel), np.fft.fftfreq(fringes.shape[1], pixel)
    # A Gaussian window in space is one in frequency, about the fringes' own.
    off = (fy[:, None] - k[0]) ** 2 + (fx - k[1]) ** 2
    band = np.exp(-2 * (np.pi * ENVELOPE_A) ** 2 * off)
    power = np.abs(np.fft.ifft2(np.fft.fft2(fringes) * band)) ** 2
    y, x = (pixel * (np.arange(n) - n / 2) for n in fringes.shape)
    along = (y[:, None] * k[0] + x * k[1]) / np.linalg.norm(k)
    # Far from the crystallite there is only what the film does differently.
    near = np.hypot(y[:, None], x) < 0.45 * min(fringes.shape) * pixel
    power = power * near
    inside = np.hypot(y[:, None], x) < diameter / 2 + ENVELOPE_A
    total = power.sum()
    return {
        "rms_a": float(np.sqrt((power * along**2).sum() / total)),
        "mean_a": float((power * along).sum() / total),
        "outside": float(power[~inside].sum() / total),
    }


def tables(
    study: dict[str, Any], results: Iterable[tuple[Case, dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """Return the displacement against defocus beside the formula, per aberration and spacing."""
    energy = study["microscope"]["beam_energy_kev"]
    groups: dict[tuple[float, float, str], list[dict[str, Any]]] = {}
    for _, result in results:
        for row in result["rows"]:
            spacing = "above 2 Å" if row["d_a"] > 2 else "1.3 to 2 Å"
            key = (row["spherical_aberration_mm"], row["defocus_a"], spacing)
            groups.setdefault(key, []).append(row)
    still = {}
    summary = []
    for (aberration, defocus, spacing), rows in groups.items():
        formula = np.array(
            [
                delocalisation(
                    1 / row["d_a"],
                    beam_energy_kev=energy,
                    defocus_a=defocus,
                    spherical_aberration_mm=aberration,
                )
                for row in rows
            ]
        )
        rms = np.array([row["rms_a"] for row in rows])
        if aberration < 0.1 and defocus == 0:
            still[spacing] = float(np.median(rms))
        own = still.get(spacing, np.nan)
        wider = np.clip(rms**2 - own**2, 0, None)
        away = [row["place_away_a"] for row in rows if row["place_away_a"] is not None]
        summary.append(
            {
                "spherical_aberration_mm": aberration,
                "defocus_a": defocus,
                "spacing": spacing,
                "fringes": len(rows),
                "formula_a": round(float(np.median(formula)), 1),
                "measured_a": round(float(np.median(np.sqrt(wider))), 1),
                "mean_a": round(float(np.median([row["mean_a"] for row in rows])), 1),
                "share_outside": round(float(np.median([row["outside"] for row in rows])), 3),
                "place_found": round(len(away) / len(rows), 3),
                "place_away_a": round(float(np.median(away)), 1) if away else None,
            }
        )
    return {"summary": summary}

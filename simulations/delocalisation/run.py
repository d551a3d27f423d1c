"""How far does defocus move a crystallite?  ``interphase simulate delocalisation``."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from interphase.diffraction import identify_image
from interphase.electron import aberration_phase, delocalisation
from interphase.phases import candidates, load_phase
from interphase.simulation import (
    Case,
    Detector,
    ExitWave,
    Grain,
    Optics,
    Transfer,
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
    camera = Detector(dqe0=microscope["dqe0"], mtf=Transfer(**microscope["mtf"]))
    of_crystal = replace(wave, array=wave.array - film_wave.array)
    rows = []
    for aberration in microscope["spherical_aberrations_mm"]:
        for defocus in microscope["defocus_a"]:
            optics = Optics(
                defocus_a=defocus,
                spherical_aberration_mm=aberration,
                focal_spread_a=microscope["focal_spread_a"],
            )
            image, background = (
                resample(image_from_exit_wave(w, optics), shape) for w in (wave, film_wave)
            )
            counts = record_counts(
                image,
                dose_e_per_a2=microscope["dose_e_per_a2"],
                pixel_size_a=pixel,
                detector=camera,
                rng=rng,
            )
            regions = identify_image(counts, pixel_size_a=pixel, candidates=known).regions
            (place,), _ = match_places([truth], regions, beam_energy_kev=energy, margin_a=side)
            away = None
            if place is not None:
                away = float(np.linalg.norm(np.subtract(regions[place].centre_a, centre[:2])))
            lens = {"defocus_a": defocus, "spherical_aberration_mm": aberration}
            moved = seen_through(of_crystal, **lens)
            # The crystallite's middle lies half the film above the plane of the exit wave.
            own = {**lens, "defocus_a": defocus - thickness / 2}
            rows += [
                {
                    **lens,
                    "d_a": float(1 / np.linalg.norm(plane)),
                    "formula_a": float(
                        delocalisation(np.linalg.norm(plane), beam_energy_kev=energy, **own)
                    ),
                    "beam_a": centroid(moved, plane, wave.pixel_size_a),
                    "outside": outside(image - background, plane, pixel, truth.diameter_a),
                    "place_away_a": away,
                }
                for plane in k
            ]
    return {"rows": rows}


def seen_through(wave: ExitWave, *, defocus_a: float, spherical_aberration_mm: float) -> np.ndarray:
    """Return a wave in the image plane of a lens, coherent."""
    ky, kx = (
        np.fft.fftfreq(n, p) for n, p in zip(wave.array.shape, wave.pixel_size_a, strict=True)
    )
    phase = aberration_phase(
        np.hypot(ky[:, None], kx),
        beam_energy_kev=wave.beam_energy_kev,
        defocus_a=defocus_a,
        spherical_aberration_mm=spherical_aberration_mm,
    )
    return np.fft.ifft2(np.fft.fft2(wave.array) * np.exp(-1j * phase))


def power_of(picture: np.ndarray, k: np.ndarray, pixel: tuple[float, float]) -> np.ndarray:
    """Return the power of one frequency (ky, kx) in a picture, place by place."""
    fy, fx = (np.fft.fftfreq(n, p) for n, p in zip(picture.shape, pixel, strict=True))
    # A Gaussian window in space is one in frequency, about the fringes' own.
    off = (fy[:, None] - k[0]) ** 2 + (fx - k[1]) ** 2
    band = np.exp(-2 * (np.pi * ENVELOPE_A) ** 2 * off)
    return np.abs(np.fft.ifft2(np.fft.fft2(picture) * band)) ** 2


def centroid(wave: np.ndarray, k: np.ndarray, pixel: tuple[float, float]) -> float:
    """Return how far the beam of lattice planes lies from the middle, along their normal [Å]."""
    y, x = (p * (np.arange(n) - n / 2) for n, p in zip(wave.shape, pixel, strict=True))
    along = (y[:, None] * k[0] + x * k[1]) / np.linalg.norm(k)
    power = power_of(wave, k, pixel)
    return abs(float((power * along).sum() / power.sum()))


def outside(fringes: np.ndarray, k: np.ndarray, pixel: float, diameter: float) -> float:
    """Return the share of the fringes' power beside the crystallite."""
    y, x = (pixel * (np.arange(n) - n / 2) for n in fringes.shape)
    away = np.hypot(y[:, None], x)
    power = power_of(fringes, k, (pixel, pixel))
    return float(power[away > diameter / 2 + ENVELOPE_A].sum() / power.sum())


def tables(
    study: dict[str, Any], results: Iterable[tuple[Case, dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """Return the displacement against defocus beside the formula, per aberration and spacing."""
    groups: dict[tuple[float, float, str], list[dict[str, Any]]] = {}
    for _, result in results:
        for row in result["rows"]:
            spacing = "above 2 Å" if row["d_a"] > 2 else "1.3 to 2 Å"
            key = (row["spherical_aberration_mm"], row["defocus_a"], spacing)
            groups.setdefault(key, []).append(row)
    summary = []
    for (aberration, defocus, spacing), rows in groups.items():
        away = [row["place_away_a"] for row in rows if row["place_away_a"] is not None]

        def median(key: str, digits: int, rows: list[dict[str, Any]] = rows) -> float:
            return round(float(np.median([row[key] for row in rows])), digits)

        summary.append(
            {
                "spherical_aberration_mm": aberration,
                "defocus_a": defocus,
                "spacing": spacing,
                "beams": len(rows),
                "formula_a": median("formula_a", 1),
                "beam_a": median("beam_a", 1),
                "share_outside": median("outside", 3),
                "place_found": round(len(away) / len(rows), 3),
                "place_away_a": round(float(np.median(away)), 1) if away else None,
            }
        )
    return {"summary": summary}

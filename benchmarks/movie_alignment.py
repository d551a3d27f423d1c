"""Residual drift and time of movie alignment by dose, beside pairwise phase correlation.

``python benchmarks/movie_alignment.py [--side 512] [--frames 40] [--movies 3] [--seed 1]``

The specimen is an amorphous film of 5 % contrast (standard deviation) behind a lens at 50 nm
underfocus, with crystallites of 5 % fringes, 0.5 Å per pixel; it moves in a burst that dies away
over three frames and then creeps, 20 px in all, and new material comes into the field. The camera's
gain reference is wrong by 3 % in each pixel and by half in three columns, and 20 pixels are hot.
The peer is scikit-image's `phase_cross_correlation`, upsampled ten times, of each frame with that
before it (shifts added up) and of each frame with the sum of all, and the former also with the mean
of the movie taken off, which removes the fixed pattern. What is printed is the root mean square
distance from the truth over the frames of each movie, whose mean place is taken off.
"""

import argparse
import json
import time

import numpy as np

PIXEL_A, WAVELENGTH_A = 0.5, 0.0197
COUNTS = (0.3, 0.5, 1.0, 5.0, 20.0)
MARGIN = 64


def specimen(side, rng, contrast):
    """Return contrast of a film with crystallites."""
    k = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) / PIXEL_A
    chi = np.pi * WAVELENGTH_A * 500 * k**2 - np.pi / 2 * 1.2e7 * WAVELENGTH_A**3 * k**4
    passed = np.sin(chi + 0.08) * np.exp(-((k / 0.45) ** 2)) / (1 + (k / 0.3) ** 2)
    film = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(side, side))) * passed, s=(side, side))
    image = contrast * film / film.std()
    y, x = np.indices((side, side))
    for _ in range(side // 100):
        (row, column), radius = rng.uniform(0, side, 2), rng.uniform(20, 60)
        angle, spacing = rng.uniform(0, np.pi), rng.choice([2.66, 2.32, 2.01]) / PIXEL_A
        wave = np.cos(2 * np.pi * (y * np.sin(angle) + x * np.cos(angle)) / spacing)
        image += contrast * wave * (np.hypot(y - row, x - column) < radius)
    return image


def movie(rng, *, frames, side, counts, contrast):
    """Return frames, and where the specimen was in each [px]."""
    t = np.arange(frames)
    ways = rng.normal(size=(2, 2))
    ways *= 20 / np.linalg.norm(ways, axis=1, keepdims=True)
    truth = 0.6 * np.outer(1 - np.exp(-t / 3), ways[0]) + 0.4 * np.outer(t / frames, ways[1])
    truth += 0.01 * rng.normal(size=(frames, 2)).cumsum(axis=0).cumsum(axis=0)
    truth -= truth.mean(axis=0)
    gain = 1 + 0.03 * rng.normal(size=(side, side))
    gain[:, rng.choice(side, 3, replace=False)] *= 1.5
    gain.flat[rng.choice(side**2, 20, replace=False)] *= 30
    whole = np.fft.rfft2(specimen(side + 2 * MARGIN, rng, contrast))
    ky, kx = (f(side + 2 * MARGIN) for f in (np.fft.fftfreq, np.fft.rfftfreq))
    field = slice(MARGIN, MARGIN + side)
    recorded = np.empty((frames, side, side), dtype=np.float32)
    for f, (y, x) in enumerate(truth):
        moved = np.fft.irfft2(whole * np.exp(-2j * np.pi * (ky[:, None] * y + kx * x)))
        recorded[f] = rng.poisson(counts * np.maximum(1 + moved[field, field], 0)) * gain
    return recorded, truth


def ours(frames):
    from interphase.dose import align_movie

    found = align_movie(frames)
    return found.shifts_px, found.assessment.value


def peer(to, *, without_mean):
    """Return a function that aligns by pairs, each frame with the one before or the sum."""

    def align(frames):
        from skimage.registration import phase_cross_correlation

        if without_mean:
            frames = frames - frames.mean(axis=0)
        total = frames.sum(axis=0)
        shifts = np.zeros((len(frames), 2))
        for f, frame in enumerate(frames):
            if to == "sum":
                shifts[f] = -phase_cross_correlation(total, frame, upsample_factor=10)[0]
            elif f:
                step = phase_cross_correlation(frames[f - 1], frame, upsample_factor=10)[0]
                shifts[f] = shifts[f - 1] - step
        return shifts, "no verdict"

    return align


PROGRAMS = {
    "interphase": ours,
    "phase correlation, frame before": peer("before", without_mean=False),
    "phase correlation, frame before, mean off": peer("before", without_mean=True),
    "phase correlation, sum": peer("sum", without_mean=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--movies", type=int, default=3)
    parser.add_argument("--contrast", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    settings = {key: getattr(arguments, key) for key in ("frames", "side", "contrast")}
    ours(movie(np.random.default_rng(0), frames=4, side=128, counts=1.0, contrast=0.1)[0])
    for counts in COUNTS:
        results = {name: ([], [], []) for name in PROGRAMS}
        for seed in range(arguments.seed, arguments.seed + arguments.movies):
            frames, truth = movie(np.random.default_rng(seed), counts=counts, **settings)
            for name, program in PROGRAMS.items():
                start = time.perf_counter()
                shifts, verdict = program(frames)
                elapsed = time.perf_counter() - start
                rms, seconds, verdicts = results[name]
                seconds.append(elapsed)
                verdicts.append(verdict)
                if shifts is not None:
                    error = shifts - truth
                    error -= error.mean(axis=0)
                    rms.append(np.sqrt(np.square(error).sum(axis=1).mean()))
        for name, (rms, seconds, verdicts) in results.items():
            row = {
                "electrons_per_px_frame": counts,
                "program": name,
                "residual_rms_px": [round(float(r), 3) for r in rms],
                "median_s": round(float(np.median(seconds)), 2),
                "verdicts": sorted(set(verdicts)),
            }
            print(json.dumps(row))


if __name__ == "__main__":
    main()

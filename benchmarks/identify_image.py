"""Time to identify phases in a 4096 x 4096 image, as a ratio to the bare Fourier transforms.

``python benchmarks/identify_image.py [--repeats 3] [--crystallites 120]``

The image is Poisson noise on an amorphous background with planted lattice patches; window 128
pixels, step 32 pixels, twelve candidates. The limit is the batched single-precision `rfft2` and the
power of the same windows, with SciPy on all cores.
"""

import argparse
import resource
import time

import numpy as np
from scipy import fft, ndimage

from interphase.diffraction import Options, identify_image
from interphase.phases import candidates, load_phase, reflections

SIZE, PIXEL_A, WINDOW, STEP = 4096, 0.4, 128, 32
CANDIDATES = "Li,Li2O,LiF,Li2CO3,LiOH,Li2O2,LiH,Li3N-alpha,Li2S,ice-Ih,Cu,graphite"


def test_image(crystallites: int, rng: np.random.Generator) -> np.ndarray:
    """Return counts at 60 e/Å² with patches of <110> Li2O and LiF lattices, 4 nm wide."""
    contrast = 0.05 * ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), 2) * 7
    half = 80
    y, x = np.mgrid[-half:half, -half:half] * PIXEL_A
    for number in range(crystallites):
        table = reflections(load_phase(("Li2O", "LiF")[number % 2]), d_min_a=1.3, relative_min=0.1)
        plane = np.abs(table.hkl @ [1, -1, 0]) == 0
        first, second = np.array([1, 1, 0]) / 2**0.5, np.array([0, 0, 1])
        angle = rng.uniform(0, np.pi)
        ky = table.g_per_a[plane] @ (np.cos(angle) * first + np.sin(angle) * second)
        kx = table.g_per_a[plane] @ (np.cos(angle) * second - np.sin(angle) * first)
        patch = np.cos(2 * np.pi * (ky[:, None, None] * y + kx[:, None, None] * x)).sum(axis=0)
        patch *= 0.03 * np.exp(-0.5 * (x**2 + y**2) / 17.0**2)
        row, column = rng.integers(half, SIZE - half, 2)
        contrast[row - half : row + half, column - half : column + half] += patch
    return rng.poisson(60 * PIXEL_A**2 * np.clip(1 + contrast, 0, None)).astype(np.float32)


def bare_transforms(image: np.ndarray) -> None:
    """Transform every window and take its power, nothing else."""
    views = np.lib.stride_tricks.sliding_window_view(image, (WINDOW, WINDOW))[::STEP, ::STEP]
    for row in views:
        spectrum = fft.rfft2(np.ascontiguousarray(row), workers=-1)
        np.square(spectrum.real) + np.square(spectrum.imag)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--crystallites", type=int, default=120)
    arguments = parser.parse_args()
    image = test_image(arguments.crystallites, np.random.default_rng(0))
    phases = candidates(CANDIDATES)
    options = Options(windows_a=(WINDOW * PIXEL_A,), overlap=WINDOW // STEP)

    def timed(work: object, *args: object, **kwargs: object) -> tuple[float, object]:
        start = time.perf_counter()
        result = work(*args, **kwargs)  # type: ignore[operator]
        return time.perf_counter() - start, result

    def identify() -> object:
        return identify_image(image, pixel_size_a=PIXEL_A, candidates=phases, options=options)

    first, result = timed(identify)
    times = []
    for _ in range(arguments.repeats):
        bare, _ = timed(bare_transforms, image)
        ours, result = timed(identify)
        times.append((bare, ours))
        print(f"bare rfft2 {bare:6.2f} s   identify {ours:6.2f} s   ratio {ours / bare:5.2f}")
    least_bare, least_ours = np.min(times, axis=0)
    ratios = [ours / bare for bare, ours in times]
    print(f"first call, with the preparation of {len(phases)} candidates: {first:.2f} s")
    print(f"ratio of the least times {least_ours / least_bare:.2f}, median {np.median(ratios):.2f}")
    print(f"regions found {len(result.regions)}")  # type: ignore[attr-defined]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"peak memory {peak:.2f} GB")


if __name__ == "__main__":
    main()

"""Synthetic images and point patterns that several tests of this room share."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from interphase.diffraction.matching import Evidences, Library, weigh
from interphase.diffraction.options import Evidence, ScalePrior
from interphase.diffraction.templates import Templates, make_templates
from interphase.phases import families, load_phase, reflections

THRESHOLD = 9.0
SIGMA = 0.45 / 40
K_RANGE = (1 / 6, 1 / 1.2)


@pytest.fixture(scope="session")
def film() -> Callable[..., np.ndarray]:
    """Counts of an amorphous film seen through a contrast transfer function with Thon rings."""

    def make(
        rng: np.random.Generator,
        *,
        size: int,
        counts: float,
        contrast: float,
        defocus_a: float = 600.0,
        astigmatism_a: float = 0.0,
        pixel_size_a: float = 0.5,
    ) -> np.ndarray:
        frequency = np.fft.fftfreq(size, pixel_size_a)
        ky, kx = frequency[:, None], frequency[None, :]
        k2 = ky**2 + kx**2
        defocus = defocus_a + astigmatism_a * np.cos(2 * np.arctan2(ky, kx))
        transfer = np.sin(np.pi * 0.0197 * defocus * k2) * np.exp(-6 * k2)
        white = np.fft.fft2(rng.standard_normal((size, size)))
        wave = np.fft.ifft2(white * transfer).real
        intensity = counts * (1 + contrast * wave / wave.std())
        return rng.poisson(np.clip(intensity, 0, None)).astype(float)

    return make


@pytest.fixture(scope="session")
def templates() -> dict[str, Templates]:
    """Templates of a few phases of the interphase, by identifier."""
    names = ("Li", "Li2O", "LiF", "Li2CO3", "LiOH", "Li2S", "Cu")
    return {n: make_templates(load_phase(n), d_min_a=1.2, d_max_a=6.0) for n in names}


@pytest.fixture(scope="session")
def library(templates) -> Library:
    return Library.from_templates(list(templates.values()))


@pytest.fixture(scope="session")
def weighed(library) -> Callable[..., Evidences]:
    """`weigh` with the numbers that these tests do not vary."""

    def call(
        k: np.ndarray, strength: np.ndarray | None = None, *, sigma: float = SIGMA
    ) -> Evidences:
        strength = np.full(len(k), 60.0) if strength is None else strength
        return weigh(
            np.asarray(k),
            strength,
            library,
            sigma_per_a=sigma,
            k_range_per_a=K_RANGE,
            threshold=THRESHOLD,
            evidence=Evidence(),
            scale=ScalePrior(),
        )

    return call


@pytest.fixture(scope="session")
def along(templates) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Reflections (y, x) and shares of a phase along a zone axis, strongest first."""

    def choose(
        phase: str, zone: tuple[int, int, int], *, least: float = 0.05
    ) -> tuple[np.ndarray, np.ndarray]:
        t = templates[phase]
        same = np.flatnonzero((np.sort(abs(t.zone_axis), axis=1) == np.sort(zone)).all(axis=1))
        # The exact axis shows the most reflections of those named after it.
        number = same[np.argmax((t.share[same] > least).sum(axis=1))]
        seen = t.share[number] > least
        return t.g_per_a[number][seen], t.share[number][seen]

    return choose


@pytest.fixture(scope="session")
def lattice_image() -> Callable[..., np.ndarray]:
    """Counts of discs of lattice fringes, kinematic amplitudes with any phases."""

    def make(
        rng: np.random.Generator,
        grains: Sequence[tuple[str, np.ndarray, tuple[float, float], float]],
        *,
        size: int = 256,
        pixel_size_a: float = 0.4,
        counts: float = 20.0,
        contrast: float = 0.5,
    ) -> np.ndarray:
        y, x = np.mgrid[:size, :size] * pixel_size_a
        expected = np.ones((size, size))
        for phase, orientation, (row, column), diameter in grains:
            table = reflections(load_phase(phase), d_min_a=1.2)
            g = table.g_per_a @ orientation.T
            amplitude = np.sqrt(table.intensity) * np.exp(
                -1.04 * (g[:, 2] * min(diameter, 40)) ** 2 - 3 * np.square(g).sum(axis=1)
            )
            # One of each Friedel pair, and what shows.
            half = (g[:, 0] > 1e-9) | ((np.abs(g[:, 0]) <= 1e-9) & (g[:, 1] > 0))
            g, amplitude = g[half], amplitude[half]
            shown = amplitude > 0.1 * amplitude.max()
            waves = sum(
                a * np.cos(2 * np.pi * (gy * y + gx * x) + rng.uniform(0, 2 * np.pi))
                for (gx, gy, _), a in zip(g[shown], amplitude[shown], strict=True)
            )
            inside = np.hypot(y - row, x - column) < diameter / 2
            expected += contrast * inside * waves / np.abs(waves).max()
        return rng.poisson(counts * np.clip(expected, 0, None)).astype(float)

    return make


@pytest.fixture(scope="session")
def powder_lines() -> Callable[..., list[tuple[float, float]]]:
    """Radii [1/Å] and heights of the rings of a phase, the strongest 1."""

    def lines(phase: str, *, d_min_a: float = 0.95) -> list[tuple[float, float]]:
        rings = families(reflections(load_phase(phase), d_min_a=d_min_a), merge_rings=True)
        height = rings.relative * rings.d_a**2 * np.exp(-1 / rings.d_a**2)
        return list(zip(1 / rings.d_a, height / height.max(), strict=True))

    return lines


@pytest.fixture(scope="session")
def draw_rings() -> Callable[..., np.ndarray]:
    """Counts of rings (k [1/Å], height) upon halos (k, width, share), a beam and a beam stop."""

    def draw(
        rng: np.random.Generator,
        rings: Sequence[tuple[float, float]] = (),
        *,
        size: int = 200,
        step: float = 0.0075,
        centre: tuple[float, float] = (99.7, 100.4),
        counts: float = 20.0,
        sigma_per_a: float = 0.009,
        stretch: tuple[float, float] = (0.0, 0.0),
        halo: float = 10.0,
        halos: Sequence[tuple[float, float, float]] = (),
        stop: float = 0.0,
        arcs: float = 0.0,
    ) -> np.ndarray:
        y, x = np.indices((size, size), dtype=float)
        y, x = y - centre[0], x - centre[1]
        c, s = stretch
        v, u = y * (1 + c) - x * s, x * (1 - c) - y * s
        k, azimuth = np.hypot(v, u) * step, np.arctan2(v, u)
        mean = 1 + halo * np.exp(-k / 0.15)
        for at, width, share in halos:
            mean += halo * share * np.exp(-0.5 * ((k - at) / width) ** 2)
        for at, height in rings:
            ring = counts * height * np.exp(-0.5 * ((k - at) / sigma_per_a) ** 2)
            mean += ring * (1 + arcs * np.cos(2 * azimuth)) ** 2
        mean += 3e4 * np.exp(-0.5 * (k / step / 2) ** 2)
        mean[np.hypot(y, x) < stop] = 0.02
        return rng.poisson(mean).astype(float)

    return draw

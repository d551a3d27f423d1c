"""Synthetic images and point patterns that several tests of this room share."""

from collections.abc import Callable

import numpy as np
import pytest

from interphase.diffraction.matching import Evidences, Library, weigh
from interphase.diffraction.options import Evidence, ScalePrior
from interphase.diffraction.templates import Templates, make_templates
from interphase.phases import load_phase

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

"""Scanned images: what makes an atom show in dark and annular bright fields, and phases in them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ase.build import make_supercell

from interphase.assessment import Assessment
from interphase.diffraction import Options, identify_image
from interphase.phases import Contrast, candidates, load_phase, structure_factors
from interphase.simulation.imaging.cost import Multislice
from interphase.simulation.imaging.probes import (
    AnnularDetector,
    Probe,
    Scan,
    annular_bright_field,
)
from interphase.simulation.imaging.scanning import scanned_images
from interphase.simulation.models.scene import Scene

CANDIDATES = candidates("Li2O,LiF,Li2CO3,Li,LiOH,Cu2O,ice-Ih")
# Spatial frequencies (y, x) of the <110> zone of a cubic cell of unit edge, and their planes.
ORDERS = np.array([(h, k) for h in range(-5, 6) for k in range(5) if k > 0 or h > 0])
FREQUENCY = ORDERS * [1.0, np.sqrt(2)]


@pytest.fixture(scope="module")
def scanned() -> Callable[[str], dict[str, np.ndarray]]:
    """Mean and waves of the image of a slab along [110] by both detectors, each phase once."""
    known: dict[str, dict[str, np.ndarray]] = {}
    probe = Probe(beam_energy_kev=300.0, semi_convergence_mrad=24.0, defocus_a=10.0)

    def scan(name: str) -> dict[str, np.ndarray]:
        if name not in known:
            from pymatgen.io.ase import AseAtomsAdaptor

            structure = load_phase(name).structure()
            edge = structure.lattice.a
            atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
            atoms = make_supercell(atoms, [[1, -1, 0], [0, 0, 1], [1, 1, 0]])
            size = edge * np.array([np.sqrt(2), 1, np.sqrt(2)])
            atoms.set_cell(size, scale_atoms=True)
            repeat = np.round(np.array([16.0, 16.0, 26.0]) / size).astype(int)
            atoms = atoms.repeat(tuple(repeat))
            atoms.positions[:, 2] += 1.0
            width, height, depth = repeat * size
            scene = Scene(
                atoms=atoms, size_a=(height, width), thickness_a=depth + 2.0, matrix="vacuum"
            )
            places = Scan(origin_a=(0.0, 0.0), step_a=edge / 12, shape=(12, 26))
            images = scanned_images(
                scene,
                probe,
                places,
                detectors={
                    "abf": annular_bright_field(probe),
                    "adf": AnnularDetector(inner_mrad=28.0, outer_mrad=44.0),
                },
                settings=Multislice(sampling_a=0.14),
            )
            phase = 2 * np.pi * places.places_a().reshape(-1, 2) @ FREQUENCY.T / edge
            terms = np.hstack([np.ones((len(phase), 1)), np.cos(phase), np.sin(phase)])
            known[name] = {
                detector: np.linalg.lstsq(terms, image.ravel(), rcond=1e-5)[0]
                for detector, image in images.items()
            }
        return known[name]

    return scan


def amplitude(waves, order):
    """Return the amplitude of one order (y, x)."""
    number = int(np.flatnonzero((ORDERS == order).all(axis=1))[0])
    return np.hypot(waves[1 + number], waves[1 + len(ORDERS) + number])


def field(waves, edge, rng, *, dose, diameter=50.0, pixel_size_a=0.3, size=220):
    """Return counts of a scan of a turned crystallite, with drift, unequal scales and jitter."""
    y, x = (np.mgrid[:size, :size] - size / 2) * pixel_size_a
    inside = np.hypot(y, x) < diameter / 2
    x = x + rng.normal(0, 0.1, (size, 1)) + rng.normal(0, 0.015) * y
    y, x = y * (1 + rng.normal(0, 0.015)), x * (1 + rng.normal(0, 0.015))
    angle = rng.uniform(0, np.pi)
    row = np.cos(angle) * y + np.sin(angle) * x
    column = np.cos(angle) * x - np.sin(angle) * y
    mean, cosine, sine = waves[0], waves[1 : 1 + len(ORDERS)], waves[1 + len(ORDERS) :]
    image = np.full(y.shape, mean)
    strong = np.hypot(cosine, sine) > 0.02 * np.hypot(cosine, sine).max()
    for (ky, kx), c, s in zip(FREQUENCY[strong], cosine[strong], sine[strong], strict=True):
        phase = 2 * np.pi * (ky * row + kx * column) / edge
        image += c * np.cos(phase) + s * np.sin(phase)
    expected = np.where(inside, np.clip(image, 0, None), mean)
    return rng.poisson(expected * dose * pixel_size_a**2)


@pytest.mark.parametrize("detector", ["abf", "adf"])
def test_both_annular_detectors_show_what_elastic_amplitudes_take_for_extinct(scanned, detector):
    # One oxygen and two lithium scatter alike elastically, and (002) of Li2O would be extinct.
    waves = scanned("Li2O")[detector]
    # The image's (1 -1 1) has the orders (1, 1), its (0 0 2) the orders (2, 0).
    seen = amplitude(waves, (2, 0)) / amplitude(waves, (1, 1))
    planes = np.array([[0, 0, 2], [1, -1, 1]])
    dark, elastic = (
        np.divide(*np.abs(structure_factors(load_phase("Li2O"), planes, contrast=contrast)[0]))
        for contrast in (Contrast.DARK_FIELD, Contrast.ELECTRON)
    )
    assert elastic < 0.02
    assert dark / 2.5 < seen < 1.5 * dark


@pytest.mark.parametrize(
    ("name", "detector", "dose"),
    [("Li2O", "abf", 2500.0), ("Li2O", "adf", 2e4), ("LiF", "abf", 2500.0)],
)
def test_crystallites_in_scans_are_named(scanned, rng, name, detector, dose):
    edge = load_phase(name).lattice[0]
    named = []
    for _ in range(4):
        found = identify_image(
            field(scanned(name)[detector], edge, rng, dose=dose),
            pixel_size_a=0.3,
            candidates=CANDIDATES,
            options=Options.for_scanned_image(),
        )
        region = max(found.regions, key=lambda r: r.area_a2)
        named.append(region.phase)
        # Another phase may be likelier by chance, and is not stated as certain then.
        assert region.phase == name or region.assessment is not Assessment.OK
    assert named.count(name) >= 3


def test_the_weights_of_a_plane_wave_image_name_a_dark_field_worse(scanned):
    belief = dict.fromkeys((Contrast.DARK_FIELD, Contrast.ELECTRON), 0.0)
    for contrast in belief:
        rng = np.random.default_rng(8)
        options = replace(Options.for_scanned_image(), contrast=contrast)
        for _ in range(3):
            image = field(scanned("Li2O")["adf"], 4.6114, rng, dose=2e4)
            found = identify_image(image, pixel_size_a=0.3, candidates=CANDIDATES, options=options)
            region = max(found.regions, key=lambda r: r.area_a2)
            belief[contrast] += region.alternatives["Li2O"] / 3
    assert belief[Contrast.DARK_FIELD] > belief[Contrast.ELECTRON] + 0.1

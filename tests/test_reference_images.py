"""The images that are kept of the reference set are a session with a truth."""

from pathlib import Path

import numpy as np
import pytest

import interphase
from interphase.simulation import Structure, load_truth

IMAGES = Path(__file__).resolve().parents[1] / "simulations" / "interphase_reference" / "images"


@pytest.mark.parametrize("structure", Structure)
def test_a_kept_image_says_what_was_exposed_and_what_it_shows(structure: Structure) -> None:
    path = IMAGES / f"{structure}.hspy"
    seen, said = interphase.read_acquisition(path), load_truth(path)
    counts = interphase.load(path).data
    assert said.truth.structure == structure
    assert said.truth.pixel_size_a == seen.pixel_size_a
    assert seen.dose_e_per_a2 == 300
    assert counts.shape == said.truth.depth_a.shape
    total = sum(said.truth.projected_thickness_a.values())
    assert np.max(total) <= said.truth.foil_thickness_a * 1.001
    # The mean share of detected electrons is the camera's efficiency, drawn from 0.4 to 0.95.
    assert 0.35 < counts.mean() / (300 * seen.pixel_size_a**2) < 1.0


def test_nothing_crystalline_is_found_in_an_amorphous_interphase() -> None:
    path = IMAGES / "amorphous.hspy"
    truth = load_truth(path).truth
    found = interphase.identify_image(
        interphase.load(path).data,
        pixel_size_a=truth.pixel_size_a,
        candidates=interphase.candidates("lithium-sei"),
    )
    for region in found.regions:
        row, column = (round(at / truth.pixel_size_a) for at in region.centre_a or (0, 0))
        assert truth.depth_a[row, column] < 15

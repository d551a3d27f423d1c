"""Real lattices with known phases, and real files without any."""

import numpy as np
import pytest

from interphase.assessment import Assessment
from interphase.diffraction import Options, identify_image, identify_pattern
from interphase.diffraction.pattern_spots import find_centre
from interphase.io import read
from interphase.phases import candidates

CIF = """data_{name}
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {c}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma {gamma}
_symmetry_space_group_name_H-M '{group}'
_symmetry_Int_Tables_number {number}
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{sites}
"""


@pytest.fixture
def strontium_titanate(tmp_path):
    sites = "Sr1 Sr 0 0 0 1\nTi1 Ti 0.5 0.5 0.5 1\nO1 O 0.5 0.5 0 1"
    path = tmp_path / "SrTiO3.cif"
    path.write_text(
        CIF.format(
            name="SrTiO3", a=3.905, c=3.905, gamma=90, group="P m -3 m", number=221, sites=sites
        )
    )
    return path


@pytest.fixture
def molybdenite(tmp_path):
    sites = "Mo1 Mo 0.333333 0.666667 0.25 1\nS1 S 0.333333 0.666667 0.621 1"
    path = tmp_path / "MoS2.cif"
    path.write_text(
        CIF.format(
            name="MoS2", a=3.161, c=12.295, gamma=120, group="P 63/m m c", number=194, sites=sites
        )
    )
    return path


def identify(path, phases, *, crop=None, options=None):
    loaded = read(path)
    image = np.asarray(loaded.signal.data)
    if crop:
        row, column = ((n - crop) // 2 for n in image.shape)
        image = image[row : row + crop, column : column + crop]
    return identify_image(
        image,
        pixel_size_a=loaded.acquisition.pixel_size_a,
        candidates=candidates(phases),
        options=options,
    )


def largest(phase_map):
    return max(phase_map.regions, key=lambda region: region.area_a2)


def test_strontium_titanate_is_found_with_its_scale_error(shared_data, strontium_titanate):
    found = identify(
        shared_data / "images" / "16_STOimage_1.ser",
        [strontium_titanate],
        options=Options.for_scanned_image(),
    )
    region = largest(found)
    # A like structure with another cell is not excluded where the scale is off by per cents.
    assert region.phase == "SrTiO3"
    assert set(region.credible_set) <= {"SrTiO3", "unknown"}
    # The scan is off by +1.0 % along x and +5.0 % along y.
    assert 0.005 < region.scale_error < 0.06
    assert sorted(abs(n) for n in region.zone_axis) == [0, 0, 1]


def test_molybdenite_stays_possible_at_a_scale_error_of_five_per_cent(shared_data, molybdenite):
    found = identify(
        shared_data / "images" / "example_Se_implanted_MoS2.dm3",
        [molybdenite],
        options=Options.for_scanned_image(),
    )
    region = largest(found)
    # Spacings are 4 to 7 % short: a like structure with another cell is about as probable.
    assert "MoS2" in region.credible_set
    assert set(region.credible_set) <= {"MoS2", "unknown"}


@pytest.mark.parametrize("file", ["16_STOimage_1.ser", "example_Se_implanted_MoS2.dm3"])
def test_a_lattice_that_is_no_candidate_is_not_named_with_confidence(shared_data, file):
    found = identify(
        shared_data / "images" / file, "lithium-sei", options=Options.for_scanned_image()
    )
    assert found.regions
    window = found.window_a**2
    wrong = [
        region.phase
        for region in found.regions
        if region.assessment is Assessment.OK and region.area_a2 > window
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("file", "crop", "assessment"),
    [
        ("images/multi_signal.dm3", None, Assessment.NO_PERIODICITY),
        ("images/fei_emd_image.emd", None, Assessment.TOO_COARSE),
        ("cryo/epu2.9_example.mrc", 1024, Assessment.NO_PERIODICITY),
    ],
)
def test_images_without_a_lattice_name_no_phase(shared_data, file, crop, assessment):
    found = identify(shared_data / file, "lithium-sei", crop=crop)
    assert found.assessment is assessment
    assert found.regions == ()
    assert len(found.sentence) > 40


@pytest.mark.parametrize(
    "file",
    [
        "16x16-diffraction_imagel_5x5x256x256_EDS.emi",
        "128x128x5-diffraction_preview.emi",
        "test_diffraction_pattern.dm3",
    ],
)
def test_patterns_of_noise_cannot_be_measured(shared_data, file):
    loaded = read(shared_data / "diffraction" / file)
    data = np.asarray(loaded.signal.data)
    found = identify_pattern(
        data.reshape(-1, *data.shape[-2:]).mean(axis=0),
        reciprocal_pixel_size_per_a=loaded.acquisition.reciprocal_pixel_size_per_a,
        candidates=candidates("lithium-sei"),
    )
    assert found.assessment is Assessment.UNUSABLE


def test_the_direct_beam_of_a_real_scan_is_found(shared_data):
    data = np.asarray(read(shared_data / "diffraction" / "test1.blo").signal.data)
    mean = data.reshape(-1, *data.shape[-2:]).mean(axis=0)
    assert find_centre(mean) == pytest.approx((72, 73.5), abs=0.6)

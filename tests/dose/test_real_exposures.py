"""The ledger on real files, whose truths and traps others measured."""

from itertools import pairwise

import pytest

from interphase.dose import Ledger, exposures_of
from interphase.io import SessionConfig, read_acquisitions


@pytest.fixture
def cryo(shared_data):
    return shared_data / "cryo"


def ledger_of(paths, **session):
    config = SessionConfig(**session)
    ledger = Ledger.in_memory()
    shots = exposures_of({path.name: read_acquisitions(path) for path in paths}, session=config)
    ledger.add(shots)
    return ledger, shots


@pytest.fixture
def hole(cryo):
    return sorted((cryo / "epu_session").glob("*.xml"))


def test_ten_exposures_of_a_hole_at_unknown_places_are_bracketed(hole):
    ledger, shots = ledger_of(hole)
    assert len(shots) == 10
    assert len({shot.uncalibrated_shift for shot in shots}) == 10
    everything = sum(shot.dose_e_per_a2 for shot in shots)
    so_far = 0.0
    for shot in shots:  # in the order of time
        so_far += shot.dose_e_per_a2
        total = ledger.pre_exposure(shot.key, moment="end")
        assert total.at_least_e_per_a2 == pytest.approx(shot.dose_e_per_a2, rel=1e-12)
        assert total.at_most_e_per_a2 == pytest.approx(so_far, rel=1e-12)
        anywhere = ledger.at(shot.place_um)
        assert anywhere.at_least_e_per_a2 == 0.0
        assert anywhere.at_most_e_per_a2 == pytest.approx(everything, rel=1e-12)
    # Grouping by stage alone would have said that each place received the sum.
    assert everything == pytest.approx(255.36, abs=0.01)


def test_the_beam_of_the_hole_is_wider_than_its_camera(hole):
    _, shots = ledger_of(hole, beam_shift_um_per_unit=25.0, image_rotation_deg=0.0)
    for shot in shots:
        assert shot.sources["illuminated_um"].startswith("a disc of beam_diameter_a = 4000 Å")
        assert shot.electrons == pytest.approx(shot.dose_e_per_a2 * 3.14159265 * 2000**2, rel=1e-6)


def test_with_a_calibration_the_ten_places_are_told_apart(hole):
    # The calibration is made up: with it no two camera fields share a beam.
    ledger, shots = ledger_of(hole, beam_shift_um_per_unit=60.0, image_rotation_deg=0.0)
    for shot in shots:
        total = ledger.pre_exposure(shot.key, moment="end")
        assert total.is_exact
        assert total.at_least_e_per_a2 == pytest.approx(shot.dose_e_per_a2, rel=1e-12)
    ledger, shots = ledger_of(hole, beam_shift_um_per_unit=0.0, image_rotation_deg=0.0)
    _, total = ledger.maximum()
    assert total.at_least_e_per_a2 == pytest.approx(sum(shot.dose_e_per_a2 for shot in shots))


def test_a_tilt_series_ends_with_what_its_place_received(cryo):
    ledger, shots = ledger_of([cryo / "TS_41.mrc.mdoc"])
    assert len(shots) == 40
    assert sum(shot.dose_e_per_a2 for shot in shots) == pytest.approx(123.35, abs=0.01)
    total = ledger.pre_exposure("TS_41.mrc.mdoc", moment="end")
    assert total.at_least_e_per_a2 == pytest.approx(132.84, abs=0.005)
    assert total.at_most_e_per_a2 == pytest.approx(132.84, abs=0.005)
    before = ledger.pre_exposure("TS_41.mrc.mdoc", moment="start")
    assert before.at_least_e_per_a2 == pytest.approx(0.0099, abs=1e-4)  # its file says so


def test_a_tilt_series_at_one_place_counts_what_was_discarded_once(cryo):
    # Made up: that the image shift follows the specimen and moves no beam.
    ledger, _ = ledger_of([cryo / "TS_41.mrc.mdoc"], image_shift_um_per_unit=0.0)
    in_time = ledger.exposures()
    for earlier, later in pairwise(in_time):
        ends, begins = (
            ledger.pre_exposure(earlier.key, moment="end"),
            ledger.pre_exposure(later.key),
        )
        assert begins.at_least_e_per_a2 >= ends.at_least_e_per_a2 - 1e-9
        assert begins.at_least_e_per_a2 == pytest.approx(later.prior_dose_e_per_a2, abs=0.002)
    _, total = ledger.maximum()
    assert total.at_least_e_per_a2 == pytest.approx(132.84, abs=0.005)
    assert "that a file states besides" in total.sentence


def test_a_tilted_footprint_is_longer_and_has_the_same_electrons(cryo):
    ledger, _ = ledger_of([cryo / "TS_41.mrc.mdoc"], image_rotation_deg=0.0)
    upright = 3838 * 3708 * 2.66**2
    for shot in ledger.exposures():
        assert shot.electrons == pytest.approx(shot.dose_e_per_a2 * upright, rel=1e-9)


def test_a_dose_of_zero_that_means_unknown_is_unknown(cryo):
    ledger, shots = ledger_of([cryo / "tilt_series.mdoc"], image_shift_um_per_unit=0.0)
    assert len(shots) == 41
    assert all(shot.dose_e_per_a2 is None for shot in shots)
    assert "means it was not recorded" in shots[0].sources["dose_e_per_a2"]
    total = ledger.pre_exposure("tilt_series.mdoc", moment="end")
    assert total.at_most_e_per_a2 is None
    assert total.unknown == 41
    assert "a lower bound" in total.sentence


def test_a_record_that_contradicts_itself_has_an_unknown_dose(cryo):
    ledger, (shot,) = ledger_of([cryo / "frame_set_multiple.mdoc"])
    assert shot.dose_e_per_a2 is None
    assert "291.3" in shot.sources["dose_e_per_a2"]
    assert "155.2" in shot.sources["dose_e_per_a2"]
    assert ledger.pre_exposure(shot.key, moment="end").at_most_e_per_a2 is None


def test_a_navigator_lists_places_and_no_exposures(cryo):
    assert ledger_of([cryo / "nav.nav"])[1] == []


def test_a_movie_with_three_statements_of_its_dose_has_one(cryo):
    (path,) = cryo.glob("2023*.mdoc")
    _, (shot,) = ledger_of([path])
    assert shot.dose_e_per_a2 == pytest.approx(39.23, abs=0.01)


def test_a_cryo_image_of_epu_is_at_its_place(cryo):
    ledger, (shot,) = ledger_of([cryo / "epu2.9_example.mrc"], image_rotation_deg=0.0)
    assert shot.place_um == pytest.approx((-640.79, -722.60), abs=0.01)
    total = ledger.at(shot.place_um)
    assert total.at_least_e_per_a2 == pytest.approx(41.17, abs=0.01)

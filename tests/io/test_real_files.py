"""What the sources of real files state, and the traps they set."""

import shutil

import numpy as np
import pytest

from interphase.acquisition import Kind, Origin
from interphase.errors import FileReadError
from interphase.io import discover, load, load_all, read, read_acquisition, read_acquisitions


def test_every_file_is_read_or_explained(shared_data):
    entries = discover(shared_data)
    refused = {entry.path.suffix for entry in entries if not entry.recognised}
    assert refused <= {".md", ".csv", ".ncmat"}
    assert sum(entry.recognised for entry in entries) >= 40


def test_the_dose_of_an_epu_image_is_converted_from_electrons_per_square_metre(shared_data):
    record = read_acquisition(shared_data / "cryo" / "epu2.9_example.mrc")
    assert record.shape == (4096, 4096)
    assert record.dose_e_per_a2 == pytest.approx(41.17, abs=0.01)
    assert "Dose [e/m²]" in record.sources["dose_e_per_a2"].detail
    assert record.exposure_time_s == pytest.approx(12.2078, abs=1e-3)
    assert record.pixel_size_a == pytest.approx(0.66655, abs=1e-5)
    assert record.beam_energy_kev == 300.0
    assert record.stage.x_um == pytest.approx(-641, abs=0.5)
    assert record.stage.y_um == pytest.approx(-723, abs=0.5)
    assert record.stage.z_um == pytest.approx(80, abs=0.5)
    assert record.stage.alpha_deg == pytest.approx(-0.012, abs=5e-4)


def test_the_applied_defocus_is_taken_and_the_measured_one_mentioned(shared_data):
    record = read_acquisition(shared_data / "cryo" / "epu2.9_example.mrc")
    assert record.defocus_a == pytest.approx(22_000)
    assert any("-2.2 µm and Defocus 1.82 µm: the signs differ" in w for w in record.warnings)


@pytest.fixture(scope="module")
def epu_session(shared_data):
    paths = sorted((shared_data / "cryo" / "epu_session").glob("*.xml"))
    return [read_acquisition(path) for path in paths]


def test_ten_exposures_of_a_hole_have_their_doses(epu_session):
    doses = [record.dose_e_per_a2 for record in epu_session]
    assert len(doses) == 10
    assert min(doses) == pytest.approx(24.67, abs=0.01)
    assert max(doses) == pytest.approx(25.94, abs=0.01)
    for record in epu_session:
        by_area, by_pixel = record.dose_statements
        assert by_pixel.dose_e_per_a2 == pytest.approx(by_area.dose_e_per_a2, rel=1e-6)
        assert record.pixel_size_a == pytest.approx(0.41501, abs=1e-5)


def test_exposures_at_one_stage_position_differ_by_their_beam_shift(epu_session):
    x = [record.stage.x_um for record in epu_session]
    y = [record.stage.y_um for record in epu_session]
    assert max(np.ptp(x), np.ptp(y)) < 0.004
    assert all(record.stage.image_shift == (0.0, 0.0) for record in epu_session)
    assert len({record.stage.beam_shift for record in epu_session}) == 10


def test_discarded_exposures_of_a_tilt_series_count(shared_data):
    path = shared_data / "cryo" / "TS_41.mrc.mdoc"
    record, each = read_acquisition(path), read_acquisitions(path)
    assert len(each) == 40
    assert record.dose_e_per_a2 == pytest.approx(123.35, abs=0.005)
    assert max(one.prior_dose_e_per_a2 for one in each) == pytest.approx(129.76, abs=0.005)
    total = record.dose_e_per_a2 + record.prior_dose_e_per_a2
    assert total == pytest.approx(132.84, abs=0.005)
    assert any("132.84 e/Å²" in warning for warning in record.warnings)


def test_three_definitions_of_one_dose_agree(shared_data):
    (path,) = (shared_data / "cryo").glob("2023-*.mdoc")
    record = read_acquisition(path)
    doses = [statement.dose_e_per_a2 for statement in record.dose_statements]
    assert len(doses) == 3
    assert max(doses) / min(doses) - 1 < 0.007
    assert record.dose_e_per_a2 == pytest.approx(39.2291)
    assert record.frames == 40
    assert not record.warnings


def test_contradictory_doses_of_a_frame_set_are_kept_and_none_is_chosen(shared_data):
    record = read_acquisition(shared_data / "cryo" / "frame_set_multiple.mdoc")
    assert record.dose_e_per_a2 is None
    assert record.dose_rate_e_per_a2_s is None
    doses = [statement.dose_e_per_a2 for statement in record.dose_statements]
    assert doses[:2] == pytest.approx([291.302, 155.233], abs=1e-3)
    (warning,) = record.warnings
    assert "291.3 e/Å²" in warning
    assert "155.2 e/Å²" in warning
    assert len(read_acquisitions(shared_data / "cryo" / "frame_set_multiple.mdoc")) == 1


def test_a_single_frame_set_is_consistent(shared_data):
    record = read_acquisition(shared_data / "cryo" / "frame_set_single.mdoc")
    assert record.dose_e_per_a2 == pytest.approx(7.65892)


def test_a_dose_of_zero_in_a_tilt_series_is_unknown(shared_data):
    path = shared_data / "cryo" / "tilt_series.mdoc"
    record = read_acquisition(path)
    assert record.dose_e_per_a2 is None
    assert not record.dose_statements
    assert "was not recorded, not that no electrons came" in record.missing["dose_e_per_a2"]
    assert len(read_acquisitions(path)) == 41


def test_a_navigator_gives_its_places(shared_data):
    places = read_acquisitions(shared_data / "cryo" / "nav.nav")
    assert len(places) == 50
    assert places[0].sample == "14-1-A-0"
    assert places[0].stage.x_um == pytest.approx(560.589, abs=1e-3)


def test_a_ser_finds_its_emi(shared_data):
    images = shared_data / "images"
    through, direct = read(images / "16_STOimage.emi"), read(images / "16_STOimage_1.ser")
    for loaded in (through, direct):
        assert loaded.acquisition.pixel_size_a == pytest.approx(0.10013, abs=1e-5)
        assert loaded.acquisition.beam_energy_kev == 80.0
        assert loaded.acquisition.mode == "STEM"
        assert loaded.acquisition.dwell_time_s == pytest.approx(29e-6)
        assert not loaded.acquisition.warnings
    np.testing.assert_array_equal(through.signal.data, direct.signal.data)


def test_a_stage_that_is_zero_everywhere_was_not_recorded(shared_data):
    record = read_acquisition(shared_data / "images" / "16_STOimage.emi")
    assert record.stage is None
    assert "is 0 in every axis" in record.missing["stage"]


def test_an_emi_without_its_ser_is_told_so(shared_data, tmp_path):
    shutil.copy(shared_data / "images" / "16_STOimage.emi", tmp_path)
    with pytest.raises(FileReadError, match=r"16_STOimage\.emi describes arrays, but no .*_1\.ser"):
        load(tmp_path / "16_STOimage.emi")


def test_patterns_know_their_scale_only_through_the_emi(shared_data, tmp_path):
    name = "128x128x5-diffraction_preview"
    record = read_acquisition(shared_data / "diffraction" / f"{name}.emi")
    assert (record.kind, record.shape) == (Kind.DIFFRACTION, (5, 128, 128))
    assert record.reciprocal_pixel_size_per_a == pytest.approx(0.00425, abs=1e-5)
    assert record.frames == 5
    assert record.exposure_time_s == pytest.approx(5 * 0.0125)

    shutil.copy(shared_data / "diffraction" / f"{name}_1.ser", tmp_path)
    alone = read_acquisition(tmp_path / f"{name}_1.ser")
    assert alone.shape == (5, 128, 128)
    assert alone.pixel_size_a is None
    assert alone.reciprocal_pixel_size_per_a is None
    assert any("4.25e+16 nm is nonsense" in warning for warning in alone.warnings)


def test_scanned_patterns_come_before_the_x_ray_spectra_of_the_same_file(shared_data):
    (path,) = (shared_data / "diffraction").glob("16x16*.emi")
    loaded = read(path)
    record = loaded.acquisition
    assert (record.kind, record.shape) == (Kind.SCAN_4D, (5, 5, 256, 256))
    assert record.reciprocal_pixel_size_per_a == pytest.approx(0.01744, abs=1e-5)
    assert record.scan_step_a == pytest.approx(18.739, abs=1e-3)
    assert [other.data.shape for other in loaded.others] == [(5, 5, 4000)]
    assert record.dwell_time_s is None
    assert record.dose_e_per_a2 is None


@pytest.mark.parametrize(
    ("name", "shape", "scale"),
    [
        ("test_diffraction_pattern.dm3", (87, 87), 0.017443),
        ("Camera Ceta Diffraction Micro.emd", (512, 512), 0.011443),
    ],
)
def test_reciprocal_axes_make_a_pattern(shared_data, name, shape, scale):
    record = read_acquisition(shared_data / "diffraction" / name)
    assert (record.kind, record.shape) == (Kind.DIFFRACTION, shape)
    assert record.reciprocal_pixel_size_per_a == pytest.approx(scale, rel=1e-4)
    assert record.pixel_size_a is None
    assert record.defocus_a is None


def test_a_gatan_pattern_has_its_exposure_and_camera_length(shared_data):
    record = read_acquisition(shared_data / "diffraction" / "test_diffraction_pattern.dm3")
    assert record.exposure_time_s == pytest.approx(0.2)
    assert record.camera_length_mm == pytest.approx(320.0)
    assert record.magnification is None


def test_block_files_are_uncalibrated(shared_data):
    record = read_acquisition(shared_data / "diffraction" / "test1.blo")
    assert (record.kind, record.shape) == (Kind.SCAN_4D, (3, 2, 144, 144))
    assert record.reciprocal_pixel_size_per_a is None
    assert record.scan_step_a == pytest.approx(128.0)


def test_the_image_of_two_signals_is_the_principal_one(shared_data):
    path = shared_data / "images" / "multi_signal.dm3"
    record = read_acquisition(path)
    assert (record.kind, record.shape) == (Kind.IMAGE, (512, 512))
    assert record.pixel_size_a == pytest.approx(0.17752, abs=1e-5)
    assert record.frames == 4
    assert record.stage.x_um == pytest.approx(78.7215)
    assert any("'HAADF' (512×512) is taken, the others are 'Plot'" in w for w in record.warnings)
    assert [signal.data.ndim for signal in load_all(path)] == [2, 1]


def test_a_probe_current_of_zero_was_not_recorded(shared_data):
    record = read_acquisition(shared_data / "images" / "example_Se_implanted_MoS2.dm3")
    assert record.pixel_size_a == pytest.approx(0.12695, abs=1e-5)
    assert record.beam_energy_kev == 60.0
    assert record.dwell_time_s == pytest.approx(32.4e-6)
    assert record.frames is None
    assert record.beam_current_pa is None
    assert "was not recorded" in record.missing["beam_current_pa"]


def test_a_velox_scan_has_its_dose_from_the_screen_current(shared_data):
    record = read_acquisition(shared_data / "images" / "fei_emd_image.emd")
    assert record.pixel_size_a == pytest.approx(53.024, abs=1e-3)
    assert record.beam_current_pa == pytest.approx(252.35, abs=0.01)
    assert record.dose_e_per_a2 == pytest.approx(11.204, abs=1e-3)
    assert record.sources["dose_e_per_a2"].origin is Origin.DERIVED
    assert record.stage.y_um == pytest.approx(143.7, abs=0.1)


def test_a_velox_scan_saved_as_mrc_has_no_dose(shared_data):
    record = read_acquisition(shared_data / "images" / "HAADFscan.mrc")
    assert (record.mode, record.shape) == ("STEM", (16, 16))
    assert record.pixel_size_a == pytest.approx(56.79, abs=0.01)
    assert record.dwell_time_s == pytest.approx(0.01)
    assert record.dose_e_per_a2 is None


def test_a_tvips_image_has_vendor_metadata(shared_data):
    record = read_acquisition(shared_data / "images" / "TVIPS_bin4.tif")
    assert record.exposure_time_s == pytest.approx(0.4)
    assert record.detector == "F416"
    assert record.beam_energy_kev == pytest.approx(99.0)
    assert record.pixel_size_a == pytest.approx(14.208, abs=1e-3)
    assert record.stage is not None
    assert "TVIPS.Dose is 0" in record.missing["dose_e_per_a2"]


@pytest.mark.parametrize(
    ("name", "channels", "dispersion", "first", "last"),
    [
        ("EELS_STO.dm3", 2048, 0.25, 350.0, 861.75),
        ("AL-DFoffset0.00.dm3", 2048, 0.0201, -3.61, 37.59),
        ("08_carbon.dm3", 2048, 0.1, 240.0, 444.7),
        ("coreloss_spectrum.msa", 2048, 0.2, 360.0, 769.4),
        ("hl.msa", 1024, 0.3, 357.5, 664.4),
        ("eelsdb_BN_low_loss.msa", 546, 0.0477, 4.007, 30.0),
        ("eelsdb_YAG_O_K.msa", 1340, 0.1, 510.0, 643.9),
        ("Cr_L_cl.hspy", 400, 0.1, 560.0, 599.9),
    ],
)
def test_spectra_have_their_energy_axis(shared_data, name, channels, dispersion, first, last):
    record = read_acquisition(shared_data / "eels" / name)
    assert (record.kind, record.shape) == (Kind.SPECTRUM, (channels,))
    assert record.dispersion_ev == pytest.approx(dispersion, rel=5e-3)
    assert record.energy_range_ev == pytest.approx((first, last), abs=0.01)


def test_spectra_have_the_angles_that_were_recorded(shared_data):
    titanate = read_acquisition(shared_data / "eels" / "EELS_STO.dm3")
    assert titanate.semi_convergence_angle_mrad == 30.0
    assert titanate.collection_angle_mrad == 33.0
    assert titanate.exposure_time_s == pytest.approx(20.0)
    chromium = read_acquisition(shared_data / "eels" / "Cr_L_cl.hspy")
    assert chromium.semi_convergence_angle_mrad == 21.0
    assert chromium.collection_angle_mrad == 50.0
    aluminium = read_acquisition(shared_data / "eels" / "AL-DFoffset0.00.dm3")
    assert aluminium.semi_convergence_angle_mrad is None


def test_a_gatan_spectrum_image_has_its_step_and_dwell_time(shared_data):
    record = read_acquisition(shared_data / "eels" / "EELS_SI.dm4")
    assert (record.kind, record.shape) == (Kind.SPECTRUM_IMAGE, (2, 2, 2048))
    assert record.scan_step_a == pytest.approx(19.92, abs=0.01)
    assert record.dwell_time_s == pytest.approx(0.02)
    assert record.dose_e_per_a2 is None


def test_the_energy_loss_spectra_of_a_velox_file_come_first_and_stay_lazy(shared_data):
    loaded = read(shared_data / "eels" / "example_velox_EELS_EDS.emd")
    assert loaded.acquisition.kind is Kind.SPECTRUM_IMAGE
    assert loaded.acquisition.shape == (16, 20, 2048)
    assert len(loaded.others) == 17
    assert loaded.signal._lazy

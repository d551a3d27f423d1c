from datetime import datetime

import pytest

from interphase.acquisition import Kind, Origin
from interphase.errors import FileReadError
from interphase.io import read, read_acquisition, read_acquisitions


def test_an_mdoc_of_several_exposures_is_summed_up(write):
    record = read_acquisition(write("TS_07.mrc.mdoc"))
    assert record.kind is Kind.METADATA
    assert record.dose_e_per_a2 == pytest.approx(6.0)
    assert record.prior_dose_e_per_a2 == pytest.approx(1.0)
    assert record.exposure_time_s == pytest.approx(2.0)
    assert record.sources["dose_e_per_a2"].origin is Origin.SIDECAR
    assert any("received 7.00 e/Å²" in warning for warning in record.warnings)


def test_an_mdoc_gives_one_record_per_exposure(write):
    first, second = read_acquisitions(write("TS_07.mrc.mdoc"))
    assert [first.prior_dose_e_per_a2, second.prior_dose_e_per_a2] == [0.0, 4.0]
    assert (first.stage.x_um, first.stage.y_um, first.stage.z_um) == (10.5, -20.25, 3.0)
    assert first.stage.alpha_deg == 0.5
    assert first.stage.image_shift == (0.1, -0.2)
    assert first.time == datetime(2023, 5, 3, 13, 59, 32)
    assert second.dose_e_per_a2 == 3.0
    assert len(first.dose_statements) == 3


def test_serialem_counts_underfocus_negative_and_the_target_is_preferred(write):
    first, _ = read_acquisitions(write("TS_07.mrc.mdoc"))
    assert first.defocus_a == pytest.approx(20_000)
    assert "TargetDefocus" in first.sources["defocus_a"].detail


def test_exposures_at_different_places_are_not_summed_up(write):
    path = write("TS_07.mrc.mdoc")
    path.write_text(path.read_text().replace("StagePosition = 10.6", "StagePosition = 30.6"))
    record = read_acquisition(path)
    assert record.dose_e_per_a2 is None
    assert "20.1 µm apart" in record.missing["dose_e_per_a2"]


def test_a_doubtful_dose_of_one_exposure_leaves_the_sum_unknown(write):
    path = write("TS_07.mrc.mdoc")
    path.write_text(path.read_text().replace("ExposureDose = 3", "ExposureDose = 0", 1))
    path.write_text(path.read_text().replace("FrameDosesAndNumber = 0.3 10", "", 1))
    path.write_text(path.read_text().replace("DoseRate = 11.5", "", 1))
    record = read_acquisition(path)
    assert record.dose_e_per_a2 is None
    assert "1 of 2 exposures is unknown" in record.missing["dose_e_per_a2"]


def test_epu_writes_si_units(write):
    record = read_acquisition(write("exposure.xml"))
    assert record.dose_e_per_a2 == pytest.approx(25.0)
    assert record.dose_statements[1].dose_e_per_a2 == pytest.approx(6.25 / 0.5**2)
    assert record.pixel_size_a == pytest.approx(0.5)
    assert record.beam_energy_kev == 300.0
    assert record.dose_rate_e_per_a2_s == pytest.approx(50.0)
    assert record.sources["dose_rate_e_per_a2_s"].origin is Origin.DERIVED
    assert record.defocus_a == pytest.approx(12_000)
    assert record.stage.x_um == pytest.approx(-600)
    assert record.stage.alpha_deg == pytest.approx(5.7296, rel=1e-4)
    assert record.stage.beam_shift == (-0.02, 0.03)
    assert record.time == datetime(2024, 8, 31, 20, 5, 19, 233692)


def test_an_electron_count_that_contradicts_the_dose_leaves_it_unknown(write):
    path = write("exposure.xml")
    path.write_text(path.read_text().replace("6.25", "62.5"))
    record = read_acquisition(path)
    assert record.dose_e_per_a2 is None
    assert "25 e/Å²" in record.missing["dose_e_per_a2"]
    assert "250 e/Å²" in record.missing["dose_e_per_a2"]
    assert len(record.dose_statements) == 2


def test_a_bomb_of_entities_is_refused(write):
    path = write("exposure.xml")
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
    path.write_text(path.read_text().replace("<MicroscopeImage", bomb + "<MicroscopeImage", 1))
    with pytest.raises(FileReadError, match=r"exposure\.xml declares a document type"):
        read_acquisition(path)


def test_another_xml_file_is_told_so(tmp_path):
    path = tmp_path / "other.xml"
    path.write_text("<html><body/></html>")
    with pytest.raises(FileReadError, match=r"other\.xml is XML, but not of EPU: its root is html"):
        read_acquisition(path)


def test_a_sidecar_outranks_the_header_and_is_named(write, tmp_path):
    image = write("image.mrc")
    (tmp_path / "image.mrc.mdoc").write_text(
        "[ZValue = 0]\nPixelSpacing = 0.75\nExposureDose = 12\nVoltage = 200\n"
    )
    loaded = read(image)
    assert loaded.sidecars == (tmp_path / "image.mrc.mdoc",)
    assert loaded.acquisition.pixel_size_a == 0.75
    assert loaded.acquisition.sources["pixel_size_a"].origin is Origin.SIDECAR
    assert loaded.acquisition.dose_e_per_a2 == 12


def test_an_mdoc_that_names_the_data_file_is_found(write, tmp_path):
    write("TS_07.mrc.mdoc")
    movie = write("image.tif").rename(tmp_path / "frames_001.tif")
    loaded = read(movie)
    assert loaded.acquisition.prior_dose_e_per_a2 == 4.0
    assert loaded.acquisition.dose_e_per_a2 == 3.0
    assert loaded.acquisition.stage.alpha_deg == 3.0


def test_a_broken_sidecar_does_not_stop_its_data_file(write, tmp_path):
    image = write("image.mrc")
    (tmp_path / "image.xml").write_text("<Microscope")
    record = read_acquisition(image)
    assert record.pixel_size_a == pytest.approx(0.5)
    assert any("its sidecar was not used: image.xml" in warning for warning in record.warnings)


def test_a_navigator_lists_places(tmp_path):
    path = tmp_path / "grid.nav"
    path.write_text(
        "AdocVersion = 2.00\n\n[Item = A-1]\nStageXYZ = 1 2 3\n\n[Item = A-2]\nStageXYZ = 4 5 6\n"
    )
    places = read_acquisitions(path)
    assert [place.stage.x_um for place in places] == [1.0, 4.0]
    assert [place.sample for place in places] == ["A-1", "A-2"]
    assert read_acquisition(path).dose_e_per_a2 is None


@pytest.mark.parametrize("content", ["", "just words\n", "\0\1\2"])
def test_what_is_no_mdoc_is_told_so(tmp_path, content):
    path = tmp_path / "bad.mdoc"
    path.write_text(content)
    with pytest.raises(FileReadError, match=r"bad\.mdoc"):
        read_acquisition(path)


OTHER_SIZE = "[ZValue = 0]\nImageSize = 4096 4092\nPixelSpacing = 0.75\nVoltage = 200\n"


def test_a_sidecar_of_another_image_gives_no_pixel_size(write, tmp_path):
    image = write("image.tif")
    (tmp_path / "image.tif.mdoc").write_text(OTHER_SIZE + "ExposureDose = 12\n")
    record = read_acquisition(image)
    said = "the sidecar describes 4092 × 4096 pixels, the file has 48 × 64"
    assert record.pixel_size_a is None
    assert said in record.missing["pixel_size_a"]
    assert "--pixel-size" in record.missing["pixel_size_a"]
    assert any(said in warning for warning in record.warnings)
    assert (record.dose_e_per_a2, record.beam_energy_kev) == (12, 200)


def test_the_headers_own_pixel_size_stands_against_a_sidecar_of_another_image(write, tmp_path):
    image = write("image.mrc")
    (tmp_path / "image.mrc.mdoc").write_text("ImageSize = 4096 4092\n" + OTHER_SIZE)
    record = read_acquisition(image)
    assert record.pixel_size_a == pytest.approx(0.5)
    assert record.sources["pixel_size_a"].origin is Origin.HEADER


def test_a_count_per_pixel_of_another_image_is_no_dose(write, tmp_path):
    image = write("image.tif")
    counted = OTHER_SIZE + "DoseRate = 10\nExposureTime = 1\n"
    (tmp_path / "image.tif.mdoc").write_text(counted)
    record = read_acquisition(image)
    assert record.dose_e_per_a2 is None
    assert "counts electrons per pixel" in record.missing["dose_e_per_a2"]
    (tmp_path / "image.tif.mdoc").write_text(counted.replace("4096 4092", "64 48"))
    assert read_acquisition(image).dose_e_per_a2 == pytest.approx(10 / 0.75**2)


@pytest.mark.parametrize(
    ("rows", "binning", "believed"), [(48, 1, True), (96, 2, True), (96, 1, False)]
)
def test_the_readout_of_epu_is_compared_as_it_is_and_binned(
    write, tmp_path, rows, binning, believed
):
    image, sidecar = write("image.tif"), write("exposure.xml").rename(tmp_path / "image.xml")
    area = (
        f"<Binning><a:x>{binning}</a:x></Binning><ReadoutArea><a:height>{rows}</a:height>"
        f"<a:width>{rows * 64 // 48}</a:width></ReadoutArea></camera>"
    )
    sidecar.write_text(sidecar.read_text().replace("</camera>", area))
    record = read_acquisition(image)
    assert (record.pixel_size_a is not None) == believed
    assert record.dose_e_per_a2 == pytest.approx(25.0)
    assert len(record.dose_statements) == (2 if believed else 1)

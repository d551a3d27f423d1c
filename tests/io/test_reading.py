import warnings

import mrcfile
import numpy as np
import pytest
import tifffile

from interphase.acquisition import Kind, Origin
from interphase.errors import FileReadError
from interphase.io import load, load_all, read, read_acquisition, scan_dose
from interphase.io.session_config import FileConfig, SessionConfig
from interphase.io.signals import LAZY_ABOVE_BYTES


def save(signal, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signal.save(path)
    return path


@pytest.fixture
def hs():
    import hyperspy.api as hs

    return hs


def test_an_mrc_image_has_its_pixels_its_size_in_angstrom_and_no_frame_axis(write):
    loaded = read(write("image.mrc"))
    assert loaded.acquisition.kind is Kind.IMAGE
    assert loaded.acquisition.shape == (48, 64)
    assert loaded.acquisition.pixel_size_a == pytest.approx(0.5)
    np.testing.assert_array_equal(loaded.signal.data.ravel(), np.arange(64 * 48))
    assert not loaded.signal._lazy


def test_an_mrc_stack_is_a_movie(tmp_path):
    path = tmp_path / "movie.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.ones((4, 6, 8), dtype=np.int16))
        mrc.set_image_stack()
        mrc.voxel_size = 0.7
    record = read_acquisition(path)
    assert (record.kind, record.shape, record.frames) == (Kind.MOVIE, (4, 6, 8), 4)
    assert record.pixel_size_a == pytest.approx(0.7)


def test_lazy_or_not_the_pixels_are_the_same(write):
    path = write("image.mrc")
    eager, lazy = load(path, lazy=False), load(path, lazy=True)
    assert lazy._lazy
    np.testing.assert_array_equal(lazy.data.compute(), eager.data)


def test_a_large_file_stays_lazy(tmp_path):
    path = tmp_path / "large.mrc"
    with mrcfile.new_mmap(path, shape=(2, 4096, 4200), mrc_mode=1) as mrc:
        mrc.voxel_size = 1.0
    assert path.stat().st_size > LAZY_ABOVE_BYTES
    assert load(path)._lazy


def test_a_screens_resolution_is_no_pixel_size(write):
    record = read_acquisition(write("image.tif"))
    assert record.pixel_size_a is None
    assert "--pixel-size" in record.missing["pixel_size_a"]


@pytest.mark.parametrize("unit", ["CENTIMETER", "INCH"])
def test_print_resolutions_of_any_unit_are_not_believed(tmp_path, unit):
    path = tmp_path / "print.tif"
    image = np.zeros((8, 8), dtype=np.uint8)
    tifffile.imwrite(path, image, resolution=(300, 300), resolutionunit=unit)
    assert read_acquisition(path).pixel_size_a is None


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True, "resolution": (50, 50), "metadata": {"unit": "nm"}},
        {"imagej": True, "resolution": (5e4, 5e4), "metadata": {"unit": "\\u00B5m"}},
        {"resolution": (5e8, 5e8), "resolutionunit": "CENTIMETER"},
    ],
)
def test_a_tiff_with_a_real_scale_is_believed(tmp_path, options):
    path = tmp_path / "scaled.tif"
    tifffile.imwrite(path, np.zeros((8, 8), dtype=np.uint8), **options)
    assert read_acquisition(path).pixel_size_a == pytest.approx(0.2, rel=1e-6)


def test_a_colour_picture_is_no_measurement(tmp_path):
    path = tmp_path / "colour.tif"
    tifffile.imwrite(path, np.zeros((8, 8, 3), dtype=np.uint8), photometric="rgb")
    with pytest.raises(FileReadError, match=r"colour\.tif holds .* such as a colour picture"):
        load(path)


def test_a_ser_alone_loads_with_a_warning(write):
    record = read_acquisition(write("pattern_1.ser"))
    assert record.shape == (24, 32)
    assert record.pixel_size_a == pytest.approx(1.0)
    assert any("no .emi file beside it" in warning for warning in record.warnings)
    assert "put its .emi file beside it" in record.missing["beam_energy_kev"]


def test_a_ser_whose_scale_is_no_length_is_an_uncalibrated_pattern(tmp_path, write):
    record = read_acquisition(write("pattern_1.ser", scale=4.2e7))
    assert record.kind is Kind.DIFFRACTION
    assert record.pixel_size_a is None
    assert record.reciprocal_pixel_size_per_a is None
    assert "is no length" in record.missing["reciprocal_pixel_size_per_a"]
    assert any("nonsense and not believed" in warning for warning in record.warnings)


def test_a_block_file_is_an_uncalibrated_scan_of_patterns(write):
    record = read_acquisition(write("scan.blo"))
    assert (record.kind, record.shape) == (Kind.SCAN_4D, (2, 3, 16, 16))
    assert record.scan_step_a == pytest.approx(15.0)
    assert record.beam_energy_kev == pytest.approx(200.0)
    assert record.reciprocal_pixel_size_per_a is None
    assert "cm" in record.missing["reciprocal_pixel_size_per_a"]


def test_a_spectrum_has_its_channels_in_ev(write):
    record = read_acquisition(write("spectrum.msa"))
    assert (record.kind, record.shape) == (Kind.SPECTRUM, (64,))
    assert record.dispersion_ev == pytest.approx(0.5)
    assert record.energy_range_ev == pytest.approx((300.0, 331.5))
    assert record.beam_energy_kev == pytest.approx(200.0)


@pytest.mark.parametrize(
    ("unit", "step", "kind", "value"),
    [
        ("1/nm", 0.25, Kind.DIFFRACTION, 0.025),
        ("1/Å", 0.025, Kind.DIFFRACTION, 0.025),
        ("mrad", 0.1, Kind.DIFFRACTION, None),
        ("nm", 0.02, Kind.IMAGE, 0.2),
        ("pm", 20, Kind.IMAGE, 0.2),
        ("px", 1, Kind.IMAGE, None),
        ("nm", 4e16, Kind.DIFFRACTION, None),
        ("mm", 2, Kind.IMAGE, None),
    ],
)
def test_the_unit_of_the_axes_tells_images_from_patterns(hs, tmp_path, unit, step, kind, value):
    signal = hs.signals.Signal2D(np.ones((8, 8), dtype=np.float32))
    for axis in signal.axes_manager.signal_axes:
        axis.scale, axis.units = step, unit
    record = read_acquisition(save(signal, tmp_path / "one.hspy"))
    name = "pixel_size_a" if kind is Kind.IMAGE else "reciprocal_pixel_size_per_a"
    assert record.kind is kind
    if value is None:
        assert getattr(record, name) is None
        assert name in record.missing
    else:
        assert getattr(record, name) == pytest.approx(value)


@pytest.mark.parametrize("shape", [(8, 8), (3, 8, 8)])
def test_a_reciprocal_sampling_makes_what_has_no_unit_a_pattern(tmp_path, shape):
    path = tmp_path / "sad.tif"
    tifffile.imwrite(path, np.zeros(shape, dtype=np.uint8), photometric="minisblack")
    assert read_acquisition(path).kind in {Kind.IMAGE, Kind.MOVIE}
    given = {"reciprocal_pixel_size_per_a": 0.01}
    record = read_acquisition(path, user=given)
    assert (record.kind, record.reciprocal_pixel_size_per_a) == (Kind.DIFFRACTION, 0.01)
    assert record.frames == (3 if len(shape) == 3 else None)
    assert "pixel_size_a" not in record.missing
    assert any("taken for a diffraction pattern" in warning for warning in record.warnings)
    # Whose sampling is known in Å is an image, whatever patterns beside it are sampled with.
    image = read_acquisition(path, user={**given, "pixel_size_a": 0.5})
    assert image.kind in {Kind.IMAGE, Kind.MOVIE}
    said = SessionConfig(files={"*.tif": FileConfig(pixel_size_a=0.5)})
    assert read_acquisition(path, user=given, session=said).kind is image.kind
    said = SessionConfig(files={"*.tif": FileConfig(kind="image")})
    assert read_acquisition(path, user=given, session=said).kind is image.kind


def test_a_reciprocal_sampling_leaves_a_calibrated_image_an_image(write):
    record = read_acquisition(write("image.mrc"), user={"reciprocal_pixel_size_per_a": 0.01})
    assert record.kind is Kind.IMAGE
    assert not any("diffraction" in warning for warning in record.warnings)


def test_session_toml_says_which_files_are_patterns(write, tmp_path):
    (tmp_path / "session.toml").write_text(
        '[files."image.*"]\nkind = "diffraction"\nreciprocal_pixel_size_per_a = 0.01\n'
        '[files."*.msa"]\nkind = "image"\n'
    )
    for name in ("image.tif", "image.mrc"):
        record = read_acquisition(write(name))
        assert (record.kind, record.reciprocal_pixel_size_per_a) == (Kind.DIFFRACTION, 0.01)
        # The sampling that the header states is that of an image.
        assert record.pixel_size_a is None
        assert "pixel_size_a" not in {**record.missing, **record.sources}
    record = read_acquisition(write("spectrum.msa"))
    assert record.kind is Kind.SPECTRUM
    assert any("does not suit spectrum data" in warning for warning in record.warnings)


def test_session_toml_makes_an_image_of_what_looks_like_a_pattern(write, tmp_path):
    path = write("pattern_1.ser", scale=4.2e7)
    assert read_acquisition(path).kind is Kind.DIFFRACTION
    (tmp_path / "session.toml").write_text(
        f'[files."{path.name}"]\nkind = "image"\npixel_size_a = 0.5\n'
    )
    record = read_acquisition(path)
    assert (record.kind, record.pixel_size_a) == (Kind.IMAGE, 0.5)
    assert "reciprocal_pixel_size_per_a" not in record.missing


@pytest.mark.parametrize(("y", "value"), [(0.0201, 0.2), (0.021, 0.2049390), (0.08, None)])
@pytest.mark.parametrize("suffix", [".hspy", ".tif"])
def test_unequal_pixels_are_said_and_very_unequal_ones_not_averaged(hs, tmp_path, suffix, y, value):
    path = tmp_path / f"one{suffix}"
    if suffix == ".hspy":
        signal = hs.signals.Signal2D(np.ones((8, 8), dtype=np.float32))
        for axis, scale in zip(signal.axes_manager.signal_axes, (0.02, y), strict=True):
            axis.scale, axis.units = scale, "nm"
        save(signal, path)
    else:
        image = np.ones((8, 8), dtype=np.float32)
        scales = (1 / 0.02, 1 / y)
        tifffile.imwrite(path, image, imagej=True, resolution=scales, metadata={"unit": "nm"})
    record = read_acquisition(path)
    if value is None:
        assert record.pixel_size_a is None
        assert "0.2 Å along x and 0.8 Å along y" in record.missing["pixel_size_a"]
        assert "--pixel-size" in record.missing["pixel_size_a"]
    else:
        assert record.pixel_size_a == pytest.approx(value, rel=3e-3)
    said = [warning for warning in record.warnings if "along x" in warning]
    assert len(said) == (0 if y == 0.0201 else 1)


def test_a_negative_scale_is_said(hs, tmp_path):
    signal = hs.signals.Signal2D(np.ones((8, 8), dtype=np.float32))
    for axis, scale in zip(signal.axes_manager.signal_axes, (0.02, -0.02), strict=True):
        axis.scale, axis.units = scale, "nm"
    record = read_acquisition(save(signal, tmp_path / "one.hspy"))
    assert record.pixel_size_a == pytest.approx(0.2)
    assert any("negative scale -0.02 nm" in warning for warning in record.warnings)


def test_a_map_of_one_number_per_position_is_an_image(hs, tmp_path):
    signal = hs.signals.BaseSignal(np.ones((6, 8), dtype=np.float32)).transpose(signal_axes=0)
    record = read_acquisition(save(signal, tmp_path / "map.hspy"))
    assert (record.kind, record.shape) == (Kind.IMAGE, (6, 8))


@pytest.mark.parametrize("navigated", [1, 3])
def test_what_is_neither_image_nor_spectrum_is_told_so(hs, tmp_path, navigated):
    signal = hs.signals.BaseSignal(np.ones((3,) * navigated, dtype=np.float32))
    path = save(signal.transpose(signal_axes=0), tmp_path / "odd.hspy")
    with pytest.raises(FileReadError, match=r"odd\.hspy holds numbers of shape 3.* neither images"):
        read_acquisition(path)


def test_a_tiff_of_one_bit_or_of_planes_is_told_so(tmp_path):
    mask, planes = tmp_path / "mask.tif", tmp_path / "planes.tif"
    tifffile.imwrite(mask, np.ones((8, 8), dtype=bool))
    with pytest.raises(FileReadError, match=r"mask\.tif has 1 bit per pixel"):
        load(mask)
    pictures = np.zeros((2, 3, 8, 8), dtype=np.uint8)
    tifffile.imwrite(planes, pictures, photometric="rgb", planarconfig="separate")
    with pytest.raises(FileReadError, match=r"planes\.tif holds pages of 3 planes each"):
        load(planes)


def scanned(hs, path, *, dwell=1e-5, current_na=0.02, frames=None):
    """Write a STEM-EELS spectrum image of 3 × 4 positions, 2 nm apart."""
    signal = hs.signals.Signal1D(np.ones((3, 4, 32), dtype=np.float32))
    for axis in signal.axes_manager.navigation_axes:
        axis.scale, axis.units = 2.0, "nm"
    energy = signal.axes_manager.signal_axes[0]
    energy.scale, energy.offset, energy.units = 0.5, 280.0, "eV"
    eels = {"dwell_time": dwell, "frame_number": frames, "collection_angle": 33.0}
    scope = {
        "beam_energy": 200.0,
        "acquisition_mode": "STEM",
        "beam_current": current_na,
        "convergence_angle": 21.0,
        "Detector": {"EELS": eels},
    }
    signal.metadata.add_dictionary({"Acquisition_instrument": {"TEM": scope}})
    return save(signal, path)


def test_the_dose_of_a_spectrum_image_follows_from_current_dwell_time_and_step(hs, tmp_path):
    record = read_acquisition(scanned(hs, tmp_path / "si.hspy"))
    expected = scan_dose(beam_current_pa=20.0, dwell_time_s=1e-5, step_a=20.0)
    assert record.kind is Kind.SPECTRUM_IMAGE
    assert record.scan_step_a == pytest.approx(20.0)
    assert record.dose_e_per_a2 == pytest.approx(expected)
    assert record.sources["dose_e_per_a2"].origin is Origin.DERIVED
    assert record.exposure_time_s == pytest.approx(12e-5)
    assert record.semi_convergence_angle_mrad == 21.0
    assert record.collection_angle_mrad == 33.0


def test_a_repeated_scan_costs_its_repeats(hs, tmp_path):
    once = read_acquisition(scanned(hs, tmp_path / "one.hspy"))
    often = read_acquisition(scanned(hs, tmp_path / "five.hspy", frames=5))
    assert often.dose_e_per_a2 == pytest.approx(5 * once.dose_e_per_a2)
    assert often.exposure_time_s == pytest.approx(5 * once.exposure_time_s)


def test_without_a_current_the_dose_of_a_scan_says_what_is_wanted(hs, tmp_path):
    path = scanned(hs, tmp_path / "si.hspy", current_na=0.0)
    record = read_acquisition(path)
    assert record.dose_e_per_a2 is None
    assert "`beam_current_pa` is unknown" in record.missing["dose_e_per_a2"]
    given = read_acquisition(path, session=SessionConfig(beam_current_pa=20.0))
    assert given.dose_e_per_a2 == pytest.approx(3.12075454, rel=1e-6)


def test_the_users_pixel_size_moves_the_derived_dose(write):
    path = write("image.hspy")
    session = SessionConfig(dwell_time_s=1e-5)
    before = read_acquisition(path, session=session)
    after = read_acquisition(path, session=session, user={"pixel_size_a": 0.4})
    assert before.pixel_size_a == pytest.approx(0.2)
    assert after.dose_e_per_a2 == pytest.approx(before.dose_e_per_a2 / 4)
    assert after.sources["pixel_size_a"].origin is Origin.USER
    assert any("pixel_size_a = 0.4 (user) replaces 0.2" in said for said in after.warnings)


def test_origins_rank_user_session_sidecar_header(write, tmp_path):
    path = write("image.mrc")
    header = read_acquisition(path)
    (tmp_path / "image.mrc.mdoc").write_text("[ZValue = 0]\nPixelSpacing = 0.6\n")
    sidecar = read_acquisition(path)
    (tmp_path / "session.toml").write_text("pixel_size_a = 0.7\n")
    session = read_acquisition(path)
    user = read_acquisition(path, user={"pixel_size_a": 0.8})
    records = (header, sidecar, session, user)
    assert [record.pixel_size_a for record in records] == pytest.approx([0.5, 0.6, 0.7, 0.8])
    assert [record.sources["pixel_size_a"].origin for record in records] == [
        Origin.HEADER,
        Origin.SIDECAR,
        Origin.SESSION,
        Origin.USER,
    ]


def test_names_with_brackets_are_names(write, tmp_path):
    path = write("image.hspy").rename(tmp_path / "grid[1] image*.hspy")
    assert read_acquisition(path).shape == (32, 32)


def test_an_unknown_suffix_and_an_absent_file_are_told(tmp_path):
    other = tmp_path / "notes.docx"
    other.write_text("no")
    with pytest.raises(FileReadError, match=r"notes\.docx has the unknown suffix \.docx"):
        load(other)
    with pytest.raises(FileReadError, match=r"gone\.dm3 is not a file"):
        load_all(tmp_path / "gone.dm3")


def test_reading_leaves_warnings_and_logging_as_they_were(write):
    import logging

    levels = {name: logging.getLogger(name).level for name in ("rsciio", "hyperspy", "tifffile")}
    before = list(warnings.filters)
    load(write("image.tif"))
    assert warnings.filters == before
    assert {name: logging.getLogger(name).level for name in levels} == levels


def test_a_big_endian_mrc_is_read(tmp_path):
    path = tmp_path / "sgi.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.arange(12, dtype=">f4").reshape(3, 4))
        mrc.voxel_size = 2.0
    loaded = read(path)
    assert loaded.acquisition.pixel_size_a == pytest.approx(2.0)
    np.testing.assert_array_equal(loaded.signal.data.ravel(), np.arange(12))


def test_images_along_an_energy_are_spectra(hs, tmp_path):
    signal = hs.signals.Signal2D(np.ones((5, 6, 7), dtype=np.float32))
    x, energy, y = signal.axes_manager._axes[2], *signal.axes_manager._axes[:2]
    for axis, step, unit in ((x, 2.0, "nm"), (y, 2.0, "nm"), (energy, 0.5, "eV")):
        axis.scale, axis.units = step, unit
    record = read_acquisition(save(signal, tmp_path / "cube.hspy"))
    assert (record.kind, record.shape) == (Kind.SPECTRUM_IMAGE, (6, 7, 5))
    assert record.scan_step_a == pytest.approx(20.0)
    assert record.dispersion_ev == pytest.approx(0.5)


def test_an_exposure_that_may_be_one_frames_is_not_believed(hs, tmp_path):
    signal = hs.signals.Signal2D(np.ones((3, 8, 8), dtype=np.float32))
    scope = {"beam_energy": 300.0, "Camera": {"exposure": 0.4}}
    signal.metadata.add_dictionary({"Acquisition_instrument": {"TEM": scope}})
    record = read_acquisition(save(signal, tmp_path / "movie.hspy"))
    assert (record.kind, record.frames) == (Kind.MOVIE, 3)
    assert record.exposure_time_s is None
    assert "one of 3 frames or of all" in record.missing["exposure_time_s"]

"""Survey images and low losses: found where a header or a name says so, and nowhere else."""

import json
import re
import shutil
import struct
import tomllib
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from interphase.acquisition import Acquisition, Kind
from interphase.errors import ConfigurationError, ParameterError
from interphase.io import (
    FileConfig,
    SessionConfig,
    Survey,
    commented_session_toml,
    exposure_ratio,
    find_low_loss,
    find_survey,
    load,
    read,
    read_session_config,
)

UID = {"0": 928152224, "1": 244138447, "2": 166409460, "3": 1456933693}
OTHER_UID = {**UID, "3": 7}


def write_spectra(path, *, first_ev, shape=(3, 4), tags=None, uid=None, exposure_s=None):
    """Write spectra of 32 channels of 1 eV with Gatan's tags, as HyperSpy keeps them."""
    import hyperspy.api as hs

    signal = hs.signals.Signal1D(np.ones((*shape, 32), dtype=np.float32))
    axis = signal.axes_manager.signal_axes[0]
    axis.units, axis.offset = "eV", first_ev
    for axis in signal.axes_manager.navigation_axes:
        axis.units, axis.scale = "nm", 2.0
    if exposure_s is not None:
        detector = {"EELS": {"exposure": exposure_s}}
        signal.metadata.add_dictionary({"Acquisition_instrument": {"TEM": {"Detector": detector}}})
    return _save(signal, path, tags, uid)


def write_image(path, *, shape=(40, 50), uid=None):
    import hyperspy.api as hs

    signal = hs.signals.Signal2D(np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
    for axis in signal.axes_manager.signal_axes:
        axis.units, axis.scale = "nm", 0.5
    signal.metadata.General.title = "overview"
    return _save(signal, path, None, uid)


def _save(signal, path, tags, uid):
    group = {"ImageTags": tags or {}}
    if uid is not None:
        group["UniqueID"] = {f"Data{key}": value for key, value in uid.items()}
    signal.original_metadata.add_dictionary({"ImageList": {"TagGroup0": group}})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signal.save(path)
    return path


def survey_tags(rectangle=(5.0, 10.0, 20.0, 30.0), sampling=(3, 4)):
    said = {"Survey Image": {"UID": UID, "Spectrum Image Rect": rectangle}}
    if sampling is not None:
        height, width = sampling
        said["Spatial Sampling"] = {"Height (pixels)": height, "Width (pixels)": width}
    return {"SI": {"Acquisition": said}}


# --- survey images


def test_the_survey_that_the_tags_name_is_found_by_its_identifier(tmp_path):
    write_image(tmp_path / "a.hspy", uid=OTHER_UID)
    write_image(tmp_path / "z.hspy", uid=UID)
    (tmp_path / "broken.dm3").write_bytes(struct.pack("<I", UID["0"]))
    (tmp_path / "empty.dm4").touch()
    path = write_spectra(tmp_path / "map.hspy", first_ev=280.0, tags=survey_tags())
    survey, note = find_survey(read(path))
    assert note == ""
    assert survey.source == "overview in z.hspy, which the tags name as the survey image"
    assert survey.area_px == (5, 10, 20, 30)
    stated = SessionConfig(survey_area_px=(1, 2, 3, 4))
    assert find_survey(read(path), session=stated)[0].area_px == (1, 2, 3, 4)
    assert survey.image.shape == (40, 50)
    assert survey.pixel_size_a == pytest.approx(5)


def test_a_survey_that_is_not_there_is_said_to_be_missing(tmp_path):
    write_image(tmp_path / "other.hspy", uid=OTHER_UID)
    path = write_spectra(tmp_path / "map.hspy", first_ev=280.0, tags=survey_tags())
    survey, note = find_survey(read(path))
    assert survey is None
    assert "in no file beside it" in note


@pytest.mark.parametrize(
    ("rectangle", "sampling", "said"),
    [
        ((5.0, 10.0, 41.0, 30.0), None, r"row 5 to 41 .* no rectangle inside .* 40 × 50 pixels"),
        ((20.0, 10.0, 5.0, 30.0), None, "row 20 to 5"),
        ((-1.0, 10.0, 5.0, 30.0), None, "row -1 to 5"),
        ((5.0, 10.0, 20.0), None, "expected four numbers"),
        ("here", None, "expected four numbers"),
        ((5.0, 10.0, 20.0, 30.0), (218, 132), "map of 218 × 132 positions, of which map.hspy"),
    ],
)
def test_a_rectangle_that_cannot_be_the_maps_is_refused(tmp_path, rectangle, sampling, said):
    write_image(tmp_path / "survey.hspy", uid=UID)
    tags = survey_tags(rectangle, sampling)
    path = write_spectra(tmp_path / "map.hspy", first_ev=280.0, tags=tags)
    survey, note = find_survey(read(path))
    assert survey is None
    assert re.search(said, note), note


def test_what_is_no_map_or_has_no_tags_has_no_survey(tmp_path):
    plain = write_spectra(tmp_path / "map.hspy", first_ev=280.0)
    spectrum = write_spectra(tmp_path / "one.hspy", first_ev=280.0, shape=(), tags=survey_tags())
    write_image(tmp_path / "survey.hspy", uid=UID)
    assert find_survey(read(plain)) == (None, "")
    assert find_survey(read(spectrum)) == (None, "")


def test_session_toml_names_a_survey_and_the_area(tmp_path):
    tifffile.imwrite(tmp_path / "overview.tif", np.ones((20, 30), dtype=np.float32))
    path = write_spectra(tmp_path / "map.hspy", first_ev=280.0)
    said = {"survey": "overview.tif", "survey_area_px": (1.5, 2.0, 7.0, 9.0)}
    tables = {"map.hspy": FileConfig(**said), "overview.tif": FileConfig(pixel_size_a=8.0)}
    survey, note = find_survey(read(path), session=SessionConfig(files=tables))
    assert note == ""
    assert survey.area_px == (1.5, 2.0, 7.0, 9.0)
    assert survey.pixel_size_a == 8.0
    tables["map.hspy"] = FileConfig(survey="overview.tif")
    survey, note = find_survey(read(path), session=SessionConfig(files=tables))
    assert survey is None
    assert "`survey_area_px` = [top, left, bottom, right]" in note


def test_a_stated_survey_of_the_maps_own_size_is_of_the_mapped_area(tmp_path):
    write_image(tmp_path / "adf.hspy", shape=(3, 4))
    path = write_spectra(tmp_path / "map.hspy", first_ev=280.0)
    survey, _ = find_survey(read(path), session=SessionConfig(survey="adf.hspy"))
    assert survey.image.shape == (3, 4)
    assert survey.area_px is None


def test_a_stated_survey_takes_the_rectangle_of_the_tags(tmp_path):
    write_image(tmp_path / "copy.hspy", uid=OTHER_UID)
    path = write_spectra(tmp_path / "map.hspy", first_ev=280.0, tags=survey_tags())
    survey, _ = find_survey(read(path), session=SessionConfig(survey="copy.hspy"))
    assert survey.area_px == (5, 10, 20, 30)


@pytest.mark.parametrize("key", ["survey", "low_loss"])
def test_a_stated_companion_that_does_not_serve_is_an_error(tmp_path, key):
    path = write_spectra(tmp_path / "map.hspy", first_ev=280.0)
    find = {"survey": find_survey, "low_loss": find_low_loss}[key]
    (tmp_path / "session.toml").write_text(f'[files."map.hspy"]\n{key} = "none.hspy"\n')
    with pytest.raises(ConfigurationError, match=f"`{key}` of map.hspy: none.hspy is not a file"):
        find(read(path))
    write_spectra(tmp_path / "core.hspy", first_ev=500.0)
    said = "holds no image" if key == "survey" else "holds no energy losses around 0 eV"
    with pytest.raises(ConfigurationError, match=f"core.hspy {said}"):
        find(read(path), session=SessionConfig(**{key: "core.hspy"}))


def test_a_survey_has_its_area_inside_it():
    with pytest.raises(ParameterError, match=r"area_px from row 0 to 5 .* 4 × 4 pixels"):
        Survey(image=np.ones((4, 4)), area_px=(0, 0, 5, 4), source="a")
    with pytest.raises(ParameterError, match=r"shape \(4,\): expected \(M, N\)"):
        Survey(image=np.ones(4), source="a")


# --- low losses


@pytest.mark.parametrize(
    ("core", "low"),
    [
        ("map_HL", "map_LL"),
        ("map1-hl", "MAP 1 ll"),
        ("EELS (core-loss) 3", "eels_lowloss_3"),
        ("map high loss", "map Low-Loss"),
        ("map.core", "map.low"),
        ("map_cl", "map_ll"),
        ("map", "map_ll"),
        ("low dose HL", "low dose LL"),
    ],
)
def test_a_name_that_differs_by_the_words_of_dual_eels_is_the_low_losses(tmp_path, core, low):
    path = write_spectra(tmp_path / f"{core}.hspy", first_ev=280.0, exposure_s=0.25)
    write_spectra(tmp_path / f"{low}.hspy", first_ev=-5.0, exposure_s=0.001)
    write_spectra(tmp_path / "another_ll.hspy", first_ev=-5.0)
    loaded = read(path)
    found, note = find_low_loss(loaded)
    assert found.path.name == f"{low}.hspy"
    assert found.acquisition.energy_range_ev[0] == -5
    assert f"{low}.hspy, whose name differs from {core}.hspy only" in note
    assert exposure_ratio(loaded.acquisition, found.acquisition) == pytest.approx(250)


@pytest.mark.parametrize(
    "other",
    ["map_b_ll", "map_hl2", "mapll", "map_allow", "map_yellow", "map_lowdose", "map_highest"],
)
def test_a_name_that_differs_by_more_is_another_measurement(tmp_path, other):
    path = write_spectra(tmp_path / "map.hspy", first_ev=280.0)
    write_spectra(tmp_path / f"{other}.hspy", first_ev=-5.0)
    assert find_low_loss(read(path)) == (None, "")


@pytest.mark.parametrize(("other", "first_ev"), [("low_dose_ll", -5.0), ("low_dose_hl", 280.0)])
def test_a_low_dose_is_not_a_low_loss(tmp_path, other, first_ev):
    path = write_spectra(tmp_path / "high_dose_hl.hspy", first_ev=280.0)
    write_spectra(tmp_path / f"{other}.hspy", first_ev=first_ev)
    assert find_low_loss(read(path)) == (None, "")


def test_low_losses_by_name_that_do_not_fit_are_named_and_left(tmp_path):
    path = write_spectra(tmp_path / "a_hl.hspy", first_ev=280.0)
    write_spectra(tmp_path / "a_ll.hspy", first_ev=-5.0, shape=(3, 5))
    found, note = find_low_loss(read(path))
    assert found is None
    assert "a_ll.hspy" in note
    assert "low losses of 3 × 5 positions: expected one signal of 3 × 4 positions" in note
    write_spectra(tmp_path / "a_low.hspy", first_ev=-5.0)
    found, note = find_low_loss(read(path))
    assert found is None
    assert "several files are named like its low losses, a_ll.hspy, a_low.hspy" in note
    (tmp_path / "a_low.hspy").unlink()
    (tmp_path / "a_ll.hspy").write_bytes(b"")
    found, note = find_low_loss(read(path))
    assert found is None
    assert "not taken: a_ll.hspy" in note


def test_low_losses_of_their_own_have_none(tmp_path):
    path = write_spectra(tmp_path / "a_ll.hspy", first_ev=-5.0)
    write_spectra(tmp_path / "a_low.hspy", first_ev=-5.0)
    assert find_low_loss(read(path)) == (None, "")
    assert find_low_loss(read(path), session=SessionConfig(low_loss="a_ll.hspy")) == (None, "")


def test_session_toml_may_name_a_single_spectrum(tmp_path):
    path = write_spectra(tmp_path / "a_hl.hspy", first_ev=280.0)
    write_spectra(tmp_path / "a_ll.hspy", first_ev=-5.0)
    write_spectra(tmp_path / "vacuum.hspy", first_ev=-5.0, shape=())
    (tmp_path / "session.toml").write_text('[files."a_hl.hspy"]\nlow_loss = "vacuum.hspy"\n')
    found, note = find_low_loss(read(path))
    assert found.path.name == "vacuum.hspy"
    assert note == "low losses: vacuum.hspy, which session.toml names"


def test_the_sibling_that_the_tags_name_outranks_names(tmp_path):
    sibling = {"EELS": {"Acquisition": {"Dual acquire sibling": {"UID": UID}}}}
    path = write_spectra(tmp_path / "a_hl.hspy", first_ev=280.0, tags=sibling)
    write_spectra(tmp_path / "a_ll.hspy", first_ev=-5.0)
    write_spectra(tmp_path / "002.hspy", first_ev=-5.0, uid=UID)
    found, note = find_low_loss(read(path))
    assert found.path.name == "002.hspy"
    assert "the tags name as the sibling in dual EELS" in note
    write_spectra(tmp_path / "b_hl.hspy", first_ev=280.0, shape=(2, 2), tags=sibling)
    found, note = find_low_loss(read(tmp_path / "b_hl.hspy"))
    assert found is None
    assert "002.hspy, which the tags name as the sibling in dual EELS, holds" in note


def test_core_losses_are_principal_in_a_file_of_both(tmp_path):
    both = tmp_path / "both.hspy"
    write_spectra(both, first_ev=-5.0, exposure_s=0.001)
    for name, first in (("b", 500.0), ("c", 280.0)):
        write_spectra(tmp_path / f"{name}.hspy", first_ev=first, exposure_s=0.25)
        with h5py.File(tmp_path / f"{name}.hspy") as one, h5py.File(both, "a") as file:
            (group,) = one["Experiments"].values()
            one.copy(group, file["Experiments"], name=name)
    loaded = read(both, user={"beam_energy_kev": 200.0})
    assert loaded.acquisition.energy_range_ev[0] == 280
    found, note = find_low_loss(loaded)
    assert found.signal.axes_manager.signal_axes[0].offset == -5
    assert found.acquisition.energy_range_ev == (-5, 26)
    assert found.acquisition.beam_energy_kev == 200
    assert note == "low losses: the spectra from -5 to 26 eV of the same file"
    assert exposure_ratio(loaded.acquisition, found.acquisition) == pytest.approx(250)


def test_equal_times_of_scans_say_nothing_of_dual_eels():
    core = Acquisition(kind=Kind.SPECTRUM_IMAGE, dwell_time_s=0.02)
    assert exposure_ratio(core, core) is None
    later = Acquisition(kind=Kind.SPECTRUM_IMAGE, dwell_time_s=0.01)
    assert exposure_ratio(core, later) == 2


def test_companions_are_said_of_files_not_of_exposures(tmp_path):
    (tmp_path / "session.toml").write_text(
        '[files."m*"]\nsurvey = "s.dm3"\nsurvey_area_px = [1, 2, 3, 4]\nlow_loss = "l.dm4"\n'
    )
    config = read_session_config(tmp_path)
    assert config.values_for("m1.dm4") == {}
    assert config.placement_for("m1.dm4") == {}
    assert config.companions_for("m1.dm4") == {
        "survey": "s.dm3",
        "survey_area_px": (1, 2, 3, 4),
        "low_loss": "l.dm4",
    }
    assert config.companions_for("n.dm4") == {}


def test_the_written_session_shows_how_companions_are_named():
    text = commented_session_toml({})
    (table,) = (part for part in text.split("\n\n") if '[files."map.dm4"]' in part)
    filled = "\n".join(line.removeprefix("# ") for line in table.splitlines())
    config = SessionConfig.model_validate(tomllib.loads(filled))
    assert config.companions_for("map.dm4").keys() == {"survey", "survey_area_px", "low_loss"}
    assert "# survey =" not in text.split("for one file")[0]


# --- real files


def _patched(content, after, old, new):
    """Replace the first number of these bytes behind the name of a tag."""
    at = content.index(old, content.index(after))
    return content[:at] + new + content[at + len(old) :]


@pytest.fixture
def gatan(shared_data, tmp_path):
    """A real map of 2 × 2 positions whose tags name a real survey image beside it."""
    survey = shared_data / "images" / "example_Se_implanted_MoS2.dm3"
    shutil.copyfile(survey, tmp_path / "001 survey.dm3")
    content = (shared_data / "eels" / "EELS_SI.dm4").read_bytes()
    tag = b"Survey Image"
    of_survey = (2043084857, 2101104571, 1594362630, 439948629)
    for old, new in zip(UID.values(), of_survey, strict=True):
        content = _patched(content, tag, struct.pack("<I", old), struct.pack("<I", new))

    def write(*, rectangle=(100, 200, 300, 400), sampling=(2, 2)) -> Path:
        path, patched = tmp_path / "002 map.dm4", content
        for old, new in zip((405, 634, 2005, 1604), rectangle, strict=True):
            pair = struct.pack("<I", old), struct.pack("<I", new)
            patched = _patched(patched, b"Spectrum Image Rect", *pair)
        for name, old, new in zip(("Height", "Width"), (218, 132), sampling, strict=True):
            pair = struct.pack("<I", old), struct.pack("<I", new)
            patched = _patched(patched, f"{name} (pixels)".encode(), *pair)
        path.write_bytes(patched)
        return path

    return write


def test_a_real_gatan_map_finds_its_survey(gatan):
    survey, note = find_survey(read(gatan()))
    assert note == ""
    assert survey.image.shape == (1024, 1024)
    assert survey.area_px == (100, 200, 300, 400)
    assert survey.pixel_size_a == pytest.approx(0.12695, abs=1e-5)
    assert survey.source.startswith("SI Survey Image (active) in 001 survey.dm3")


def test_a_part_of_a_real_gatan_map_does_not_take_the_rectangle_of_the_whole(gatan):
    survey, note = find_survey(read(gatan(sampling=(218, 132))))
    assert survey is None
    assert "218 × 132 positions, of which 002 map.dm4 holds 2 × 2 positions" in note
    survey, note = find_survey(read(gatan(rectangle=(100, 200, 300, 1100))))
    assert survey is None
    assert "column 200 to 1100" in note


def test_a_real_gatan_map_of_dual_eels_states_the_time_of_each_spectrum(shared_data):
    loaded = read(shared_data / "eels" / "EELS_SI.dm4")
    assert loaded.acquisition.dwell_time_s == pytest.approx(0.02)
    assert loaded.acquisition.spectrum_exposure_s == pytest.approx(0.01995, abs=1e-5)
    assert find_low_loss(loaded) == (None, "")
    survey, note = find_survey(loaded)
    assert survey is None
    assert "in no file beside it" in note


def test_a_real_velox_map_lies_on_the_reference_image_of_the_same_file(shared_data):
    loaded = read(shared_data / "eels" / "example_velox_EELS_EDS.emd")
    survey, note = find_survey(loaded)
    assert note == ""
    assert survey.image.shape == (128, 128)
    assert survey.area_px == (39, 29, 55, 49)
    # The file itself: its feature names this image as reference, and the area on it.
    reference = next(s for s in loaded.others if s.data.shape == (128, 128))
    (feature,) = reference.original_metadata.as_dictionary()["Features"]["SIFeature"].values()
    area = feature["stem"]["scanArea"]
    assert area["position"]["y"] * 128 == survey.area_px[0]
    assert area["position"]["x"] * 128 == survey.area_px[1]
    (detector,) = feature["stem"]["stemDetectors"]
    with h5py.File(loaded.path) as file:
        named = json.loads(file[detector["referenceImage"]][0])["dataPath"]
        assert np.array_equal(file[named]["Data"][..., 0], survey.image)
    # One position of the map is one pixel of it, and the axes of the spectra say the same place.
    assert survey.pixel_size_a == pytest.approx(loaded.acquisition.scan_step_a, rel=1e-3)
    y, x = (axis for axis in loaded.signal.axes_manager._axes if axis.navigate)
    assert y.offset / y.scale + 64 == pytest.approx(survey.area_px[0], abs=1e-3)
    assert x.offset / x.scale + 64 == pytest.approx(survey.area_px[1], abs=1e-3)


def test_a_velox_image_of_another_scan_is_not_believed(shared_data):
    loaded = read(shared_data / "eels" / "example_velox_EELS_EDS.emd")
    reference = next(s for s in loaded.others if s.data.shape == (128, 128))
    reference.original_metadata.Scan.ScanRotation = "0.5"
    survey, _ = find_survey(loaded)
    assert survey.image.shape == (16, 20)
    assert survey.area_px is None
    assert survey.source == "DF-S in example_velox_EELS_EDS.emd, recorded with the spectra"


def test_real_velox_core_losses_come_before_their_low_losses(shared_data):
    path = shared_data / "eels" / "example_velox_EELS_EDS.emd"
    assert load(path).axes_manager.signal_axes[0].offset == pytest.approx(480)
    loaded = read(path)
    assert loaded.acquisition.spectrum_exposure_s == pytest.approx(5e-3)
    found, note = find_low_loss(loaded)
    assert found.acquisition.energy_range_ev[0] == pytest.approx(-21.5026)
    assert found.acquisition.spectrum_exposure_s == pytest.approx(2e-6)
    assert "the spectra from -21.5 to 324.8 eV" in note
    assert exposure_ratio(loaded.acquisition, found.acquisition) == pytest.approx(2500)


@pytest.mark.parametrize(
    ("core", "low"),
    [
        ("hl.msa", "ll.msa"),
        ("Cr_L_cl.hspy", "Cr_L_ll.hspy"),
        ("coreloss_spectrum.msa", "lowloss_spectrum.msa"),
    ],
)
def test_real_pairs_find_each_other(shared_data, core, low):
    found, _ = find_low_loss(read(shared_data / "eels" / core))
    assert found.path.name == low
    assert find_low_loss(read(shared_data / "eels" / low)) == (None, "")

"""The demo session is a session: its files say themselves what was exposed, and how."""

import json
import tomllib

import mrcfile
import numpy as np
import pytest

from interphase.acquisition import Kind
from interphase.io import load, read_acquisition
from interphase.simulation import DEMO_EXPOSURES, DemoExposure, write_demo_session

SMALL = {"field_a": 64.0, "thickness_a": 34.0}
EXPOSURES = (
    DemoExposure(
        stem="one",
        kind="image",
        grains=(("LiF", 30.0),),
        dose_e_per_a2=200.0,
        defocus_a=140.0,
        stage_um=(-12.5, 48.25),
        **SMALL,
    ),
    DemoExposure(
        stem="two",
        kind="movie",
        frames=8,
        grains=(("Li2O", 30.0),),
        dose_e_per_a2=240.0,
        defocus_a=150.0,
        stage_um=(1.5, 2.5),
        **SMALL,
    ),
    DemoExposure(
        stem="three",
        kind="diffraction",
        grains=(("Li2O", 30.0),),
        dose_e_per_a2=60.0,
        stage_um=(3.5, 4.5),
        **SMALL,
    ),
)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return write_demo_session(tmp_path_factory.mktemp("demo"), seed=3, exposures=EXPOSURES)


def test_image_says_what_was_exposed(session):
    record = read_acquisition(session.folder / "one.mrc")
    assert record.kind == Kind.IMAGE
    assert record.pixel_size_a == pytest.approx(0.4)
    assert record.beam_energy_kev == 300
    assert record.dose_e_per_a2 == pytest.approx(200)
    assert record.defocus_a == pytest.approx(140)
    assert (record.stage.x_um, record.stage.y_um) == (-12.5, 48.25)
    assert record.warnings == ()


def test_movie_says_what_was_exposed(session):
    record = read_acquisition(session.folder / "two.mrc")
    assert record.kind == Kind.MOVIE
    assert record.shape == (8, 160, 160)
    assert record.frames == 8
    assert record.dose_e_per_a2 == pytest.approx(240)
    assert record.warnings == ()


def test_pattern_is_calibrated(session):
    record = read_acquisition(session.folder / "three.hspy")
    assert record.kind == Kind.DIFFRACTION
    assert record.reciprocal_pixel_size_per_a == pytest.approx(1 / 64)
    pattern = load(session.folder / "three.hspy").data
    k = (np.arange(len(pattern)) - len(pattern) // 2) / 64
    beside_beam = np.where(np.hypot(k[:, None], k) > 0.25, pattern, 0)
    row, column = np.unravel_index(beside_beam.argmax(), pattern.shape)
    spacing = 1 / np.hypot(k[row], k[column])
    assert min(abs(spacing / d - 1) for d in (2.6624, 1.6304, 1.3904)) < 0.04


def test_counts_are_those_of_the_dose_and_the_camera(session):
    image = mrcfile.read(session.folder / "one.mrc")
    frames = mrcfile.read(session.folder / "two.mrc")
    assert image.dtype == np.int16
    assert image.mean() == pytest.approx(200 * 0.16 * 0.8, rel=0.03)
    assert frames.sum(axis=0).mean() == pytest.approx(240 * 0.16 * 0.8, rel=0.03)


def test_truth_is_written_beside_the_files(session):
    written = json.loads((session.folder / "truth.json").read_text())
    assert [file["phases"] for file in written["files"]] == [["LiF"], ["Li2O"], ["Li2O"]]
    assert [file.name for file in session.files] == ["one.mrc", "two.mrc", "three.hspy"]
    (grain,) = session.files[0].crystallites
    assert written["files"][0]["crystallites"][0]["centre_a"] == list(grain.centre_a)
    said = tomllib.loads((session.folder / "session.toml").read_text())
    assert said["files"]["three.hspy"] == {"dose_e_per_a2": 60.0}
    assert said["temperature_k"] == 90.0


def test_the_seed_fixes_the_session(session, tmp_path):
    again = write_demo_session(tmp_path, seed=3, exposures=EXPOSURES[:1])
    np.testing.assert_array_equal(
        mrcfile.read(tmp_path / "one.mrc"), mrcfile.read(session.folder / "one.mrc")
    )
    assert again.files == session.files[:1]


def test_demo_asks_all_its_questions():
    kinds = [exposure.kind for exposure in DEMO_EXPOSURES]
    assert kinds == ["image"] * 4 + ["movie", "diffraction"]
    phases = {phase for exposure in DEMO_EXPOSURES for phase, _ in exposure.grains}
    assert phases == {"Li", "Li2O", "LiF", "Li2CO3"}
    assert any(not exposure.grains for exposure in DEMO_EXPOSURES)

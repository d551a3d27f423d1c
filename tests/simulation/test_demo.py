"""The demo session is a session: its files say themselves what was exposed, and how."""

import json
import tomllib

import numpy as np
import pytest

from interphase.acquisition import Kind, Origin
from interphase.io import load, read_acquisition
from interphase.simulation import (
    DEMO_EXPOSURES,
    DemoExposure,
    Interphase,
    Layer,
    Population,
    Structure,
    build_interphase,
    load_truth,
    write_demo_session,
)


def small(phase: str, seed: int) -> Interphase:
    """Return one crystallite in a little glass on lithium."""
    grain = Population(
        phase=phase,
        volume_fraction=0.12,
        diameter_a=28.0,
        spread=0.01,
        zone_axis_share=1.0,
        zone_axis_tilt_deg=0.5,
    )
    layer = Layer(name="mosaic", thickness_a=40.0, matrix="LEDC", populations=(grain,))
    return Interphase(
        architecture="mosaic",
        structure=Structure.MOSAIC,
        electrode="Li",
        layers=(layer,),
        foil_thickness_a=34.0,
        length_a=64.0,
        electrode_width_a=14.0,
        outside_width_a=10.0,
        seed=seed,
    )


EXPOSURES = (
    DemoExposure(
        stem="one",
        kind="image",
        recipe=small("LiF", 1),
        dose_e_per_a2=200.0,
        defocus_a=140.0,
        stage_um=(-12.5, 48.25),
        ending=".mrc",
    ),
    DemoExposure(
        stem="two",
        kind="movie",
        frames=8,
        recipe=small("Li2O", 2),
        dose_e_per_a2=240.0,
        defocus_a=150.0,
        stage_um=(1.5, 2.5),
    ),
    DemoExposure(
        stem="three",
        kind="diffraction",
        recipe=small("Li2O", 3),
        dose_e_per_a2=60.0,
        aperture_a=60.0,
        stage_um=(3.5, 4.5),
    ),
)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return write_demo_session(tmp_path_factory.mktemp("demo"), seed=3, exposures=EXPOSURES)


def test_an_mrc_image_says_in_its_sidecar_what_was_exposed(session):
    record = read_acquisition(session.folder / "one.mrc")
    assert record.kind == Kind.IMAGE
    assert record.pixel_size_a == pytest.approx(0.4)
    assert record.beam_energy_kev == 300
    assert record.dose_e_per_a2 == pytest.approx(200)
    assert record.sources["dose_e_per_a2"].origin is Origin.SIDECAR
    assert record.defocus_a == pytest.approx(140)
    assert (record.stage.x_um, record.stage.y_um) == (-12.5, 48.25)
    assert record.warnings == ()


def test_a_hyperspy_movie_says_in_its_header_what_was_exposed(session):
    record = read_acquisition(session.folder / "two.hspy")
    assert record.kind == Kind.MOVIE
    assert record.shape == (8, 160, 160)
    assert record.frames == 8
    assert record.dose_e_per_a2 == pytest.approx(240)
    assert record.sources["dose_e_per_a2"].origin is Origin.HEADER
    assert record.time.isoformat() == "2026-03-02T10:04:00"
    assert record.warnings == ()


def test_pattern_is_calibrated(session):
    record = read_acquisition(session.folder / "three.hspy")
    assert record.kind == Kind.DIFFRACTION
    assert record.dose_e_per_a2 == 60
    step = record.reciprocal_pixel_size_per_a
    assert step == pytest.approx(1 / 104)  # the field and its margins
    pattern = load(session.folder / "three.hspy").data
    k = (np.arange(len(pattern)) - len(pattern) // 2) * step
    beside_beam = np.where(np.hypot(k[:, None], k) > 0.25, pattern, 0)
    row, column = np.unravel_index(beside_beam.argmax(), pattern.shape)
    # The centre of the strongest spot, which the crystallite's size makes some pixels wide.
    rows, columns = slice(row - 2, row + 3), slice(column - 2, column + 3)
    spot = pattern[rows, columns] / pattern[rows, columns].sum()
    spacing = 1 / np.hypot(k[rows] @ spot.sum(axis=1), k[columns] @ spot.sum(axis=0))
    # Li2O, and the lithium that is in view, too.
    assert min(abs(spacing / d - 1) for d in (2.6624, 1.6304, 1.3904, 2.4820, 1.7551)) < 0.02


def test_counts_are_those_of_the_dose_and_the_camera(session):
    image = load(session.folder / "one.mrc").data
    frames = load(session.folder / "two.hspy").data
    assert image.dtype == np.int16
    assert image.mean() == pytest.approx(200 * 0.16 * 0.8, rel=0.03)
    assert frames.sum(axis=0).mean() == pytest.approx(240 * 0.16 * 0.8, rel=0.03)


def test_truth_is_written_beside_the_files(session):
    written = json.loads((session.folder / "truth.json").read_text())
    assert [file["phases"] for file in written["files"]] == [["LiF"], ["Li2O"], ["Li2O"]]
    assert [file["electrode"] for file in written["files"]] == ["Li"] * 3
    assert [file.name for file in session.files] == ["one.mrc", "two.hspy", "three.hspy"]
    for said, file in zip(written["files"], session.files, strict=True):
        truth = load_truth(session.folder / file.name).truth
        assert truth.crystallites == file.crystallites
        assert said["crystallites"][0]["centre_a"] == list(file.crystallites[0].centre_a)
        assert said["structure"] == truth.structure == "mosaic"
    said = tomllib.loads((session.folder / "session.toml").read_text())
    assert said["temperature_k"] == 298.0
    assert set(said["files"]) == {"*_search_*", "*_focus_*"}
    # What was exposed for search and focus is in the session without an image.
    steps = sorted(path.name for path in session.folder.glob("grid1_*.mdoc"))
    assert steps == [
        "grid1_focus_0001a.mrc.mdoc",
        "grid1_focus_0002a.mrc.mdoc",
        "grid1_focus_0003a.mrc.mdoc",
        "grid1_search_0001.mrc.mdoc",
    ]


def test_truth_lies_where_the_image_shows_it(session):
    truth = load_truth(session.folder / "one.mrc").truth
    image = load(session.folder / "one.mrc").data.astype(float)
    assert truth.depth_a.shape == image.shape
    # Beyond the interphase there is vacuum, which makes no contrast but noise.
    vacuum = truth.depth_a > truth.thickness_a + 3
    inside = (truth.depth_a > 3) & (truth.depth_a < truth.thickness_a - 3)
    assert image[inside].var() / image[inside].mean() > 1.1
    assert image[vacuum].var() / image[vacuum].mean() < image[inside].var() / image[inside].mean()


def test_crystallites_lie_near_the_zone_axes_asked_for(session):
    for file in session.files:
        for grain in file.crystallites:
            assert grain.zone_axis is not None
            assert 0 <= grain.tilt_deg <= 0.5


def test_the_seed_fixes_an_exposure_whichever_others_there_are(session, tmp_path):
    again = write_demo_session(tmp_path, seed=3, exposures=EXPOSURES[:1])
    np.testing.assert_array_equal(
        load(tmp_path / "one.mrc").data, load(session.folder / "one.mrc").data
    )
    assert again.files == session.files[:1]
    recipe = load_truth(tmp_path / "one.mrc").recipe
    other = write_demo_session(tmp_path / "other", seed=4, exposures=EXPOSURES[:1])
    assert other.files != again.files
    assert load_truth(tmp_path / "other" / "one.mrc").recipe.seed != recipe.seed


def test_demo_asks_all_its_questions():
    kinds = [exposure.kind for exposure in DEMO_EXPOSURES]
    assert kinds == ["image"] * 4 + ["movie", "diffraction"]
    structures = {exposure.recipe.structure for exposure in DEMO_EXPOSURES}
    assert structures == set(Structure)
    assert {exposure.ending for exposure in DEMO_EXPOSURES} == {".mrc", ".hspy"}
    recipes = [exposure.recipe for exposure in DEMO_EXPOSURES]
    assert any(recipe.radius_a for recipe in recipes)
    assert any(recipe.tilt_deg for recipe in recipes)
    assert {recipe.electrode for recipe in recipes} == {"Li"}
    phases = {p.phase for recipe in recipes for layer in recipe.layers for p in layer.populations}
    assert phases == {"Li2O", "LiF", "Li2CO3", "Li3PO4-beta"}


def test_a_recipe_can_ask_for_some_crystallites_near_zone_axes():
    recipe = small("LiF", 1)
    grain = recipe.layers[0].populations[0]
    assert build_interphase(recipe).scene.truths[-1].zone_axis is not None
    assert grain.zone_axis_share == 1.0
    assert Population(phase="LiF", volume_fraction=0.1, diameter_a=30.0).zone_axis_share == 0.0

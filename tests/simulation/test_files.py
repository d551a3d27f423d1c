"""What is written of a simulated exposure is what is read of it."""

import json
import tomllib
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interphase.acquisition import Acquisition, Kind, Origin, Stage
from interphase.errors import FileReadError, ParameterError
from interphase.io import discover, load, read_acquisition
from interphase.simulation import (
    MAP_STEP_A,
    Interphase,
    Layer,
    Population,
    SimulatedExposure,
    Structure,
    build_interphase,
    interphase_truth,
    load_truth,
    write_exposure,
    write_session,
)
from interphase.simulation.files import _session_toml
from interphase.simulation.models.geometry import Wave

KNOWN = {
    "mode": "TEM",
    "beam_energy_kev": 300.0,
    "dose_e_per_a2": 123.5,
    "dose_rate_e_per_a2_s": 30.875,
    "prior_dose_e_per_a2": 7.25,
    "exposure_time_s": 4.0,
    "beam_current_pa": 50.0,
    "magnification": 81000.0,
    "defocus_a": -1234.5,
    "spherical_aberration_mm": 0.005,
    "stage": Stage(x_um=-112.4, y_um=48.05, z_um=-21.5, alpha_deg=1.5, beta_deg=-0.5),
    "time": datetime(2026, 3, 2, 10, 4, 30),
    "temperature_k": 90.0,
    "microscope": "simulated",
    "detector": "counter",
    "sample": "SEI on lithium",
    "electrolyte": "1 M LiPF6 in EC:DEC",
    "electrode": "Li",
}
PATTERN = {"reciprocal_pixel_size_per_a": 0.00454}
SCANNED = {"mode": "STEM", "dwell_time_s": 1e-3, "frames": 2}
SPECTRUM = {
    "dispersion_ev": 0.25,
    "energy_range_ev": (-20.0, -20.0 + 0.25 * 39),
    "collection_angle_mrad": 10.0,
    "semi_convergence_angle_mrad": 1.5,
}
EXPOSURES = {
    Kind.IMAGE: ((30, 40), {"pixel_size_a": 0.4123}),
    Kind.MOVIE: ((5, 30, 40), {"pixel_size_a": 0.4123, "frames": 5}),
    Kind.DIFFRACTION: ((40, 40), {**PATTERN, "camera_length_mm": 660.0}),
    Kind.SCAN_4D: ((4, 3, 16, 16), {**PATTERN, **SCANNED, "scan_step_a": 5.5}),
    Kind.SPECTRUM: ((40,), SPECTRUM),
    Kind.SPECTRUM_IMAGE: ((4, 3, 40), {**SPECTRUM, **SCANNED, "scan_step_a": 5.5}),
}


def exposure_of(kind: Kind, **changes: object) -> SimulatedExposure:
    shape, own = EXPOSURES[kind]
    counts = np.random.default_rng(1).poisson(9.0, shape).astype(np.float32)
    said = Acquisition(kind=kind, **{**KNOWN, **own})
    return SimulatedExposure(**{"stem": "one", "counts": counts, "acquisition": said, **changes})


@pytest.fixture(scope="module")
def model():
    return build_interphase(
        Interphase(
            architecture="mosaic",
            structure=Structure.MOSAIC,
            electrode="Li",
            layers=(
                Layer(
                    name="mosaic",
                    thickness_a=46.0,
                    matrix="LEDC",
                    populations=(
                        Population(phase="Li2O", volume_fraction=0.15, diameter_a=26.0),
                        Population(phase="LiF", volume_fraction=0.15, diameter_a=26.0),
                    ),
                ),
            ),
            foil_thickness_a=36.0,
            length_a=80.0,
            electrode_width_a=12.0,
            outside_width_a=6.0,
            unevenness=(Wave(amplitude_a=2.0, period_a=90.0, direction_deg=3.0, phase_deg=45.0),),
            seed=5,
        ),
        margin_a=4.0,
    )


@pytest.mark.parametrize("kind", EXPOSURES)
def test_a_hyperspy_file_says_all_that_was_known_in_its_header(kind: Kind, tmp_path: Path) -> None:
    exposure = exposure_of(kind)
    path = write_exposure(tmp_path, exposure)
    record = read_acquisition(path)
    assert record.kind == kind
    assert record.shape == exposure.counts.shape
    for name, value in {**KNOWN, **EXPOSURES[kind][1]}.items():
        read = getattr(record, name)
        if isinstance(value, Stage):
            for axis in ("x_um", "y_um", "z_um", "alpha_deg", "beta_deg"):
                assert getattr(read, axis) == pytest.approx(getattr(value, axis), rel=1e-12)
        else:
            assert read == (value if isinstance(value, str | datetime) else pytest.approx(value))
        assert record.sources[name].origin is Origin.HEADER, name
    assert record.warnings == ()
    assert record.missing == {}
    np.testing.assert_array_equal(load(path).data, exposure.counts)
    assert [p.name for p in tmp_path.iterdir()] == ["one.hspy"]


def test_axes_of_a_pattern_have_the_undiffracted_beam_at_zero(tmp_path: Path) -> None:
    signal = load(write_exposure(tmp_path, exposure_of(Kind.DIFFRACTION)))
    for axis in signal.axes_manager.signal_axes:
        assert axis.axis[20] == pytest.approx(0.0, abs=1e-12)
        assert axis.units == "1/Å"


def test_what_is_not_known_is_not_written(tmp_path: Path) -> None:
    bare = Acquisition(kind=Kind.IMAGE, pixel_size_a=0.5)
    record = read_acquisition(write_exposure(tmp_path, exposure_of(Kind.IMAGE, acquisition=bare)))
    known = {name for name in KNOWN if getattr(record, name) is not None}
    assert known == set()
    assert set(record.missing) == {"beam_energy_kev", "dose_e_per_a2", "stage"}


@pytest.mark.parametrize("kind", [Kind.IMAGE, Kind.MOVIE])
def test_an_mrc_file_leaves_it_to_its_sidecar(kind: Kind, tmp_path: Path) -> None:
    exposure = exposure_of(kind, ending=".mrc")
    path = write_exposure(tmp_path, exposure)
    record = read_acquisition(path)
    assert record.kind == kind
    for name in ("beam_energy_kev", "dose_e_per_a2", "exposure_time_s", "defocus_a", "time"):
        exact = name == "time"
        assert getattr(record, name) == (KNOWN[name] if exact else pytest.approx(KNOWN[name]))
        assert record.sources[name].origin is Origin.SIDECAR
    assert record.pixel_size_a == pytest.approx(0.4123)
    assert (record.stage.x_um, record.stage.alpha_deg) == (-112.4, 1.5)
    assert record.warnings == ()
    np.testing.assert_array_equal(load(path).data, exposure.counts)
    assert {p.name for p in tmp_path.iterdir()} == {"one.mrc", "one.mrc.mdoc"}


def test_whole_numbers_become_small_and_others_stay(tmp_path: Path) -> None:
    whole = load(write_exposure(tmp_path, exposure_of(Kind.IMAGE)))
    assert whole.data.dtype == np.uint16
    noisy = np.random.default_rng(2).normal(0, 1, (30, 40)).astype(np.float32)
    path = write_exposure(tmp_path, exposure_of(Kind.IMAGE, counts=noisy, stem="two"))
    np.testing.assert_array_equal(load(path).data, noisy)
    signed = exposure_of(Kind.IMAGE, counts=np.full((30, 40), -70000.0), stem="three")
    assert load(write_exposure(tmp_path, signed)).data.dtype == np.int32


@pytest.mark.parametrize("kind", [np.uint16, np.int64, np.float32, np.float64])
def test_an_mrc_file_holds_the_counts_whatever_they_are(kind: type, tmp_path: Path) -> None:
    largest = np.iinfo(np.int16).max
    for highest, lowest, expected in [
        (largest, 0, np.int16),
        (largest + 1, 0, np.float32),
        (5, -40000, np.float32),
        (5, -32768, np.int16),
        (5, 0.25, np.float32),
    ]:
        counts = np.full((30, 40), 3.0)
        counts[0, :2] = highest, lowest
        if not np.can_cast(np.min_scalar_type(lowest), kind):
            continue  # it holds no such number
        counts = counts.astype(kind)
        path = write_exposure(tmp_path, exposure_of(Kind.IMAGE, counts=counts, ending=".mrc"))
        assert load(path).data.dtype == expected
        np.testing.assert_array_equal(load(path).data, counts)
        mode = 1 if expected is np.int16 else 2
        assert f"DataMode = {mode}\n" in (tmp_path / "one.mrc.mdoc").read_text()


def test_truth_is_read_as_it_was_written(model, tmp_path: Path) -> None:
    truth = interphase_truth(model, pixel_size_a=0.4, shape=(30, 40))
    exposure = exposure_of(Kind.IMAGE, truth=truth, recipe=model.recipe, seed=7)
    path = write_exposure(tmp_path, exposure)
    read = load_truth(path)
    assert load_truth(tmp_path / "one.truth.npz").truth.crystallites == truth.crystallites
    assert read.recipe == model.recipe
    assert read.seed == 7
    assert len(truth.crystallites) >= 2
    assert read.truth.crystallites == truth.crystallites
    for name in ("architecture", "structure", "electrode", "thickness_a", "thickness_std_a",
                 "crystalline_fraction", "foil_thickness_a", "pixel_size_a"):  # fmt: skip
        assert getattr(read.truth, name) == getattr(truth, name)
    np.testing.assert_array_equal(read.truth.profile.depth_a, truth.profile.depth_a)
    assert set(read.truth.profile.fraction) == {"Li", "Li2O", "LiF", "LEDC"}
    for name, share in truth.profile.fraction.items():
        np.testing.assert_array_equal(read.truth.profile.fraction[name], share)
    assert set(read.truth.projected_thickness_a) == set(truth.projected_thickness_a)
    for name, thickness in truth.projected_thickness_a.items():
        error = np.abs(read.truth.projected_thickness_a[name] - thickness)
        assert error.max() <= MAP_STEP_A / 2
    assert np.abs(read.truth.depth_a - truth.depth_a).max() <= MAP_STEP_A / 2
    # Written once more, nothing changes any more.
    again = exposure_of(Kind.IMAGE, stem="two", truth=read.truth, recipe=read.recipe, seed=7)
    twice = load_truth(write_exposure(tmp_path, again))
    np.testing.assert_array_equal(twice.truth.depth_a, read.truth.depth_a)
    for name, thickness in read.truth.projected_thickness_a.items():
        np.testing.assert_array_equal(twice.truth.projected_thickness_a[name], thickness)


def test_maps_are_read_with_the_step_they_were_written_with(model, tmp_path: Path) -> None:
    truth = interphase_truth(model, pixel_size_a=0.4, shape=(30, 40))
    write_exposure(tmp_path, exposure_of(Kind.IMAGE, truth=truth))
    path = tmp_path / "one.truth.npz"
    depth = load_truth(path).truth.depth_a
    with np.load(path) as archive:
        arrays = dict(archive)
    said = json.loads(str(arrays.pop("said")))
    np.savez(path, **arrays, said=json.dumps(said | {"map_step_a": 2 * MAP_STEP_A}))
    np.testing.assert_array_equal(load_truth(path).truth.depth_a, 2 * depth)
    said["truth"]["crystallites"] = [{"phase": 1}]
    np.savez(path, **arrays, said=json.dumps(said))
    with pytest.raises(FileReadError, match="holds no truth that can be read") as caught:
        load_truth(path)
    assert "\n" not in str(caught.value)


def test_a_truth_in_other_pixels_is_refused(model) -> None:
    truth = interphase_truth(model, pixel_size_a=0.4, shape=(40, 30))
    for kind in (Kind.IMAGE, Kind.MOVIE, Kind.SPECTRUM_IMAGE):
        with pytest.raises(ParameterError, match=r"truth of one has the shape \(40, 30\) and"):
            exposure_of(kind, truth=truth)
    assert exposure_of(Kind.DIFFRACTION, truth=truth).truth is truth  # it has no pixels of places


def test_a_specimen_can_be_made_again_from_its_truth_file(model, tmp_path: Path) -> None:
    truth = interphase_truth(model, pixel_size_a=0.4, shape=(30, 40))
    exposure = exposure_of(Kind.IMAGE, truth=truth, recipe=model.recipe)
    recipe = load_truth(write_exposure(tmp_path, exposure)).recipe
    again = build_interphase(recipe, margin_a=model.margin_a)
    np.testing.assert_array_equal(again.scene.atoms.positions, model.scene.atoms.positions)


def test_a_missing_or_broken_truth_is_said_in_one_sentence(model, tmp_path: Path) -> None:
    with pytest.raises(FileReadError, match=r"one\.truth\.npz is not there"):
        load_truth(write_exposure(tmp_path, exposure_of(Kind.IMAGE)))
    truth = interphase_truth(model, pixel_size_a=1.5, shape=(30, 40))
    write_exposure(tmp_path, exposure_of(Kind.IMAGE, truth=truth))
    path = tmp_path / "one.truth.npz"
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:length])
        with pytest.raises(FileReadError, match="holds no truth that can be read"):
            load_truth(path)
    rng = np.random.default_rng(4)
    for _ in range(200):  # one byte changed anywhere is refused, or is of no account
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(damaged)))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read = load_truth(path)
        except FileReadError:
            continue
        assert read.truth.crystallites == truth.crystallites


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_exposure(tmp_path, exposure_of(Kind.IMAGE))
    before = path.read_bytes()

    def fail(self: object, name: Path, **options: object) -> None:
        Path(name).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("hyperspy.api.signals.Signal2D.save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_exposure(tmp_path, exposure_of(Kind.IMAGE, counts=np.zeros((30, 40))))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["one.hspy"]


def test_a_folder_of_them_is_a_session(model, tmp_path: Path) -> None:
    from interphase.session import run_session

    truth = interphase_truth(model, pixel_size_a=0.4, shape=(160, 160))
    y, x = np.mgrid[:160, :160] * 0.4
    fringes = 40 + 12 * np.cos(2 * np.pi * x / 2.013) + 12 * np.cos(2 * np.pi * y / 2.013)
    said = Acquisition(kind=Kind.IMAGE, pixel_size_a=0.4, **KNOWN)
    counts = np.random.default_rng(3).poisson(fringes)
    exposures = [
        SimulatedExposure(stem="a", counts=counts, acquisition=said, truth=truth),
        SimulatedExposure(stem="b", counts=counts, acquisition=said, ending=".mrc"),
    ]
    folder = tmp_path / "session"
    facts = {"phases": ["LiF", "Li2O"], "temperature_k": 90.0}
    facts |= {"files": {"b.mrc": {"electrode": "Cu"}}}
    written = write_session(folder, iter(exposures), facts=facts)
    assert written == [folder / "a.hspy", folder / "b.mrc"]
    result = run_session(folder, out=tmp_path / "out", workers=1)
    assert result.candidates == ("LiF", "Li2O")
    files = {file.file: file for file in result.files}
    assert result.assessed
    assert files["a.hspy"].acquisition.dose_e_per_a2 == 123.5
    assert files["b.mrc"].acquisition.electrode == "Cu"
    for name in ("a.hspy", "b.mrc"):
        assert {region.phase for region in files[name].phase_map.regions} == {"LiF"}
    assert "truth of a simulated exposure" in files["a.truth.npz"].sentence
    assert [e.path.name for e in discover(folder) if e.recognised] == ["a.hspy", "b.mrc"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stem": "a/b"}, "without folder"),
        ({"stem": ""}, "expected the name of a file"),
        ({"counts": np.zeros(5)}, r"shape \(5,\).*along 2 axes"),
        ({"counts": np.zeros((5, 5), complex)}, "complex128"),
        ({"counts": np.zeros((0, 5))}, r"shape \(0, 5\).*one at least"),
        ({"counts": np.full((5, 5), np.nan), "ending": ".mrc"}, "not all finite numbers"),
        ({"counts": np.full((5, 5), -np.inf), "ending": ".mrc"}, "not all finite numbers"),
        ({"counts": np.full((5, 5), 1e39), "ending": ".mrc"}, "not all finite numbers of 32 bits"),
        ({"ending": ".tif"}, r"ending of one is '\.tif': expected one of \.hspy, \.mrc"),
        ({"acquisition": Acquisition(kind=Kind.IMAGE)}, "pixel_size_a of one is None"),
        ({"acquisition": Acquisition(kind=Kind.METADATA)}, "has no array"),
        (
            {"ending": ".mrc", "acquisition": Acquisition(kind=Kind.DIFFRACTION, **PATTERN)},
            "give ending='.hspy'",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        exposure_of(Kind.IMAGE, **changes)


def test_a_session_refuses_unknown_facts_and_equal_names(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="temprature_k = 90"):
        write_session(tmp_path, [], facts={"temprature_k": 90})
    with pytest.raises(ParameterError, match=r"session.toml cannot say facts = \['phases'\]"):
        write_session(tmp_path, [], facts=["phases"])
    with pytest.raises(ParameterError, match=r"cannot say files\.a\.mrc\.dose = 1"):
        write_session(tmp_path, [], facts={"files": {"a.mrc": {"dose": 1}}})
    one = exposure_of(Kind.IMAGE)
    for other in (one, replace(one, ending=".mrc")):  # they would share one truth
        with pytest.raises(ParameterError, match=r"two exposures are called one:"):
            write_session(tmp_path, [one, other])


@given(st.dictionaries(st.text(), st.text()), st.text(), st.none() | st.floats(0, 1e8))
def test_facts_of_any_text_are_read_as_they_were_given(
    files: dict[str, str], sample: str, dose: float | None
) -> None:
    tables = {name: {"sample": text} for name, text in files.items()}
    facts = {"sample": sample, "dose_e_per_a2": dose, "phases": ("LiF", sample), "files": tables}
    text = _session_toml(facts)
    read = tomllib.loads(text)
    assert read.pop("files", {}) == tables
    known = {} if dose is None else {"dose_e_per_a2": dose}
    assert read == {"sample": sample, "phases": ["LiF", sample], **known}

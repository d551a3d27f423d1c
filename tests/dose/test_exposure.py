"""From what files say to exposures, and which numbers are refused."""

import math
import pickle
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interphase.acquisition import Acquisition, Kind, Origin, Source, Stage
from interphase.dose import Exposure, Ledger, Purpose, area_um2, camera_rectangle, exposures_of
from interphase.errors import ParameterError
from interphase.io import SessionConfig

STAGE = Stage(x_um=10.0, y_um=-3.0, alpha_deg=0.0)


def image(**more):
    values = {
        "kind": Kind.IMAGE, "shape": (400, 600), "pixel_size_a": 10.0, "dose_e_per_a2": 40.0,
        "stage": STAGE, "beam_energy_kev": 300.0,
    } | more  # fmt: skip
    sources = {
        name: Source(origin=Origin.HEADER, detail=name)
        for name, value in values.items()
        if value is not None and name not in {"kind", "shape"}
    }
    return Acquisition(**values, sources=sources)


def only(acquisition, name="a.mrc", **session):
    (shot,) = exposures_of({name: acquisition}, session=SessionConfig(**session))
    return shot


def test_an_image_records_its_pixels_and_the_beam_reaches_beyond():
    shot = only(image(beam_diameter_a=9000.0), image_rotation_deg=90.0)
    assert shot.place_um == (10.0, -3.0)
    assert np.ptp(shot.recorded_um, axis=0) == pytest.approx([0.4, 0.6])
    assert area_um2(shot.illuminated_um) == pytest.approx(math.pi * 0.45**2)
    assert shot.electrons == pytest.approx(40.0 * math.pi * 4500**2)
    assert shot.position_uncertain_um == 0.0
    assert shot.sources["dose_e_per_a2"] == "file header: dose_e_per_a2"
    assert "beam_diameter_a = 9000 Å" in shot.sources["illuminated_um"]


def test_an_unknown_width_of_the_beam_is_not_invented():
    shot = only(image())
    assert shot.illuminated_um is None
    assert "give `beam_diameter_a`" in shot.sources["illuminated_um"]
    assert shot.electrons == pytest.approx(40.0 * 400 * 600 * 100)


def test_without_a_rotation_what_is_certain_is_within_every_turn_of_the_image():
    shot = only(image())
    from interphase.dose import onto_specimen

    for rotation in range(0, 180, 7):
        turned = onto_specimen(
            camera_rectangle((400, 600), pixel_size_a=10.0),
            rotation_deg=rotation,
            centre_um=(10.0, -3.0),
        )
        from interphase.dose.footprint import contains

        assert all(contains([turned], tuple(corner))[0] for corner in shot.inner_um)
    assert "image_rotation_deg" in shot.sources["inner_um"]
    assert only(image(), image_rotation_deg=0.0).inner_um is None


def test_an_uncalibrated_shift_leaves_the_place_open():
    shot = only(image(stage=Stage(x_um=1.0, y_um=2.0, beam_shift=(0.02, 0.0))))
    assert math.isinf(shot.position_uncertain_um)
    assert "beam shift (0.02, 0)" in shot.uncalibrated_shift
    assert "beam_shift_um_per_unit" in shot.sources["place_um"]


def test_a_calibrated_shift_moves_the_place():
    stage = Stage(x_um=1.0, y_um=2.0, beam_shift=(0.02, 0.0), image_shift=(1.0, 1.0))
    shot = only(
        image(stage=stage), beam_shift_um_per_unit=10, image_shift_um_per_unit=((0, 1), (-1, 0))
    )
    assert shot.place_um == pytest.approx((2.2, 1.0))
    assert shot.position_uncertain_um == 0.0
    assert shot.uncalibrated_shift == ""


def test_a_shift_across_the_tilt_axis_is_longer_on_the_specimen():
    stage = Stage(x_um=1.0, y_um=2.0, alpha_deg=60.0, image_shift=(3.0, 5.0))
    shot = only(image(stage=stage), image_shift_um_per_unit=1.0)
    assert shot.place_um == pytest.approx((4.0, 12.0))
    # As the corners of what is recorded, which are as far from the middle by the same rule.
    wide = only(image(stage=Stage(x_um=1.0, y_um=2.0, alpha_deg=60.0)), image_rotation_deg=0.0)
    assert np.ptp(wide.recorded_um, axis=0) == pytest.approx([0.6, 0.8])
    turned = only(image(stage=stage), image_shift_um_per_unit=1.0, tilt_axis_deg=90.0)
    assert turned.place_um == pytest.approx((7.0, 7.0))


def test_a_beam_that_lights_next_to_nothing_of_the_field_is_doubted():
    """0.8 that was meant in µm: named where a person gave it, not believed where a file did."""
    with pytest.raises(ParameterError, match=r"beam_diameter_a is 0\.8 Å.*in nm or µm"):
        only(image().with_values(Origin.SESSION, beam_diameter_a=0.8))
    shot = only(image(beam_diameter_a=0.8))
    assert shot.illuminated_um is None
    assert "was it given in nm or µm" in shot.sources["illuminated_um"]


def test_the_reach_of_a_beam_is_longer_on_a_tilted_specimen():
    stage = Stage(x_um=1.0, y_um=2.0, alpha_deg=60.0, beam_shift=(0.02, 0))
    shot = only(image(stage=stage), beam_reach_um=15.0)
    assert (shot.position_uncertain_um, shot.reach_um) == pytest.approx((30.0, 30.0))


def test_the_width_of_a_beam_may_come_without_a_source():
    stated = Acquisition(
        kind=Kind.IMAGE, shape=(400, 600), pixel_size_a=10.0, beam_diameter_a=9000.0, stage=STAGE
    )
    assert only(stated).sources["illuminated_um"] == "a disc of beam_diameter_a = 9000 Å"


def test_a_shift_of_zero_needs_no_calibration():
    stage = Stage(x_um=1.0, y_um=2.0, beam_shift=(0.0, 0.0), image_shift=(0.0, 0.0))
    assert only(image(stage=stage)).position_uncertain_um == 0.0


def test_the_reach_of_the_beam_bounds_what_is_open():
    shot = only(image(stage=Stage(x_um=1.0, y_um=2.0, beam_shift=(0.02, 0))), beam_reach_um=15.0)
    assert (shot.position_uncertain_um, shot.reach_um) == (15.0, 15.0)


def test_without_a_stage_the_place_is_open():
    shot = only(image(stage=None))
    assert math.isinf(shot.position_uncertain_um)
    assert shot.place_um is None
    assert shot.sources["place_um"] == "no source states the stage"


@pytest.mark.parametrize(
    ("name", "more", "purpose"),
    [
        ("hole_07.mrc", {}, Purpose.RECORD),
        ("movie.tif", {"kind": Kind.MOVIE, "shape": (3, 400, 600)}, Purpose.RECORD),
        ("GridSquare_0123.xml", {"kind": Kind.METADATA, "shape": ()}, Purpose.SEARCH),
        ("grid1_search_0001.mrc", {}, Purpose.SEARCH),
        ("autofocus_3.mrc", {}, Purpose.FOCUS),
        ("refocused_grain.mrc", {}, Purpose.RECORD),
        ("tuna.mrc", {}, Purpose.RECORD),
        ("saed.dm4", {"kind": Kind.DIFFRACTION, "pixel_size_a": None}, Purpose.DIFFRACTION),
        ("haadf.emd", {"mode": "STEM"}, Purpose.SCAN),
    ],
)
def test_the_purpose_follows_from_name_and_kind(name, more, purpose):
    assert only(image(**more), name).purpose is purpose


def test_session_toml_knows_the_purpose_best():
    config = {"files": {"spot*.mrc": {"purpose": "focus"}}}
    assert only(image(), "spot1.mrc", **config).purpose is Purpose.FOCUS
    assert only(image(), "other.mrc", **config).purpose is Purpose.RECORD


def scan(**more):
    return image(
        mode="STEM", dwell_time_s=1e-5, beam_current_pa=10.0, pixel_size_a=10.0,
        dose_e_per_a2=6.2415, **more,
    )  # fmt: skip


def test_a_scan_illuminates_what_it_records():
    shot = only(scan(), image_rotation_deg=0.0)
    assert area_um2(shot.illuminated_um) == pytest.approx(0.4 * 0.6)
    assert (shot.recorded_um == shot.illuminated_um).all()
    assert shot.local_dose_e_per_a2 is None


def test_a_scan_with_gaps_keeps_both_doses():
    shot = only(scan(beam_diameter_a=2.0))
    assert shot.dose_e_per_a2 == pytest.approx(6.2415)
    assert shot.local_dose_e_per_a2 == pytest.approx(624.15 / math.pi, rel=1e-4)


def test_a_scan_of_unknown_rotation_is_certain_within_and_possible_around():
    line = image(
        kind=Kind.SPECTRUM_IMAGE, shape=(1, 200, 1000), pixel_size_a=None, scan_step_a=5.0,
        beam_diameter_a=5.0, stage=Stage(x_um=0.0, y_um=0.0), beam_current_pa=10.0,
    )  # fmt: skip
    places = [(0.04, 0.0), (0.0, 0.04), (0.0, 0.0002), (0.0, 0.051)]

    def bounds(**session):
        with Ledger.in_memory() as ledger:
            ledger.add(exposures_of({"l.h5": line}, session=SessionConfig(**session)))
            totals = [ledger.at(place) for place in places]
            drawn = ledger.map((-0.001, 0.039, 0.001, 0.041), shape=(1, 1))
            return [
                *((t.at_least_e_per_a2, t.at_most_e_per_a2) for t in totals),
                (drawn.dose_e_per_a2.item(), drawn.at_most_e_per_a2.item()),
            ]

    inner, outer, nothing = (40.0, 40.0), (0.0, 40.0), (0.0, 0.0)
    assert bounds() == [outer, outer, inner, nothing, outer]
    assert bounds(image_rotation_deg=0.0)[:3] == [inner, nothing, inner]
    assert bounds(image_rotation_deg=90.0)[:3] == [nothing, inner, inner]


def test_what_flies_back_of_a_scan_of_unknown_rotation_may_be_at_any_side():
    session = SessionConfig(flyback_time_s=2e-4)
    shots = exposures_of({"a.emd": scan(stage=Stage(x_um=0.0, y_um=0.0))}, session=session)
    edge = shots[1]
    assert edge.electrons == pytest.approx(10e-12 * 2e-4 * 400 / 1.602176634e-19)
    half_diagonal = math.hypot(0.2, 0.3)
    assert edge.reach_um == pytest.approx(half_diagonal)
    with Ledger.in_memory() as ledger:
        ledger.add([edge])
        for angle in np.linspace(0, 6, 7):
            place = 0.999 * half_diagonal * np.array([math.cos(angle), math.sin(angle)])
            total = ledger.at(tuple(place))
            assert (total.at_least_e_per_a2, total.at_most_e_per_a2) == (0.0, edge.dose_e_per_a2)
            assert ledger.at(tuple(1.01 * place)).at_most_e_per_a2 == 0.0
        again = ledger.exposures()[0]
        assert again.footprint_um is None
        assert again.inner_um.shape == (0, 2)
        assert ledger.add([again]) == 0


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    step=st.floats(0.5, 50.0),
    probe=st.one_of(st.none(), st.floats(0.5, 500.0)),
    alpha=st.floats(-70.0, 70.0),
    rotation=st.sampled_from([None, 0.0, 37.0]),
)
def test_no_electron_of_a_scan_is_lost_or_won(rows, columns, step, probe, alpha, rotation):
    dwell, current, wait = 1e-3, 10.0, 0.01
    each = current * 1e-12 * dwell / 1.602176634e-19
    acquisition = image(
        kind=Kind.SCAN_4D, shape=(rows, columns, 8, 8), pixel_size_a=None, scan_step_a=step,
        beam_diameter_a=probe, beam_current_pa=current, dwell_time_s=dwell,
        dose_e_per_a2=each / step**2, stage=Stage(x_um=0.0, y_um=0.0, alpha_deg=alpha),
    )  # fmt: skip
    said = {} if rotation is None else {"image_rotation_deg": rotation}
    session = SessionConfig(flyback_time_s=wait, **said)
    shot, edge = exposures_of({"a.h5": acquisition}, session=session)
    assert shot.electrons == pytest.approx(each * rows * columns, rel=1e-9)
    assert edge.electrons == pytest.approx(each * wait / dwell * rows, rel=1e-9)


def test_what_flies_back_is_counted_at_the_edge():
    session = SessionConfig(flyback_time_s=2e-4, image_rotation_deg=0.0)
    shot, edge = exposures_of({"a.emd": scan(frames=3)}, session=session)
    assert edge.key == "a.emd flyback"
    assert edge.electrons == pytest.approx(10e-12 * 2e-4 * 400 * 3 / 1.602176634e-19)
    assert edge.illuminated_um[:, 0].min() == pytest.approx(shot.recorded_um[:, 0].min())
    assert np.ptp(edge.illuminated_um, axis=0) == pytest.approx([1e-3, 0.4])


@pytest.mark.parametrize(
    ("kind", "shape", "rows", "columns"),
    [
        (Kind.SCAN_4D, (8, 5, 256, 256), 8, 5),
        (Kind.SPECTRUM_IMAGE, (8, 5, 2048), 8, 5),
        (Kind.SPECTRUM_IMAGE, (7, 2048), 1, 7),
    ],
)
def test_scans_of_patterns_and_spectra_cover_their_positions(kind, shape, rows, columns):
    acquisition = image(
        kind=kind, shape=shape, pixel_size_a=None, scan_step_a=100.0, mode="STEM",
        dwell_time_s=1e-3,
    )  # fmt: skip
    shot = only(acquisition, image_rotation_deg=0.0)
    assert np.ptp(shot.recorded_um, axis=0) == pytest.approx([0.01 * columns, 0.01 * rows])


def test_two_files_of_one_exposure_give_one():
    when = datetime(2026, 1, 1, 12)
    one = image(time=when, exposure_time_s=1.0, dose_e_per_a2=None)
    other = image(time=when, exposure_time_s=1.0)
    (shot,) = exposures_of({"x.mrc": one, "x_Fractions.tiff": other})
    assert (shot.key, shot.dose_e_per_a2) == ("x_Fractions.tiff", 40.0)
    later = image(time=when.replace(second=1), exposure_time_s=1.0)
    assert len(exposures_of({"x.mrc": other, "y.mrc": later})) == 2


def test_exposures_of_one_file_are_numbered():
    shots = exposures_of({"t.mdoc": [image(dose_e_per_a2=float(n)) for n in (1, 2)]})
    assert [shot.key for shot in shots] == ["t.mdoc#0", "t.mdoc#1"]
    assert {shot.file for shot in shots} == {"t.mdoc"}


def test_times_of_the_minority_with_a_zone_are_left_out():
    when = datetime(2026, 1, 1, 12)
    shots = exposures_of(
        {
            "a.mrc": image(time=when),
            "b.mrc": image(time=when.replace(second=1)),
            "c.mrc": image(time=when.replace(tzinfo=UTC)),
        }
    )
    assert [shot.time is None for shot in shots] == [False, False, True]
    assert "with a time zone" in shots[2].sources["time"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dose_e_per_a2": -1.0}, r"dose_e_per_a2 of a is -1\.0: expected a finite number of e/Å²"),
        ({"dose_e_per_a2": math.nan}, "dose_e_per_a2 of a is nan"),
        ({"dose_e_per_a2": 2.5e21}, r"dose_e_per_a2 of a is 2\.5e\+21.*was it given in e/m²"),
        ({"dose_e_per_a2": 2.5e-19}, r"dose_e_per_a2 of a is 2\.5e-19.*converted from e/m² twice"),
        ({"dose_rate_e_per_a2_s": 4e21}, r"dose_rate_e_per_a2_s of a is 4e\+21 e/Å²/s.*e/m²"),
        ({"prior_dose_e_per_a2": math.inf}, "prior_dose_e_per_a2 of a is inf"),
        ({"dose_e_per_a2": "40"}, "dose_e_per_a2 of a is '40': expected a number"),
        ({"dose_e_per_a2": 4e10}, r"dose_e_per_a2 of a is 4e\+10.*was it given in e/nm², 100"),
        ({"place_um": (1.0, math.nan)}, r"place_um of a is .*expected \(x, y\)"),
        ({"duration_s": 0.0}, r"duration_s of a is 0\.0"),
        ({"alpha_deg": 90.0}, "alpha_deg of a is 90"),
        ({"beam_energy_kev": 3e5}, "did you give eV"),
        ({"purpose": "portrait"}, "purpose of a is 'portrait': expected one of search, focus"),
        ({"time": "yesterday"}, "time of a is 'yesterday': expected a datetime"),
        ({"recorded_um": np.zeros((4, 2))}, "recorded_um of a: a footprint has no area"),
        ({"position_uncertain_um": -1.0}, "position_uncertain_um of a"),
        ({"key": ""}, "key is ''"),
        ({"duration_s": "1"}, "duration_s of a is '1'"),
        ({"alpha_deg": "3"}, "alpha_deg of a is '3'"),
        ({"position_uncertain_um": None}, "position_uncertain_um of a is None"),
        ({"purpose": ["record"]}, r"purpose of a is \['record'\]"),
        ({"file": 3}, "file of a is 3: expected words"),
        ({"recorded_um": [(0, 0), (2, 2), (2, 0), (0, 1)]}, "recorded_um of a: .*crosses"),
    ],
)
def test_numbers_that_cannot_be_are_refused_by_name(values, said):
    with pytest.raises(ParameterError, match=said):
        Exposure(**{"key": "a", "purpose": "record"} | values)


def test_exposures_can_be_sent_between_processes():
    shot = only(image())
    again = pickle.loads(pickle.dumps(shot))
    assert (again.recorded_um == shot.recorded_um).all()
    assert (again.key, again.sources) == (shot.key, shot.sources)

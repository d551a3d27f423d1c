import pytest
from hypothesis import given
from hypothesis import strategies as st

from interphase.io.dose import reconcile, scan_dose
from interphase.io.facts import DoseClaim


def claim(dose, *, at_camera=False, detail="a key"):
    return DoseClaim(dose_e_per_a2=dose, detail=detail, at_camera=at_camera)


def test_the_dose_of_a_scan_counts_every_electron_of_the_probe():
    # 1 pA for 1.602176634 µs is ten electrons; on a cell of 2 Å × 2 Å that is 2.5 e/Å²
    dose = scan_dose(beam_current_pa=1.0, dwell_time_s=1.602176634e-6, step_a=2.0)
    assert dose == pytest.approx(2.5, rel=1e-12)


@given(
    current=st.floats(0.1, 1e4),
    dwell=st.floats(1e-8, 1.0),
    step=st.floats(0.05, 1e3),
    scans=st.integers(1, 100),
)
def test_repeated_scans_add_up_and_a_finer_step_costs_its_square(current, dwell, step, scans):
    one = scan_dose(beam_current_pa=current, dwell_time_s=dwell, step_a=step)
    many = scan_dose(beam_current_pa=current, dwell_time_s=dwell, step_a=step, scans=scans)
    fine = scan_dose(beam_current_pa=current, dwell_time_s=dwell, step_a=step / 2)
    assert many == pytest.approx(scans * one)
    assert fine == pytest.approx(4 * one)


def test_without_statements_there_is_no_dose():
    assert reconcile([]) == (None, [])


def test_agreeing_statements_give_the_most_direct_one():
    chosen, warnings = reconcile([claim(39.23), claim(39.24), claim(38.97, at_camera=True)])
    assert chosen.dose_e_per_a2 == 39.23
    assert not warnings


def test_contradictory_statements_give_none_and_name_all():
    chosen, (warning,) = reconcile(
        [claim(291.302, detail="ExposureDose"), claim(155.23, detail="FrameDosesAndNumber")]
    )
    assert chosen is None
    assert "291.3 e/Å² (ExposureDose) against 155.2 e/Å² (FrameDosesAndNumber)" in warning
    assert "`dose_e_per_a2` in session.toml" in warning


def test_electrons_lost_before_the_camera_are_no_contradiction():
    chosen, (warning,) = reconcile([claim(3.0), claim(1.5, at_camera=True)])
    assert chosen.dose_e_per_a2 == 3.0
    assert "50%" in warning


def test_more_electrons_at_the_camera_than_at_the_specimen_are_a_contradiction():
    chosen, (warning,) = reconcile([claim(3.0), claim(6.0, at_camera=True)])
    assert chosen is None
    assert "contradictory" in warning


def test_the_camera_alone_is_believed():
    chosen, warnings = reconcile([claim(6.0, at_camera=True)])
    assert chosen.dose_e_per_a2 == 6.0
    assert not warnings


@given(doses=st.lists(st.floats(1, 1.19), min_size=1), scale=st.floats(1e-3, 1e3))
def test_agreement_does_not_depend_on_the_unit(doses, scale):
    chosen, _ = reconcile([claim(dose * scale) for dose in doses])
    assert chosen.dose_e_per_a2 == doses[0] * scale

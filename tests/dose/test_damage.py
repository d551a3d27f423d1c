"""Laws of fading."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from interphase.dose import (
    exponential_fading,
    half_dose,
    incubation_fading,
    mean_fading,
    sequential_decay,
)
from interphase.errors import ParameterError

doses = st.floats(0.0, 500.0)
critical = st.floats(0.5, 500.0)


@given(critical, st.floats(0.0, 1.0))
def test_the_critical_dose_leaves_1_in_e_and_the_half_dose_half(dose, final):
    law = {"critical_dose_e_per_a2": dose, "initial": 3.0, "final": final}
    at_start, at_half, at_critical = exponential_fading([0.0, half_dose(dose), dose], **law)
    assert at_start == 3.0
    assert at_half == pytest.approx((3.0 + final) / 2)
    assert at_critical == pytest.approx(final + (3.0 - final) / np.e)
    assert half_dose(dose) == pytest.approx(0.6931 * dose, rel=1e-4)


@given(doses, doses, critical)
def test_the_mean_over_an_exposure_is_the_integral_over_its_dose(before, width, dose):
    mean = mean_fading(np.array(before), np.array(before + width), critical_dose_e_per_a2=dose)
    if width < 1e-9:
        assert mean == pytest.approx(np.exp(-before / dose))
    else:
        whole, _ = quad(lambda d: np.exp(-d / dose), before, before + width, epsabs=0)
        assert mean == pytest.approx(whole / width, rel=1e-6)


@given(doses, critical)
def test_one_exposure_or_many_are_the_same(width, dose):
    edges = np.linspace(3.0, 4.0 + width, 8)
    parts = mean_fading(edges[:-1], edges[1:], critical_dose_e_per_a2=dose)
    whole = mean_fading(edges[:1], edges[-1:], critical_dose_e_per_a2=dose)
    assert parts.mean() == pytest.approx(whole[0])


def test_what_does_not_fade_stays():
    ones = mean_fading(np.array([0.0, 5.0]), np.array([5.0, 9.0]), critical_dose_e_per_a2=np.inf)
    assert ones.tolist() == [1.0, 1.0]


@given(doses, critical, st.floats(1.0, 50.0))
def test_incubation_keeps_more_than_the_exponential_of_one_hit(dose, hit, hits):
    one = incubation_fading(dose, hit_dose_e_per_a2=hit, hits=1)
    assert one == pytest.approx(exponential_fading(dose, critical_dose_e_per_a2=hit))
    many = incubation_fading(dose, hit_dose_e_per_a2=hit, hits=hits)
    assert one - 1e-12 <= many <= 1
    assert many == pytest.approx(1 - (1 - np.exp(-dose / hit)) ** hits, abs=1e-12)


@given(st.floats(0.0, 300.0), st.floats(5.0, 500.0), st.floats(5.0, 500.0))
def test_the_chain_solves_its_rate_equations(dose, first, second):
    a, b, c = sequential_decay(dose, first_dose_e_per_a2=first, second_dose_e_per_a2=second)
    solved = solve_ivp(
        lambda _, x: [-x[0] / first, x[0] / first - x[1] / second, x[1] / second],
        (0.0, max(dose, 1e-9)),
        [1.0, 0.0, 0.0],
        rtol=1e-9,
        atol=1e-12,
    )
    assert [a, b, c] == pytest.approx(solved.y[:, -1], abs=1e-7)
    assert a + b + c == pytest.approx(1.0)


@given(st.floats(1e-12, 1e-3))
def test_nearly_equal_rates_go_over_into_equal_ones(apart):
    near = sequential_decay(30.0, first_dose_e_per_a2=20.0, second_dose_e_per_a2=20.0 * (1 + apart))
    same = sequential_decay(30.0, first_dose_e_per_a2=20.0, second_dose_e_per_a2=20.0)
    assert near == pytest.approx(same, abs=2 * apart)
    assert same[1] == pytest.approx(1.5 * np.exp(-1.5), rel=1e-12)


def test_the_oxide_is_most_where_it_is_made_as_fast_as_it_goes():
    dose = np.linspace(0, 4000, 4001)
    oxide = sequential_decay(dose, first_dose_e_per_a2=750.0, second_dose_e_per_a2=3000.0)[1]
    expected = np.log(3000 / 750) / (1 / 750 - 1 / 3000)
    assert dose[oxide.argmax()] == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: exponential_fading(-1.0, critical_dose_e_per_a2=5.0), "accumulated dose is -1.0"),
        (lambda: exponential_fading(np.nan, critical_dose_e_per_a2=5.0), "dose is nan"),
        (lambda: exponential_fading("much", critical_dose_e_per_a2=5.0), "dose is 'much'"),
        (lambda: exponential_fading(1.0, critical_dose_e_per_a2=0.0), r"critical_dose.* is 0\.0"),
        (lambda: half_dose(np.inf), r"critical_dose_e_per_a2 is inf"),
        (lambda: incubation_fading(1.0, hit_dose_e_per_a2=5.0, hits=0.5), r"hits is 0\.5"),
        (lambda: incubation_fading(1.0, hit_dose_e_per_a2=-5.0, hits=2), r"hit_dose.* is -5\.0"),
        (
            lambda: sequential_decay(1.0, first_dose_e_per_a2=np.nan, second_dose_e_per_a2=1.0),
            "first_dose_e_per_a2 is nan",
        ),
        (
            lambda: mean_fading(np.array([5.0]), np.array([4.0]), critical_dose_e_per_a2=1.0),
            "after_e_per_a2 is smaller",
        ),
        (
            lambda: mean_fading(np.array([5.0]), np.array([6.0]), critical_dose_e_per_a2=-1.0),
            "critical_dose_e_per_a2 is -1.0",
        ),
    ],
)
def test_doses_that_cannot_be_are_refused_by_name(call, said):
    with pytest.raises(ParameterError, match=said):
        call()

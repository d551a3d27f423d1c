"""What a place received: sums, order, moments, what is unknown and what is uncertain."""

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase.dose import Exposure, Ledger, Purpose, camera_rectangle, disc
from interphase.errors import ParameterError

SQUARE = camera_rectangle((2, 2), pixel_size_a=1e4)
"""2 µm wide."""
START = datetime(2026, 1, 1, 12)


def shot(key, dose=10.0, *, at=(0.0, 0.0), outline=SQUARE, second=None, **more):
    time = None if second is None else START + timedelta(seconds=second)
    values = {"purpose": "record", "illuminated_um": outline + at, "time": time} | more
    return Exposure(key=key, dose_e_per_a2=dose, **values)


@pytest.fixture
def ledger():
    with Ledger.in_memory() as opened:
        yield opened


def test_a_place_has_the_sum_of_what_covers_it(ledger):
    ledger.add([shot("a", 10.0), shot("b", 5.0, at=(1.0, 0.0)), shot("c", 7.0, at=(9.0, 0.0))])
    total = ledger.at((0.5, 0.5))
    assert total.at_least_e_per_a2 == total.at_most_e_per_a2 == 15.0
    assert (total.exposures, total.possible, total.unknown) == (2, 0, 0)
    assert total.is_exact
    assert total.sentence == "15 e/Å² from 2 exposures."
    assert ledger.at((4.0, 4.0)).sentence == "No exposure of the ledger hit this place."


@given(
    doses=st.lists(st.floats(0.001, 1e3), min_size=2, max_size=12),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=30)
def test_the_order_of_adding_does_not_matter(doses, seed):
    rng = np.random.default_rng(seed)
    shots = [
        shot(f"{n}", dose, at=rng.uniform(-1, 1, 2), second=float(rng.integers(0, 5)),
             prior_dose_e_per_a2=float(rng.choice([0.0, 100.0])))
        for n, dose in enumerate(doses)
    ]  # fmt: skip
    with Ledger.in_memory() as one, Ledger.in_memory() as other:
        one.add(shots)
        for n in rng.permutation(len(shots)):
            other.add([shots[n]])
        assert one.at((0.1, 0.2)) == other.at((0.1, 0.2))
        assert one.pre_exposure("0") == other.pre_exposure("0")


@given(parts=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8), until=st.floats(-2, 12))
@settings(deadline=None, max_examples=30)
def test_splitting_an_exposure_does_not_matter(parts, until):
    cuts = np.concatenate([[0.0], np.cumsum(parts)]) / sum(parts)
    pieces = [
        shot(f"{n}", 40.0 * (end - begin), second=10 * begin, duration_s=10 * (end - begin))
        for n, (begin, end) in enumerate(pairwise(cuts))
    ]
    moment = START + timedelta(seconds=until)
    with Ledger.in_memory() as whole, Ledger.in_memory() as split:
        whole.add([shot("whole", 40.0, second=0, duration_s=10.0)])
        split.add(pieces)
        expected = whole.at((0, 0), until=moment).at_least_e_per_a2
        assert split.at((0, 0), until=moment).at_least_e_per_a2 == pytest.approx(
            expected, rel=1e-6, abs=1e-4
        )
        view = {"bounds_um": (-2, -2, 2, 2), "shape": (5, 5), "until": moment}
        assert split.map(**view).dose_e_per_a2 == pytest.approx(
            whole.map(**view).dose_e_per_a2, rel=1e-6, abs=1e-4
        )


def test_an_exposure_under_way_counts_for_what_is_over(ledger):
    ledger.add([shot("a", 40.0, second=0, duration_s=10.0)])
    totals = [
        ledger.at((0, 0), until=START + timedelta(seconds=s)).at_least_e_per_a2
        for s in (-1, 0, 2.5, 10, 99)
    ]
    assert totals == pytest.approx([0, 0, 10, 40, 40])


def test_what_came_before_and_what_will_have_come_by_the_end(ledger):
    ledger.add(
        [
            shot("search", 1.0, outline=disc(40.0), second=0, purpose="search", duration_s=1.0),
            shot("focus", 20.0, at=(1.5, 0.0), second=10, purpose="focus", duration_s=1.0),
            shot("record", 40.0, second=20, duration_s=4.0, recorded_um=SQUARE),
            shot("after", 9.0, second=30, duration_s=1.0),
        ]
    )
    before = ledger.pre_exposure("record")
    assert (before.at_least_e_per_a2, before.at_most_e_per_a2) == (21.0, 21.0)
    assert before.place_um is not None
    assert before.place_um[0] > 0.5
    # A quarter of what was recorded lay under the focus.
    assert before.mean_e_per_a2 == pytest.approx(1.0 + 20.0 / 4, rel=1e-9)
    assert ledger.pre_exposure("record", moment="middle").at_least_e_per_a2 == 41.0
    assert ledger.pre_exposure("record", moment="end").at_least_e_per_a2 == 61.0


def test_an_unknown_dose_makes_the_total_a_lower_bound(ledger):
    ledger.add([shot("a", 10.0), shot("b", None)])
    total = ledger.at((0, 0))
    assert (total.at_least_e_per_a2, total.at_most_e_per_a2, total.unknown) == (10.0, None, 1)
    assert "the dose of 1 is unknown, so this is a lower bound" in total.sentence
    assert not total.is_exact


def test_a_stated_prior_dose_is_in_the_total_once(ledger):
    ledger.add(
        [shot(f"{n}", 3.0, second=n, prior_dose_e_per_a2=3.0 * n + (9.0 if n > 1 else 0.0),
              file="series.mdoc")
         for n in range(4)]
    )  # fmt: skip
    total = ledger.at((0, 0))
    assert total.at_least_e_per_a2 == total.at_most_e_per_a2 == 21.0
    assert "9 e/Å² that a file states besides" in total.sentence
    assert ledger.at((0, 0), until=START + timedelta(seconds=1.5)).at_least_e_per_a2 == 6.0


def test_a_prior_dose_smaller_than_what_is_known_adds_nothing(ledger):
    ledger.add([shot("a", 50.0, second=0), shot("b", 5.0, second=1, prior_dose_e_per_a2=20.0)])
    assert ledger.at((0, 0)).at_least_e_per_a2 == 55.0


def test_without_a_time_an_exposure_may_have_come_before(ledger):
    ledger.add([shot("timed", 10.0, second=5, duration_s=1.0), shot("untimed", 7.0)])
    before = ledger.pre_exposure("timed")
    assert (before.at_least_e_per_a2, before.at_most_e_per_a2) == (0.0, 7.0)
    assert "1 may have hit it" in before.sentence
    assert ledger.at((0, 0)).at_least_e_per_a2 == 17.0


def test_the_file_of_an_untimed_exposure_may_state_what_came_before(ledger):
    ledger.add([shot("a", 10.0, prior_dose_e_per_a2=30.0), shot("b", 7.0)])
    before = ledger.pre_exposure("a")
    assert before.at_least_e_per_a2 == 30.0
    assert before.at_most_e_per_a2 is not None
    assert before.at_most_e_per_a2 >= 30.0
    assert ledger.pre_exposure("a", moment="end").at_least_e_per_a2 == 40.0


def test_exposures_of_one_second_may_be_in_either_order(ledger):
    ledger.add(
        [shot("a", 10.0, second=5, duration_s=0.5), shot("b", 7.0, second=5, duration_s=0.5)]
    )
    before = ledger.pre_exposure("a")
    assert (before.at_least_e_per_a2, before.at_most_e_per_a2) == (0.0, 7.0)


def test_an_exposure_of_uncertain_place_may_have_hit(ledger):
    ledger.add([shot("a", 10.0), shot("b", 7.0, at=(5.0, 0.0), position_uncertain_um=4.5)])
    total = ledger.at((0, 0))
    assert (total.at_least_e_per_a2, total.at_most_e_per_a2) == (10.0, 17.0)
    assert ledger.at((0, 0.9)).at_most_e_per_a2 == 17.0
    assert ledger.at((-0.9, 0)).at_most_e_per_a2 == 10.0


def test_a_place_deep_within_an_uncertain_footprint_was_hit(ledger):
    ledger.add([shot("a", 10.0, outline=disc(10.0), position_uncertain_um=2.0)])
    assert ledger.at((2.9, 0)).at_least_e_per_a2 == 10.0
    assert ledger.at((3.1, 0)).at_least_e_per_a2 == 0.0
    assert ledger.at((6.9, 0)).at_most_e_per_a2 == 10.0
    assert ledger.at((7.1, 0)).at_most_e_per_a2 == 0.0
    drawn = ledger.map((-8, -8, 8, 8), shape=(64, 64))
    inner, outer = math.pi * 3**2, math.pi * 7**2
    pixel = 0.25**2
    assert drawn.dose_e_per_a2.sum() * pixel / 10 == pytest.approx(inner, rel=0.01)
    assert drawn.at_most_e_per_a2.sum() * pixel / 10 == pytest.approx(outer, rel=0.01)


def test_exposures_shifted_alike_are_certain_among_each_other(ledger):
    anywhere = {"position_uncertain_um": math.inf, "recorded_um": SQUARE}
    ledger.add(
        [
            shot("a", 10.0, second=0, uncalibrated_shift="beam shift (1, 0)", **anywhere),
            shot("b", 7.0, second=1, uncalibrated_shift="beam shift (1, 0)", **anywhere),
            shot("c", 5.0, second=2, uncalibrated_shift="beam shift (0, 2)", **anywhere),
            shot("d", 2.0, at=(50, 0), second=3, uncalibrated_shift="beam shift (1, 0)",
                 position_uncertain_um=math.inf),
        ]
    )  # fmt: skip
    before = ledger.pre_exposure("b")
    assert (before.at_least_e_per_a2, before.at_most_e_per_a2) == (10.0, 10.0)
    before = ledger.pre_exposure("c")
    assert (before.at_least_e_per_a2, before.at_most_e_per_a2) == (0.0, 17.0)
    # d is shifted like a and b, and 50 µm away: it cannot have hit them.
    assert ledger.pre_exposure("b", moment="end").at_most_e_per_a2 == 17.0
    assert ledger.at((0, 0)).at_least_e_per_a2 == 0.0
    _, total = ledger.maximum()
    assert total.at_least_e_per_a2 == 17.0


def test_an_unknown_beam_may_have_reached_any_place_within_its_reach(ledger):
    recorded = {"illuminated_um": None, "recorded_um": SQUARE}
    ledger.add([shot("a", 10.0, **recorded), shot("b", 7.0, **recorded, reach_um=5.0)])
    assert ledger.at((0.5, 0)).at_least_e_per_a2 == 17.0
    assert ledger.at((4.0, 0)).at_least_e_per_a2 == 0.0
    assert ledger.at((4.0, 0)).at_most_e_per_a2 == 17.0
    assert ledger.at((40.0, 0)).at_most_e_per_a2 == 10.0


def test_a_scan_with_gaps_may_have_given_a_place_its_local_dose_or_nothing(ledger):
    gaps = {"local_dose_e_per_a2": 400.0, "recorded_um": SQUARE, "beam_energy_kev": 300.0}
    ledger.add([shot("a", 10.0, **gaps)])
    total = ledger.at((0, 0))
    assert (total.at_least_e_per_a2, total.at_most_e_per_a2) == (0.0, 400.0)
    assert (total.exposures, total.possible) == (0, 1)
    assert total.sentence.startswith("No exposure certainly hit this place; 1 may have hit it")
    assert ledger.maximum() is None
    assert ledger.over_budget({"LiF": 5.0}) == []
    assert ledger.absorbed_dose((0, 0), composition={"Li": 1}) == (0.0, 1)
    # The mean over the scan is certain.
    assert ledger.pre_exposure("a", moment="end").mean_e_per_a2 == pytest.approx(10.0)
    assert ledger.map((-1, -1, 1, 1), shape=(1, 1)).dose_e_per_a2 == pytest.approx(10.0)
    assert ledger.by_purpose()[Purpose.RECORD].mean_e_per_a2 == pytest.approx(10.0)
    ledger.add([shot("b", 7.0, second=1)])
    (over,) = ledger.over_budget({"LiF": 5.0})
    assert (over.dose_e_per_a2, over.keys) == (7.0, ("b",))


def test_what_a_file_states_before_may_be_beside_all_exposures_of_other_files(ledger):
    ledger.add(
        [
            shot("focus", 5.0, second=0, purpose="focus", file="focus.mrc"),
            shot("first", 2.0, second=1, file="series.mdoc"),
            shot("last", 3.0, second=2, prior_dose_e_per_a2=9.0, file="series.mdoc"),
        ]
    )
    # The 9 count the 2 of their own series; the focus they may count or not.
    total = ledger.at((0, 0))
    assert (total.at_least_e_per_a2, total.at_most_e_per_a2) == (12.0, 17.0)
    assert not total.is_exact
    before = ledger.pre_exposure("last")
    assert (before.at_least_e_per_a2, before.at_most_e_per_a2) == (9.0, 14.0)


def test_budget_place_and_map_agree_on_what_is_certain_without_times(ledger):
    ledger.add([shot("a", 3.0, prior_dose_e_per_a2=9.0), shot("b", 3.0)])
    total = ledger.at((0, 0))
    assert (total.at_least_e_per_a2, total.at_most_e_per_a2) == (12.0, 15.0)
    (over,) = ledger.over_budget({"LiF": 11.0})
    assert over.dose_e_per_a2 == 12.0
    assert over.sentence.startswith("12 e/Å²")
    assert ledger.maximum()[1].at_least_e_per_a2 == 12.0


def test_a_stated_prior_dose_is_left_out_of_what_was_absorbed(ledger):
    given = {"beam_energy_kev": 300.0, "file": "series.mdoc"}
    water = {"composition": {"H": 2, "O": 1}}
    ledger.add([shot("a", 3.0, second=0, **given)])
    alone, left_out = ledger.absorbed_dose((0, 0), **water)
    assert left_out == 0
    ledger.add([shot("b", 3.0, second=1, prior_dose_e_per_a2=3.0, **given)])
    assert ledger.absorbed_dose((0, 0), **water) == (pytest.approx(2 * alone), 0)
    ledger.add([shot("c", 3.0, second=2, prior_dose_e_per_a2=90.0, **given)])
    assert ledger.absorbed_dose((0, 0), **water) == (pytest.approx(3 * alone), 1)
    # Before the last began, its prior dose was not stated.
    early = START + timedelta(seconds=1.5)
    assert ledger.absorbed_dose((0, 0), **water, until=early)[1] == 0


def test_a_beam_that_may_reach_into_a_field_counts_as_possible_there(ledger):
    vague = {"illuminated_um": None, "recorded_um": SQUARE + np.array([5.0, 0.0]), "reach_um": 4.5}
    ledger.add(
        [
            shot("a", 10.0, second=0, **vague),
            shot("b", 7.0, second=1, recorded_um=SQUARE),
        ]
    )
    before = ledger.pre_exposure("b")
    assert (before.at_least_e_per_a2, before.at_most_e_per_a2) == (0.0, 10.0)


def test_the_largest_dose_is_found_exactly(ledger):
    rng = np.random.default_rng(5)
    shots = [
        shot(f"{n}", rng.uniform(1, 50), at=rng.uniform(0, 12, 2), outline=disc(rng.uniform(1, 4)))
        for n in range(60)
    ]
    ledger.add([*shots, shot("search", 0.1, at=(6, 6), outline=disc(30.0))])
    place, total = ledger.maximum()
    x, y = np.meshgrid(np.linspace(0, 12, 300), np.linspace(0, 12, 300))
    from shapely import Polygon, contains_xy

    sampled = sum(s.dose_e_per_a2 * contains_xy(Polygon(s.illuminated_um), x, y) for s in shots)
    assert total.at_least_e_per_a2 >= sampled.max() + 0.1 - 1e-9
    assert ledger.at(place) == total


def test_a_search_that_is_broken_off_says_so(ledger, monkeypatch):
    monkeypatch.setattr("interphase.dose.places.MOST_STEPS", 20)
    rng = np.random.default_rng(6)
    ledger.add([shot(f"{n}", 1.0, at=rng.normal(0, 1.0, 2)) for n in range(100)])
    place, total = ledger.maximum()
    assert total.at_least_e_per_a2 == ledger.at(place).at_least_e_per_a2
    assert "not every place was looked at" in total.sentence


def test_an_empty_ledger_has_no_maximum(ledger):
    assert ledger.maximum() is None
    assert ledger.by_purpose() == {}
    assert ledger.over_budget({"Li2CO3": 500.0}) == []


def test_a_third_of_the_dose_went_into_focusing(ledger):
    ledger.add(
        [
            shot("focus", 20.0, purpose="focus"),
            shot("record", 40.0, recorded_um=SQUARE / 2),
            shot("elsewhere", 5.0, at=(50, 0), purpose="search"),
            shot("unknown", None, at=(90, 0), purpose="focus"),
        ]
    )
    shares = ledger.by_purpose()
    assert set(shares) == {Purpose.SEARCH, Purpose.FOCUS, Purpose.RECORD}
    assert shares[Purpose.FOCUS].mean_e_per_a2 == pytest.approx(20.0)
    assert shares[Purpose.FOCUS].dose_share == pytest.approx(1 / 3)
    assert shares[Purpose.RECORD].dose_share == pytest.approx(2 / 3)
    assert shares[Purpose.SEARCH].dose_share == 0.0
    assert shares[Purpose.FOCUS].unknown == 1
    assert shares[Purpose.FOCUS].electrons == pytest.approx(20.0 * 4e8)
    assert sum(share.electron_share for share in shares.values()) == pytest.approx(1.0)


def test_what_is_over_budget_and_when_it_passed_it(ledger):
    ledger.add(
        [
            shot("a", 300.0, second=0, duration_s=10.0),
            shot("b", 300.0, second=60, duration_s=10.0, at=(1.0, 0.0)),
            shot("far", 400.0, at=(20, 0), second=90, duration_s=1.0),
        ]
    )
    over = ledger.over_budget({"Li2CO3": 500.0, "LiF": 350.0})
    assert [(entry.phase, entry.dose_e_per_a2) for entry in over] == [
        ("Li2CO3", 600.0),
        ("LiF", 600.0),
        ("LiF", 400.0),
    ]
    first, second, third = over
    assert first.passed_by == second.passed_by == "b"
    assert first.passed_at == START + timedelta(seconds=60 + 10 * 200 / 300)
    assert second.passed_at == START + timedelta(seconds=60 + 10 * 50 / 300)
    assert third.keys == ("far",)
    assert "over the 500 e/Å² of Li2CO3, passed in b at 2026-01-01 12:01:06" in first.sentence
    assert 0.0 < first.place_um[0] < 1.0
    early = ledger.over_budget({"Li2CO3": 500.0}, until=START + timedelta(seconds=61))
    assert early == []


def test_two_exposures_of_unknown_stage_are_certain_of_themselves_alone(ledger):
    nowhere = {"position_uncertain_um": math.inf, "recorded_um": SQUARE}
    ledger.add([shot("a", 10.0, **nowhere), shot("b", 7.0, **nowhere)])
    total = ledger.pre_exposure("a", moment="end")
    assert (total.at_least_e_per_a2, total.at_most_e_per_a2) == (10.0, 17.0)
    _, most = ledger.maximum()
    assert most.at_least_e_per_a2 == 10.0
    assert "Where that is on the stage is uncertain" in most.sentence
    over = ledger.over_budget({"Li2CO3": 5.0})
    assert [(entry.keys, entry.place_known) for entry in over] == [(("a",), False), (("b",), False)]
    assert over[0].sentence == "10 e/Å² in what a exposed, over the 5 e/Å² of Li2CO3."


def test_the_first_place_over_budget_is_that_of_the_maximum(ledger):
    # Beams a and c make one place over budget, a, b, d and e a worse one; the largest sum that c
    # could have is the larger, so that it is looked at first, and a holds both places.
    beams = {
        "a": (0.0, 0.0, 250.0, 0.6),
        "b": (0.2, 0.0, 250.0, 0.6),
        "c": (-0.4, -0.3, 290.0, 0.6),
        "d": (0.5, 0.0, 150.0, 0.8),
        "e": (0.2, 0.0, 40.0, 0.8),
    }
    ledger.add(
        Exposure(
            key=key,
            purpose="record",
            illuminated_um=disc(diameter) + np.array([x, y]),
            dose_e_per_a2=dose,
        )
        for key, (x, y, dose, diameter) in beams.items()
    )
    _, most = ledger.maximum()
    over = ledger.over_budget({"Li2CO3": 500.0})
    assert most.at_least_e_per_a2 == pytest.approx(690.0)
    assert [entry.dose_e_per_a2 for entry in over] == pytest.approx([690.0, 580.0])


def test_without_times_nobody_knows_when_a_budget_was_passed(ledger):
    ledger.add([shot("a", 300.0), shot("b", 300.0)])
    (over,) = ledger.over_budget({"Li2CO3": 500.0})
    assert (over.passed_by, over.passed_at) == (None, None)


def test_what_is_recorded_somewhere_has_its_own_dose_for_certain(ledger):
    nowhere = {"position_uncertain_um": math.inf, "recorded_um": SQUARE}
    ledger.add([shot("a", 10.0, **nowhere), shot("b", 20.0, **nowhere, purpose="focus")])
    ledger.add([shot("c", 30.0, at=(9, 9))])
    shares = ledger.by_purpose()
    assert shares[Purpose.RECORD].mean_e_per_a2 == pytest.approx(20.0)
    assert shares[Purpose.FOCUS].mean_e_per_a2 == 0.0


@pytest.mark.parametrize("budget", [0.0, -5.0, math.nan, math.inf])
def test_a_budget_is_a_number_above_zero(ledger, budget):
    with pytest.raises(ParameterError, match="the budget of LiF is"):
        ledger.over_budget({"LiF": budget})


def test_absorbed_dose_of_water_is_that_of_the_tables(ledger):
    ledger.add([shot("a", 1.0, beam_energy_kev=100.0), shot("b", 2.0, beam_energy_kev=300.0)])
    ledger.add([shot("c", 3.0)])
    water, left_out = ledger.absorbed_dose(
        (0, 0), composition={"H": 2, "O": 1}, mean_excitation_ev=75.0
    )
    assert water == pytest.approx(6.59 + 2 * 3.77, abs=0.01)
    assert left_out == 1
    assert ledger.absorbed_dose((9, 9), composition={"Li": 1, "F": 1}) == (0.0, 0)


def test_exposures_come_back_in_the_order_of_time(ledger):
    ledger.add([shot("late", second=9), shot("untimed"), shot("early", second=1, purpose="focus")])
    assert [s.key for s in ledger.exposures()] == ["early", "late", "untimed"]
    assert [s.key for s in ledger.exposures(purpose="focus")] == ["early"]
    assert [s.key for s in ledger.exposures(until=START + timedelta(seconds=5))] == ["early"]


def test_times_with_and_without_a_zone_do_not_meet(ledger):
    ledger.add([shot("a", second=0)])
    zoned = Exposure(key="b", purpose="record", time=START.replace(tzinfo=UTC))
    with pytest.raises(ParameterError, match="time of b is with a time zone and those in the ledg"):
        ledger.add([zoned])
    with pytest.raises(ParameterError, match="until is with a time zone"):
        ledger.at((0, 0), until=START.replace(tzinfo=UTC))
    assert len(ledger) == 1


def test_questions_that_have_no_answer_are_named(ledger):
    ledger.add([shot("a")])
    with pytest.raises(ParameterError, match="'x' is neither a key nor a file of the ledger"):
        ledger.pre_exposure("x")
    with pytest.raises(ParameterError, match="moment is 'noon': expected one of start, middle"):
        ledger.pre_exposure("a", moment="noon")
    with pytest.raises(ParameterError, match=r"place_um is .*expected \(x, y\)"):
        ledger.at((0.0, math.nan))


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=40)
def test_sums_are_those_of_looking_at_every_exposure(seed):
    import shapely

    rng = np.random.default_rng(seed)
    shots = []
    for n in range(12):
        outline = disc(rng.uniform(1, 4)) + rng.uniform(-2, 2, 2)
        lit = rng.random() < 0.8
        shots.append(
            Exposure(
                key=f"{n}",
                purpose="record",
                time=None if rng.random() < 0.2 else START + timedelta(seconds=rng.uniform(0, 10)),
                duration_s=None if rng.random() < 0.2 else rng.uniform(0.1, 5),
                illuminated_um=outline if lit else None,
                recorded_um=outline,
                reach_um=rng.choice([2.5, math.inf]),
                position_uncertain_um=rng.choice([0.0, 0.0, 0.3, math.inf], p=[0.4, 0.3, 0.2, 0.1]),
                dose_e_per_a2=None if rng.random() < 0.05 else rng.uniform(1, 50),
            )
        )
    place = rng.uniform(-2, 2, 2)
    until = None if rng.random() < 0.3 else START + timedelta(seconds=rng.uniform(-1, 15))
    least = most = 0.0
    unknown = False
    for s in shots:
        outline, point = shapely.Polygon(s.recorded_um), shapely.Point(place)
        edge, radius = outline.exterior.distance(point), s.position_uncertain_um
        sure = outline.contains(point) and (radius == 0 or edge >= radius)
        may = outline.contains(point) or edge <= radius
        if s.illuminated_um is None and s.place_um is not None:
            may |= np.hypot(*(np.array(s.place_um) - place)) <= s.reach_um + radius
        may |= math.isinf(radius)
        low = high = 1.0
        if until is not None and s.time is None:
            low = 0.0
        elif until is not None:
            since = (until - s.time).total_seconds()
            low = high = float(np.clip(since / s.duration_s, 0, 1)) if s.duration_s else since > 0
        least += (s.dose_e_per_a2 or 0.0) * low * sure
        most += (s.dose_e_per_a2 or 0.0) * high * may
        unknown |= s.dose_e_per_a2 is None and bool(may) and high > 0
    with Ledger.in_memory() as ledger:
        ledger.add(shots)
        total = ledger.at(tuple(place), until=until)
    assert total.at_least_e_per_a2 == pytest.approx(least, rel=1e-6, abs=1e-4)
    if unknown:
        assert total.at_most_e_per_a2 is None
    else:
        assert total.at_most_e_per_a2 == pytest.approx(most, rel=1e-6, abs=1e-4)

"""What the beam does to a phase, and what that says of a place that was exposed."""

import tomllib
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interphase.acquisition import Acquisition, Kind, Origin
from interphase.electron import collision_stopping_power
from interphase.errors import ParameterError
from interphase.phases import (
    DamageFact,
    DoseLevel,
    EnergyScaling,
    beam_origins,
    damage_facts,
    dose_at_energy,
    dose_range,
    dose_verdict,
    known_phases,
    load_phase,
)
from interphase.phases.damage import _joined, dose_level

FACTS = [fact for phase in (*known_phases(), "SEI") for fact in damage_facts(phase)]
doses = st.floats(0, 1e5)


def exposed(dose: float | None, before: float | None = None, kev: float | None = 200.0):
    return Acquisition(
        kind=Kind.IMAGE, dose_e_per_a2=dose, prior_dose_e_per_a2=before, beam_energy_kev=kev
    )


def test_every_row_of_the_table_is_about_a_known_phase_and_has_a_source():
    text = files("interphase.phases").joinpath("data/damage.toml").read_text(encoding="utf-8")
    assert len(FACTS) == len(tomllib.loads(text)["fact"])
    for fact in FACTS:
        assert fact.source
        assert fact.criterion
        assert fact.grade in ("A", "B", "C")
        assert fact.product is None or fact.product in known_phases()


def test_the_numbers_are_those_that_were_published():
    (carbonate,) = damage_facts("Li2CO3")
    # Lin et al. 2014, Fig. 1: 200 keV, 100 e/Å²/s, series up to 500, limit about 750 e/Å².
    assert carbonate.value_e_per_a2 == 750
    assert carbonate.bracket_e_per_a2 == (500, 750)
    assert (carbonate.beam_energy_kev, carbonate.dose_rate_e_per_a2_s) == (200, 100)
    assert carbonate.temperature_k is None
    # Koh et al.: Li2O after 450 and after 600 e/Å², an amorphous interphase at 178.
    (interphase,) = damage_facts("SEI")
    assert interphase.bracket_e_per_a2 == (178, 450)
    # One origin is enough: the carbonate's higher doses do not matter.
    assert dose_verdict("Li2O", exposed(None)).made_bracket_e_per_a2 == (178, 450)


def test_a_missing_number_stays_missing():
    for phase in ("LiF", "Li2O", "Li2O2"):
        (fact,) = damage_facts(phase)
        assert fact.bracket_e_per_a2 == (None, None)
        assert fact.missing
    for phase in ("LiOH", "Li3N-alpha", "LiH", "Cu"):
        assert damage_facts(phase) == ()
        assert dose_verdict(phase, exposed(1e5, 0.0)).level is DoseLevel.NO_KNOWN_LIMIT


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"low_e_per_a2": 700.0, "value_e_per_a2": 600.0}, r"\[700.0, 600.0\].* low <= value"),
        ({"value_e_per_a2": -1.0}, r"expected 0 < low"),
        ({"value_e_per_a2": float("inf")}, r"expected 0 < low"),
        ({"value_e_per_a2": 1e20}, r"below 1e\+09"),
        ({"value_e_per_a2": "5"}, r"value_e_per_a2 of LiF is '5': expected a number"),
        ({"value_e_per_a2": 5.0, "beam_energy_kev": 3e5}, r"did you give eV"),
        ({"value_e_per_a2": 5.0, "temperature_k": -100.0}, r"temperature_k of LiF is -100"),
        ({"value_e_per_a2": 5.0, "conditions": 3}, r"conditions of a damage fact is 3"),
        ({}, r"either a dose or the word"),
        ({"value_e_per_a2": 5.0, "missing": "none"}, r"either a dose or the word"),
    ],
)
def test_a_fact_that_cannot_be_is_refused(numbers, said):
    with pytest.raises(ParameterError, match=said):
        DamageFact(phase="LiF", process="any", criterion="any", grade="A", source="any", **numbers)


@pytest.mark.parametrize(
    ("before", "dose", "level"),
    [
        (0.0, 499.0, "below"),
        (440.0, 60.0, "within"),
        (0.0, 749.0, "within"),
        (700.0, 50.0, "above"),
        (None, 60.0, "unknown_dose"),
        (None, 750.0, "above"),
        (800.0, None, "above"),
        (60.0, None, "unknown_dose"),
        (None, None, "unknown_dose"),
    ],
)
def test_the_level_is_that_of_the_dose_at_the_end_of_the_exposure(before, dose, level):
    verdict = dose_verdict("Li2CO3", exposed(dose, before))
    assert verdict.level.value == level
    assert verdict.received_before_e_per_a2 == before
    known = before is not None and dose is not None
    assert verdict.received_after_e_per_a2 == (before + dose if known else None)


@given(doses, doses, doses, doses)
def test_more_dose_never_lowers_the_level(end, other_end, less, more):
    bracket = tuple(sorted((end + 1, other_end + 1)))
    order = [DoseLevel.BELOW, DoseLevel.WITHIN, DoseLevel.ABOVE]
    first, second = (
        order.index(dose_level(bracket, received_e_per_a2=d, at_least_e_per_a2=d))
        for d in sorted((less, more))
    )
    assert first <= second


@given(doses)
def test_a_lower_bound_never_says_that_a_limit_was_not_reached(dose):
    for phase in ("Li2CO3", "Li2O", "Li"):
        verdict = dose_verdict(phase, exposed(dose))
        assert DoseLevel.BELOW not in (verdict.level, verdict.made_level)
        assert verdict.at_least_e_per_a2 == dose


def test_more_than_was_ever_looked_at_is_no_known_limit_and_no_damage():
    assert dose_verdict("Li", exposed(29e3, 0.0, 300.0)).level is DoseLevel.BELOW
    passed = dose_verdict("Li", exposed(31e3, 0.0, 300.0))
    assert passed.level is DoseLevel.NO_KNOWN_LIMIT
    assert "shows no change up to 30000 e/Å²" in passed.sentence
    assert ": more was never looked at." in passed.sentence


def test_an_onset_that_is_only_bounded_from_below_is_no_limit():
    (bubbles,) = damage_facts("ice-Ih")
    assert (bubbles.bracket_e_per_a2, bubbles.grade) == ((100, None), "B")
    assert dose_verdict("ice-Ih", exposed(99.0, 0.0)).level is DoseLevel.BELOW
    passed = dose_verdict("ice-Ih", exposed(101.0, 0.0))
    assert passed.level is DoseLevel.NO_KNOWN_LIMIT
    assert "no hydrogen bubbles below 100 e/Å²" in passed.sentence
    assert "never looked at" not in passed.sentence


@given(st.lists(st.tuples(doses, doses), min_size=1, max_size=4), doses)
def test_one_origin_is_enough(brackets, dose):
    facts = tuple(
        DamageFact(
            phase=str(i),
            process="any",
            criterion="any",
            grade="A",
            source="any",
            low_e_per_a2=min(ends) + 1,
            high_e_per_a2=max(ends) + 1,
        )
        for i, ends in enumerate(brackets)
    )

    def level(bracket):
        return dose_level(bracket, received_e_per_a2=dose, at_least_e_per_a2=dose)

    each = [level(fact.bracket_e_per_a2) for fact in facts]
    order = [DoseLevel.BELOW, DoseLevel.WITHIN, DoseLevel.ABOVE]
    assert level(_joined(facts)) is max(each, key=order.index)


def test_an_origin_without_a_lower_end_leaves_no_dose_that_is_safe():
    made = DamageFact(
        phase="a", process="any", criterion="any", grade="A", source="any", high_e_per_a2=300.0
    )
    assert _joined((*beam_origins("Li2O"), made)) == (None, 300.0)


def test_the_oxide_is_told_from_the_carbonate_it_may_have_been():
    low = dose_verdict("Li2O", exposed(60.0, 0.0))
    assert low.made_level is DoseLevel.BELOW
    high = dose_verdict("Li2O", exposed(60.0, 500.0))
    assert high.made_level is DoseLevel.ABOVE
    assert (
        "The beam makes Li2O from Li2CO3 and the interphase, known from 450 e/Å² on, "
        "not known below 178 e/Å² (grade A/B): passed, so it may be the beam's product."
    ) in high.sentence
    between = dose_verdict("Li2O", exposed(60.0, 200.0))
    assert between.made_level is DoseLevel.WITHIN
    assert between.sentence.endswith("(grade A/B): it may be the beam's product.")
    assert "beam's product" not in low.sentence


@pytest.mark.parametrize(
    ("dose", "before", "said"),
    [
        (60.0, 40.0, "Received 40 e/Å² before and 100 e/Å² by the end."),
        (60.0, None, "Received 60 e/Å² here; what came before is not stated."),
        (None, 60.0, "Received 60 e/Å² before; the dose of this exposure is unknown."),
        (None, None, "The dose is unknown."),
    ],
)
def test_what_is_not_known_of_the_dose_is_said(dose, before, said):
    assert dose_verdict("LiF", exposed(dose, before)).sentence.startswith(said)


def test_conditions_are_quoted_and_another_energy_is_scaled_beside_them():
    same = dose_verdict("Li2CO3", exposed(60.0, 0.0, 200.0)).sentence
    assert "200 keV; 100 e/Å²/s" in same
    assert "temperature not stated" in same
    assert "grade A" in same
    assert "scaled" not in same
    other = dose_verdict("Li2CO3", exposed(60.0, 0.0, 300.0))
    assert "500 to 750 e/Å²" in other.sentence
    assert "for 200 keV; scaled by stopping power to 300 keV it is 590 to 890" in other.sentence
    # The level is that of the table's own value.
    assert dose_verdict("Li2CO3", exposed(560.0, 0.0, 300.0)).level is DoseLevel.WITHIN


def test_scaling_by_stopping_power_agrees_with_the_table_of_ratios():
    # NIST ESTAR, water: 4.115 and 2.355 MeV cm²/g at 100 and 300 keV.
    published = 4.115 / 2.355
    assert dose_at_energy(1.0, from_kev=100, to_kev=300) == pytest.approx(published, rel=4e-4)
    carbon = {"charge_per_mass_mol_g": 0.49954, "mean_excitation_ev": 81.0}
    ratio = collision_stopping_power(100.0, **carbon) / collision_stopping_power(300.0, **carbon)
    assert dose_at_energy(1.0, from_kev=100, to_kev=300) == pytest.approx(ratio, rel=3e-3)
    back = dose_at_energy(dose_at_energy(70.0, from_kev=80, to_kev=300), from_kev=300, to_kev=80)
    assert back == pytest.approx(70.0)


def test_scalings_agree_with_the_published_ratios():
    def ratio(scaling, low=100.0):
        return dose_at_energy(1.0, from_kev=low, to_kev=300.0, scaling=scaling)

    # Of water, 1.747 as published with other constants.
    assert ratio(EnergyScaling.BETHE) == pytest.approx(1.747, abs=1e-3)
    assert f"{ratio(EnergyScaling.BETA_SQUARED):.3f}" == "2.006"
    # Peet et al. 2019.
    assert ratio(EnergyScaling.MEASURED) == pytest.approx(1.57, rel=1e-12)
    assert f"{ratio(EnergyScaling.BETA_SQUARED, 200.0):.3f}" == "1.247"
    # Between its ends the measured law is nearer 1 than Bethe's, and as long as the way through
    # any third energy.
    assert 1 < ratio(EnergyScaling.MEASURED, 200.0) < ratio(EnergyScaling.BETHE, 200.0)


@given(st.sampled_from(EnergyScaling), st.lists(st.floats(100.0, 300.0), min_size=3, max_size=3))
def test_scaling_over_a_third_energy_is_scaling_at_once(scaling, energies):
    first, second, third = energies
    half = dose_at_energy(70.0, from_kev=first, to_kev=second, scaling=scaling)
    whole = dose_at_energy(half, from_kev=second, to_kev=third, scaling=scaling)
    assert whole == pytest.approx(
        dose_at_energy(70.0, from_kev=first, to_kev=third, scaling=scaling), rel=1e-12
    )


@pytest.mark.parametrize(("low", "high"), [(80.0, 300.0), (100.0, 400.0)])
def test_the_measured_scaling_ends_where_the_measurement_did(low, high):
    with pytest.raises(ParameterError, match=r"between 100 and 300 keV only.*BETHE"):
        dose_at_energy(1.0, from_kev=low, to_kev=high, scaling=EnergyScaling.MEASURED)
    with pytest.raises(ParameterError, match="scaling is 'linear': expected one of"):
        dose_at_energy(1.0, from_kev=low, to_kev=high, scaling="linear")


def test_a_crystal_without_a_name_has_a_dose_and_no_limit():
    verdict = dose_verdict(None, exposed(60.0, 40.0))
    assert verdict.received_after_e_per_a2 == 100.0
    assert verdict.level is DoseLevel.NO_KNOWN_LIMIT
    assert "not named" in verdict.sentence


def test_a_bracket_is_written_as_a_bracket():
    assert dose_range((None, None)) == ""
    assert dose_range((None, 20.0)) == "up to 20 e/Å²"
    assert [fact.phase for fact in beam_origins("Li")] == ["LiF", "Li2O", "LLZO-cubic"]


@pytest.mark.parametrize(
    ("kev", "dose", "level"),
    [  # 500 to 750 e/Å² at 200 keV, 290 to 440 at 80 keV, 590 to 890 at 300 keV
        (80.0, 280.0, "below"),
        (80.0, 450.0, "within"),
        (80.0, 700.0, "within"),
        (80.0, 760.0, "above"),
        (300.0, 490.0, "below"),
        (300.0, 560.0, "within"),
        (300.0, 800.0, "within"),
        (300.0, 900.0, "above"),
        (None, 490.0, "below"),
    ],
)
def test_a_level_holds_by_the_table_and_by_what_is_scaled_to_the_energy(kev, dose, level):
    verdict = dose_verdict("Li2CO3", exposed(dose, 0.0, kev), own=())
    assert verdict.level.value == level
    assert ("not reached" in verdict.sentence) == (level == "below")
    assert ("passed" in verdict.sentence) == (level == "above")


def test_a_lower_bound_alone_that_only_one_energy_passes_is_left_open():
    fact = DamageFact(
        phase="LiF", process="bubbles", criterion="any", grade="own", source="any",
        low_e_per_a2=100.0, beam_energy_kev=300.0,
    )  # fmt: skip
    verdict = dose_verdict("LiF", exposed(80.0, 0.0, 100.0), own=(fact,))
    assert verdict.level is DoseLevel.NO_KNOWN_LIMIT
    assert "below 100 e/Å²" in verdict.sentence
    assert "it is above 57 e/Å², so that it is open which was passed." in verdict.sentence
    assert ": passed" not in verdict.sentence
    assert dose_verdict("LiF", exposed(50.0, 0.0, 100.0), own=(fact,)).level is DoseLevel.BELOW


def test_what_the_beam_makes_is_judged_at_both_energies_too():
    made = DamageFact(
        phase="LiOH", process="any", criterion="any", grade="own", source="any", product="LiF",
        low_e_per_a2=100.0, high_e_per_a2=200.0, beam_energy_kev=300.0,
    )  # fmt: skip
    verdict = dose_verdict("LiF", exposed(80.0, 0.0, 100.0), own=(made,))
    assert verdict.made_level is DoseLevel.WITHIN
    assert "scaled by stopping power to 100 keV 57 to 110 e/Å²: it may be the" in verdict.sentence
    low = dose_verdict("LiF", exposed(50.0, 0.0, 100.0), own=(made,))
    assert low.made_level is DoseLevel.BELOW


@pytest.mark.parametrize("dose", [-1.0, float("nan"), float("inf"), None, "60"])
def test_a_dose_to_scale_is_a_number(dose):
    with pytest.raises(ParameterError, match=r"dose_e_per_a2 is .*expected a finite number"):
        dose_at_energy(dose, from_kev=200, to_kev=300)


@pytest.mark.parametrize("energy", [0.0, float("nan"), float("inf"), 200e3])
def test_a_beam_energy_to_scale_is_one_of_a_microscope(energy):
    with pytest.raises(ParameterError, match="1 to 3000"):
        dose_at_energy(1.0, from_kev=200, to_kev=energy)


@pytest.mark.parametrize(
    "ask", [damage_facts, beam_origins, lambda phase: dose_verdict(phase, exposed(1.0))]
)
def test_a_misspelt_phase_is_named_with_the_closest(ask):
    for wrong in ("Li2o", "Li20", " Li2O"):
        with pytest.raises(ParameterError, match=f"phase is '{wrong}'.*the closest are.*Li2O"):
            ask(wrong)
    for wrong in ("", 3):
        with pytest.raises(ParameterError, match=r"no phase of the table.*give the Phase itself"):
            ask(wrong)


def test_a_phase_of_the_callers_own_has_no_known_limit():
    own = replace(load_phase("LiF"), identifier="Li20")
    verdict = dose_verdict(own, exposed(60.0, 0.0))
    assert (verdict.phase, verdict.level) == ("Li20", DoseLevel.NO_KNOWN_LIMIT)
    assert "No dose that damages Li20 is known." in verdict.sentence
    assert dose_verdict(load_phase("Li2CO3"), exposed(60.0, 0.0)) == dose_verdict(
        "Li2CO3", exposed(60.0, 0.0)
    )


def test_a_verdict_needs_an_exposure():
    with pytest.raises(ParameterError, match="acquisition is None: expected an Acquisition"):
        dose_verdict("LiF", None)


def _after(before: float, *, most: float | None, dose: float | None = 40.0) -> Acquisition:
    """Return an exposure of which the ledger knows what its place had received before."""
    record = Acquisition(kind=Kind.IMAGE, dose_e_per_a2=dose)
    return record.with_values(
        Origin.LEDGER,
        "2 earlier exposures",
        prior_dose_e_per_a2=before,
        prior_dose_at_most_e_per_a2=most,
    )


@pytest.mark.parametrize(
    ("exposure", "level", "received", "words"),
    [
        (_after(60, most=None), "unknown_dose", None, "at least 60 e/Å² before (ledger: 2 earlier"),
        (_after(710, most=None), "above", None, "at least 750 e/Å² by the end"),
        (_after(60, most=60), "below", 100, "Received 60 e/Å² before and 100 e/Å² by the end"),
        (_after(60, most=300), "below", None, "60 to 300 e/Å² before (ledger: 2 earlier"),
        (_after(60, most=500), "within", None, "and 100 to 540 e/Å² by the end"),
        (_after(710, most=900), "above", None, "and 750 to 940 e/Å² by the end"),
        (_after(60, most=90, dose=None), "unknown_dose", None, "the dose of this exposure is unk"),
    ],
)
def test_what_the_ledger_sums_up_is_a_lower_bound_or_a_bracket(
    exposure: Acquisition, level: str, received: float | None, words: str
) -> None:
    verdict = dose_verdict("Li2CO3", exposure, own=())
    assert verdict.level.value == level
    assert verdict.received_after_e_per_a2 == received
    assert words in verdict.sentence


@pytest.mark.parametrize("origin", [Origin.HEADER, Origin.SIDECAR])
def test_what_a_file_states_to_have_come_before_leaves_out_search_and_focus(origin):
    exposure = Acquisition(kind=Kind.IMAGE, dose_e_per_a2=40.0).with_values(
        origin, "PriorRecordDose", prior_dose_e_per_a2=60.0
    )
    verdict = dose_verdict("Li2CO3", exposure, own=())
    assert verdict.level is DoseLevel.UNKNOWN_DOSE
    assert (verdict.received_after_e_per_a2, verdict.at_least_e_per_a2) == (None, 100.0)
    assert f"at least 60 e/Å² before ({origin}: PriorRecordDose)" in verdict.sentence
    assert "ledger" not in verdict.sentence
    passed = exposure.with_values(Origin.USER, "", dose_e_per_a2=700.0)
    assert dose_verdict("Li2CO3", passed, own=()).level is DoseLevel.ABOVE


@pytest.mark.parametrize("origin", [Origin.SESSION, Origin.USER])
def test_what_the_user_states_to_have_come_before_is_all(origin):
    exposure = Acquisition(kind=Kind.IMAGE, dose_e_per_a2=40.0).with_values(
        origin, "", prior_dose_e_per_a2=60.0
    )
    assert dose_verdict("Li2CO3", exposure, own=()).level is DoseLevel.BELOW

"""The user's own measurements of damage, and how they outrank the table."""

import json
import multiprocessing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase.acquisition import Acquisition, Kind
from interphase.errors import ConfigurationError, InterphaseError, ParameterError
from interphase.phases import (
    DamageFact,
    DoseLevel,
    beam_origins,
    damage_facts,
    damage_file,
    dose_verdict,
    own_facts,
    record_damage,
)
from interphase.phases.damage_table import read_damage_file


def measured(phase="Li2CO3", **given):
    return DamageFact(
        **{
            "phase": phase,
            "process": "fading",
            "criterion": "spots to 1/e",
            "grade": "own",
            "source": "grid 3",
            "value_e_per_a2": 420.0,
            "low_e_per_a2": 380.0,
            "high_e_per_a2": 470.0,
            **given,
        }
    )


def exposed(dose, temperature_k=None):
    return Acquisition(
        kind=Kind.IMAGE,
        dose_e_per_a2=dose,
        prior_dose_e_per_a2=0.0,
        beam_energy_kev=300.0,
        temperature_k=temperature_k,
    )


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table of the user's own, in a folder that is not there yet."""
    path = tmp_path / "data" / "damage.toml"
    monkeypatch.setenv("INTERPHASE_DAMAGE", str(path))
    return path


def test_a_measurement_comes_back_as_it_was_and_wins_over_the_table(table):
    assert own_facts() == ()
    assert dose_verdict("Li2CO3", exposed(600.0)).level is DoseLevel.WITHIN
    fact = measured(beam_energy_kev=300.0, temperature_k=100.0, dose_rate_e_per_a2_s=10.0)
    assert record_damage(fact) == table == damage_file()
    assert own_facts() == (fact,)
    own, published = damage_facts("Li2CO3")
    assert (own, published.bracket_e_per_a2) == (fact, (500, 750))
    verdict = dose_verdict("Li2CO3", exposed(600.0))
    assert verdict.level is DoseLevel.ABOVE
    assert "your own measurement" in verdict.sentence
    assert "It outranks the table's 500 to 750 e/Å²." in verdict.sentence
    # Asked without it, the table stands.
    assert dose_verdict("Li2CO3", exposed(600.0), own=()).level is DoseLevel.WITHIN


def test_a_second_measurement_of_one_occasion_replaces_the_first(table):
    record_damage(measured())
    record_damage(measured(temperature_k=295.0, value_e_per_a2=120.0, low_e_per_a2=100.0))
    table.write_text("# grids of spring\n" + table.read_text())
    record_damage(measured("LiF"))
    assert table.read_text().startswith("# grids of spring")
    record_damage(measured(value_e_per_a2=450.0))
    assert [(fact.phase, fact.value_e_per_a2) for fact in own_facts()] == [
        ("Li2CO3", 120.0),
        ("LiF", 420.0),
        ("Li2CO3", 450.0),
    ]


def test_the_temperature_of_the_exposure_chooses_among_measurements(table):
    record_damage(measured(temperature_k=100.0))
    record_damage(
        measured(temperature_k=295.0, value_e_per_a2=120.0, low_e_per_a2=100.0, high_e_per_a2=150.0)
    )
    assert dose_verdict("Li2CO3", exposed(200.0, 95.0)).level is DoseLevel.BELOW
    assert dose_verdict("Li2CO3", exposed(200.0, 298.0)).level is DoseLevel.ABOVE
    # Where it is not known the more careful one holds.
    assert dose_verdict("Li2CO3", exposed(200.0)).level is DoseLevel.ABOVE
    far = dose_verdict("Li2CO3", exposed(200.0, 12.0))
    assert "It was measured at 295 K; at 12 K it may be another." in far.sentence


def test_a_lower_bound_alone_outranks_nothing(table):
    record_damage(measured(value_e_per_a2=None, high_e_per_a2=None, product="Li2O"))
    assert damage_facts("Li2CO3")[0].bracket_e_per_a2 == (500, 750)
    assert dose_verdict("Li2CO3", exposed(900.0)).level is DoseLevel.ABOVE
    assert len([fact for fact in beam_origins("Li2O") if fact.phase == "Li2CO3"]) == 2


def test_what_the_beam_makes_is_told_by_the_own_measurement_too(table):
    record_damage(measured(product="Li2O", value_e_per_a2=50.0, low_e_per_a2=40.0))
    assert [fact.grade for fact in beam_origins("Li2O") if fact.phase == "Li2CO3"] == ["own"]
    assert dose_verdict("Li2O", exposed(45.0)).made_bracket_e_per_a2 == (40.0, 450)


def test_the_table_beside_the_session_is_nearer(table, tmp_path):
    record_damage(measured())
    record_damage(measured("LiF"))
    near = measured(source="this session", value_e_per_a2=400.0)
    record_damage(near, tmp_path / "damage.toml")
    assert own_facts(tmp_path) == (near, measured("LiF"))
    assert own_facts() == (measured(), measured("LiF"))


def test_a_phase_of_the_users_own_is_known_by_its_measurement(table):
    with pytest.raises(ParameterError, match="no phase of the table"):
        damage_facts("my-salt")
    record_damage(measured("my-salt"))
    assert damage_facts("my-salt") == (measured("my-salt"),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[fact]\n", "is not valid TOML"),
        ("\xff", "is not valid TOML"),
        ("fact = 3\n", r"expected nothing but \[\[fact\]\]"),
        ("[[facts]]\nphase = 'LiF'\n", r"expected nothing but \[\[fact\]\]"),
        ("[[fact]]\nphse = 'LiF'\n", "fact 1: `phse` is unknown; did you mean `phase`"),
        ("[[fact]]\nphase = 'LiF'\n", "fact 1: `process` is missing"),
        (
            "[[fact]]\nphase = 'LiF'\nprocess = 'p'\ncriterion = 'c'\nsource = 's'\n"
            "value_e_per_a2 = -3\n",
            "fact 1: doses of LiF",
        ),
        (
            "[[fact]]\nphase = 'LiF'\nprocess = 'p'\ncriterion = 'c'\nsource = 's'\n"
            "value_e_per_a2 = '3'\n",
            "fact 1: value_e_per_a2 of LiF is '3'",
        ),
    ],
)
def test_a_table_that_is_damaged_is_named_and_left_alone(table, text, said):
    table.parent.mkdir()
    table.write_bytes(text.encode("latin-1"))
    for ask in (own_facts, lambda: damage_facts("Li"), lambda: record_damage(measured())):
        with pytest.raises(ConfigurationError, match=said) as caught:
            ask()
        assert str(table) in str(caught.value)
    assert table.read_bytes() == text.encode("latin-1")


def test_where_no_table_shall_be_nothing_is_read_or_written(monkeypatch, tmp_path):
    monkeypatch.setenv("INTERPHASE_DAMAGE", "")
    assert damage_file() is None
    assert own_facts() == ()
    with pytest.raises(InterphaseError, match="INTERPHASE_DAMAGE is empty"):
        record_damage(measured())
    monkeypatch.delenv("INTERPHASE_DAMAGE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert damage_file().name == "damage.toml"


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InterphaseError, match="cannot be"):
        record_damage(measured(), tmp_path / "file" / "damage.toml")


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(max_examples=25, deadline=None)
@given(words, words, st.floats(1e-3, 1e8))
def test_any_words_and_doses_survive_the_file(tmp_path_factory, criterion, source, dose):
    path = tmp_path_factory.mktemp("any") / "damage.toml"
    fact = measured(
        criterion=criterion,
        source=source,
        value_e_per_a2=dose,
        low_e_per_a2=None,
        high_e_per_a2=None,
    )
    record_damage(fact, path)
    record_damage(measured("LiF"), path)
    assert read_damage_file(path) == (fact, measured("LiF"))


def _record(path, number):
    record_damage(measured(source=f"grid {number}"), path)


def test_writers_at_once_lose_nothing(tmp_path):
    path = tmp_path / "damage.toml"
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.starmap(_record, [(path, number) for number in range(24)])
    kept = {fact.source for fact in read_damage_file(path)}
    assert kept == {f"grid {number}" for number in range(24)}


def test_what_others_write_beside_the_table_is_left_alone(tmp_path):
    (tmp_path / "results").mkdir()
    others = [tmp_path / ".download.part", tmp_path / "results" / ".map.json.7.part"]
    for other in others:
        other.touch()
    record_damage(measured(), tmp_path / "damage.toml")
    assert all(other.exists() for other in others)


@pytest.mark.parametrize("name", ["phase", "process", "criterion", "source"])
@pytest.mark.parametrize("value", ["", None])
def test_what_could_not_be_read_again_is_not_recorded(name, value):
    with pytest.raises(ParameterError, match=f"{name} of a damage fact is {value!r}: expected"):
        measured(**{name: value})


def test_facts_are_what_json_can_say(table):
    from interphase.files import to_plain

    assert json.loads(json.dumps(to_plain(measured())))["grade"] == "own"

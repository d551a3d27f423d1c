import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interphase.acquisition import Acquisition, Kind, Origin, Source
from interphase.errors import MissingValueError, ParameterError


def test_a_given_value_replaces_the_missing_one_and_says_where_it_came_from():
    record = Acquisition(kind=Kind.IMAGE, missing={"pixel_size_a": "give it"})
    record = record.with_values(Origin.USER, "--pixel-size", pixel_size_a=0.5)
    assert record.pixel_size_a == 0.5
    assert record.sources["pixel_size_a"] == Source(origin=Origin.USER, detail="--pixel-size")
    assert not record.missing


def test_saying_nothing_does_not_erase_what_a_file_said():
    record = Acquisition(kind=Kind.IMAGE).with_values(Origin.HEADER, pixel_size_a=0.5)
    assert record.with_values(Origin.SESSION, pixel_size_a=None) == record


def test_requiring_a_missing_value_names_the_file_and_the_remedy():
    record = Acquisition(kind=Kind.IMAGE, missing={"pixel_size_a": "give --pixel-size in Å"})
    with pytest.raises(
        MissingValueError, match=r"pixel_size_a is missing in X\.tif: give --pixel-size in Å"
    ):
        record.require("pixel_size_a", of="X.tif")
    with pytest.raises(MissingValueError, match=r"give `beam_energy_kev` in session\.toml"):
        record.require("beam_energy_kev", of="X.tif")


def test_requiring_a_known_value_returns_it():
    assert Acquisition(kind=Kind.IMAGE, pixel_size_a=0.5).require("pixel_size_a", of="X") == 0.5


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_pixel_size_must_be_finite_and_positive(value):
    with pytest.raises(ParameterError, match=r"pixel_size_a is .*: expected a finite number > 0"):
        Acquisition(kind=Kind.IMAGE, pixel_size_a=value)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_dose_must_be_finite_and_not_negative(value):
    with pytest.raises(ParameterError, match=r"dose_e_per_a2 is .*: expected a finite number >= 0"):
        Acquisition(kind=Kind.IMAGE, dose_e_per_a2=value)


def test_a_dose_of_zero_is_a_dose():
    assert Acquisition(kind=Kind.IMAGE, dose_e_per_a2=0.0).dose_e_per_a2 == 0.0


@given(
    dose=st.none() | st.floats(0, 1e6),
    warnings=st.lists(st.text(max_size=9), max_size=3),
    missing=st.dictionaries(st.sampled_from(["stage", "time"]), st.text(max_size=9)),
)
def test_a_record_survives_the_way_to_another_process(dose, warnings, missing):
    record = Acquisition(
        kind=Kind.MOVIE, dose_e_per_a2=dose, warnings=tuple(warnings), missing=missing
    )
    assert pickle.loads(pickle.dumps(record)) == record


def test_a_record_cannot_be_changed():
    record = Acquisition(kind=Kind.IMAGE)
    with pytest.raises(AttributeError, match="cannot assign to field"):
        record.pixel_size_a = 1.0
    with pytest.raises(TypeError, match="does not support item assignment"):
        record.missing["stage"] = "no"

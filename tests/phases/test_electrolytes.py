"""Prior weights that a stated electrolyte gives."""

import tomllib
from importlib.resources import files

import pytest

from interphase.phases import electrolyte_prior, known_phases


def test_weights_are_mild_have_a_source_and_exclude_nothing():
    text = files("interphase.phases").joinpath("data/electrolytes.toml").read_text(encoding="utf-8")
    for row in tomllib.loads(text).values():
        assert all(1 <= weight <= 3 for weight in row["weights"].values())
        assert set(row["weights"]) <= set(known_phases())
        assert row["source"]
        assert row["grade"] == "C"


@pytest.mark.parametrize(
    ("electrolyte", "phases"),
    [
        ("1 M LiPF6 in EC:DEC", {"Li2CO3", "Li2O", "LiF"}),
        ("lipf6 in dme", {"LiF"}),
        ("1.2 M LiClO4 in EC/DMC (1:1)", {"Li2CO3", "Li2O"}),
        ("10 % FEC", {"Li2CO3", "Li2O", "LiF"}),
        ("LiClO4 in DME, special recipe of the DECember batch", set()),
        ("", set()),
    ],
)
def test_whole_words_decide(electrolyte, phases):
    prior = electrolyte_prior(electrolyte)
    assert set(prior.weights) == phases
    assert bool(prior.sources) == bool(phases)
    assert all("grade C" in source for source in prior.sources)

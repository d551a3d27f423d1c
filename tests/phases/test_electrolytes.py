"""Prior weights that a stated electrolyte gives."""

import tomllib
from importlib.resources import files

import pytest

from interphase.errors import ParameterError
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


SALT, SOLVENT = {"LiF"}, {"Li2CO3", "Li2O"}


@pytest.mark.parametrize(
    ("electrolyte", "phases"),
    [
        ("1 M LiClO4 in DME, no FEC", set()),
        ("LiClO4 in DME without VC or FEC", set()),
        ("LiClO4 in DME without any added VC", set()),
        ("FEC-free LiClO4 in DME", set()),
        ("LiClO4 in DME (FEC- and VC-free)", set()),
        ("LiClO4 in DME, FEC/VC free", set()),
        ("LiClO4 in DME, free of carbonates", set()),
        ("LiClO4 in DME w/o 2 wt% FEC", set()),
        ("LiClO4 in DME, 0 % FEC", set()),
        ("LiClO4 in DME, 0.0 vol.% VC", set()),
        ("LiPF6 in DME, not containing EC", SALT),
        ("1 M LiPF6 in DOL:DME; no carbonate", SALT),
        ("non-fluorinated carbonate, LiClO4", SOLVENT),
        # What is near a negation and yet there.
        ("no FEC and 2 % VC in LiClO4", SOLVENT),
        ("no FEC, LiPF6 in EC:DEC", SALT | SOLVENT),
        ("without additives, LiClO4 in EC", SOLVENT),
        ("acid-free LiPF6 in DME", SALT),
        ("LiClO4 in EC free of water", SOLVENT),
        ("10 % FEC", SALT | SOLVENT),
        ("1.0 % FEC", SALT | SOLVENT),
        ("No. 3: LiClO4 in EC", SOLVENT),
    ],
)
def test_what_is_said_to_be_absent_does_not_count(electrolyte, phases):
    assert set(electrolyte_prior(electrolyte).weights) == phases


@pytest.mark.parametrize("electrolyte", [None, 3, ["EC"]])
def test_an_electrolyte_is_words(electrolyte):
    with pytest.raises(ParameterError, match=r"electrolyte is .*: expected words, such as"):
        electrolyte_prior(electrolyte)

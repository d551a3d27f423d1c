"""What stated probabilities were worth: the package's table and how a region finds its row."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from interphase.diffraction import UNKNOWN, calibration_table, what_it_is_worth
from interphase.diffraction.results import NONE

STUDY = Path(__file__).parents[2] / "simulations" / "phase_identification"


def test_the_table_is_that_of_the_study():
    with (STUDY / "expected_worth.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = calibration_table()
    assert len(table) == len(rows) >= 10
    for row, expected in zip(table, rows, strict=True):
        assert row.answer == expected["answer"]
        assert row.regions == int(expected["regions"])
        assert row.right == float(expected["right"])


def test_probabilities_are_worth_more_the_higher_they_are():
    """What is stated lies within the interval of what was right, or the table says otherwise."""
    named = [row for row in calibration_table() if row.answer == "phase"]
    assert named[-1].right > named[0].right + 0.3
    for row in calibration_table():
        assert row.right_low <= row.right <= row.right_high
        assert row.stated_from < row.stated_to


@pytest.mark.parametrize(
    ("phase", "probability", "answer", "stated_to"),
    [("LiF", 0.95, "phase", 0.97), ("LiF", 1.0, "phase", 1.0), (UNKNOWN, 0.6, "unknown", 0.7)],
)
def test_a_region_finds_its_row(a_region, phase, probability, answer, stated_to):
    row = what_it_is_worth(replace(a_region, phase=phase, probability=probability))
    assert (row.answer, row.stated_to) == (answer, stated_to)
    assert f"{row.regions} simulated regions" in row.sentence


def test_noise_and_patterns_have_no_row(a_region):
    assert what_it_is_worth(replace(a_region, phase=NONE)) is None
    assert what_it_is_worth(replace(a_region, centre_a=None)) is None


@pytest.fixture
def a_region():
    import numpy as np

    from interphase.assessment import Assessment
    from interphase.diffraction import Region, Spots

    nothing = np.zeros(0)
    return Region(
        phase="LiF",
        probability=0.95,
        alternatives={"LiF": 0.95, UNKNOWN: 0.05},
        credible_set=("LiF",),
        assessment=Assessment.OK,
        centre_a=(10.0, 10.0),
        area_a2=100.0,
        d_spacings_a=(),
        zone_axis=None,
        scale_error=0.0,
        p_value=1e-9,
        spots=Spots(k_per_a=np.zeros((0, 2)), strength=nothing, p_value=nothing, sigma_per_a=0.01),
    )

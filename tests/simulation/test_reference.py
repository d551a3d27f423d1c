"""Reference sets hold what was planned and say what is in them."""

from collections import Counter

import numpy as np
import pytest

from interphase.errors import ParameterError, PhaseError
from interphase.simulation import make_field, plan_fields


@pytest.fixture(scope="module")
def field():
    (plan,) = plan_fields(
        phases=["Li2CO3"], diameters_a=[30], alignments=["zone"], repeats=1, empty=0, seed=11
    )
    return make_field(plan)


def test_plan_holds_every_combination():
    plans = plan_fields(phases=["Li", "LiF"], diameters_a=[30, 50], repeats=3, empty=5, seed=1)
    combinations = Counter((p.phase, p.diameter_a, p.alignment) for p in plans)
    assert combinations.pop((None, None, None)) == 5
    assert len(combinations) == 8
    assert set(combinations.values()) == {3}
    assert len({p.seed for p in plans}) == len({p.name for p in plans}) == len(plans)


def test_sets_of_different_seeds_share_no_field():
    one, two = (plan_fields(phases=["Li"], diameters_a=[30], seed=seed) for seed in (1, 2))
    assert not {p.seed for p in one} & {p.seed for p in two}


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"phases": "LiF"}, ParameterError, r"phases is 'LiF': expected a list, such as \['LiF'\]"),
        ({"phases": ["Lif"]}, PhaseError, "'Lif' is not a phase"),
        ({"alignments": ["zones"]}, ParameterError, "alignments has 'zones': give"),
        ({"diameters_a": [30.0, 0.0]}, ParameterError, "diameters_a is"),
        ({"repeats": -1}, ParameterError, "repeats is -1"),
        ({"empty": 2.5}, ParameterError, "empty is 2.5: expected a whole number, at least 0"),
    ],
)
def test_plans_that_cannot_be_are_refused(given, error, said):
    with pytest.raises(error, match=said):
        plan_fields(**({"phases": ["LiF"], "diameters_a": [30.0], "seed": 1} | given))


def test_field_is_what_was_planned(field):
    assert field.intensity.shape == (450, 450)
    assert field.intensity.dtype == np.float32
    assert field.pixel_size_a == pytest.approx(0.4)
    assert field.intensity.mean() == pytest.approx(1, abs=0.02)
    assert 60 <= field.thickness_a <= 120
    assert 100 <= field.optics.defocus_a <= 800
    assert [t.phase for t in field.truths] == ["Li2CO3"] * 4
    assert all(t.tilt_deg <= 2 and t.zone_axis for t in field.truths)


def test_field_holds_the_lattice_where_the_truth_says(field):
    # Power at the lattice's spacings, between 2.4 and 4.3 Å, against the film around it.
    truth = max(field.truths, key=lambda t: -abs(t.tilt_deg))
    y, x = (round(c / field.pixel_size_a) for c in truth.centre_a[:2])
    taper = np.outer(np.hanning(64), np.hanning(64))

    def strongest(row, column):
        window = field.intensity[row - 32 : row + 32, column - 32 : column + 32]
        power = np.abs(np.fft.rfft2((window - window.mean()) * taper)) ** 2
        k = np.hypot(np.fft.fftfreq(64, 0.4)[:, None], np.fft.rfftfreq(64, 0.4))
        band = power[(k > 1 / 4.3) & (k < 1 / 2.0)]
        return band.max() / np.median(band)

    centres = np.array([t.centre_a[:2] for t in field.truths]) / field.pixel_size_a
    grid = [(r, c) for r in range(40, 411, 10) for c in range(40, 411, 10)]
    empty = [p for p in grid if np.hypot(*(centres - p).T).min() > 90]
    assert empty
    assert strongest(y, x) > max(strongest(*p) for p in empty)

"""Up to which frame a signal shows no damage."""

import numpy as np
import pytest

from interphase.assessment import Assessment
from interphase.dose import FadingSeries, Law, estimate_onset, exponential_fading
from interphase.errors import ParameterError

EDGES = np.linspace(0.0, 50.0, 31)
FRESH = np.ones(30)


def drawn(rng, law, level, course, *, background=None, spectra=1):
    """A series whose expectation is `level` times `course`, shape (30,)."""
    expected = level * course
    given = {"before_e_per_a2": EDGES[:-1], "after_e_per_a2": EDGES[1:], "law": law}
    if law is Law.VALUES:
        variance = np.full(30, level / 2)
        return FadingSeries(
            signal=rng.normal(expected, np.sqrt(variance)), variance=variance, **given
        )
    if law is Law.POWER:
        power = rng.noncentral_chisquare(2 * spectra, 2 * spectra * expected) / (2 * spectra)
        return FadingSeries(signal=power, spectra=spectra, **given)
    if background is None:
        return FadingSeries(signal=rng.poisson(expected), **given)
    return FadingSeries(
        signal=rng.poisson(expected + background),
        background=rng.poisson(3 * background, 30),
        background_ratio=3.0,
        **given,
    )


@pytest.mark.parametrize(
    ("law", "level", "given"),
    [
        (Law.COUNTS, 20, {}),
        (Law.COUNTS, 2000, {}),
        (Law.COUNTS, 30, {"background": 20.0}),
        (Law.POWER, 10, {}),
        (Law.POWER, 4, {"spectra": 6}),
        (Law.VALUES, 100, {}),
    ],
)
def test_one_fresh_series_in_twenty_is_cut_short(law, level, given):
    rng = np.random.default_rng(1)
    onsets = [
        estimate_onset(drawn(rng, law, level, FRESH, **given), rng=rng, simulations=400)
        for _ in range(300)
    ]
    alarms = np.mean([onset.frames < 30 for onset in onsets])
    # 300 draws: the standard error is 1.3 %, that of the threshold as much again.
    assert 0.01 <= alarms <= 0.095
    p = np.array([onset.p_value for onset in onsets])
    assert np.mean(p < 0.5) == pytest.approx(0.5, abs=0.1)


def test_a_sudden_loss_ends_the_series_where_it_happens():
    rng = np.random.default_rng(2)
    course = np.where(np.arange(30) < 17, 1.0, 0.3)
    for law, level in ((Law.COUNTS, 1000), (Law.VALUES, 1000)):
        onsets = [estimate_onset(drawn(rng, law, level, course), rng=rng) for _ in range(40)]
        assert np.mean([onset.frames == 17 for onset in onsets]) > 0.85
        right = next(onset for onset in onsets if onset.frames == 17)
        assert "use frames 1 to 17." in right.sentence
        assert (right.low_e_per_a2, right.high_e_per_a2) == (EDGES[17], EDGES[18])
        assert right.p_value < 0.01


def test_more_electrons_see_an_earlier_onset():
    rng = np.random.default_rng(3)
    course = exponential_fading((EDGES[:-1] + EDGES[1:]) / 2, critical_dose_e_per_a2=40.0)
    medians = [
        np.median(
            [estimate_onset(drawn(rng, Law.COUNTS, n, course), rng=rng).frames for _ in range(25)]
        )
        for n in (20, 200, 2000)
    ]
    assert medians[0] > medians[1] > medians[2] >= 1


def test_the_loss_that_is_called_detectable_is_seen_in_half_of_the_series():
    rng = np.random.default_rng(4)
    fresh = [estimate_onset(drawn(rng, Law.COUNTS, 200, FRESH), rng=rng) for _ in range(20)]
    loss = np.median([onset.detectable_loss for onset in fresh])
    middle = (EDGES[:-1] + EDGES[1:]) / 2
    course = 1 - loss * (middle - middle[0]) / (middle[-1] - middle[0])
    seen = [
        estimate_onset(drawn(rng, Law.COUNTS, 200, course), rng=rng).frames < 30 for _ in range(200)
    ]
    # Also an earlier stretch may show it by chance.
    assert 0.45 <= np.mean(seen) <= 0.68
    assert "would be seen in at least half of such series: use all 30 frames" in next(
        onset.sentence for onset in fresh if onset.frames == 30
    )


@pytest.mark.parametrize(
    ("signal", "assessment", "said"),
    [
        ([30.0], "unusable", "has one exposure and no series"),
        ([0.0] * 6, "too_few_electrons", "does not rise above its noise"),
        ([2.0, 1.0, 3.0, 2.0, 2.0, 1.0], "too_few_electrons", "even the loss of all"),
    ],
)
def test_a_poor_series_says_nothing_of_its_onset(signal, assessment, said, rng):
    edges = np.linspace(0, 10, len(signal) + 1)
    onset = estimate_onset(
        FadingSeries(
            signal=signal, before_e_per_a2=edges[:-1], after_e_per_a2=edges[1:], law=Law.COUNTS
        ),
        rng=rng,
    )
    assert onset.assessment is Assessment(assessment)
    assert said in onset.sentence
    assert onset.low_e_per_a2 is None
    assert onset.frames == len(signal)


def test_a_growing_signal_is_no_damage(rng):
    onset = estimate_onset(drawn(rng, Law.COUNTS, 100, np.linspace(1, 3, 30)), rng=rng)
    assert onset.frames == 30
    assert onset.high_e_per_a2 is None


def test_the_same_seed_gives_the_same_onset():
    series = drawn(np.random.default_rng(5), Law.COUNTS, 50, np.linspace(1, 0.5, 30))
    first, second = (estimate_onset(series, rng=np.random.default_rng(6)) for _ in range(2))
    assert (first.frames, first.p_value) == (second.frames, second.p_value)


def test_confidence_and_simulations_go_together(rng):
    series = drawn(rng, Law.COUNTS, 50, FRESH)
    with pytest.raises(ParameterError, match=r"confidence is 1\.0"):
        estimate_onset(series, rng=rng, confidence=1.0)
    with pytest.raises(ParameterError, match=r"simulations is 100: expected at least 1000"):
        estimate_onset(series, rng=rng, confidence=0.99, simulations=100)

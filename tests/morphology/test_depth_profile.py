"""Shares against depth, corrected for what is not seen, and what comes first."""

import numpy as np
import pytest
from scipy.special import ndtr

from interphase.assessment import Assessment
from interphase.errors import ParameterError
from interphase.morphology import (
    DepthProfiles,
    depth_profiles,
    measure_slope,
    measure_width,
    order_of_appearance,
)

NAMES = ["Li2O", "LiF"]


def in_view(interphase: np.ndarray, *, electrode: int = 6, outside: int = 4) -> dict:
    """A map with an electrode above it and nothing below, as keyword arguments."""
    rows, columns = interphase.shape
    empty = [np.full((many, columns), -2) for many in (electrode, outside)]
    labels = np.vstack([empty[0], interphase, empty[1]])
    depth = np.tile(np.arange(len(labels))[:, None] - electrode + 0.5, (1, columns))
    return {"labels": labels, "depth_a": depth, "inside": (depth > 0) & (depth < rows)}


def profiles_of(interphase: np.ndarray, rng: np.random.Generator, **options) -> DepthProfiles:
    return depth_profiles(
        **in_view(interphase),
        **({"names": NAMES, "pixel_size_a": 1.0, "bin_a": 5.0, "rng": rng} | options),
    )


def tiles(shares: np.ndarray, rng: np.random.Generator, *, side: int = 8, columns: int = 240):
    """Labels in tiles, one bin of 5 rows deep: phase k with probability `shares[b, k]`."""
    many = columns // side + 2
    drawn = (rng.random((len(shares), many))[..., None] > np.cumsum(shares, axis=1)[:, None]).sum(
        -1
    )
    drawn[drawn == shares.shape[1]] = -1
    start = rng.integers(side)
    return np.repeat(np.repeat(drawn, side, axis=1)[:, start : start + columns], 5, axis=0)


def test_layers_are_shares_of_one_with_bands_that_touch_it(rng):
    layers = np.repeat([[0], [0], [-1], [1]], 5, axis=0) * np.ones((1, 100), dtype=int)
    found = profiles_of(layers, rng)
    assert found.depth_a.tolist() == [2.5, 7.5, 12.5, 17.5]
    assert found.seen["Li2O"].value.tolist() == [1, 1, 0, 0]
    assert found.seen["LiF"].value.tolist() == [0, 0, 0, 1]
    assert found.seen["amorphous"].value.tolist() == [0, 0, 1, 0]
    # 20 lengths without one exception: Jeffreys' bound.
    assert found.seen["Li2O"].high[0] == 1
    assert found.seen["Li2O"].low[0] == pytest.approx(1 - found.seen["Li2O"].high[2])
    assert 0.85 < found.seen["Li2O"].low[0] < 0.95


def test_shells_around_a_sphere_are_layers(rng):
    y, x = np.indices((160, 160)) - 80.0
    depth = np.hypot(y, x) - 40
    labels = np.where(depth < 10, 0, -1)
    found = depth_profiles(
        labels, names=NAMES, depth_a=depth, inside=(depth > 0) & (depth < 20),
        pixel_size_a=1.0, bin_a=5.0, rng=rng,
    )  # fmt: skip
    np.testing.assert_allclose(found.seen["Li2O"].value, [1, 1, 0, 0], atol=0.06)
    length = found.resampling.weights.shape[1]
    assert length == pytest.approx(2 * np.pi * 40, rel=0.03)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turning_the_image_changes_no_share(turns):
    view = in_view(tiles(np.array([[0.5, 0.1], [0.2, 0.3], [0.1, 0.6]]), np.random.default_rng(1)))
    turned = {name: np.rot90(values, turns) for name, values in view.items()}
    kept = {"names": NAMES, "pixel_size_a": 1.0, "bin_a": 5.0}
    first = depth_profiles(**view, **kept, rng=np.random.default_rng(2))
    second = depth_profiles(**turned, **kept, rng=np.random.default_rng(2))
    for name, band in first.seen.items():
        np.testing.assert_allclose(second.seen[name].value, band.value, atol=1e-12)
        np.testing.assert_allclose(second.seen[name].high, band.high, atol=0.04)


def test_the_unit_of_length_changes_no_share():
    view = in_view(tiles(np.array([[0.5, 0.1], [0.2, 0.3]]), np.random.default_rng(1)))
    first = depth_profiles(
        **view, names=NAMES, pixel_size_a=1.0, bin_a=5.0, rng=np.random.default_rng(2)
    )
    view["depth_a"] = view["depth_a"] * 3.7
    second = depth_profiles(
        **view, names=NAMES, pixel_size_a=3.7, bin_a=18.5, rng=np.random.default_rng(2)
    )
    np.testing.assert_allclose(second.depth_a, first.depth_a * 3.7)
    np.testing.assert_allclose(second.seen["LiF"].low, first.seen["LiF"].low, atol=1e-9)


def test_what_was_not_seen_counts_nowhere(rng):
    half = np.zeros((10, 100), dtype=int)
    half[:, ::4] = -2
    half[:, 1::4] = -1
    found = profiles_of(half, rng)
    np.testing.assert_allclose(found.seen["Li2O"].value, 2 / 3)
    np.testing.assert_allclose(found.seen_share, 3 / 4)


def test_doubt_of_a_label_goes_to_no_phase(rng):
    labels = np.zeros((10, 100), dtype=int)
    view = in_view(labels)
    found = depth_profiles(
        **view, names=NAMES, pixel_size_a=1.0, bin_a=5.0, rng=rng,
        probability=np.full(view["labels"].shape, 0.7),
    )  # fmt: skip
    np.testing.assert_allclose(found.seen["Li2O"].value, 0.7)
    np.testing.assert_allclose(found.unnamed, 0.3)
    np.testing.assert_allclose(found.seen["amorphous"].value, 0.0)


class TestRecall:
    quarter = np.tile(np.where(np.arange(200) % 20 < 5, 0, -1), (15, 1))

    def test_divides_what_was_seen_and_takes_it_from_the_amorphous(self, rng):
        given = {"Li2O": (0.5, 0.4, 0.6), "LiF": (0.5, 0.4, 0.6)}
        found = profiles_of(self.quarter, rng, recall=given)
        np.testing.assert_allclose(found.corrected["Li2O"].value, 0.5)
        np.testing.assert_allclose(found.corrected["amorphous"].value, 0.5)
        # The recall's own 20 % either way.
        assert found.corrected["Li2O"].low[0] < 0.25 / 0.6 + 0.02
        assert found.corrected["Li2O"].high[0] > 0.25 / 0.4 - 0.03
        # Of LiF, none was seen: what may be hidden is bounded by what may have been missed.
        assert found.corrected["LiF"].value[0] == 0
        assert found.corrected["LiF"].high[0] == pytest.approx(found.seen["LiF"].high[0] / 0.4)
        assert found.notes == ()

    def test_may_depend_on_depth(self, rng):
        def recall(depth_a):
            mean = np.where(depth_a < 5, 1.0, 0.5)
            return mean, 0.9 * mean, np.minimum(1.1 * mean, 1)

        found = profiles_of(self.quarter, rng, recall={"Li2O": recall, "LiF": (1.0, 1.0, 1.0)})
        np.testing.assert_allclose(found.corrected["Li2O"].value, [0.25, 0.5, 0.5])

    def test_that_asks_for_more_than_there_is_is_cut_and_said(self, rng):
        found = profiles_of(
            self.quarter, rng, recall={"Li2O": (0.2, 0.1, 0.3), "LiF": (0.5, 0.4, 0.6)}
        )
        assert found.cut.all()
        np.testing.assert_allclose(found.corrected["Li2O"].value, 1.0)
        np.testing.assert_allclose(found.corrected["amorphous"].value, 0.0, atol=1e-12)
        assert "cut to 1" in found.notes[0]
        for band in found.corrected.values():
            assert ((band.samples >= -1e-12) & (band.samples <= 1 + 1e-12)).all()

    @pytest.mark.parametrize("given", [{}, {"Li2O": (0.3, 0.0, 0.6)}])
    def test_that_is_unknown_or_may_be_nil_corrects_nothing(self, rng, given):
        found = profiles_of(self.quarter, rng, recall=given | {"LiF": (0.5, 0.4, 0.6)})
        assert np.isnan(found.corrected["Li2O"].value).all()
        assert np.isnan(found.corrected["amorphous"].value).all()
        assert "Li2O cannot be corrected at any depth" in found.notes[0]

    def test_is_between_0_and_1(self, rng):
        with pytest.raises(ParameterError, match=r"recall of Li2O is \(0.5, .*low <= mean"):
            profiles_of(self.quarter, rng, recall={"Li2O": (0.5, 0.6, 0.7)})

    def test_carries_its_uncertainty(self):
        """Tiles seen with a recall that is itself drawn: 95 % of intervals hold the truth."""
        held = []
        rng = np.random.default_rng(11)
        truth = np.array([[0.3, 0.1], [0.5, 0.0]])
        for _ in range(100):
            recall = 0.6 * np.exp(rng.normal(0, 0.1))
            seen = tiles(truth * recall, rng)
            limits = (0.6, 0.6 * np.exp(-0.196), 0.6 * np.exp(0.196))
            found = profiles_of(seen, rng, recall=dict.fromkeys(NAMES, limits), replicates=200)
            for name, share in {"Li2O": truth[:, 0], "amorphous": 1 - truth.sum(axis=1)}.items():
                band = found.corrected[name]
                held.append((band.low <= share) & (share <= band.high))
        assert 0.90 <= np.mean(held) <= 0.98


def test_bands_hold_the_truth(rng):
    truth = np.array([[0.6, 0.1], [0.3, 0.3], [0.05, 0.5]])
    held = []
    for _ in range(100):
        found = profiles_of(tiles(truth, rng), rng, replicates=200)
        for k, name in enumerate(NAMES):
            band = found.seen[name]
            held.append((band.low <= truth[:, k]) & (truth[:, k] <= band.high))
    assert 0.90 <= np.mean(held) <= 0.98


def test_a_surface_of_few_lengths_has_no_intervals(rng):
    blocks = np.repeat([[0, -1]], 10, axis=0).repeat(30, axis=1)
    found = profiles_of(blocks, rng)
    assert np.isnan(found.seen["Li2O"].low).all()
    assert "independent lengths" in found.notes[0]
    deeper = profiles_of(blocks.repeat(2, axis=0), rng)
    assert np.isnan(measure_slope(deeper, "Li2O", from_a=0, to_a=20).value)


class TestOrder:
    def test_of_layers_is_sure(self, rng):
        layers = np.repeat([[1], [1], [0], [0]], 5, axis=0) * np.ones((1, 100), dtype=int)
        order = order_of_appearance(profiles_of(layers, rng, names=["a", "b", "c"]))
        assert order.names == ("b", "a")
        assert order.left_out == ("c",)
        assert order.probability == (1.0,)
        assert order.order_probability == 1.0
        # A tenth of ten rows.
        assert [e.value for e in order.onset_a] == pytest.approx([1.0, 11.0])
        assert order.assessment is Assessment.OK

    def test_of_a_mixture_is_not(self, rng):
        mixed = np.tile(np.arange(240) // 8 % 3 - 1, (20, 1))
        order = order_of_appearance(profiles_of(mixed, rng))
        assert order.onset_a[0].value == order.onset_a[1].value
        assert 0.3 < order.probability[0] < 0.7
        assert order.assessment is Assessment.AMBIGUOUS
        assert "cannot tell which comes first" in order.sentence

    def test_goes_with_the_names(self):
        mixed = tiles(np.array([[0.5, 0.1], [0.3, 0.3], [0.1, 0.5]]), np.random.default_rng(3))
        first = order_of_appearance(profiles_of(mixed, np.random.default_rng(4)))
        swapped = np.where(mixed >= 0, 1 - mixed, mixed)
        second = order_of_appearance(
            profiles_of(swapped, np.random.default_rng(4), names=NAMES[::-1])
        )
        assert first.names == second.names == ("Li2O", "LiF")
        assert first.probability == pytest.approx(second.probability)

    def test_probability_is_calibrated_for_equal_phases(self):
        """Of two phases that are alike, neither comes first with 95 % more often than it may."""
        rng = np.random.default_rng(8)
        sure = [
            order_of_appearance(
                profiles_of(tiles(np.full((4, 2), 0.3), rng), rng, replicates=200)
            ).probability[0]
            > 0.95
            for _ in range(80)
        ]
        assert np.mean(sure) <= 0.2

    def test_needs_a_share(self, rng):
        with pytest.raises(ParameterError, match=r"onset is 1\.5"):
            order_of_appearance(profiles_of(np.zeros((10, 50), dtype=int), rng), onset=1.5)


def test_width_of_an_error_function_is_held_by_its_interval():
    """Columns end at depths that scatter by 4 Å: 10-90 % over 10.25 Å."""
    held = []
    rng = np.random.default_rng(21)
    for _ in range(20):
        ends = np.repeat(30 + rng.normal(0, 4, 75), 4)
        found = profiles_of(
            np.where(np.arange(60)[:, None] < ends, 0, -1), rng, bin_a=2.0, replicates=100
        )
        width = measure_width(found, "Li2O", blur_fwhm_a=0.0, draws=25)
        held.append(width.low <= 2 * 1.2816 * 4 <= width.high)
    assert np.mean(held) >= 0.85


def test_blur_is_taken_out_of_a_width(rng):
    depth = np.arange(60) + 0.5
    share = 1 - ndtr((depth - 30) / 5)
    lengths = (share[:, None] * 200).round() > (np.arange(200) * 79) % 200
    found = profiles_of(np.where(lengths, 0, -1), rng, bin_a=2.0)
    wide = measure_width(found, "Li2O", blur_fwhm_a=0.0, draws=20).value
    less = measure_width(found, "Li2O", blur_fwhm_a=2.3548 * 3, draws=20).value
    assert wide == pytest.approx(2 * 1.2816 * 5, rel=0.05)
    assert less == pytest.approx(2 * 1.2816 * 4, rel=0.05)


def test_slope_of_a_wedge(rng):
    wedge = np.where(np.arange(240) % 20 < np.arange(20)[:, None], 0, -1)
    slope = measure_slope(profiles_of(wedge, rng), "Li2O", from_a=0, to_a=20)
    assert slope.value == pytest.approx(1 / 20, rel=1e-6)
    assert slope.low <= 1 / 20 <= slope.high


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": np.zeros((3, 3), dtype=int)}, "have shapes"),
        ({"labels": np.zeros((20, 50))}, "labels are float64"),
        ({"labels": np.full((20, 50), 2)}, "labels go from 2 to 2 with 2 names"),
        ({"names": ["amorphous", "LiF"]}, "none of them 'amorphous'"),
        ({"bin_a": 0.0}, "bin_a is 0.0 Å"),
        ({"inside": np.zeros((20, 50), dtype=bool)}, "inside holds no pixel"),
        ({"probability": np.full((20, 50), 2.0)}, "values from 2 to 2"),
        ({"depth_a": np.zeros((20, 50))}, "has no contour"),
    ],
)
def test_maps_that_do_not_fit_are_refused(rng, change, words):
    given = in_view(np.zeros((10, 50), dtype=int))
    given |= {"names": NAMES, "pixel_size_a": 1.0, "bin_a": 5.0, "rng": rng} | change
    with pytest.raises(ParameterError, match=words):
        depth_profiles(**given)


def test_there_is_no_profile_of_what_was_not_asked_for(rng):
    with pytest.raises(ParameterError, match="no profile of 'Li3N': give one of Li2O, LiF"):
        profiles_of(np.zeros((10, 50), dtype=int), rng).band("Li3N")

"""Numbers that tell layers from a mosaic."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import ive
from scipy.stats import kstest

from interphase.assessment import Assessment
from interphase.errors import ParameterError
from interphase.morphology import (
    Crystallites,
    Descriptors,
    clark_evans,
    correlation_length,
    crystallites_from_labels,
    mean_diameter,
    mean_direction,
    measure_descriptors,
    variance_explained,
)

NAMES = ["Li2O", "LiF"]


def in_view(interphase: np.ndarray, *, electrode: int = 6, outside: int = 4) -> dict:
    """A map with an electrode above it and nothing below, as keyword arguments."""
    rows, columns = interphase.shape
    empty = [np.full((many, columns), -2) for many in (electrode, outside)]
    labels = np.vstack([empty[0], interphase, empty[1]])
    depth = np.tile(np.arange(len(labels))[:, None] - electrode + 0.5, (1, columns))
    return {"labels": labels, "depth_a": depth, "inside": (depth > 0) & (depth < rows)}


def describe(interphase: np.ndarray, rng: np.random.Generator, **options) -> Descriptors:
    given = {"names": NAMES, "pixel_size_a": 1.0, "bin_a": 5.0, "rng": rng, "replicates": 200}
    return measure_descriptors(**(in_view(interphase) | given | options))


def mosaic(
    rng: np.random.Generator,
    *,
    shape: tuple[int, int] = (40, 240),
    diameter: float = 10.0,
    fill: float = 0.35,
    share: object = lambda depth: 0.5,
) -> np.ndarray:
    """Discs of two phases in a glass, around the ends of depth; `share(depth)` of the first."""
    rows, columns = shape
    labels = np.full(shape, -1)
    y, x = np.indices(shape)
    wide = columns + 2 * diameter
    for _ in range(rng.poisson(rows * wide * fill / (np.pi * diameter**2 / 4))):
        row, column = rng.uniform(0, rows), rng.uniform(-diameter, columns + diameter)
        off = np.abs(y - row)
        there = np.minimum(off, rows - off) ** 2 + (x - column) ** 2 < diameter**2 / 4
        labels[there] = int(rng.random() > share(row / rows))
    return labels


def tiles(shares: np.ndarray, rng: np.random.Generator, *, side: int = 8, columns: int = 240):
    """Labels in tiles, one bin of 5 rows deep: phase k with probability `shares[b, k]`."""
    many = columns // side + 2
    drawn = (rng.random((len(shares), many))[..., None] > np.cumsum(shares, axis=1)[:, None]).sum(
        -1
    )
    drawn[drawn == shares.shape[1]] = -1
    start = rng.integers(side)
    return np.repeat(np.repeat(drawn, side, axis=1)[:, start : start + columns], 5, axis=0)


def architecture(kind: str, seed: int) -> Descriptors:
    """Descriptors of the true labels of a simulated interphase, flat and edge-on."""
    from interphase.simulation.models.architectures import sample_interphase
    from interphase.simulation.models.interphases import build_interphase
    from interphase.simulation.models.truth import interphase_truth

    recipe = replace(
        sample_interphase(kind, np.random.default_rng(seed)),
        foil_thickness_a=60.0, length_a=300.0, radius_a=None, tilt_deg=0.0, roughness=(),
        unevenness=(), electrode_width_a=20.0, outside_width_a=20.0, outside="vacuum",
    )  # fmt: skip
    model = build_interphase(recipe)
    pixel_size_a = 3.0
    shape = tuple(int(extent / pixel_size_a) for extent in model.field_a)
    truth = interphase_truth(model, pixel_size_a=pixel_size_a, shape=shape)
    names = sorted({c.phase for c in truth.crystallites})
    shares = np.stack([np.full(shape, 0.25), *(truth.projected_fraction(n) for n in names)])
    return measure_descriptors(
        shares.argmax(axis=0) - 1, names=names, depth_a=truth.depth_a,
        inside=(truth.depth_a > 0) & (truth.depth_a < recipe.thickness_a),
        pixel_size_a=pixel_size_a, bin_a=10.0, rng=np.random.default_rng(seed),
    )  # fmt: skip


def drawn_crystallites(diameter: np.ndarray) -> Crystallites:
    n = len(diameter)
    return Crystallites(
        centre_a=np.zeros((n, 2)),
        area_a2=np.pi * diameter**2 / 4,
        phase=np.zeros(n, dtype=int),
        at_edge=np.zeros(n, dtype=bool),
    )


class TestVarianceExplained:
    @given(arrays(int, (6, 4), elements=st.integers(0, 50)))
    def test_is_the_ordinary_share_of_one_hot_vectors(self, counts):
        group, kind = np.indices(counts.shape)
        groups, kinds = (
            np.repeat(group.ravel(), counts.ravel()),
            np.repeat(kind.ravel(), counts.ravel()),
        )
        found = variance_explained(counts)
        if len(np.unique(kinds)) < 2:
            assert np.isnan(found)
            return
        one_hot = np.eye(4)[kinds]
        means = np.array([one_hot[groups == g].mean(axis=0) for g in groups])
        assert found == pytest.approx(means.var(axis=0).sum() / one_hot.var(axis=0).sum(), abs=1e-9)

    @given(arrays(int, (5, 3), elements=st.integers(0, 50)), st.permutations(range(3)))
    def test_does_not_depend_on_names(self, counts, order):
        np.testing.assert_allclose(
            variance_explained(counts), variance_explained(counts[:, order]), atol=1e-12
        )


class TestLayering:
    def test_of_layers_is_one(self, rng):
        layers = np.repeat([[0], [0], [-1], [1]], 5, axis=0) * np.ones((1, 200), dtype=int)
        found = describe(layers, rng)
        assert found.eta_squared.value == pytest.approx(1.0)
        assert found.eta_squared.p_value == 1 / 200
        assert found.layering.value == pytest.approx(1.0)
        assert found.assessment is Assessment.OK

    def test_of_columns_is_nil(self, rng):
        columns = np.tile(np.arange(200) // 10 % 3 - 1, (20, 1))
        found = describe(columns, rng)
        assert found.eta_squared_seen == pytest.approx(0.0, abs=1e-12)
        assert found.eta_squared.value == 0.0
        assert found.eta_squared.p_value == 1.0

    def test_of_a_checkerboard_is_nil(self, rng):
        board = np.add.outer(np.arange(20) // 5, np.arange(200) // 5) % 2
        found = describe(board, rng)
        assert found.eta_squared_seen == pytest.approx(0.0, abs=1e-12)
        assert found.eta_squared.p_value == 1.0

    def test_p_values_of_mosaics_are_even_and_the_value_is_nil_on_average(self):
        rng = np.random.default_rng(5)
        found = [describe(mosaic(rng), rng, replicates=50) for _ in range(50)]
        p_values = [f.eta_squared.p_value for f in found]
        assert kstest(p_values, "uniform").pvalue > 0.01
        bare = [(f.eta_squared_seen - f.eta_squared_chance) for f in found]
        assert abs(np.mean(bare)) < 3 * np.std(bare) / np.sqrt(50)
        assert np.mean([f.eta_squared.low == 0 for f in found]) >= 0.95

    def test_goes_down_from_layers_by_layered_mosaic_to_mosaic(self, rng):
        layers = np.repeat([[0], [0], [0], [0], [-1], [-1], [1], [1]], 5, axis=0)
        found = [
            describe(labels, rng)
            for labels in (
                layers * np.ones((1, 240), dtype=int),
                mosaic(rng, share=lambda depth: float(depth < 0.5)),
                mosaic(rng),
            )
        ]
        layering = [f.layering.value for f in found]
        assert layering[0] > layering[1] + 0.1 > layering[2] + 0.3
        # In a glass, depth explains little of what is crystalline and much of which crystal it is.
        assert found[1].eta_squared.value < 0.3 < found[1].eta_squared_of_crystals.low

    def test_of_the_architectures_of_the_simulation(self):
        """The real shapes, thin enough that a place shows one phase."""
        kinds = ("layered", "graded-mosaic", "mosaic", "amorphous")
        layers, graded, mosaic_, glass = (architecture(kind, 12) for kind in kinds)
        assert layers.layering.value > graded.layering.value + 0.5
        assert graded.layering.value > mosaic_.layering.value
        assert np.isnan(glass.layering.value)
        assert glass.crystallinity.value == 0.0
        assert glass.crystallinity.high < min(
            other.crystallinity.low for other in (layers, graded, mosaic_)
        )

    def test_of_one_phase_is_no_number(self, rng):
        found = describe(np.zeros((20, 100), dtype=int), rng)
        assert np.isnan(found.layering.value)
        assert "one phase is all there is" in found.layering.reason
        assert found.crystallinity.value == 1.0
        assert found.assessment is Assessment.AMBIGUOUS


def test_a_glass_with_a_few_crystallites_is_low_in_crystallinity(rng):
    glass, crystals = (describe(mosaic(rng, fill=f), rng) for f in (0.02, 1.0))
    assert glass.crystallinity.high < 0.1 < 0.5 < crystals.crystallinity.low
    assert glass.amorphous_fraction.value == pytest.approx(1 - glass.crystallinity.value)


class TestIntervalsOfTiles:
    """Independent tiles of 8 Å with known shares at each depth, 100 draws."""

    shares = np.array([[0.7, 0.1], [0.5, 0.2], [0.2, 0.5], [0.05, 0.6]])

    @pytest.fixture(scope="class")
    @classmethod
    def found(cls) -> list[Descriptors]:
        rng = np.random.default_rng(6)
        return [
            describe(tiles(cls.shares, rng), rng, crystallites=cls.spots(rng)) for _ in range(100)
        ]

    @staticmethod
    def spots(rng: np.random.Generator) -> Crystallites:
        """30 on average, at random over 20 Å × 240 Å."""
        n = rng.poisson(30)
        return replace(
            drawn_crystallites(np.full(n, 3.0)), centre_a=rng.uniform([6, 0], [26, 239], (n, 2))
        )

    def test_of_number_density_hold_the_truth(self, found):
        each = [f.number_density_per_nm2 for f in found]
        assert 0.90 <= np.mean([e.low <= 30 / 48 <= e.high for e in each]) <= 0.98

    def test_of_eta_squared_hold_the_truth(self, found):
        truth = variance_explained(np.column_stack([self.shares, 1 - self.shares.sum(axis=1)]))
        each = [f.eta_squared for f in found]
        assert 0.90 <= np.mean([e.low <= truth <= e.high for e in each]) <= 0.98
        assert np.mean([e.value for e in each]) == pytest.approx(truth, rel=0.05)

    def test_of_the_amorphous_share_hold_the_truth(self, found):
        truth = 1 - self.shares.sum(axis=1).mean()
        each = [f.amorphous_fraction for f in found]
        assert 0.90 <= np.mean([e.low <= truth <= e.high for e in each]) <= 0.98

    def test_of_coverage_hold_the_truth(self, found):
        for k, name in enumerate(NAMES):
            truth = 1 - (1 - self.shares[:, k]).prod()
            each = [f.coverage[name] for f in found]
            assert 0.90 <= np.mean([e.low <= truth <= e.high for e in each]) <= 0.98
            at_depth = np.array([f.coverage_at_depth[name] for f in found])
            held = (at_depth[:, 1] <= self.shares[:, k]) & (self.shares[:, k] <= at_depth[:, 2])
            assert 0.90 <= held.mean() <= 0.98


def test_recall_raises_crystallinity(rng):
    labels = np.tile(np.where(np.arange(200) % 20 < 5, 0, -1), (15, 1))
    given = {"Li2O": (0.5, 0.4, 0.6), "LiF": (0.5, 0.4, 0.6)}
    assert describe(labels, rng).crystallinity.value == pytest.approx(0.25)
    assert describe(labels, rng, recall=given).crystallinity.value == pytest.approx(0.5)
    assert np.isnan(describe(labels, rng, recall={"LiF": (0.5, 0.4, 0.6)}).crystallinity.value)


class TestCorrelation:
    def test_of_tiles_falls_on_a_line(self, rng):
        """Independent tiles of side g: 1 - lag/g, 1/e at (1 - 1/e) g; here seen along both ways."""
        drawn = rng.integers(2, size=(20, 60)) - 1
        found = describe(drawn.repeat(8, axis=0).repeat(8, axis=1), rng)
        expected = 8 * (1 - np.exp(-1))
        assert found.correlation_along_a.value == pytest.approx(expected, rel=0.1)
        assert found.correlation_across_a.value == pytest.approx(expected, rel=0.1)
        assert found.anisotropy.low < 1 < found.anisotropy.high

    def test_of_tiles_is_held_by_its_interval(self):
        rng = np.random.default_rng(9)
        held = []
        for _ in range(40):
            drawn = rng.integers(2, size=(10, 32)).repeat(8, axis=0).repeat(8, axis=1)
            at = rng.integers(8, size=2)
            found = describe(drawn[at[0] :, at[1] :][:60, :240] - 1, rng)
            held.append(found.correlation_along_a.low <= 5.06 <= found.correlation_along_a.high)
        assert np.mean(held) >= 0.9

    def test_along_layers_has_no_end(self, rng):
        layers = np.repeat([[0], [-1]] * 4, 5, axis=0) * np.ones((1, 200), dtype=int)
        found = describe(layers, rng)
        assert found.correlation_along_a.value == 99.0
        assert found.correlation_along_a.high == np.inf
        assert "at least 99 Å" in found.correlation_along_a.reason
        assert found.anisotropy.value > 20
        assert found.anisotropy.high == np.inf

    def test_length_is_infinite_where_nothing_falls(self):
        assert correlation_length(np.array([1.0, 0.9]), step_a=1.0) == np.inf


def test_descriptors_do_not_depend_on_turn_names_or_unit():
    labels = mosaic(np.random.default_rng(1), share=lambda depth: depth)
    first = describe(labels, np.random.default_rng(2))
    view = in_view(labels)
    turned = measure_descriptors(
        **{name: np.rot90(v) for name, v in view.items()}, names=NAMES, pixel_size_a=1.0,
        bin_a=5.0, rng=np.random.default_rng(2), replicates=200,
    )  # fmt: skip
    renamed = describe(np.where(labels >= 0, 1 - labels, labels), np.random.default_rng(2))
    larger = describe(
        labels, np.random.default_rng(2),
        depth_a=2.5 * view["depth_a"], pixel_size_a=2.5, bin_a=12.5,
    )  # fmt: skip
    unit = {"correlation_along_a": 2.5, "correlation_across_a": 2.5, "diameter_a": 2.5}
    unit["number_density_per_nm2"] = 1 / 2.5**2
    for name, value in first.table().items():
        if name == "texture":
            continue
        # What chance explains is drawn anew where columns come in another order.
        loose = {"eta_squared": 0.01, "layering": 0.01, "clark_evans": 0.03}.get(name, 1e-9)
        assert turned.table()[name].value == pytest.approx(value.value, rel=1e-9, abs=loose), name
        assert renamed.table()[name].value == pytest.approx(value.value, rel=1e-9, abs=loose), name
        scale = unit.get(name, 1.0)
        assert larger.table()[name].value == pytest.approx(scale * value.value, rel=1e-6), name
    assert renamed.coverage["LiF"].value == first.coverage["Li2O"].value


class TestCoverage:
    def test_of_layers_is_one_where_they_are(self, rng):
        layers = np.repeat([[0], [-1]], 5, axis=0) * np.ones((1, 100), dtype=int)
        found = describe(layers, rng)
        assert found.coverage["Li2O"].value == 1.0
        assert found.coverage["LiF"].value == 0.0
        assert found.coverage_at_depth["Li2O"][0].tolist() == [1.0, 0.0]

    def test_counts_a_column_once(self, rng):
        spots = np.full((10, 100), -1)
        spots[2, ::4] = 0
        spots[7, ::2] = 0
        found = describe(spots, rng)
        assert found.coverage["Li2O"].value == 0.5
        assert found.coverage_at_depth["Li2O"][0].tolist() == [0.25, 0.5]


class TestCrystallites:
    def test_of_a_map(self, rng):
        labels = np.full((30, 100), -1)
        y, x = np.indices(labels.shape)
        for n, column in enumerate((0, 20, 40, 60, 80)):
            labels[(y - 15) ** 2 + (x - column) ** 2 < 36] = n % 2
        found = crystallites_from_labels(
            labels, inside=np.ones(labels.shape, dtype=bool), pixel_size_a=0.5
        )
        assert len(found.area_a2) == 5
        assert found.at_edge.sum() == 1
        np.testing.assert_allclose(found.diameter_a[~found.at_edge], 6.0, rtol=0.02)
        assert found.centre_a[1].tolist() == [7.5, 20.0]
        # Four whole ones and the half of one that two images share.
        density = describe(labels, rng).number_density_per_nm2
        assert density.value == pytest.approx(4.5 / (3000 / 100))

    @pytest.mark.parametrize("n", [12, 40])
    def test_mean_diameter_is_held_by_its_interval(self, n):
        rng = np.random.default_rng(13)
        truth = 30 * np.exp(3.5 * 0.3**2)
        found = [
            mean_diameter(
                drawn_crystallites(rng.lognormal(np.log(30), 0.3, n)), length_a=1e9, rng=rng
            )
            for _ in range(200)
        ]
        assert 0.90 <= np.mean([e.low <= truth <= e.high for e in found]) <= 0.98

    def test_mean_diameter_is_freed_of_what_the_frame_cuts(self):
        """Sizes in a strip of 100 Å, as far as they lie in it whole."""
        rng = np.random.default_rng(14)
        diameter = rng.lognormal(np.log(20), 0.25, 60_000)
        at = rng.uniform(-100, 200, len(diameter))
        near = (at + diameter / 2 > 0) & (at - diameter / 2 < 100)
        cut = (at - diameter / 2 < 0) | (at + diameter / 2 > 100)
        seen = replace(drawn_crystallites(diameter[near]), at_edge=cut[near])
        truth = 20 * np.exp(3.5 * 0.25**2)
        assert mean_diameter(seen, length_a=100.0, rng=rng).value == pytest.approx(truth, rel=0.01)
        biased = mean_diameter(seen, length_a=1e9, rng=rng).value
        assert biased < 0.98 * truth

    def test_too_few_have_no_mean(self, rng):
        assert "4 whole crystallites" in mean_diameter(
            drawn_crystallites(np.full(4, 3.0)), length_a=100.0, rng=rng
        ).reason  # fmt: skip

    def test_fields_must_fit(self):
        with pytest.raises(ParameterError, match=r"phase of 5 crystallites has shape \(4,\)"):
            replace(drawn_crystallites(np.full(5, 3.0)), phase=np.zeros(4))
        with pytest.raises(ParameterError, match="area_a2 goes down to 0"):
            drawn_crystallites(np.array([1.0, 0.0]))


class TestNearestNeighbours:
    field = np.ones((40, 200), dtype=bool)

    def at_random(self, rng, n=25):
        return rng.uniform([-0.5, -0.5], [39.5, 199.5], (n, 2))

    def test_at_random_are_at_one_with_even_p_values(self):
        rng = np.random.default_rng(16)
        found = [
            clark_evans(self.at_random(rng), inside=self.field, pixel_size_a=1.0, rng=rng)
            for _ in range(100)
        ]
        assert 0.90 <= np.mean([e.low <= 1 <= e.high for e in found]) <= 0.99
        assert np.mean([e.value for e in found]) == pytest.approx(1.0, abs=0.03)
        assert kstest([e.p_value for e in found], "uniform").pvalue > 0.01

    def test_of_a_large_field_agree_with_the_formula(self, rng):
        """Expected distance 1 / (2 √density), edges apart."""
        points = np.stack(np.meshgrid(*[np.arange(30) * 10.0 + 5] * 2), axis=-1).reshape(-1, 2)
        field = np.ones((300, 300), dtype=bool)
        square = clark_evans(points, inside=field, pixel_size_a=1.0, rng=rng, simulations=50)
        assert square.value == pytest.approx(2.0, rel=0.04)
        assert square.p_value < 0.05

    def test_of_clusters_are_below_one(self, rng):
        pairs = np.repeat(self.at_random(rng, 15), 2, axis=0)
        pairs[::2] += 1.0
        found = clark_evans(pairs.clip(0, 199), inside=self.field, pixel_size_a=1.0, rng=rng)
        assert found.high < 1
        assert found.p_value < 0.05

    def test_need_five(self, rng):
        few = clark_evans(np.zeros((4, 2)), inside=self.field, pixel_size_a=1.0, rng=rng)
        assert np.isnan(few.value)
        assert "4 crystallites" in few.reason


class TestTexture:
    @pytest.mark.parametrize("kappa", [0.0, 2.0])
    def test_length_is_held_by_its_interval(self, kappa):
        rng = np.random.default_rng(17)
        truth = ive(1, kappa) / ive(0, kappa)
        found = []
        for _ in range(60):
            turned = rng.vonmises(0, kappa, 20) if kappa else rng.uniform(-np.pi, np.pi, 20)
            found.append(mean_direction(np.rad2deg(turned) / 2, rng=rng)[0])
        assert 0.90 <= np.mean([e.low <= truth <= e.high for e in found])
        if kappa == 0:
            assert kstest([e.p_value for e in found], "uniform").pvalue > 0.01

    @pytest.mark.parametrize(("fold", "same"), [(2, 180.0), (4, 90.0)])
    def test_directions_that_mean_the_same_are_the_same(self, rng, fold, same):
        angle = 20 + same * rng.integers(-2, 3, 12)
        length, direction = mean_direction(angle, rng=rng, fold=fold)
        assert length.value == pytest.approx(1.0)
        assert direction == pytest.approx(20.0)

    @pytest.mark.parametrize("turns", range(4))
    def test_is_measured_from_the_normal_wherever_it_points(self, rng, turns):
        """Lattice vectors at 25° to a normal that turns with the image."""
        view = {k: np.rot90(v, turns) for k, v in in_view(mosaic(rng, shape=(20, 100))).items()}
        normal = 90.0 - 90.0 * turns
        pixels = np.argwhere(view["inside"])[::97].astype(float)
        crystals = replace(
            drawn_crystallites(np.full(len(pixels), 3.0)),
            centre_a=pixels,
            angle_deg=np.full(len(pixels), normal + 25.0),
        )
        found = measure_descriptors(
            **view, names=NAMES, pixel_size_a=1.0, bin_a=5.0, rng=rng, crystallites=crystals,
            replicates=50,
        )  # fmt: skip
        assert found.texture.value == pytest.approx(1.0)
        assert found.texture_deg == pytest.approx(25.0)

    def test_without_directions_is_no_number(self, rng):
        found = describe(mosaic(rng), rng)
        assert np.isnan(found.texture.value)
        assert "no directions" in found.texture.reason

    def test_needs_a_fold(self, rng):
        with pytest.raises(ParameterError, match="fold is 0"):
            mean_direction(np.zeros(9), rng=rng, fold=0)


@pytest.mark.parametrize("fill", [-2, None])
def test_nothing_seen_is_a_reason_for_every_number(rng, fill):
    labels = np.full((20, 50), -2)
    options = {} if fill else {"inside": np.zeros((30, 50), dtype=bool)}
    found = describe(labels, rng, **options)
    assert found.assessment is Assessment.UNUSABLE
    for value in found.table().values():
        assert np.isnan(value.value)
        assert value.reason


def test_a_short_surface_has_numbers_without_intervals(rng):
    found = describe(mosaic(rng, shape=(30, 12), diameter=10, fill=1.0), rng)
    assert np.isfinite(found.layering.value)
    assert np.isnan(found.layering.low)
    assert "independent lengths" in found.layering.reason
    assert found.assessment is Assessment.AMBIGUOUS

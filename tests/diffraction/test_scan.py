"""Scans of patterns: crystals where they are, nothing where nothing is, whatever the chunks."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage, stats
from scipy.spatial.transform import Rotation

from interphase.assessment import Assessment
from interphase.diffraction import Options, identify_scan, misorientation_deg
from interphase.diffraction.scan import _pair_tail, _speckle_tail, log_tail
from interphase.electron import wavelength_from_energy
from interphase.errors import ParameterError
from interphase.phases import candidates, load_phase, point_group_rotations, reflections

STEP, KEV = 0.016, 300.0
CANDIDATES = candidates("Li,Li2O,LiF,Li2CO3,LiOH")
SETTINGS = {"reciprocal_pixel_size_per_a": STEP, "candidates": CANDIDATES, "beam_energy_kev": KEV}


def disc(y, x, radius=2.2):
    """Return a soft disc of sum 1 about the origin of two arrays of coordinates."""
    shape = 1 / (1 + np.exp(np.minimum(3 * (np.hypot(y, x) - radius), 50)))
    return shape / shape.sum()


def amorphous(y, x, *, speckle=0.0, alike=False, rng=None):
    """Return the halo of a film, of sum 1, with speckle as wide as the beam's disc.

    The speckle is that of a thick film, or, alike at k and -k, that of a weak phase object.
    """
    k = np.hypot(y, x) * STEP
    halo = np.exp(-k / 0.12) + 0.5 * np.exp(-(((k - 0.4) / 0.08) ** 2))
    if speckle:
        waves = ndimage.gaussian_filter(rng.standard_normal((2, *k.shape)), (0, 2.2, 2.2))
        if alike:
            waves = waves + np.roll(waves[:, ::-1, ::-1], 1, axis=(1, 2))
        grains = (waves**2).sum(axis=0)
        halo *= 1 - speckle + speckle * grains / grains.mean()
    return halo / halo.sum()


def film_scan(rng, shape, *, size=64, electrons=4000, **film):
    """Return counts of a scan over a film, a quarter of the beam in its halo."""
    y, x = np.indices((size, size)) - size // 2
    mean = np.stack(
        [0.75 * disc(y, x) + 0.25 * amorphous(y, x, rng=rng, **film) for _ in range(np.prod(shape))]
    )
    return rng.poisson(electrons * mean).reshape(*shape, size, size).astype(np.uint16)


@pytest.fixture(scope="module")
def two_crystals():
    """Counts of a scan with two crystals in a film and a drifting centre, and the truth."""
    rng = np.random.default_rng(4)
    rows, columns, size = 7, 12, 128
    placed = {}
    labels = np.zeros((rows, columns), dtype=int)
    row, column = np.indices(labels.shape)
    for number, (name, at, seed) in enumerate((("Li2O", (3, 3), 3), ("Li2CO3", (3, 9), 0)), 1):
        table = reflections(load_phase(name), d_min_a=1.2)
        turns = Rotation.random(200, random_state=np.random.default_rng(seed)).as_matrix()
        for turn in turns:
            g = table.g_per_a @ turn.T
            excitation = g[:, 2] + wavelength_from_energy(KEV) / 2 * (g**2).sum(axis=1)
            share = table.relative * np.exp(-2.08 * (excitation * 25.0) ** 2)
            seen = share > 0.02
            if seen.sum() >= 8 and np.linalg.svd(g[seen, :2])[1][1] > 0.4:
                break
        else:
            pytest.fail("no orientation shows enough spots")
        placed[number] = (name, turn, g[seen, 1::-1], share[seen] / share[seen].sum())
        labels[np.hypot(row - at[0], column - at[1]) < 2.5] = number
    y, x = np.indices((size, size))
    counts = np.empty((rows, columns, size, size), dtype=np.uint16)
    centres = np.empty((rows, columns, 2))
    for i, j in np.ndindex(rows, columns):
        centre = centres[i, j] = size / 2 + np.array([0.3 * i, -0.2 * j])
        dy, dx = y - centre[0], x - centre[1]
        mean = 0.65 * disc(dy, dx) + 0.2 * amorphous(dy, dx)
        if labels[i, j]:
            for k, share in zip(*placed[labels[i, j]][2:], strict=True):
                mean += 0.15 * share * disc(dy - k[0] / STEP, dx - k[1] / STEP)
        counts[i, j] = rng.poisson(2e4 * mean)
    return counts, labels, placed, centres


@pytest.fixture(scope="module")
def mapped(two_crystals):
    return identify_scan(two_crystals[0], **SETTINGS, scan_step_a=25.0)


def test_crystals_are_named_where_they_are(two_crystals, mapped):
    _, labels, placed, _ = two_crystals
    regions = mapped.phases.regions
    assert sorted(region.phase for region in regions) == ["Li2CO3", "Li2O"]
    for number, (name, *_) in placed.items():
        (index,) = (i for i, region in enumerate(regions) if region.phase == name)
        there = mapped.phases.labels == index + 1
        assert (there == (labels == number)).mean() > 0.97
        y, x = (axis.mean() * 25.0 for axis in np.nonzero(labels == number))
        assert regions[index].centre_a == pytest.approx((y, x), abs=15)
        assert regions[index].area_a2 == pytest.approx((labels == number).sum() * 625, rel=0.1)
    assert mapped.assessment.answered
    assert mapped.phases.area_fraction["none"] == pytest.approx((labels == 0).mean(), abs=0.03)


def test_orientations_are_mapped(two_crystals, mapped):
    _, labels, placed, _ = two_crystals
    for number, (name, turn, *_) in placed.items():
        (one,) = (o for o in mapped.orientations if o is not None and o.phase == name)
        symmetry = point_group_rotations(load_phase(name))
        assert misorientation_deg(one.rotation, turn, symmetry) < 2.0
        inside = ndimage.binary_erosion(labels == number)
        np.testing.assert_allclose(
            mapped.rotation[inside], one.rotation[None].repeat(inside.sum(), 0)
        )
    assert np.isnan(mapped.rotation[mapped.phases.labels == 0]).all()


def test_the_centre_is_followed(two_crystals, mapped):
    off = mapped.centre_px - two_crystals[3]
    assert np.abs(off).max() < 0.1


def test_the_amorphous_fraction_is_what_is_in_no_spot(two_crystals, mapped):
    labels = two_crystals[1]
    fraction = mapped.amorphous_fraction
    assert np.nanmean(fraction[labels == 0]) > 0.99
    # A part of the halo lies within the range that is searched, and weak spots are not found.
    y, x = np.indices((128, 128)) - 64
    k = np.hypot(y, x) * STEP
    searched = (k > 1 / 6) & (k < 1 / 1.2)
    diffuse = 0.2 * amorphous(y, x)[searched].sum()
    expected = diffuse / (diffuse + 0.15)
    for number in (1, 2):
        assert expected - 0.02 < np.mean(fraction[labels == number]) < expected + 0.08
    assert (mapped.amorphous_fraction_sigma < 0.02).all()
    assert mapped.scattered_share[labels > 0].min() > mapped.scattered_share[labels == 0].max()


def test_any_chunks_give_the_same_map(two_crystals, mapped):
    import dask.array

    lazy = dask.array.from_array(two_crystals[0], chunks=(3, 5, 128, 64))
    again = identify_scan(lazy, **SETTINGS, scan_step_a=25.0)
    np.testing.assert_array_equal(again.phases.labels, mapped.phases.labels)
    np.testing.assert_allclose(again.p_value, mapped.p_value, rtol=1e-6)
    assert [r.phase for r in again.phases.regions] == [r.phase for r in mapped.phases.regions]


def test_without_energy_and_step_there_are_phases_but_no_orientations(two_crystals):
    part = two_crystals[0][2:5, 2:5]
    found = identify_scan(part, reciprocal_pixel_size_per_a=STEP, candidates=CANDIDATES)
    assert [region.phase for region in found.phases.regions] == ["Li2O"]
    assert found.orientations == (None,)
    assert found.phases.regions[0].centre_a is None


@pytest.mark.parametrize("electrons", [400, 4000, 40000])
@pytest.mark.parametrize(
    ("speckle", "alike"),
    [(0.0, False), (0.3, True), (1.0, False), (1.0, True)],
)
def test_films_with_and_without_speckle_show_no_crystals(speckle, alike, electrons):
    """In at most a tenth of scans at a rate of 0.1, with room for chance: 12 scans of 25 places."""
    options = Options(false_alarm=0.1)
    wrong = 0
    for seed in range(12):
        rng = np.random.default_rng((int(10 * speckle), electrons, seed))
        counts = film_scan(rng, (5, 5), speckle=speckle, alike=alike, electrons=electrons)
        wrong += bool(identify_scan(counts, **SETTINGS, options=options).phases.regions)
    # P(more than 4 of 12 at 0.1) is 0.004.
    assert wrong <= 4


@pytest.mark.parametrize("alike", [False, True])
def test_pairs_of_speckles_are_as_rare_as_stated(alike):
    """No level is reached more often than its share of the places, mates alike or independent."""
    rng = np.random.default_rng(5)
    n, smooth, grain = 200_000, 4.0, 3.0
    intensity = rng.exponential(size=(n, 2))
    if alike:
        intensity[:, 1] = intensity[:, 0]
    counts = rng.poisson(smooth + grain * intensity).ravel()
    mean = np.full(2 * n, smooth + grain)
    electrons = np.stack([counts, mean, mean + grain**2], axis=1)
    mate = np.arange(2 * n) ^ 1
    grains = np.full(2 * n, 1e9)
    chance = np.exp(_pair_tail(electrons, grains, _speckle_tail(electrons, grains), mate))[::2]
    for level in (0.1, 0.01, 1e-3):
        # Two places a pair, so twice the chance of each; four standard deviations of counting.
        assert (chance <= level).mean() < 2 * level + 4 * np.sqrt(2 * level / n)
    if alike:
        assert (chance <= 0.01).mean() > 0.005


def test_few_electrons_are_no_spots():
    found = identify_scan(film_scan(np.random.default_rng(1), (6, 6), electrons=60), **SETTINGS)
    assert found.assessment is Assessment.NO_PERIODICITY
    assert found.phases.regions == ()
    assert np.isnan(found.amorphous_fraction).any()
    assert found.phases.area_fraction == {"none": 1.0}


def test_hot_pixels_and_cosmic_rays_are_no_spots():
    rng = np.random.default_rng(2)
    counts = film_scan(rng, (5, 5))
    counts[:, :, 20, 45] = 4000
    for i, j in np.ndindex(5, 5):
        for _ in range(2):
            counts[i, j, *rng.integers(5, 59, 2)] += 900
    assert identify_scan(counts, **SETTINGS).phases.regions == ()


def test_the_tail_is_that_of_poisson_and_geometric_numbers_together():
    n = np.arange(1, 40.0)
    mean = np.full_like(n, 9.0)
    np.testing.assert_allclose(
        log_tail(n, mean, mean), stats.poisson.logsf(n - 1, 9.0), rtol=1e-4, atol=1e-5
    )
    for speckle in (0.5, 2.0, 9.0):
        numbers = np.arange(3000)
        smooth = stats.poisson.pmf(numbers, 9.0 - speckle)
        grains = stats.geom.pmf(numbers + 1, 1 / (1 + speckle))
        together = np.convolve(smooth, grains)[: len(numbers)]
        expected = np.log(together[::-1].cumsum()[::-1][1:40])
        got = log_tail(n, mean, mean + speckle**2)
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)
    assert log_tail(np.array([1e6]), np.ones(1), np.ones(1))[0] == -690


def test_memory_is_that_of_a_chunk():
    """150 MB of patterns, lazily, in 90 MB above what the program takes anyway."""
    code = """
import resource
import numpy as np
import dask.array
from interphase.diffraction import identify_scan
from interphase.phases import candidates
y, x = np.indices((256, 256)) - 128
beam = 1000.0 * (np.hypot(y, x) < 3) + 20 * np.exp(-np.hypot(y, x) / 30)
pattern = np.random.default_rng(0).poisson(beam).astype(np.float32)
options = dict(reciprocal_pixel_size_per_a=0.01, candidates=candidates("LiF"))
identify_scan(np.tile(pattern, (1, 2, 1, 1)), **options)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
scan = dask.array.broadcast_to(pattern, (24, 24, 256, 256), chunks=(5, 5, 256, 256))
with __import__("dask").config.set(scheduler="synchronous"):
    found = identify_scan(scan, **options)
assert found.phases.labels.shape == (24, 24)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 90


@pytest.mark.parametrize(
    ("data", "assessment"),
    [
        (np.zeros((2, 2, 64, 64)), Assessment.UNUSABLE),
        (np.full((2, 2, 64, 64), np.nan), Assessment.UNUSABLE),
        (np.ones((3, 3, 16, 16)), Assessment.UNUSABLE),
    ],
)
def test_what_cannot_be_looked_at_says_so(data, assessment):
    found = identify_scan(data, **SETTINGS)
    assert found.assessment is assessment
    assert found.sentence.endswith(".")


def test_patterns_that_end_before_the_first_spacing_say_so():
    counts = film_scan(np.random.default_rng(3), (2, 2))
    found = identify_scan(counts, reciprocal_pixel_size_per_a=0.003, candidates=CANDIDATES)
    assert found.assessment is Assessment.TOO_COARSE


def test_pixels_that_are_too_coarse_say_so():
    counts = film_scan(np.random.default_rng(3), (2, 2))
    found = identify_scan(counts, reciprocal_pixel_size_per_a=5.0, candidates=CANDIDATES)
    assert found.assessment is Assessment.TOO_COARSE
    assert "too coarse" in found.sentence


def test_positions_without_numbers_are_told_and_the_others_looked_at(two_crystals, mapped):
    counts = two_crystals[0].astype(np.float32)
    counts[0] = np.nan
    counts[1, 0, :64] = np.nan
    found = identify_scan(counts, **SETTINGS)
    assert "13 of 84 positions are not usable" in " ".join(found.phases.warnings)
    lost = np.isnan(found.p_value)
    assert lost[0].all()
    assert lost[1, 0]
    assert lost.sum() == 13
    assert (found.spots[lost] == 0).all()
    assert (found.phases.labels[lost] == 0).all()
    assert sorted(r.phase for r in found.phases.regions) == ["Li2CO3", "Li2O"]
    same = found.phases.labels[2:] > 0
    assert (same == (mapped.phases.labels[2:] > 0)).mean() > 0.97


def test_candidates_may_be_given_once_only_as_a_generator(two_crystals, mapped):
    found = identify_scan(
        two_crystals[0][2:5, 2:5], **{**SETTINGS, "candidates": (c for c in CANDIDATES)}
    )
    assert found.phases.candidates == mapped.phases.candidates
    assert [region.phase for region in found.phases.regions] == ["Li2O"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": np.ones((4, 64, 64))}, "3 axes"),
        ({"data": np.ones((2, 2, 64, 64), dtype=complex)}, "real numbers"),
        ({"data": [[1, 2], [3, 4]]}, "of type list"),
        ({"candidates": ()}, "no candidate"),
        ({"candidates": candidates("LiF") * 2}, "LiF is among the candidates more than once"),
        ({"candidates": "LiF"}, "candidates are 'LiF'"),
        ({"options": {"d_min_a": 1.0}}, "options is"),
        ({"beam_energy_kev": -300.0}, "beam_energy_kev is -300.0"),
        ({"reciprocal_pixel_size_per_a": np.nan}, "reciprocal_pixel_size_per_a is nan"),
        ({"reciprocal_pixel_size_per_a": 1e12}, "reciprocal_pixel_size_per_a is 1000000000000"),
        ({"reciprocal_pixel_size_per_a": None}, "reciprocal_pixel_size_per_a is missing"),
        ({"reciprocal_pixel_size_per_a": -1.0}, "reciprocal_pixel_size_per_a is -1.0"),
        ({"scan_step_a": 0.0}, "scan_step_a is 0.0"),
    ],
)
def test_misuse_is_named(change, words):
    with pytest.raises(ParameterError, match=words):
        identify_scan(**{"data": np.ones((2, 2, 64, 64)), **SETTINGS, **change})

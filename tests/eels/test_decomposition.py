"""How many spectra a map is a sum of, and which."""

import dask.array as da
import numpy as np
import pytest
from scipy import linalg

from interphase.assessment import Assessment
from interphase.eels import decompose, decomposition, factorise, tracy_widom_probability
from interphase.errors import ParameterError

ENERGY = np.linspace(280.0, 700.0, 120)
CARBON = (ENERGY / 300) ** -3
OXYGEN = np.where(ENERGY > 532, (ENERGY / 532) ** -4, 0.0)
FLUORINE = np.where(ENERGY > 640, 1.0, 0.0)


def noise(rng, level, pixels=160):
    """Counts of one spectrum through a specimen of any thickness."""
    thickness = rng.uniform(0.3, 2.0, pixels)
    return rng.poisson(level * np.outer(thickness, CARBON)).astype(float)


def mixture(rng, level, shape=(12, 15)):
    """Counts of three spectra, two of them in parts of the map only; and what is expected."""
    rows, columns = np.indices(shape)
    maps = np.stack([np.ones(shape), rows / shape[0], (columns > 8) * 1.0], axis=-1)
    expected = level * maps @ np.stack([CARBON, OXYGEN, 0.6 * FLUORINE])
    return rng.poisson(expected).astype(float), expected


def test_the_law_of_the_largest_singular_value_is_that_of_drawn_noise(rng):
    largest = [linalg.svdvals(rng.standard_normal((60, 40)))[0] for _ in range(800)]
    for value in np.quantile(largest, [0.1, 0.5, 0.95]):
        stated = tracy_widom_probability(value, rows=60, columns=40)
        assert np.mean(largest > value) == pytest.approx(stated, abs=0.04)
    # Tables of the law of Tracy and Widom for real matrices: 95 and 99 % at 0.9793 and 2.0234.
    middle, width = decomposition._edge(400, 300)
    for scaled, share in ((0.9793, 0.05), (2.0234, 0.01)):
        value = np.sqrt(middle + width * scaled)
        stated = tracy_widom_probability(value, rows=400, columns=300)
        assert stated == pytest.approx(share, rel=0.03)


@pytest.mark.parametrize("level", [1.2, 40.0])
def test_noise_gives_no_component_but_for_the_stated_false_alarms(rng, level):
    found = [decompose(noise(rng, level), rng=rng, false_alarm=0.2) for _ in range(150)]
    # The standard error of 150 is 3.3 %; few counts make the largest value smaller, not larger.
    assert np.mean([f.components > 0 for f in found]) < 0.27
    if level > 10:
        assert np.mean([f.p_values[0] < 0.5 for f in found]) == pytest.approx(0.5, abs=0.15)
    assert found[0].noise_over_counting == pytest.approx(1, abs=0.1)


def test_what_is_there_is_counted_and_noise_is_taken_away(rng):
    counts, expected = mixture(rng, 20)
    found = decompose(counts, rng=rng)
    assert found.components == 2
    assert found.maps.shape == (12, 15, 3)
    assert np.all(found.p_values[:2] < 1e-6)
    assert found.p_values[2] > found.false_alarm
    left, before = found.denoised() - expected, counts - expected
    assert np.mean(left**2) < 0.06 * np.mean(before**2)
    assert found.denoised((3, 4)) == pytest.approx(found.maps[3, 4] @ found.spectra)


@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_maps_of_components_have_the_errors_they_state(rng, gain):
    thickness = rng.uniform(0.5, 2.0, (20, 30, 1))
    share = 0.1 * (np.indices((20, 30))[1] < 15)[..., None]
    counts = gain * rng.poisson(30 * thickness * (CARBON + share * OXYGEN))
    found = decompose(counts, rng=rng, gain=gain)
    assert found.components == 1
    assert found.standard_error.shape == (20, 30, 1)
    level = found.maps[..., 1] / found.maps[..., 0]
    error = found.standard_error[..., 0] / found.maps[..., 0]
    for half in (np.s_[:, :15], np.s_[:, 15:]):
        middle = np.average(level[half], weights=error[half] ** -2)
        # The standard error of 300 is 4 %.
        assert np.std((level[half] - middle) / error[half]) == pytest.approx(1, abs=0.12)


def test_counts_without_noise_come_back(rng):
    _, expected = mixture(rng, 1e6)
    found = decompose(rng.poisson(expected).astype(float), rng=rng)
    assert found.components == 2
    assert found.denoised() == pytest.approx(expected, rel=3e-3, abs=3e3)


@pytest.mark.parametrize(("gain", "read_noise"), [(3.0, 0.0), (2.0, 4.0)])
def test_gain_and_read_noise_are_allowed_for(rng, gain, read_noise):
    def recorded(electrons):
        return gain * electrons + read_noise * rng.standard_normal(electrons.shape)

    options = {"rng": rng, "gain": gain, "read_noise": read_noise}
    assert decompose(recorded(noise(rng, 20)), **options).components == 0
    found = decompose(recorded(mixture(rng, 60)[0]), **options)
    assert found.components == 2
    assert found.noise_over_counting == pytest.approx(1, abs=0.1)
    other = decompose(gain * mixture(rng, 60)[0], rng=rng)
    assert other.assessment is Assessment.UNCALIBRATED
    assert other.noise_over_counting == pytest.approx(gain, rel=0.1)
    assert other.components == 2


def test_large_maps_in_chunks_give_the_same(rng, monkeypatch):
    counts = mixture(rng, 20, shape=(20, 30))[0]
    whole = decompose(counts, rng=rng)
    monkeypatch.setattr(decomposition, "_EXACT", 0)
    lazy = decompose(da.from_array(counts, chunks=(7, 11, 60)), rng=rng, most=6)
    assert lazy.components == whole.components == 2
    assert lazy.singular_values[:2] == pytest.approx(whole.singular_values[:2], rel=1e-6)
    assert lazy.denoised() == pytest.approx(whole.denoised(), abs=1e-4)


def test_memory_is_bounded_by_the_block(rng, monkeypatch):
    largest: list[int] = []
    blocks = decomposition.blocks
    monkeypatch.setattr(
        decomposition,
        "blocks",
        lambda data, **k: (
            (w, largest.append(b.size) or b) for w, b in blocks(data, most_bytes=2**16, **k)
        ),
    )
    decompose(noise(rng, 20, pixels=400), rng=rng)
    assert max(largest) * 8 <= 2**16


def test_factors_have_no_signs_and_are_the_spectra_where_each_is_alone(rng):
    share = np.repeat([0.0, 0.5, 1.0], 60)[:, None]
    expected = 200 * (share * CARBON + (1 - share) * OXYGEN)
    found = factorise(rng.poisson(expected), components=2, rng=rng)
    assert found.spectra.min() >= 0
    assert np.nanmin(found.maps) >= 0
    truth = np.stack([CARBON / CARBON.sum(), OXYGEN / OXYGEN.sum()])
    order = np.argsort(-found.spectra[:, 0])
    assert found.spectra[order] == pytest.approx(truth, abs=1.5e-3)
    assert found.misfit == pytest.approx(1, abs=0.05)
    assert found.assessment is Assessment.OK
    few = factorise(rng.poisson(expected), components=1, rng=rng)
    assert few.assessment is Assessment.AMBIGUOUS
    assert "More than noise is left" in few.sentence


def test_factors_of_large_maps_explain_them(rng, monkeypatch):
    monkeypatch.setattr(decomposition, "_AT_ONCE", 2**16)
    counts = mixture(rng, 50, shape=(24, 30))[0]
    found = factorise(da.from_array(counts, chunks=(12, 30, 120)), components=3, rng=rng)
    assert found.maps.shape == (24, 30, 3)
    assert (found.maps @ found.spectra).sum() == pytest.approx(counts.sum(), rel=0.02)
    assert found.misfit == pytest.approx(1, abs=0.1)


def test_pixels_without_counts_are_left_out(rng):
    counts = mixture(rng, 20)[0]
    counts[0, 0], counts[1, 1, 5] = 0, np.nan
    found = decompose(counts, rng=rng)
    assert found.left_out == 2
    assert np.isnan(found.maps[0, 0]).all()
    assert np.isnan(found.maps[1, 1]).all()
    assert found.components == 2


def test_too_few_electrons_say_so(rng):
    found = decompose(noise(rng, 0.02), rng=rng)
    assert found.assessment is Assessment.TOO_FEW_ELECTRONS
    assert "bin pixels or channels" in found.sentence
    assert decompose(np.full((5, 5), np.nan), rng=rng).assessment is Assessment.UNUSABLE
    assert decompose(-np.ones((5, 5)), rng=rng).assessment is Assessment.UNUSABLE


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: decompose(np.ones(9), rng=r), "1 pixels and 9 channels"),
        (lambda r: decompose(np.ones((9, 2)), rng=r), "9 pixels and 2 channels"),
        (lambda r: decompose(np.ones((9, 9), complex), rng=r), "of type complex"),
        (lambda r: decompose(np.ones((9, 9)), rng=r, most=0), "most is 0"),
        (lambda r: decompose(np.ones((9, 9)), rng=r, false_alarm=2), "false_alarm is 2"),
        (lambda r: factorise(np.ones((9, 9)), rng=r, components=0), "components is 0"),
        (lambda r: factorise(50 * np.ones((9, 9)), rng=r, components=10), "components is 10"),
        (lambda r: factorise(np.ones((9, 9)) * np.nan, rng=r, components=1), "nothing to fact"),
    ],
)
def test_misuse_is_named(rng, call, words):
    with pytest.raises(ParameterError, match=words):
        call(rng)

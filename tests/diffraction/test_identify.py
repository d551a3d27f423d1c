"""Phases in images: rates, detection, and what is no lattice."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from interphase import noise
from interphase.assessment import Assessment
from interphase.diffraction import NONE, Evidence, Options, ScalePrior, identify_image
from interphase.diffraction.spectra import frequencies, hann, window_grid
from interphase.errors import ParameterError
from interphase.phases import candidates, load_phase

LIO = candidates("Li2O,LiF")
Y, X = np.mgrid[:256, :256]


def fringes(phase_planes, *, size=256, pixel_size_a=0.5, scale=1.0):
    """Return a sum of cosines for reciprocal vectors (y, x) [1/Å]."""
    y, x = np.mgrid[:size, :size] * pixel_size_a
    return sum(np.cos(2 * np.pi * (a * y + b * x) * scale) for a, b in phase_planes)


def lif_along_110(angle):
    """Return {111}, {002} and {220} of LiF along [110], turned."""
    a = 4.0263
    x, y = np.array([0, 0, 1]) / a, np.array([1, -1, 0]) / a / np.sqrt(2)
    planes = np.array([[1, -1, 1], [-1, 1, 1], [0, 0, 2], [2, -2, 0]])
    flat = np.stack([planes @ y * a * 1.0, planes @ x * a], axis=1) / a
    c, s = np.cos(angle), np.sin(angle)
    return flat @ np.array([[c, s], [-s, c]])


def alarms(images, **options):
    number = 0
    for image in images:
        found = identify_image(image, pixel_size_a=0.5, candidates=LIO, options=Options(**options))
        number += found.assessment is not Assessment.NO_PERIODICITY
    return number


@pytest.mark.parametrize(
    ("counts", "contrast", "astigmatism"),
    [(20.0, 0.0, 0.0), (0.5, 0.0, 0.0), (25.0, 0.1, 0.0), (25.0, 0.1, 60.0)],
    ids=["many electrons", "few electrons", "film", "astigmatic film"],
)
def test_false_alarms_are_no_more_than_stated(rng, film, counts, contrast, astigmatism):
    stated, number = 0.05, 60
    images = (
        film(rng, size=160, counts=counts, contrast=contrast, astigmatism_a=astigmatism)
        for _ in range(number)
    )
    assert alarms(images, false_alarm=stated) <= stats.binom.ppf(0.999, number, stated)


def test_a_patch_of_fringes_is_found_as_often_as_counting_statistics_allow(rng):
    size, pixel, counts, number = 100, 0.5, 10.0, 40
    grid = window_grid((150, 150), size=size, overlap=4)
    freq = frequencies(size, pixel_size_a=pixel, k_min=1 / 6, k_max=1 / 1.2)
    # The weakest spot that is reported, from the same correction for places.
    p = 0.01 / (3 * grid.independent * freq.searched.sum())
    threshold = noise.detection_threshold(false_alarm=p, places=1)
    # A disc of 4 nm in the middle of a window of 5 nm.
    y, x = np.mgrid[:150, :150]
    disc = np.hypot(y - 74.5, x - 74.5) * pixel <= 20
    inside = disc[25:125, 25:125]
    window = hann(size)
    contrast = 0.047
    full = noise.fringe_power_ratio(
        contrast=contrast,
        dose_e_per_a2=counts / pixel**2,
        area_a2=(size * pixel) ** 2,
        dqe=1,
        window_efficiency=noise.window_efficiency(window),
    )
    signal = full * (window[inside].sum() / window.sum()) ** 2
    expected = float(noise.detection_probability(signal, threshold))
    assert 0.5 < expected < 0.999
    wave = np.cos(2 * np.pi * (18 * y + 9 * x) / size)
    found = 0
    for _ in range(number):
        image = rng.poisson(counts * (1 + contrast * wave * disc)).astype(float)
        result = identify_image(image, pixel_size_a=pixel, candidates=LIO)
        spacing = 50 / np.hypot(18, 9)
        found += any(
            abs(d / spacing - 1) < 0.03 for region in result.regions for d in region.d_spacings_a
        )
    # A spot is also looked for off the grid and in other windows, so it is found more often.
    assert found >= stats.binom.ppf(0.001, number, expected - 0.05)


@pytest.mark.parametrize("angle", [0.3, 1.4])
def test_a_lattice_is_named_with_its_place_scale_and_zone(rng, angle):
    inside = np.hypot(Y - 90, X - 160) < 60
    wave = fringes(lif_along_110(angle), scale=1 / 1.01)
    image = rng.poisson(20 * np.clip(1 + 0.2 * wave * inside, 0, None)).astype(float)
    found = identify_image(image, pixel_size_a=0.5, candidates=candidates("Li2O,LiF,Li2CO3,Li"))
    region = max(found.regions, key=lambda r: r.area_a2)
    assert region.phase == "LiF"
    assert region.probability > 0.9
    assert region.scale_error == pytest.approx(0.01, abs=0.008)
    assert sorted(abs(n) for n in region.zone_axis) == [0, 1, 1]
    assert region.centre_a == pytest.approx((45, 80), abs=10)
    assert region.p_value < 1e-6
    assert sum(region.alternatives.values()) == pytest.approx(1)
    assert sum(found.area_fraction.values()) == pytest.approx(1, abs=0.01)
    assert found.area_fraction[NONE] > 0.3


def test_lif_and_lih_are_never_told_apart(rng):
    image = rng.poisson(20 * np.clip(1 + 0.15 * fringes(lif_along_110(0.5)), 0, None)).astype(float)
    found = identify_image(image, pixel_size_a=0.5, candidates=candidates("LiF,LiH,Li2O"))
    region = max(found.regions, key=lambda r: r.area_a2)
    assert {"LiF", "LiH"} <= set(region.credible_set)
    assert region.assessment is Assessment.AMBIGUOUS


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.ones((2, 64, 64)), r"3 axes of lengths \(2, 64, 64\).*sum the frames"),
        (np.ones(64), r"1 axes of lengths \(64,\)"),
        (np.ones((64, 64), complex), "complex128: expected real numbers"),
        (np.ones((64, 64), bool), "type bool: expected real numbers"),
    ],
)
def test_an_array_that_is_no_image_is_an_error(image, message):
    with pytest.raises(ParameterError, match=message):
        identify_image(image, pixel_size_a=0.5, candidates=LIO)


@pytest.mark.parametrize("pixel", [0.0, -0.5, np.nan, np.inf])
def test_a_pixel_size_that_is_no_length_is_an_error(pixel):
    with pytest.raises(ParameterError, match=r"pixel_size_a is .* expected a number from 1e-9"):
        identify_image(np.ones((64, 64)), pixel_size_a=pixel, candidates=LIO)


def test_no_candidates_is_an_error():
    with pytest.raises(ParameterError, match="no candidate phase is given"):
        identify_image(np.ones((64, 64)), pixel_size_a=0.5, candidates=())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows_a": (0.0, 50.0)}, r"windows_a is \(0.0, 50.0\) Å"),
        ({"overlap": 0}, "overlap is 0"),
        ({"d_min_a": 7.0}, "d_min_a is 7.0 and d_max_a is 6.0"),
        ({"false_alarm": 1.0}, "false_alarm is 1.0"),
    ],
)
def test_options_that_mean_nothing_are_errors(options, message):
    with pytest.raises(ParameterError, match=message):
        Options(**options)


@pytest.mark.parametrize(
    ("prior", "message"),
    [({"sigma": 1.0}, "sigma is 1.0: expected a fraction"), ({"wide_weight": 1.0}, "wide_weight")],
)
def test_beliefs_about_scale_that_mean_nothing_are_errors(prior, message):
    with pytest.raises(ParameterError, match=message):
        ScalePrior(**prior)


@pytest.mark.parametrize(
    ("make", "pixel", "assessment", "sentence"),
    [
        (lambda n: np.full_like(n, np.nan), 0.5, Assessment.UNUSABLE, "not finite"),
        (lambda n: np.where(Y < 100, np.nan, n), 0.5, Assessment.UNUSABLE, "39 % of the pixels"),
        (lambda n: np.full_like(n, 7.0), 0.5, Assessment.UNUSABLE, "value 7"),
        (lambda n: np.minimum(n, 50), 0.5, Assessment.UNUSABLE, "saturated"),
        (lambda n: n[:16, :16], 0.5, Assessment.UNUSABLE, "8.0 Å wide"),
        (lambda n: n, 10.0, Assessment.TOO_COARSE, "record with pixels below"),
    ],
    ids=["all NaN", "many NaN", "constant", "saturated", "tiny", "coarse"],
)
def test_poor_images_are_results_with_a_reason(rng, make, pixel, assessment, sentence):
    image = make(rng.poisson(50.0, (256, 256)).astype(float))
    found = identify_image(image, pixel_size_a=pixel, candidates=LIO)
    assert found.assessment is assessment
    assert sentence in found.sentence
    assert found.regions == ()


def test_a_phase_out_of_reach_is_said(rng):
    found = identify_image(
        rng.poisson(50.0, (256, 256)), pixel_size_a=1.2, candidates=candidates("Li2CO3,Cu")
    )
    assert any("Cu" in warning and "Li2CO3" not in warning for warning in found.warnings)


def hot_pixels(noise_image):
    image = noise_image.copy()
    image[np.arange(5, 250, 12), (37 * np.arange(21)) % 250] = 1e4
    return image


@pytest.mark.parametrize(
    "make",
    [
        lambda n, r: np.where((Y == 10) & (X == 10), np.nan, n),
        lambda n, r: -n,
        lambda n, r: n.astype(np.int16),
        lambda n, r: hot_pixels(n),
        lambda n, r: r.poisson(10 + 490 * X / 256).astype(float),
        lambda n, r: r.poisson(500 * np.exp(-((X - 128) ** 2 + (Y - 128) ** 2) / 3000)),
        lambda n, r: r.poisson(50 * (1 + 0.1 * r.standard_normal((256, 1))) * np.ones(n.shape)),
        lambda n, r: r.poisson(50 * (1 + 0.1 * r.standard_normal((1, 256))) * np.ones(n.shape)),
        lambda n, r: n * np.where(Y % 2, 1.0, 1.1),
        lambda n, r: r.poisson(np.where(np.hypot(X - 128, Y - 128) < 60, 20, 120)),
    ],
    ids=[
        "one NaN",
        "negative",
        "integers",
        "hot pixels",
        "gradient",
        "vignette",
        "row stripes",
        "column stripes",
        "odd rows",
        "round particle",
    ],
)
def test_what_is_no_lattice_is_no_phase(rng, make):
    image = make(rng.poisson(50.0, (256, 256)).astype(float), rng)
    found = identify_image(image, pixel_size_a=0.5, candidates=candidates("lithium-sei"))
    assert found.assessment is Assessment.NO_PERIODICITY
    assert found.area_fraction == {NONE: 1.0}
    assert "false alarms in 1 %" in found.sentence


def test_an_inverted_image_shows_the_same_phase(rng):
    image = rng.poisson(20 * np.clip(1 + 0.15 * fringes(lif_along_110(0.5)), 0, None)).astype(float)
    plain, inverted = (
        identify_image(i, pixel_size_a=0.5, candidates=(load_phase("LiF"), load_phase("Li2O")))
        for i in (image, image.max() - image)
    )
    assert [r.phase for r in plain.regions] == [r.phase for r in inverted.regions]


@pytest.mark.parametrize("spacing", [2.2, 2.5, 2.9, 3.3, 4.0])
@pytest.mark.parametrize("listed", ["LiF", "Li2O,LiF,Li2CO3", "sodium-sei"])
def test_one_set_of_fringes_names_no_phase(spacing, listed):
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:256, :256] * 0.4
    fringes = 30 * (1 + 0.3 * np.cos(2 * np.pi * (0.6 * y + 0.8 * x) / spacing))
    found = identify_image(rng.poisson(fringes), pixel_size_a=0.4, candidates=candidates(listed))
    assert found.regions
    assert all(region.assessment is not Assessment.OK for region in found.regions)


def test_a_computed_ramp_has_no_lattice():
    y, x = np.mgrid[:256, :256]
    found = identify_image(x + 0.3 * y, pixel_size_a=0.2, candidates=candidates("LiF"))
    assert found.assessment is Assessment.NO_PERIODICITY


@pytest.mark.parametrize(("down", "across"), [(0.0, 1.0), (1.0, 0.0), (0.6, 1.0)])
def test_the_edge_of_a_specimen_is_no_lattice(down, across):
    y, x = np.mgrid[:256, :256]
    step = np.where(down * y + across * x > 140, 80, 20)
    counts = np.random.default_rng(0).poisson(step)
    found = identify_image(counts, pixel_size_a=0.5, candidates=candidates("LiF"))
    assert found.assessment is Assessment.NO_PERIODICITY


@pytest.mark.parametrize("pixel", [0.5, 0.8])
def test_a_hard_edge_along_any_direction_names_nothing(pixel):
    """Its streak is folded at Nyquist's frequency and comes back beside the origin."""
    y, x = np.mgrid[:384, :384] - 192
    with_place = 0
    for number, angle in enumerate(np.radians([7, 20, 33, 59, 72])):
        step = np.where(x * np.cos(angle) + y * np.sin(angle) > 0, 100, 5)
        counts = np.random.default_rng(number).poisson(step)
        found = identify_image(counts, pixel_size_a=pixel, candidates=LIO)
        with_place += bool(found.regions)
        assert all(region.assessment is not Assessment.OK for region in found.regions)
    assert with_place <= 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([LIO[0], LIO[0]], "is among the candidates more than once"),
        (["LiF"], "expected phases, such as"),
        ([replace(LIO[0], identifier="unknown")], "'unknown', which means another answer"),
        ([replace(LIO[0], identifier="none")], "'none', which means another answer"),
    ],
)
def test_candidates_that_no_answer_could_name_are_errors(given, message):
    with pytest.raises(ParameterError, match=message):
        identify_image(np.ones((64, 64)), pixel_size_a=0.5, candidates=given)


def test_candidates_may_come_from_a_generator(rng):
    image = rng.poisson(20.0, (128, 128))
    found = identify_image(image, pixel_size_a=0.5, candidates=(phase for phase in LIO))
    assert found.assessment is Assessment.NO_PERIODICITY


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"unknown_prior": -1.0}, "unknown_prior is -1.0"),
        ({"clutter": float("nan")}, "clutter is nan"),
    ],
)
def test_numbers_of_the_evidence_that_cannot_be_are_errors(numbers, message):
    with pytest.raises(ParameterError, match=message):
        Evidence(**numbers)


def test_one_pixel_that_towers_above_all_hides_no_crystal(rng):
    y, x = np.indices((160, 160)) * 0.45
    fringes = np.cos(2 * np.pi * x / 2.013) + np.cos(2 * np.pi * y / 2.013)
    fringes = fringes + np.cos(2 * np.pi * (x + y) / 2.013) + np.cos(2 * np.pi * (x - y) / 2.013)
    image = rng.poisson(20 * (1 + 0.08 * fringes)).astype(float)
    image[30, 40] = 1e8
    found = identify_image(image, pixel_size_a=0.45, candidates=candidates("LiF,Li2O"))
    assert found.regions[0].phase == "LiF"

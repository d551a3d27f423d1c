"""The contrast transfer that an image's own background shows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase.diffraction.transfer import (
    AMPLITUDE_PHASE,
    LEAST_SHARE,
    TYPICAL_SHIFT,
    Transfer,
    displacement,
    measure_transfer,
)
from interphase.electron import contrast_transfer, wavelength_from_energy
from interphase.errors import ParameterError

PIXEL_A = 0.4
K = np.arange(0.25, 0.6, 0.01)


def film(power, *, rng, shape=(560, 560), dose_e_per_a2=300.0, contrast=0.12):
    """Return counts of a film whose expected intensity has the power spectrum `power(k)`."""
    k = np.hypot(
        np.fft.fftfreq(shape[0], PIXEL_A)[:, None], np.fft.rfftfreq(shape[1], PIXEL_A)[None, :]
    )
    noise = np.fft.rfft2(rng.standard_normal(shape)) * np.sqrt(power(k))
    field = np.fft.irfft2(noise, shape)
    field *= contrast / field.std()
    return rng.poisson(dose_e_per_a2 * PIXEL_A**2 * np.maximum(1 + field, 0))


def transferred(k, *, beam_energy_kev, defocus_a, spherical_aberration_mm):
    """Return the power spectrum of a film of light atoms behind a lens."""
    passed = contrast_transfer(
        k,
        beam_energy_kev=beam_energy_kev,
        defocus_a=defocus_a,
        spherical_aberration_mm=spherical_aberration_mm,
        amplitude_contrast=0.08,
        focal_spread_a=30.0,
        semi_convergence_angle_mrad=0.1,
    )
    return passed**2 / (1 + (k / 0.4) ** 2) ** 2


@pytest.mark.parametrize("dose_e_per_a2", [200.0, 1000.0])
@pytest.mark.parametrize(
    ("beam_energy_kev", "defocus_a", "spherical_aberration_mm"),
    [
        (300.0, 900.0, 0.0),
        (300.0, -500.0, 0.0),
        (200.0, 400.0, 0.0),
        (80.0, 400.0, 0.0),
        (300.0, 600.0, 1.2),
        (200.0, 600.0, 1.2),
        (300.0, -700.0, 1.2),
    ],
)
def test_rings_give_the_displacement_without_energy_or_defocus(
    beam_energy_kev, defocus_a, spherical_aberration_mm, dose_e_per_a2
):
    optics = {
        "beam_energy_kev": beam_energy_kev,
        "defocus_a": defocus_a,
        "spherical_aberration_mm": spherical_aberration_mm,
    }
    counts = film(
        lambda k: transferred(k, **optics),
        dose_e_per_a2=dose_e_per_a2,
        rng=np.random.default_rng(1),
    )
    found = measure_transfer(counts, pixel_size_a=PIXEL_A, k_max=0.8)
    assert found.fitted
    wavelength = wavelength_from_energy(beam_energy_kev)
    expected = abs(
        -wavelength * defocus_a * K + spherical_aberration_mm * 1e7 * wavelength**3 * K**3
    )
    seen = K < 0.45
    assert found.shift(K[seen]) == pytest.approx(expected[seen], abs=1.0)


def test_counting_noise_alone_is_not_fitted():
    fits, shares = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        dose = 10 ** rng.uniform(1.3, 3.5)
        counts = rng.poisson(dose * PIXEL_A**2, (450, 450))
        found = measure_transfer(counts, pixel_size_a=PIXEL_A, k_max=0.8)
        assert found.shift_a == pytest.approx(TYPICAL_SHIFT * found.k_per_a)
        fits.append(found.fitted)
        shares.append(found.film_share[found.k_per_a > 0.15].mean())
    assert sum(fits) == 0
    # A quantile of sectors scatters more than a median of whole rings.
    assert np.mean(shares) < 0.08


def test_a_film_without_rings_is_not_fitted():
    fits = []
    for seed in range(30):
        rng = np.random.default_rng(100 + seed)
        peak, power = rng.uniform(0.2, 0.5), rng.uniform(0, 4)

        def hump(k, peak=peak, power=power):
            return (k / peak) ** power * np.exp(-((k / peak) ** 2))

        counts = film(hump, rng=rng, shape=(450, 450), contrast=rng.uniform(0.03, 0.2))
        fits.append(measure_transfer(counts, pixel_size_a=PIXEL_A, k_max=0.8).fitted)
    assert sum(fits) == 0


def test_film_share_is_that_of_the_floor():
    def hump(k):
        return (k / 0.25) ** 4 * np.exp(-((k / 0.25) ** 2))

    rng = np.random.default_rng(3)
    contrast, dose = 0.1, 100.0
    counts = film(hump, rng=rng, shape=(800, 800), contrast=contrast, dose_e_per_a2=dose)
    # Densities of variance per [1/Å]²: the film's sums to contrast², the electrons' is 1 / dose.
    k = np.hypot(*np.meshgrid(*[np.fft.fftfreq(800, PIXEL_A)] * 2))
    density = contrast**2 / (hump(k).mean() / PIXEL_A**2)
    at = np.arange(0.15, 0.8, 0.05)
    expected = density * hump(at) / (density * hump(at) + 1 / dose)
    assert expected.max() > 0.5
    assert expected[-1] < 0.05
    found = measure_transfer(counts, pixel_size_a=PIXEL_A, k_max=0.9)
    share = np.interp(at, found.k_per_a, found.film_share)
    assert share == pytest.approx(expected, abs=0.08)


def test_noise_that_a_camera_blurs_is_no_film():
    rng = np.random.default_rng(4)
    white = rng.poisson(50.0, (800, 800)).astype(float)
    k = np.hypot(np.fft.fftfreq(800)[:, None], np.fft.rfftfreq(800)) / 0.5
    blurred = np.fft.irfft2(np.fft.rfft2(white) * 0.5**k, white.shape)
    found = measure_transfer(blurred, pixel_size_a=PIXEL_A, k_max=0.9)
    assert not found.fitted
    assert found.film_share[found.k_per_a > 0.15].max() < 0.25


def test_gain_and_offset_of_the_camera_do_not_matter():
    counts = film(
        lambda k: np.sin(70 * k**2) ** 2 * np.exp(-3 * k), rng=np.random.default_rng(5)
    ).astype(float)
    one, other = (
        measure_transfer(image, pixel_size_a=PIXEL_A, k_max=0.8)
        for image in (counts, 7 * counts + 100)
    )
    assert one.fitted
    assert other.a2 == pytest.approx(one.a2)
    assert other.film_share == pytest.approx(one.film_share, abs=1e-3)


def test_a_lattice_that_fills_the_image_does_not_move_the_rings():
    rng = np.random.default_rng(6)
    counts = film(lambda k: np.sin(70 * k**2) ** 2 * np.exp(-3 * k), rng=rng).astype(float)
    y, x = np.indices(counts.shape) * PIXEL_A
    lattice = sum(
        np.cos(2 * np.pi * (ky * y + kx * x))
        for ky, kx in [(0.4, 0.05), (-0.05, 0.4), (0.35, 0.45)]
    )
    plain, with_lattice = (
        measure_transfer(image, pixel_size_a=PIXEL_A, k_max=0.8)
        for image in (counts, counts + 0.3 * counts.mean() * lattice)
    )
    assert plain.fitted
    assert with_lattice.fitted
    assert with_lattice.shift(K) == pytest.approx(plain.shift(K), abs=0.3)


def test_fringes_pass_between_the_zeros_of_the_fit():
    chi = -70 * K**2
    k = np.linspace(0, 0.8, 50)
    fitted = Transfer(
        k_per_a=k,
        film_share=np.ones(50),
        shift_a=displacement(k, 70.0, 0.0),
        fitted=True,
        a2=70.0,
        a4=0.0,
    )
    assert fitted.passed(K) == pytest.approx(np.sin(chi - AMPLITUDE_PHASE) ** 2)
    zero = np.sqrt((2 * np.pi - AMPLITUDE_PHASE) / 70)
    assert fitted.passed(zero) == pytest.approx(0, abs=1e-12)
    # The displacement is the slope of the phase over 2π.
    assert fitted.shift(K) == pytest.approx(abs(np.gradient(chi, K) / (2 * np.pi)), rel=0.03)
    unknown = Transfer(k_per_a=k, film_share=np.ones(50), shift_a=12 * k)
    assert unknown.passed(K) == pytest.approx(0.5)


@settings(max_examples=30)
@given(
    rows=st.integers(8, 200),
    columns=st.integers(8, 200),
    pixel_size_a=st.floats(0.05, 3.0),
    level=st.sampled_from([0.0, 5.0]),
)
def test_any_image_has_a_transfer(rows, columns, pixel_size_a, level):
    counts = np.random.default_rng(0).poisson(level, (rows, columns)).astype(np.float32)
    found = measure_transfer(counts, pixel_size_a=pixel_size_a, k_max=0.8)
    assert np.isfinite(found.shift(K)).all()
    assert np.all((found.film_share >= LEAST_SHARE) & (found.film_share <= 1))
    assert np.isfinite(found.visibility(K)).all()


NOISE = np.random.default_rng(0).poisson(9.0, (64, 64)).astype(float)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": None}, r"the array has 0 axes .* expected \(row, column\)"),
        ({"image": NOISE * 1j}, "the array is of type complex128: expected real numbers"),
        *(
            ({"image": np.where(NOISE > 12, value, NOISE)}, "the image holds values .* finite")
            for value in (np.nan, np.inf, 1e300)
        ),
        ({"pixel_size_a": None}, "pixel_size_a is missing: give the sampling in Å"),
        *(
            ({"pixel_size_a": value}, "pixel_size_a is .* expected a number")
            for value in (0, -1, np.nan, np.inf, 1e300, "x", True)
        ),
        *(
            ({"k_max": value}, "k_max is .* 1/Å: expected a number")
            for value in (None, 0, -1, np.nan, np.inf, "x", [0.5])
        ),
    ],
)
def test_misuse_is_named(change, words):
    with pytest.raises(ParameterError, match=words):
        measure_transfer(**{"image": NOISE, "pixel_size_a": 0.5, "k_max": 0.8, **change})


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 64), (7, 7)])
def test_an_image_too_small_for_a_spectrum_tells_nothing(shape):
    found = measure_transfer(np.ones(shape), pixel_size_a=0.5, k_max=0.8)
    assert not found.fitted
    assert found.shift(0.5) == pytest.approx(TYPICAL_SHIFT * 0.5)
    assert found.visibility(K) == pytest.approx(LEAST_SHARE**0.7)


@pytest.mark.parametrize(("pixel_size_a", "k_max"), [(0.5, 5.0), (1e8, 0.8), (1e-6, 0.8)])
def test_the_answer_ends_where_pixels_do(pixel_size_a, k_max):
    found = measure_transfer(NOISE, pixel_size_a=pixel_size_a, k_max=k_max)
    assert found.k_per_a.max() < 1 / (2 * pixel_size_a)
    assert np.isfinite(found.film_share).all()

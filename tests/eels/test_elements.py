"""Elements from counts: statistics, limits, other programs, and spectra that hold no answer."""

import warnings
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from interphase.assessment import Assessment
from interphase.core_loss import import_exspy
from interphase.eels import (
    PIXEL_VERDICTS,
    ElementMaps,
    ElementOptions,
    edge_cross_section,
    fit_elements,
)
from interphase.errors import ParameterError
from interphase.inelastic import angular_factor, drude_loss_function
from interphase.simulation import EnergyAxis, Spectrometer, record_spectra, spectrum_image
from interphase.simulation.imaging.losses import mean_free_path
from interphase.simulation.imaging.materials import loss_material
from interphase.simulation.imaging.spectra import spectrum_truth

OPTICS = {"beam_energy_kev": 300.0, "collection_mrad": 10.0, "convergence_mrad": 0.0}
ENERGY = 250 + 0.6 * np.arange(1024)
TRUTH = {"C": 3000.0, "O": 5000.0, "F": 4000.0}
ELECTRONS = 3e5
PLAIN = ElementOptions(table="hydrogenic")
LOW_ENERGY = -15 + 0.4 * np.arange(500)


def edges_per_atom(energy: np.ndarray = ENERGY) -> np.ndarray:
    return np.stack(
        [
            ELECTRONS * edge_cross_section(f"{e}_K", energy, table="hydrogenic", **OPTICS)
            .per_channel_nm2
            for e in TRUTH
        ],
        axis=1,
    )  # fmt: skip


def expected(amounts: dict[str, float] = TRUTH, background: float = 100.0) -> np.ndarray:
    tail = background * (ENERGY / ENERGY[0]) ** -3.0
    return tail + edges_per_atom() @ np.array([amounts.get(e, 0.0) for e in TRUTH])


def fit(counts: np.ndarray, options: ElementOptions = PLAIN, **given: object) -> ElementMaps:
    keywords = {"energy_ev": ENERGY, "elements": list(TRUTH), "electrons": ELECTRONS, **OPTICS}
    return fit_elements(counts, options=options, **(keywords | given))


@pytest.fixture(scope="module")
def many() -> np.ndarray:
    return np.random.default_rng(1).poisson(expected(), (60, 100, len(ENERGY))).astype(np.float32)


# --- statistics ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["likelihood", "linear"])
@pytest.mark.parametrize("near_edge_ev", [0.0, 50.0])
def test_values_are_unbiased_and_intervals_cover(
    many: np.ndarray, method: str, near_edge_ev: float
) -> None:
    options = replace(PLAIN, method=method, near_edge_ev=near_edge_ev, non_negative=False)
    maps = fit(many, options)
    assert maps.assessment is Assessment.OK
    assert np.isin(maps.verdict, (0, 4)).all()
    truth = np.array(list(TRUTH.values()))
    off = (maps.areal_density_per_nm2 - truth) / maps.standard_error_per_nm2
    assert np.abs(off.mean(axis=(0, 1))).max() < 4 / np.sqrt(6000)
    for confidence in (0.68, 0.95):
        covered = (np.abs(off) < norm.isf((1 - confidence) / 2)).mean(axis=(0, 1))
        np.testing.assert_allclose(covered, confidence, atol=0.025)


def test_the_error_reached_is_the_cramer_rao_bound(many: np.ndarray) -> None:
    maps = fit(many, replace(PLAIN, near_edge_ev=0.0))
    tail = 100 * (ENERGY / ENERGY[0]) ** -3.0
    x = np.concatenate([edges_per_atom(), np.stack([tail, tail * np.log(ENERGY)], axis=1)], axis=1)
    information = x.T @ (x / expected()[:, np.newaxis])
    bound = np.sqrt(np.diag(np.linalg.inv(information))[:3])
    ratio = maps.areal_density_per_nm2.std(axis=(0, 1)) / bound
    np.testing.assert_allclose(ratio, 1.0, atol=0.04)


def test_intervals_cover_down_to_ten_counts_per_parameter() -> None:
    share = 3e-3
    counts = np.random.default_rng(13).poisson(share * expected(), (4000, len(ENERGY)))
    assert 50 < counts.sum(axis=-1).mean() < 70
    maps = fit(counts, electrons=share * ELECTRONS)
    off = (maps.areal_density_per_nm2 - np.array(list(TRUTH.values()))) / (
        maps.standard_error_per_nm2
    )
    assert np.isfinite(off).mean() > 0.85
    for confidence in (0.68, 0.95):
        within = np.abs(off) < norm.isf((1 - confidence) / 2)
        covered = within.sum(axis=0) / np.isfinite(off).sum(axis=0)
        np.testing.assert_allclose(covered, confidence, atol=0.03)


def test_absent_elements_cause_the_stated_false_alarms() -> None:
    counts = np.random.default_rng(2).poisson(expected({}, 60.0), (6000, len(ENERGY)))
    maps = fit(counts)
    alarms = maps.detected.sum(axis=0)
    low, high = binom.interval(0.9999, 6000, 0.01)
    assert ((alarms > low * 0.7) & (alarms < high * 1.3)).all()
    for k, element in enumerate(maps.elements):
        lower, upper = maps.interval_per_nm2(element, 0.95)
        covered = ((lower <= 0) & (upper >= 0)).mean()
        # Intervals below zero become the point 0, which is the truth: the lower tail is covered.
        assert covered == pytest.approx(0.975, abs=0.01)
        assert np.abs(maps.areal_density_per_nm2[:, k].mean()) < 4 * (
            maps.standard_error_per_nm2[:, k].mean() / np.sqrt(6000)
        )


@pytest.mark.parametrize("counted", [165, 990])
def test_false_alarms_and_power_are_those_stated_at_low_dose(counted: int) -> None:
    """What noise makes of an element, and takes from the background, is in its threshold."""
    rng = np.random.default_rng(18)
    share = counted / expected({}, 60.0).sum()
    empty = rng.poisson(share * expected({}, 60.0), (8000, len(ENERGY))).astype(np.float32)
    maps = fit(empty, electrons=share * ELECTRONS)
    assert (maps.above_noise.mean(axis=0) < 0.0155).all()
    assert maps.above_noise.mean() == pytest.approx(0.0112, abs=0.003)
    limit = np.nanmedian(maps.detection_limit_per_nm2, axis=0)
    for k, element in enumerate(TRUTH):
        mean = share * expected({element: float(limit[k])}, 60.0)
        there = fit(rng.poisson(mean, (2000, len(ENERGY))), electrons=share * ELECTRONS)
        assert there.above_noise[:, k].mean() == pytest.approx(0.95, abs=0.02)


def test_two_materials_do_not_lend_each_other_their_variance() -> None:
    rng = np.random.default_rng(19)
    edges = edges_per_atom()
    half = []
    for exponent, amounts in ((2.2, (2000.0, 0.0, 0.0)), (4.0, (0.0, 1500.0, 0.0))):
        mean = 60 * (ENERGY / ENERGY[0]) ** -exponent + edges @ np.array(amounts)
        half.append(rng.poisson(3e4 * mean / mean.sum(), (4000, len(ENERGY))))
    above = fit(np.stack(half)).above_noise
    for share in (above[0, :, 1].mean(), above[1, :, 0].mean(), *above[..., 2].mean(axis=-1)):
        assert share == pytest.approx(0.01, abs=0.006)


def test_many_absent_elements_leave_the_others_their_answer() -> None:
    """White lines of neighbours in the table fill each other's windows: one freedom, not two."""
    counts = np.random.default_rng(17).poisson(10 * expected({"C": 3000.0}, 60.0), (300, 1024))
    named = ["C", "O", "F", "Ti", "V", "Cr", "Mn", "Fe", "Co"]
    maps = fit(counts, elements=named, electrons=10 * ELECTRONS)
    assert np.isin(maps.verdict, (0, 4)).mean() > 0.99
    off = (maps.areal_density_per_nm2[:, 0] - 3000) / maps.standard_error_per_nm2[:, 0]
    assert off.std() == pytest.approx(1, abs=0.15)
    assert maps.detected[:, 0].mean() > 0.99
    assert maps.detected[:, 1:].mean() < 0.03


@pytest.mark.parametrize("element", ["C", "O", "F"])
def test_an_amount_at_the_detection_limit_is_detected_as_often_as_stated(element: str) -> None:
    rng = np.random.default_rng(3)
    amounts = dict(TRUTH)
    for _ in range(3):  # the limit depends on what else is there
        amounts[element] = float(
            fit(expected(amounts)[np.newaxis]).detection_limit_per_nm2[
                0, list(TRUTH).index(element)
            ]
        )
    maps = fit(rng.poisson(expected(amounts), (3000, len(ENERGY))))
    share = maps.detected[:, list(TRUTH).index(element)].mean()
    assert share == pytest.approx(0.95, abs=0.02)


def test_the_advised_binning_reaches_what_was_wished() -> None:
    rng = np.random.default_rng(4)
    amounts = {"C": 1000.0, "O": 1500.0, "F": 1500.0}
    share = 0.1
    mean = share * expected(amounts, 20.0)
    maps = fit(rng.poisson(mean, (400, len(ENERGY))), electrons=share * ELECTRONS)
    pixels = int(np.median(maps.binning_for_limit("O", 1500.0)))
    assert pixels > 10
    binned = fit(
        rng.poisson(pixels * mean, (2000, len(ENERGY))), electrons=pixels * share * ELECTRONS
    )
    assert np.median(binned.detection_limit_per_nm2[:, 1]) == pytest.approx(1500, rel=0.05)
    assert binned.detected[:, 1].mean() == pytest.approx(0.95, abs=0.02)
    pixels = int(np.median(maps.binning_for_error("F", 0.2, at_per_nm2=1500.0)))
    binned = fit(
        rng.poisson(pixels * mean, (1000, len(ENERGY))), electrons=pixels * share * ELECTRONS
    )
    relative = binned.areal_density_per_nm2[:, 2].std() / 1500
    assert relative == pytest.approx(0.2, rel=0.1)


def test_gain_and_read_noise_are_part_of_the_errors() -> None:
    rng = np.random.default_rng(5)
    gain, read_noise = 12.0, 20.0
    counts = gain * rng.poisson(expected(), (3000, len(ENERGY)))
    counts = counts + rng.normal(0, read_noise, counts.shape)
    maps = fit(counts, gain=gain, read_noise=read_noise)
    off = (maps.areal_density_per_nm2 - np.array(list(TRUTH.values()))) / (
        maps.standard_error_per_nm2
    )
    assert np.abs(off.mean(axis=0)).max() < 4 / np.sqrt(3000)
    np.testing.assert_allclose((np.abs(off) < 1).mean(axis=0), 0.683, atol=0.035)


def test_ratios_have_honest_errors_and_need_no_electrons(many: np.ndarray) -> None:
    counts = many[:20].reshape(-1, 4, len(ENERGY)).sum(axis=1)  # four pixels each
    maps = fit(counts, electrons=None)
    assert np.isnan(maps.areal_density_per_nm2).all()
    ratio, error = maps.ratio("C", "O")
    off = (ratio - 0.6) / error
    assert (np.abs(off) < 1).mean() == pytest.approx(0.683, abs=0.07)
    assert np.median(ratio) == pytest.approx(0.6, rel=0.05)
    assert np.isnan(fit(counts).areal_density_per_nm2).sum() == 0


# --- properties ---------------------------------------------------------------------------------


@settings(max_examples=5, deadline=None)
@given(rows=st.integers(1, 12), columns=st.integers(1, 10))
def test_any_chunks_give_the_same_maps(many: np.ndarray, rows: int, columns: int) -> None:
    part = many[:12, :10]
    whole = fit(part)
    lazy = fit(da.from_array(part, chunks=(rows, columns, 500)))
    # Sums are those of neighbours in the order in which they are read.
    np.testing.assert_allclose(lazy.strength, whole.strength, rtol=0.02, atol=0.1 * 3e8)
    np.testing.assert_array_equal(lazy.verdict, whole.verdict)


def test_counts_and_gain_scale_together(many: np.ndarray) -> None:
    part = many[:3, :10]
    np.testing.assert_allclose(
        fit(7 * part, gain=7.0).strength, fit(part).strength, rtol=1e-4, atol=1e4
    )


def test_near_edge_structure_does_not_change_the_amounts() -> None:
    mean = 100 * expected()
    moved = mean.copy()
    window = (ENERGY > 532) & (ENERGY < 582)
    moved[window] += 5 * mean[window].mean() * np.exp(-(((ENERGY[window] - 540) / 2) ** 2))
    moved[window] *= mean[window].sum() / moved[window].sum()
    plain, structured = fit(mean), fit(moved)
    np.testing.assert_allclose(structured.strength, plain.strength, rtol=1e-9)
    trusting = fit(moved, replace(PLAIN, near_edge_ev=0.0))
    assert abs(trusting.strength[1] / plain.strength[1] - 1) > 0.02


def test_non_negative_fits_are_the_free_ones_where_those_are_not_negative(
    many: np.ndarray,
) -> None:
    weak = np.random.default_rng(6).poisson(expected({"O": 2000.0}), (300, len(ENERGY)))
    for method in ("likelihood", "linear"):
        free, bounded = (
            fit(weak, replace(PLAIN, method=method, non_negative=b)) for b in (False, True)
        )
        positive = (free.strength >= 0).all(axis=-1)
        assert 0 < positive.mean() < 1
        assert (bounded.strength >= 0).all()
        np.testing.assert_allclose(
            bounded.strength[positive], free.strength[positive], rtol=1e-6, atol=1.0
        )
        assert (bounded.strength[~positive] == 0).any()


# --- lithium ------------------------------------------------------------------------------------


ONE_PLASMON = ((0.3, 22.0, 10.0),)


def low_loss(
    shares: dict[str, float], plasmons: tuple[tuple[float, float, float], ...] = ONE_PLASMON
) -> np.ndarray:
    """Return plasmons with their doubles, and edges upon them: Li K, and titanium's as a hump."""
    loss = 0.4 * np.arange(2048)
    single = np.zeros(len(loss))
    for strength, place, width in plasmons:
        one = drude_loss_function(loss, peak_ev=place, fwhm_ev=width)
        one[1:] *= angular_factor(loss[1:], beam_energy_kev=300, semi_angle_mrad=10)
        single += strength * one / one.sum()
    axis = np.arange(len(loss)) * 0.4
    lithium = edge_cross_section("Li_K", axis + 1e-6, table="hydrogenic", **OPTICS).per_channel_nm2
    single = single + shares.get("Li", 0) * lithium
    above = np.maximum(loss - 37, 0)
    hump = above * np.exp(-above / 6) + 8 * np.where(
        above > 0, (np.maximum(loss, 37) / 37) ** -3, 0
    )
    single = single + shares.get("Ti", 0) * hump / hump.sum()
    spectrum = np.fft.irfft(np.exp(np.fft.rfft(single) - single.sum()), len(loss))
    axis = np.arange(-40, 41) * 0.4
    blur = np.exp(-((axis / 0.6) ** 2) / 2)
    at_zero = np.convolve(np.append(np.zeros(40), spectrum), blur / blur.sum(), mode="same")
    return np.interp(LOW_ENERGY, np.append(axis[:40], loss), at_zero)


def fit_lithium(counts: np.ndarray, elements: tuple[str, ...] = ("Li",), **given: object):
    keywords = {
        "energy_ev": LOW_ENERGY,
        "low_loss": counts,
        "low_loss_energy_ev": LOW_ENERGY,
        "exposure_ratio": 1.0,
        "options": PLAIN,
    }
    return fit_elements(counts, elements=list(elements), **OPTICS, **(keywords | given))


def test_lithium_is_quantified_on_a_plasmon_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TAIL_ERROR", "TAIL_ERROR_PER_PLASMON"):  # counting alone scatters the values
        monkeypatch.setattr(f"interphase.eels.elements.{name}", 0.0)
    counts = np.random.default_rng(7).poisson(1e6 * low_loss({"Li": 1500.0}), (1000, 500))
    maps = fit_lithium(counts)
    assert maps.background.startswith("tail of plasmons at 2")
    assert maps.contested == {}
    assert maps.detected.all()
    values = maps.areal_density_per_nm2[:, 0]
    assert values.mean() == pytest.approx(1500, rel=0.03)
    assert values.std() == pytest.approx(maps.standard_error_per_nm2.mean(), rel=0.08)
    assert maps.relative_uncertainty["Li"] == 0.5


def test_the_error_of_a_tail_is_not_shared_out_among_pixels() -> None:
    one = fit_lithium(1e4 * low_loss({}))
    many = fit_lithium(1e9 * low_loss({}))
    # With no end of electrons the tail's error is what is left.
    tail = np.sqrt(one.tail_variance[0]) / one.electrons
    assert many.standard_error_per_nm2[0] == pytest.approx(tail, rel=0.1)
    floor = (norm.isf(0.01) + norm.ppf(0.95)) * tail
    assert one.binning_for_limit("Li", 0.95 * floor) == np.inf
    assert one.binning_for_error("Li", 0.1, at_per_nm2=9.5 * tail) == np.inf
    wished = 1.3 * floor
    pixels = float(one.binning_for_limit("Li", wished))
    assert 10 < pixels < 1e5
    binned = fit_lithium(pixels * 1e4 * low_loss({}))
    assert binned.detection_limit_per_nm2[0] == pytest.approx(wished, rel=0.05)
    pixels = float(one.binning_for_error("Li", 0.1, at_per_nm2=15 * tail))
    binned = fit_lithium(pixels * 1e4 * low_loss({"Li": 15 * float(tail)}))
    assert binned.standard_error_per_nm2[0] == pytest.approx(1.5 * tail, rel=0.1)


@pytest.mark.parametrize(
    "plasmons",
    [
        ((0.05, 4.5, 1.5), (0.1, 10.0, 5.0), (0.2, 19.0, 5.0), (0.25, 27.0, 8.0)),
        ((0.05, 4.5, 2.0), (0.15, 10.0, 8.0), (0.1, 19.0, 4.0), (0.1, 27.0, 4.0)),
    ],
)
def test_more_plasmons_than_a_tail_has_are_no_lithium(plasmons: tuple) -> None:
    """Like copper, with losses at 4.5, 10, 19 and 27 eV: the tail is off by more than usual."""
    maps = fit_lithium(1e8 * low_loss({}, plasmons))
    assert abs(maps.areal_density_per_nm2[0]) < maps.detection_limit_per_nm2[0]


def test_two_losses_of_one_edge_are_counted_once() -> None:
    """A thick film of lithium: a twentieth of the electrons ionise it, some of them twice."""
    spectrum = 1e9 * low_loss({"Li": 6000.0})
    maps = fit_lithium(spectrum, options=replace(PLAIN, near_edge_ev=50.0))
    assert float(maps.areal_density_per_nm2[0]) == pytest.approx(6000, rel=0.012)


def test_titanium_is_not_called_lithium() -> None:
    rng = np.random.default_rng(8)
    for share in (0.01, 0.03):
        counts = rng.poisson(1e6 * low_loss({"Ti": share}), (400, 500))
        maps = fit_lithium(counts)
        assert not maps.detected.any() or maps.detected.mean() < 0.03
    maps = fit_lithium(counts, ("Li", "Ti"))
    assert maps.elements == ("Li",)
    assert maps.edges["Ti"] == ("Ti_M",)
    assert maps.detected.mean() < 0.05


def test_noise_on_a_plasmon_tail_is_not_lithium() -> None:
    counts = np.random.default_rng(9).poisson(1e5 * low_loss({}), (3000, 500))
    assert fit_lithium(counts).detected.mean() < 0.02


def test_an_m_edge_beside_another_shell_is_free() -> None:
    energy = np.arange(20.0, 700.0, 0.5)
    mean = 1e6 * (energy / 20) ** -3.0 + 1
    maps = fit_elements(
        np.random.default_rng(0).poisson(mean, (3, len(energy))), energy_ev=energy,
        elements=["Ti", "O"], electrons=None, options=replace(PLAIN, fit_range_ev=(25.0, 700.0)),
        **OPTICS,
    )  # fmt: skip
    assert maps.elements == ("Ti", "O")
    assert dict(maps.edges) == {"Ti": ("Ti_L",), "O": ("O_K",), "Ti_M": ("Ti_M",)}
    assert not maps.detected.any()


def test_a_wedge_is_fitted_in_classes_of_thickness_and_in_chunks() -> None:
    """Plural scattering takes counts from the window of an edge; the low loss gives them back."""
    optics = Spectrometer(
        beam_energy_kev=300, collection_semi_angle_mrad=10, convergence_semi_angle_mrad=0,
        resolution_fwhm_ev=0.8,
    )  # fmt: skip
    wedge = {"carbon": np.linspace(100, 1500, 96).reshape(8, 12)}
    axes = [
        EnergyAxis(first_ev=f, dispersion_ev=0.6, channels=n) for f, n in ((-18, 400), (240, 500))
    ]
    rng = np.random.default_rng(14)
    low, core = (
        record_spectra(
            spectrum_image(wedge, axis=axis, spectrometer=optics), electrons_per_pixel=1e7, rng=rng
        )
        for axis in axes
    )
    keywords = {
        "energy_ev": axes[1].energies_ev,
        "elements": ["C"],
        "low_loss_energy_ev": axes[0].energies_ev,
        "exposure_ratio": 1.0,
        "options": PLAIN,
        **OPTICS,
    }
    maps = fit_elements(core, low_loss=low, **keywords)
    truth = spectrum_truth(wedge, spectrometer=optics).areal_density_per_nm2("C")
    off = maps.areal_density_per_nm2[..., 0] - truth
    assert abs((off / maps.standard_error_per_nm2[..., 0]).mean()) < 0.5
    assert abs((off / truth).mean()) < 0.02
    lazy = fit_elements(
        da.from_array(core, chunks=(3, 12, 500)),
        low_loss=da.from_array(low, chunks=(4, 6, 400)),
        **keywords,
    )
    np.testing.assert_allclose(lazy.strength, maps.strength, rtol=1e-6)


LOW_AXIS = EnergyAxis(first_ev=-20, dispersion_ev=0.3, channels=1024)
SPECTROMETER = Spectrometer(
    beam_energy_kev=300, collection_semi_angle_mrad=10, convergence_semi_angle_mrad=0,
    resolution_fwhm_ev=0.8,
)  # fmt: skip


def film_of(shares: dict[str, np.ndarray], relative_thickness: float | np.ndarray) -> dict:
    """Return thicknesses of materials that cause these shares of the losses."""
    return {
        name: share * relative_thickness * mean_free_path(loss_material(name), SPECTROMETER)
        for name, share in shares.items()
    }


def fit_film(
    film: dict, electrons: float, rng: np.random.Generator | None, options: ElementOptions = PLAIN
) -> tuple:
    """Return the deviations of Li [1/nm²] from the truth, the truth, and the maps."""
    share = spectrum_image(film, axis=LOW_AXIS, spectrometer=SPECTROMETER)
    counts = electrons * share.astype(float)
    if rng is not None:
        counts = record_spectra(share, electrons_per_pixel=electrons, rng=rng)
    energy = LOW_AXIS.energies_ev
    maps = fit_lithium(counts, energy_ev=energy, low_loss_energy_ev=energy, options=options)
    truth = spectrum_truth(film, spectrometer=SPECTROMETER).areal_density_per_nm2("Li")
    return maps.areal_density_per_nm2[..., 0] - truth, truth, maps


@pytest.mark.parametrize("material", ["LiF", "Li2CO3"])
def test_near_edge_structure_that_is_scattered_again_does_not_change_the_amounts(
    material: str,
) -> None:
    """Events that fine structure moves lose more energy to plasmons, beyond the window."""
    film = film_of({material: np.ones((1, 1))}, 0.8)
    two = replace(PLAIN, background_terms=2)
    off, truth, _ = fit_film(film, 1e8, None, two)
    assert abs(off / truth).max() < 0.006
    # The freedom of a tail that may vary more costs some of it, within the stated error.
    off, _, maps = fit_film(film, 1e8, None)
    assert (abs(off) < maps.standard_error_per_nm2[..., 0]).all()


def test_a_tail_may_rise_between_two_plasmons() -> None:
    _, _, maps = fit_film(film_of({"vitreous-ice": np.ones((1, 1))}, 0.8), 1e8, None)
    assert PIXEL_VERDICTS[int(maps.verdict[0, 0])] == "fitted"
    assert not maps.detected.any()


@pytest.mark.parametrize("electrons", [1e6, 1e8])
def test_errors_cover_where_materials_and_thickness_vary(electrons: float) -> None:
    """The error of the tail was measured on films of other pairs of materials."""
    share, vary = np.meshgrid(np.linspace(0.1, 0.9, 10), np.linspace(0.8, 1.2, 10))
    off_in_errors = []
    for one, other in (("LiOH", "LiF"), ("LEDC", "Li2O2"), ("Li2O", "vitreous-ice")):
        film = film_of({one: share, other: 1 - share}, 0.5 * vary)
        off, _, maps = fit_film(film, electrons, np.random.default_rng(16))
        off_in_errors.append(off / maps.standard_error_per_nm2[..., 0])
    off = np.array(off_in_errors)
    assert np.isfinite(off).all()
    # The error of the tail is that of the worse of the films it was measured on: it may be too
    # large for these, by less than a factor of 2, but not too small.
    assert (np.abs(off) < 1).mean() > 0.683 - 4 * np.sqrt(0.683 * 0.317 / off.size)
    assert (np.abs(off) < 1.96).mean() > 0.95 - 4 * np.sqrt(0.95 * 0.05 / off.size)
    assert off.std() > 0.5


# --- agreement ----------------------------------------------------------------------------------


def test_film_from_first_principles_at_low_dose() -> None:
    """Near-edge structure, plural scattering, Poisson: 20 nm, 100 e/Å², bins of 100 nm²."""
    optics = Spectrometer(
        beam_energy_kev=300, collection_semi_angle_mrad=10, convergence_semi_angle_mrad=0,
        resolution_fwhm_ev=0.8,
    )  # fmt: skip
    film = {"Li2CO3": np.full((12, 20), 100.0), "LiF": np.full((12, 20), 100.0)}
    truth = spectrum_truth(film, spectrometer=optics)
    rng = np.random.default_rng(10)
    axes = [
        EnergyAxis(first_ev=f, dispersion_ev=0.6, channels=n) for f, n in ((-18, 600), (240, 1024))
    ]
    low, core = (
        record_spectra(
            spectrum_image(film, axis=axis, spectrometer=optics), electrons_per_pixel=1e6, rng=rng
        )
        for axis in axes
    )
    for elements, counts, axis in ((["Li"], low, axes[0]), (["C", "O", "F"], core, axes[1])):
        maps = fit_elements(
            counts, energy_ev=axis.energies_ev, elements=elements, low_loss=low,
            low_loss_energy_ev=axes[0].energies_ev, exposure_ratio=1.0, options=PLAIN, **OPTICS,
        )  # fmt: skip
        for k, element in enumerate(elements):
            true = float(truth.areal_density_per_nm2(element)[0, 0])
            off = maps.areal_density_per_nm2[..., k] - true
            error = maps.standard_error_per_nm2[..., k]
            tolerance = 4 * float(error.mean()) / np.sqrt(off.size) + 0.015 * true
            assert abs(off.mean()) < tolerance
            assert off.std() == pytest.approx(float(error.mean()), rel=0.2)
            if element == "Li":
                assert (np.abs(off) < 0.15 * true).all()
    means = maps.areal_density_per_nm2.mean(axis=(0, 1))
    true = [float(truth.areal_density_per_nm2(e)[0, 0]) for e in elements]
    np.testing.assert_allclose(means / means[1], np.array(true) / true[1], rtol=0.2)


def test_exspy_finds_the_same_atoms_in_a_spectrum_without_noise() -> None:
    mean = 1e3 * expected()
    ours = fit(mean).areal_density_per_nm2
    exspy = import_exspy()
    axis = {"size": len(ENERGY), "offset": ENERGY[0], "scale": 0.6, "units": "eV"}
    signal = exspy.signals.EELSSpectrum(mean, axes=[axis])
    signal.set_microscope_parameters(300, 1e-3, 10)
    signal.add_elements(list(TRUTH))
    model = signal.create_model(GOS="hydrogenic")
    model.fit(kind="smart")
    theirs = [model[f"{e}_K"].intensity.value * 1e10 / ELECTRONS for e in TRUTH]
    np.testing.assert_allclose(ours / 1e3, np.array(theirs) / 1e3, rtol=0.02)
    np.testing.assert_allclose(ours / 1e3, list(TRUTH.values()), rtol=0.02)


def spectrum_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import hyperspy.api as hs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # malformed dates and old versions
        signal = hs.load(path)
    signal = signal[0] if isinstance(signal, list) else signal
    return np.asarray(signal.data, dtype=float), signal.axes_manager.signal_axes[0].axis


@pytest.mark.parametrize("name", ["ll.msa", "lowloss_spectrum.msa", "Cr_L_ll.hspy"])
def test_no_lithium_in_the_low_loss_of_transition_metal_oxides(
    shared_data: Path, name: str
) -> None:
    counts, energy = spectrum_of(shared_data / "eels" / name)
    energy = energy - energy[counts.argmax()]
    maps = fit_elements(
        counts, energy_ev=energy, elements=["Li"], low_loss=counts, low_loss_energy_ev=energy,
        exposure_ratio=1.0, gain=10.0, read_noise=10.0, beam_energy_kev=200.0,
        collection_mrad=50.0, convergence_mrad=21.0, options=PLAIN,
    )  # fmt: skip
    assert not maps.detected.any()


def test_strontium_titanate_holds_oxygen_and_titanium(shared_data: Path) -> None:
    counts, energy = spectrum_of(shared_data / "eels" / "EELS_STO.dm3")
    energy = energy + 4.0  # the file's axis is 4 eV low
    maps = fit_elements(
        counts, energy_ev=energy, elements=["Ti", "O"], gain=10.0, electrons=None,
        beam_energy_kev=200.0, collection_mrad=33.0, convergence_mrad=30.0, options=PLAIN,
    )  # fmt: skip
    assert maps.detected.all()
    ratio, error = maps.ratio("O", "Ti")
    assert abs(ratio - 3) < 2 * error
    assert error < 0.5


# --- curves -------------------------------------------------------------------------------------


def test_curves_are_the_fit_channel_by_channel() -> None:
    rng = np.random.default_rng(15)
    gain, read_noise = 5.0, 8.0
    mean = 20 * expected()
    counts = gain * rng.poisson(mean, (2, 100, len(ENERGY)))
    counts = counts + rng.normal(0, read_noise, counts.shape)
    counts[1, 7, 600] = np.nan
    options = replace(PLAIN, near_edge_ev=0.0, curves=True)
    maps = fit(counts, options, gain=gain, read_noise=read_noise)
    curves = maps.curves
    assert curves is not None
    within = np.isin(ENERGY, curves.energy_ev)
    assert curves.names == ("C", "O", "F")
    assert curves.parts.shape == (2, 100, 3, within.sum())
    np.testing.assert_allclose(curves.background + curves.parts.sum(axis=-2), curves.fitted)
    np.testing.assert_allclose(
        curves.parts.sum(axis=-1),
        maps.strength * edges_per_atom()[within].sum(axis=0) / ELECTRONS,
        rtol=1e-9,
    )
    assert np.isnan(curves.fitted[1, 7]).all()
    assert np.isnan(curves.residual[1, 7]).all()
    good = np.arange(200).reshape(2, 100) != 107
    np.testing.assert_allclose(curves.fitted[good].mean(axis=0), mean[within], rtol=0.02)
    residual = curves.residual[good]
    assert residual.std() == pytest.approx(1.0, abs=0.01)
    assert np.abs(residual.mean(axis=0)).max() < 4.5 / np.sqrt(len(residual))
    assert not curves.near_edge.any()
    assert fit(counts[0], PLAIN).curves is None


def test_curves_leave_fine_structure_to_the_residuals() -> None:
    mean = 100 * expected()
    window = (ENERGY > 532) & (ENERGY < 582)
    moved = mean.copy()
    moved[window] += 3 * mean[window].mean() * np.exp(-(((ENERGY[window] - 540) / 2) ** 2))
    moved[window] *= mean[window].sum() / moved[window].sum()
    curves = fit(moved, replace(PLAIN, curves=True)).curves
    assert curves is not None
    assert curves.residual.shape == curves.energy_ev.shape
    outside = curves.residual[~curves.near_edge]
    assert np.abs(outside).max() < 1
    line = curves.residual[np.argmin(np.abs(curves.energy_ev - 540))]
    assert line > 50


# --- spectra that hold no answer ----------------------------------------------------------------


def verdict_of(counts: np.ndarray, **given: object) -> str:
    maps = fit(counts, **given)
    assert np.isnan(maps.strength).all() == (maps.verdict not in (0, 4))
    return PIXEL_VERDICTS[int(maps.verdict)]


def test_poor_spectra_get_a_reason_instead_of_a_number() -> None:
    rng = np.random.default_rng(11)
    good = rng.poisson(expected()).astype(float)
    assert verdict_of(good) == "fitted"
    spoilt = good.copy()
    spoilt[500] = np.nan
    assert verdict_of(spoilt) == "unusable spectrum"
    spoilt[500] = -50.0
    assert verdict_of(spoilt) == "unusable spectrum"
    rising = 1e3 * (ENERGY / 250) ** 2
    assert verdict_of(rng.poisson(rising)) == "runaway background"
    # An edge without a tail leaves less than nothing for the background.
    cut = expected({}, 5.0) + edges_per_atom() @ np.array([0, 3e4, 0]) * (ENERGY < 700)
    four = replace(PLAIN, background_terms=4)
    assert verdict_of(rng.poisson(10 * cut), options=four) == "negative background"
    humps = 100 * expected() * (1 + 0.3 * np.sin(ENERGY / 9))
    maps = fit(rng.poisson(humps))
    assert PIXEL_VERDICTS[int(maps.verdict)] == "unlike the model"
    assert "unlike the model" in maps.sentence
    # Its errors are those of χ², not those of counting.
    counting = fit(rng.poisson(100 * expected())).standard_error_per_nm2
    assert (maps.standard_error_per_nm2 > 3 * counting).all()


def test_too_few_electrons_give_a_limit_and_the_binning_that_helps() -> None:
    counts = np.random.default_rng(12).poisson(6e-4 * expected(), (30, 30, len(ENERGY)))
    maps = fit(counts, electrons=6e-4 * ELECTRONS)
    assert maps.assessment is Assessment.TOO_FEW_ELECTRONS
    assert "too few electrons" in maps.sentence
    few = maps.verdict == 1
    assert few.mean() > 0.99
    assert np.isnan(maps.areal_density_per_nm2[few]).all()
    assert np.isfinite(maps.detection_limit_per_nm2).all()
    assert np.median(maps.binning_for_limit("O", 5000.0)) > 100


def test_one_bad_pixel_does_not_touch_the_others(many: np.ndarray) -> None:
    part = many[:4, :10].copy()
    whole = fit(part)
    part[2, 3] = np.inf
    spoilt = fit(part)
    assert PIXEL_VERDICTS[spoilt.verdict[2, 3]] == "unusable spectrum"
    others = np.arange(40).reshape(4, 10) != 23
    np.testing.assert_allclose(
        spoilt.strength[others], whole.strength[others], rtol=0.02, atol=0.05 * 3e8
    )
    assert "unusable" in spoilt.sentence


def test_nothing_but_bad_pixels_is_an_assessment_too() -> None:
    maps = fit(np.full((2, 2, len(ENERGY)), np.nan))
    assert maps.assessment is Assessment.UNUSABLE
    assert fit(np.zeros((2, 2, len(ENERGY)))).assessment is Assessment.TOO_FEW_ELECTRONS


# --- misuse -------------------------------------------------------------------------------------


def test_misuse_is_refused_with_what_to_do() -> None:
    counts = np.ones((2, len(ENERGY)))
    with pytest.raises(ParameterError, match=r"no edge of Li \(Li_K at 55 eV\) begins between"):
        fit(counts, elements=["Li"])
    with pytest.raises(ParameterError, match=r"'Xx' is not an element"):
        fit(counts, elements=["Xx"])
    with pytest.raises(ParameterError, match=r"expected a list of different symbols"):
        fit(counts, elements=["C", "C"])
    with pytest.raises(ParameterError, match=r"expected even ones"):
        fit(counts, energy_ev=250 + (ENERGY - 250) ** 1.1)
    with pytest.raises(ParameterError, match=r"expected one energy for each"):
        fit(counts, energy_ev=ENERGY[1:])
    with pytest.raises(ParameterError, match=r"electrons has shape \(3,\): expected a number"):
        fit(counts, electrons=np.ones(3))
    with pytest.raises(ParameterError, match=r"smallest of electrons is -1"):
        fit(counts, electrons=-1.0)
    with pytest.raises(ParameterError, match=r"low_loss_energy_ev and exposure_ratio beside it"):
        fit(counts, low_loss=np.ones((2, 500)), electrons=None)
    with pytest.raises(ParameterError, match=r"give low_loss too"):
        fit(counts, exposure_ratio=1.0)
    low = {"low_loss_energy_ev": LOW_ENERGY, "exposure_ratio": 1.0, "electrons": None}
    with pytest.raises(ParameterError, match=r"low_loss has shape \(3, 500\): expected"):
        fit(counts, low_loss=np.ones((3, 500)), **low)
    with pytest.raises(ParameterError, match=r"begins at 5 eV: expected its zero-loss peak"):
        fit(counts, low_loss=np.ones((2, 500)), **(low | {"low_loss_energy_ev": LOW_ENERGY + 20}))
    with pytest.raises(ParameterError, match=r"plasmon tail was asked for without low_loss"):
        fit(counts, replace(PLAIN, background="plasmon tail"))
    with pytest.raises(ParameterError, match=r"expected channels before it; give fit_range_ev"):
        fit(counts, replace(PLAIN, fit_range_ev=(300.0, 700.0)))
    with pytest.raises(ParameterError, match=r"gain is 0 counts per electron: expected a number"):
        fit(counts, gain=0)
    with pytest.raises(ParameterError, match=r"tells the amount of V, where near-edge"):
        fit(counts[:, ENERGY < 560], energy_ev=ENERGY[ENERGY < 560], elements=["Ti", "V"])
    with pytest.raises(ParameterError, match=r"curves of 257 spectra .* expected 256 at most"):
        fit(np.ones((257, len(ENERGY))), replace(PLAIN, curves=True))
    maps = fit(np.random.default_rng(0).poisson(expected(), (2, len(ENERGY))))
    with pytest.raises(ParameterError, match=r"'Li' was not quantified: expected one of C, O, F"):
        maps.ratio("Li", "C")
    with pytest.raises(ParameterError, match=r"relative_error is -1"):
        maps.binning_for_error("C", -1, at_per_nm2=1)
    for given_, said in (
        ({"method": "guess"}, "method is 'guess'"),
        ({"background": "flat"}, "background is 'flat'"),
        ({"near_edge_ev": -1.0}, "near_edge_ev is -1"),
        ({"false_alarm": 0.0}, "false_alarm is 0"),
        ({"fit_range_ev": (5.0, 1.0)}, "two rising energies"),
    ):
        with pytest.raises(ParameterError, match=said):
            ElementOptions(**given_)

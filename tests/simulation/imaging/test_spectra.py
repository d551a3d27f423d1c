"""Energy-loss spectrum images: formulas, published numbers, other programs, counting."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import poisson

from interphase import core_loss
from interphase.core_loss import (
    cross_section,
    import_exspy,
    known_edges,
    partial_cross_section,
)
from interphase.errors import ParameterError
from interphase.inelastic import (
    drude_loss_function,
    free_electron_plasmon,
    mean_free_path_iakoubovskii,
    mean_free_path_malis,
)
from interphase.phases import known_phases
from interphase.simulation.imaging.detectors import Detector, Transfer
from interphase.simulation.imaging.edges import WINDOW_EV, with_near_edge
from interphase.simulation.imaging.losses import (
    EnergyAxis,
    Spectrometer,
    grid_for,
    losses_per_a,
    mean_free_path,
)
from interphase.simulation.imaging.materials import (
    VALENCE_ELECTRONS,
    LossMaterial,
    NearEdgePeak,
    loss_material,
)
from interphase.simulation.imaging.spectra import (
    probe_maps,
    record_spectra,
    spectrum_image,
    spectrum_truth,
    to_eels_signal,
)
from interphase.simulation.models.matrices import MATRICES

OPTICS = Spectrometer(
    beam_energy_kev=300,
    collection_semi_angle_mrad=10,
    convergence_semi_angle_mrad=0,
    resolution_fwhm_ev=0.8,
)
LOW = EnergyAxis(first_ev=-10, dispersion_ev=0.25, channels=800)
CORE = EnergyAxis(first_ev=250, dispersion_ev=0.5, channels=1200)
CARBONATES = {"Li2CO3", "LEDC", "electrolyte"}


def film(thickness_a: float) -> np.ndarray:
    return np.full((1, 1), thickness_a)


# --- formulas and published numbers -----------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "energy_kev", "path_nm"),
    [
        ("C", 200, 160.8),
        ("Al", 200, 128.1),
        ("Si", 200, 125.3),
        ("Cu", 200, 101.4),
        ("Au", 200, 76.1),
        ("C", 100, 114.0),
        ("Al", 100, 91.5),
    ],
)
def test_the_mean_free_path_of_malis(element: str, energy_kev: float, path_nm: float) -> None:
    path = mean_free_path_malis(
        {element: 1}, beam_energy_kev=energy_kev, collection_semi_angle_mrad=10
    )
    assert path / 10 == pytest.approx(path_nm, abs=0.06)


@pytest.mark.parametrize(("energy_kev", "path_nm"), [(200, 133.6), (300, 160.4)])
def test_the_mean_free_path_of_iakoubovskii_at_large_angles(
    energy_kev: float, path_nm: float
) -> None:
    path = mean_free_path_iakoubovskii(
        3.6, beam_energy_kev=energy_kev, collection_semi_angle_mrad=1e4
    )
    assert path / 10 == pytest.approx(path_nm, abs=0.06)


@pytest.mark.parametrize(
    ("material", "iakoubovskii_nm", "malis_nm"),
    [
        ("Li", 247, 198),
        ("Li2O", 179, 170),
        ("LiF", 168, 157),
        ("Li2CO3", 177, 159),
        ("LLZO-tetragonal", 143, 111),
    ],
)
def test_two_mean_free_paths_of_battery_materials(
    material: str, iakoubovskii_nm: float, malis_nm: float
) -> None:
    optics = replace(OPTICS, beam_energy_kev=200, convergence_semi_angle_mrad=10)
    known = loss_material(material)
    assert mean_free_path(known, optics) / 10 == pytest.approx(iakoubovskii_nm, abs=1)
    malis = mean_free_path(known, replace(optics, mean_free_path="malis"))
    assert malis / 10 == pytest.approx(malis_nm, abs=1)


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 10.0), (10.0, 10.0), (30.0, 20.0), (5.0, 60.0)])
def test_the_mean_free_path_is_that_of_exspy_with_its_angular_correction(
    alpha: float, beta: float
) -> None:
    eels = import_exspy().utils.eels
    theirs = eels.iMFP_Iakoubovskii(2.02, 300) * eels.iMFP_angular_correction(
        2.02, 300, alpha, beta
    )
    ours = mean_free_path_iakoubovskii(
        2.02,
        beam_energy_kev=300,
        collection_semi_angle_mrad=beta,
        convergence_semi_angle_mrad=alpha,
    )
    assert ours / 10 == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize(
    ("material", "plasmon_ev"),
    [
        ("Li", 7.99),
        ("Na", 5.91),
        ("Al", 15.78),
        ("Si", 16.60),
        ("LiF", 26.0),
        ("Li2O", 21.2),
        ("Li2CO3", 23.8),
        ("LiH", 12.7),
        ("Li2S", 15.4),
        ("graphite", 25.0),
    ],
)
def test_the_plasmon_of_free_electrons(material: str, plasmon_ev: float) -> None:
    atoms = loss_material(material).atoms_per_a3
    electrons = sum(VALENCE_ELECTRONS[element] * n for element, n in atoms.items())
    assert free_electron_plasmon(electrons) == pytest.approx(plasmon_ev, rel=0.005)


@given(peak=st.floats(3, 40), relative_width=st.floats(0.01, 1.5))
def test_the_loss_function_is_largest_where_it_is_told_to_be(
    peak: float, relative_width: float
) -> None:
    near = peak * np.array([1 - 1e-3, 1, 1 + 1e-3])
    below, at, above = drude_loss_function(near, peak_ev=peak, fwhm_ev=relative_width * peak)
    assert at > below
    assert at > above


def test_a_narrow_loss_function_has_the_width_it_is_told_to_have() -> None:
    energy = np.linspace(10, 20, 100001)
    loss = drude_loss_function(energy, peak_ev=15.0, fwhm_ev=0.5)
    above = energy[loss > loss.max() / 2]
    assert np.ptp(above) == pytest.approx(0.5, rel=2e-3)


@pytest.mark.parametrize(
    ("edge", "barns"),
    [
        ("Li_K", (9.76e4, 7.10e4, 6.09e4)),
        ("C_K", (3997, 3302, 2999)),
        ("N_K", (1761, 1530, 1417)),
        ("O_K", (877, 802, 759)),
        ("F_K", (449, 435, 421)),
        ("Na_K", (120, 133, 136)),
    ],
)
def test_hydrogenic_cross_sections(edge: str, barns: tuple[float, float, float]) -> None:
    found = [
        partial_cross_section(
            edge, window_ev=50, beam_energy_kev=energy, collection_semi_angle_mrad=10
        )
        for energy in (100, 200, 300)
    ]
    assert found == pytest.approx(barns, rel=0.01)


def test_l_shells_that_exspy_names_otherwise_lie_between_their_neighbours() -> None:
    barns = [
        partial_cross_section(
            f"{element}_L", window_ev=50, beam_energy_kev=200, collection_semi_angle_mrad=10
        )
        for element in ("Mg", "Al", "Si", "P", "S", "Cl", "K", "Ca", "Ti")
    ]
    assert barns == sorted(barns, reverse=True)


def test_the_borrowed_l_shell_is_exspys_own_where_exspy_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = core_loss._hydrogenic("Ti", "L", 456.0)
    elements = import_exspy().material.elements
    titanium = elements["Ti"].deepcopy()
    del titanium.Atomic_properties.Binding_energies.L3
    monkeypatch.setattr(
        import_exspy().material,
        "elements",
        {name: titanium if name == "Ti" else elements[name] for name in ("Ti", "Si")},
    )
    ours = core_loss._hydrogenic("Ti", "L", 456.0)
    energy = np.linspace(400, 2500, 500)
    for component in (ours, theirs):
        component.set_microscope_parameters(E0=200, alpha=0, beta=10, energy_scale=1)
    np.testing.assert_allclose(ours.function(energy), theirs.function(energy), rtol=1e-9)


def test_counts_of_a_film_of_lithium_oxide() -> None:
    """Li2O 20 nm, 300 kV, 10 mrad, 50 eV: 9.9e-3 Li K electrons of one, 0.6 O K of 1e4."""
    truth = spectrum_truth({"Li2O": film(200.0)}, spectrometer=OPTICS)
    dose, area_a2 = 100.0, 100.0
    for element, edge, counts, tolerance in (("Li", "Li_K", 99, 1.0), ("O", "O_K", 0.6, 0.05)):
        barns = partial_cross_section(
            edge, window_ev=50, beam_energy_kev=300, collection_semi_angle_mrad=10
        )
        per_nm2 = float(truth.areal_density_per_nm2(element)[0, 0])
        assert dose * area_a2 * per_nm2 * barns * 1e-10 == pytest.approx(counts, abs=tolerance)


# --- plural scattering ------------------------------------------------------------------------


def sharp(identifier: str = "vacuum-like") -> LossMaterial:
    """A material that only loses 20 eV at a time, with no atoms that have edges."""
    return LossMaterial(
        identifier=identifier,
        atoms_per_a3={"H": 0.1},
        density_g_per_cm3=1.0,
        plasmon_ev=20.0,
        plasmon_fwhm_ev=0.02,
        plasmon_source="made up",
    )


@pytest.mark.parametrize("relative_thickness", [0.1, 1.0, 3.0])
def test_plasmons_are_excited_n_times_with_poissons_probability(relative_thickness: float) -> None:
    path = mean_free_path(sharp(), OPTICS)
    axis = EnergyAxis(first_ev=-9.875, dispersion_ev=0.25, channels=800)
    share = spectrum_image(
        {"X": film(relative_thickness * path)},
        axis=axis,
        spectrometer=OPTICS,
        materials={"X": sharp()},
    )[0, 0]
    found = share.reshape(-1, 80).sum(axis=1)[:10]
    expected = poisson.pmf(np.arange(10), relative_thickness)
    # The loss function has tails, so not every single loss is within 10 eV of 20 eV.
    np.testing.assert_allclose(found[:6], expected[:6], atol=2e-3)
    assert found[0] == pytest.approx(expected[0], abs=1e-4)


def test_spectra_equal_the_sum_over_collisions() -> None:
    """The naive twin: convolve the losses of one collision n times and add with n's weight."""
    fwhm = 2.0  # five channels, so that channels and steps are the same
    optics = replace(OPTICS, resolution_fwhm_ev=fwhm)
    axis = EnergyAxis(first_ev=-20, dispersion_ev=0.4, channels=400)
    grid = grid_for(axis, fwhm, 0.0)
    assert grid.per_channel == 1
    one, rate = losses_per_a(loss_material("Li2O"), optics, grid, near_edge=True)
    thickness = 4000.0
    energies = axis.energies_ev
    losses = np.zeros(grid.losses)
    term = np.zeros(grid.losses)
    term[0] = np.exp(-thickness * rate)
    for n in range(1, 30):
        losses += term
        term = np.convolve(term, thickness * one)[: grid.losses] / n
    sigma = fwhm / np.sqrt(8 * np.log(2))
    distance = energies[:, None] - np.arange(grid.losses) * grid.step_ev
    half = axis.dispersion_ev / 2
    peak = ndtr((distance + half) / sigma) - ndtr((distance - half) / sigma)
    share = spectrum_image({"Li2O": film(thickness)}, axis=axis, spectrometer=optics)[0, 0]
    np.testing.assert_allclose(share, peak @ losses, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("material", ["Li", "Li2O", "Al", "LEDC", "LLZO-tetragonal"])
@pytest.mark.parametrize("relative_thickness", [0.1, 1.0])
def test_the_log_ratio_recovers_the_relative_thickness(
    material: str, relative_thickness: float
) -> None:
    optics = replace(OPTICS, resolution_fwhm_ev=0.05)
    axis = EnergyAxis(first_ev=-0.5, dispersion_ev=0.1, channels=20000)
    thickness = film(relative_thickness * mean_free_path(loss_material(material), optics))
    share = spectrum_image({material: thickness}, axis=axis, spectrometer=optics)[0, 0]
    zero_loss = share[axis.energies_ev < 0.15].sum(dtype=float)
    truth = spectrum_truth({material: thickness}, spectrometer=optics).relative_thickness[0, 0]
    assert truth == pytest.approx(relative_thickness, rel=1e-12)
    ratio = np.log(share.sum(dtype=float) / zero_loss)
    assert ratio == pytest.approx(relative_thickness, rel=1e-3)


def test_every_electron_is_found_at_some_energy() -> None:
    axis = EnergyAxis(first_ev=-10, dispersion_ev=1.0, channels=4000)
    optics = replace(OPTICS, resolution_fwhm_ev=4.0)
    share = spectrum_image({"Li2CO3": film(2000.0)}, axis=axis, spectrometer=optics)
    assert share.sum(dtype=float) == pytest.approx(1, abs=1e-4)


def test_low_loss_and_core_loss_are_windows_of_one_spectrum() -> None:
    whole = EnergyAxis(first_ev=-10, dispersion_ev=0.5, channels=1720)
    part = EnergyAxis(first_ev=240, dispersion_ev=0.5, channels=1220)
    maps = {"Li2CO3": film(500.0), "carbon": film(200.0)}
    all_of_it = spectrum_image(maps, axis=whole, spectrometer=OPTICS)[0, 0]
    core = spectrum_image(maps, axis=part, spectrometer=OPTICS)[0, 0]
    np.testing.assert_allclose(core, all_of_it[500:], rtol=1e-4, atol=1e-13)


def test_finer_channels_add_up_to_coarse_ones() -> None:
    fine = EnergyAxis(first_ev=-9.8, dispersion_ev=0.1, channels=1000)
    coarse = EnergyAxis(first_ev=-9.6, dispersion_ev=0.5, channels=200)
    maps = {"Li2O": film(300.0)}
    many = spectrum_image(maps, axis=fine, spectrometer=OPTICS)[0, 0]
    few = spectrum_image(maps, axis=coarse, spectrometer=OPTICS)[0, 0]
    np.testing.assert_allclose(many.reshape(-1, 5).sum(axis=1), few, rtol=5e-3, atol=1e-9)


@pytest.mark.parametrize("fwhm_ev", [0.1, 0.8, 3.0])
def test_the_zero_loss_peak_has_its_width_and_its_place(fwhm_ev: float) -> None:
    optics = replace(OPTICS, resolution_fwhm_ev=fwhm_ev)
    axis = EnergyAxis(first_ev=-20.1, dispersion_ev=0.25, channels=200)
    shift = np.array([[0.0, 1.37], [-2.5, 0.11]])
    share = spectrum_image(
        {"Li2O": np.zeros((2, 2))}, axis=axis, spectrometer=optics, energy_shift_ev=shift
    )
    sigma = fwhm_ev / np.sqrt(8 * np.log(2))
    edges = axis.first_ev + (np.arange(201) - 0.5) * axis.dispersion_ev
    expected = np.diff(ndtr((edges - shift[..., None]) / sigma), axis=-1)
    np.testing.assert_allclose(share, expected, atol=2e-4)


# --- edges ------------------------------------------------------------------------------------


@pytest.mark.parametrize("near_edge", [False, True])
def test_the_area_of_an_edge_is_atoms_times_cross_section(near_edge: bool) -> None:
    """Against the same spectrum of a material without atoms that have this edge."""
    axis = EnergyAxis(first_ev=200, dispersion_ev=0.5, channels=300)
    carbonate = loss_material("Li2CO3")
    bare = replace(
        carbonate, atoms_per_a3={k: n for k, n in carbonate.atoms_per_a3.items() if k != "C"}
    )
    maps = {"Li2CO3": film(10.0)}
    with_carbon, without = (
        spectrum_image(
            maps,
            axis=axis,
            spectrometer=OPTICS,
            near_edge=near_edge,
            materials={"Li2CO3": material},
        )[0, 0].astype(float)
        for material in (carbonate, bare)
    )
    window = (axis.energies_ev > 280) & (axis.energies_ev < 284 + WINDOW_EV)
    barns = partial_cross_section(
        "C_K", window_ev=WINDOW_EV, beam_energy_kev=300, collection_semi_angle_mrad=10
    )
    truth = spectrum_truth(maps, spectrometer=OPTICS)
    expected = float(truth.areal_density_per_nm2("C")[0, 0]) * barns * 1e-10
    # 10 Å scatter 0.5 % of the electrons again, out of a window of 50 eV or within it.
    assert (with_carbon - without)[window].sum() == pytest.approx(expected, rel=0.01)


@given(
    place=st.floats(1, 25), fwhm=st.floats(0.5, 4), share=st.floats(0, 0.4), edge=st.integers(0, 2)
)
@settings(max_examples=25, deadline=None)
def test_near_edge_peaks_keep_the_area_within_50_ev(
    place: float, fwhm: float, share: float, edge: int
) -> None:
    name, onset = [("Li_K", 55.0), ("C_K", 284.0), ("P_L", 132.0)][edge]
    plain = cross_section(name, beam_energy_kev=300, collection_semi_angle_mrad=10)
    peak = NearEdgePeak(
        edge=name, peak_ev=onset + place, fwhm_ev=fwhm, share=share, grade="C", source="made up"
    )
    shaped = with_near_edge(plain, onset, (peak,))
    energy = onset + np.linspace(-10, 50, 24001)
    assert np.trapezoid(shaped(energy), energy) == pytest.approx(
        np.trapezoid(plain(energy), energy), rel=1e-3
    )
    assert (shaped(energy) >= 0).all()
    beyond = onset + np.linspace(50, 300, 100)
    np.testing.assert_allclose(shaped(beyond), plain(beyond), rtol=1e-6)


def test_peaks_that_take_the_whole_edge_are_refused() -> None:
    plain = cross_section("C_K", beam_energy_kev=300, collection_semi_angle_mrad=10)
    peak = NearEdgePeak(
        edge="C_K", peak_ev=290.0, fwhm_ev=1.0, share=0.8, grade="C", source="made up"
    )
    with pytest.raises(ParameterError, match=r"take 0\.80 of the edge: expected at most 0\.5"):
        with_near_edge(plain, 284.0, (peak,))


@pytest.mark.parametrize("material", ["Li2CO3", "LEDC", "electrolyte", "polymer", "carbon"])
def test_only_carbonates_have_a_peak_at_290_ev(material: str) -> None:
    axis = EnergyAxis(first_ev=280, dispersion_ev=0.1, channels=300)
    share = spectrum_image({material: film(200.0)}, axis=axis, spectrometer=OPTICS)[0, 0]
    energy = axis.energies_ev
    near = np.abs(energy - 290.3) < 1.5
    largest = energy[near][share[near].argmax()]
    assert bool(abs(largest - 290.3) < 0.3) is (material in CARBONATES)


def test_peaks_belong_to_edges_of_their_materials() -> None:
    for material in (*known_phases(), *MATRICES):
        known = loss_material(material)
        for peak in known.near_edge:
            element = peak.edge.partition("_")[0]
            assert element in known.atoms_per_a3
            assert -3 < peak.peak_ev - known_edges(element)[peak.edge] < 20
        assert {p.edge for p in known.near_edge if p.peak_ev == 290.3} <= {"C_K"}
    with_peak = {
        material
        for material in (*known_phases(), *MATRICES)
        if any(peak.peak_ev == 290.3 for peak in loss_material(material).near_edge)
    }
    assert with_peak == CARBONATES


def test_every_material_of_the_package_has_a_spectrum() -> None:
    axis = EnergyAxis(first_ev=-10, dispersion_ev=1.0, channels=300)
    optics = replace(OPTICS, resolution_fwhm_ev=4.0)
    maps = {material: film(3.0) for material in (*known_phases(), *MATRICES)}
    share = spectrum_image(maps, axis=axis, spectrometer=optics)
    assert share.sum() == pytest.approx(1, abs=0.02)
    for material in maps:
        assert "(" in loss_material(material).plasmon_source


# --- maps, truth and linearity ----------------------------------------------------------------


def test_thin_films_scatter_in_proportion() -> None:
    axis = EnergyAxis(first_ev=270, dispersion_ev=0.5, channels=800)
    thin, thick = (
        spectrum_image({"Li2CO3": film(t)}, axis=axis, spectrometer=OPTICS)[0, 0]
        for t in (0.01, 0.1)
    )
    np.testing.assert_allclose(10 * thin, thick, rtol=1e-3)


def test_the_truth_sums_the_atoms_of_the_cells() -> None:
    from interphase.phases import load_phase

    rng = np.random.default_rng(5)
    maps = {name: rng.uniform(0, 100, (3, 4)) for name in ("Li2O", "LiF", "LEDC")}
    truth = spectrum_truth(maps, spectrometer=OPTICS)
    oxide, fluoride = load_phase("Li2O"), load_phase("LiF")
    in_oxide = maps["Li2O"] * 8 / oxide.volume_a3 * 100
    in_fluoride = maps["LiF"] * 4 / fluoride.volume_a3 * 100
    # (CH2OCO2Li)2 is 161.95 u; 1.6 g/cm³.
    in_organic = maps["LEDC"] * 2 * 1.6 / 161.95 * 0.602214076 * 100
    np.testing.assert_allclose(
        truth.areal_density_per_nm2("Li"), in_oxide + in_fluoride + in_organic, rtol=1e-4
    )
    np.testing.assert_allclose(truth.areal_density_per_nm2("F"), in_fluoride, rtol=1e-12)
    np.testing.assert_allclose(
        truth.areal_density_per_nm2("O")[0], (in_oxide / 2 + 3 * in_organic)[0], rtol=1e-4
    )
    assert (truth.areal_density_per_nm2("Fe") == 0).all()
    share = truth.species_fraction("Li")
    np.testing.assert_allclose(sum(share.values()), 1)
    np.testing.assert_allclose(share["LiF"], in_fluoride / truth.areal_density_per_nm2("Li"))
    np.testing.assert_allclose(sum(truth.material_fraction.values()), 1)


def test_vacuum_has_no_fractions() -> None:
    truth = spectrum_truth({"Li2O": np.zeros((1, 2))}, spectrometer=OPTICS)
    assert (truth.material_fraction["Li2O"] == 0).all()
    assert (truth.species_fraction("Li")["Li2O"] == 0).all()
    assert (truth.relative_thickness == 0).all()


def test_the_probe_spreads_an_edge_by_its_width_and_keeps_the_amount() -> None:
    step = np.zeros((8, 120))
    step[:, 60:] = 100.0
    maps = probe_maps({"Li": step}, pixel_size_a=2.0, probe_fwhm_a=20.0)
    middle = (np.arange(120) - 59.5) * 2.0
    expected = 100 * ndtr(middle / (20 / np.sqrt(8 * np.log(2))))
    np.testing.assert_allclose(maps["Li"][4], expected, atol=0.1)
    binned = probe_maps({"Li": step}, pixel_size_a=2.0, probe_fwhm_a=20.0, binning=4)["Li"]
    assert binned.shape == (2, 30)
    assert binned.mean() == pytest.approx(step.mean(), rel=1e-9)


def test_blocks_and_laziness_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from interphase.simulation.imaging import spectra

    rng = np.random.default_rng(2)
    maps = {name: rng.uniform(0, 200, (5, 6)) for name in ("Li2O", "LiF")}
    axis = EnergyAxis(first_ev=-10, dispersion_ev=0.5, channels=200)
    shift = rng.normal(0, 0.3, (5, 6))
    whole = spectrum_image(maps, axis=axis, spectrometer=OPTICS, energy_shift_ev=shift)
    counts = record_spectra(whole, electrons_per_pixel=1e4, rng=np.random.default_rng(1))
    monkeypatch.setattr(spectra, "_BLOCK_BYTES", 12000)
    small = spectrum_image(maps, axis=axis, spectrometer=OPTICS, energy_shift_ev=shift)
    np.testing.assert_array_equal(whole, small)
    later = spectrum_image(maps, axis=axis, spectrometer=OPTICS, energy_shift_ev=shift, lazy=True)
    assert later.numblocks == (3, 1, 1)
    np.testing.assert_array_equal(whole, later.compute(scheduler="synchronous"))
    recorded = record_spectra(later, electrons_per_pixel=1e4, rng=np.random.default_rng(1))
    assert recorded.numblocks == (3, 1, 1)
    np.testing.assert_array_equal(counts, recorded.compute(scheduler="synchronous"))


# --- counting ---------------------------------------------------------------------------------


def test_counts_are_poisson_and_scale_with_the_dose() -> None:
    share = spectrum_image(
        {"Li2O": np.full((40, 50), 200.0)},
        axis=EnergyAxis(first_ev=10, dispersion_ev=2.0, channels=40),
        spectrometer=OPTICS,
    )
    for electrons in (1e3, 1e5):
        counts = record_spectra(
            share, electrons_per_pixel=electrons, rng=np.random.default_rng(3)
        ).reshape(-1, 40)
        expected = electrons * share[0, 0].astype(float)
        deviation = (counts.mean(axis=0) - expected) / np.sqrt(expected / len(counts))
        assert np.sum(deviation**2) == pytest.approx(40, abs=4 * np.sqrt(80))
        ratio = (counts.var(axis=0) / expected).mean()
        assert ratio == pytest.approx(1, abs=4 * np.sqrt(2 / counts.size + 1 / expected.sum()))


def test_the_detector_spreads_along_the_energies_only() -> None:
    share = np.zeros((3, 1, 200))
    share[1, 0, 100] = 1.0
    blurring = Detector(dqe0=0.5, gain=2.0, mtf=lambda k: np.exp(-3 * k**2))
    counts = record_spectra(
        share, electrons_per_pixel=1e6, detector=blurring, rng=np.random.default_rng(0)
    )
    assert (counts[[0, 2]] == 0).all()
    assert counts[1].sum() == pytest.approx(1e6, rel=4 * 2 / np.sqrt(5e5))
    assert counts[1, 0, 101] > 0.1 * counts[1, 0, 100]


def test_a_scintillator_shapes_signal_and_noise_along_the_energies() -> None:
    """MTF for the signal, NTF for the noise, DQE between them, nothing across scan positions."""
    camera = Detector(
        dqe0=0.6,
        mtf=Transfer(at_half_nyquist=0.45, at_nyquist=0.1),
        ntf=Transfer(at_half_nyquist=0.7, at_nyquist=0.4),
        gain=5.0,
        gain_spread=0.5,
        read_noise=20.0,
    )
    rows, columns, channels, electrons = 40, 50, 64, 400.0
    wave = 1 + 0.5 * np.cos(2 * np.pi * 16 * np.arange(channels) / channels)
    # Neighbours along x have different doses, which a transfer across them would even out.
    share = np.broadcast_to(wave, (rows, columns, channels)).copy()
    share[:, 1::2] *= 2
    counts = record_spectra(
        share, electrons_per_pixel=electrons, detector=camera, rng=np.random.default_rng(11)
    )
    detected_gain = camera.detected_share * camera.gain
    for offset, dose in ((0, electrons), (1, 2 * electrons)):
        part = counts[:, offset::2].reshape(-1, channels).astype(float)
        spectra = np.fft.rfft(part) / channels
        over_nyquist = 2 * np.fft.rfftfreq(channels)
        noise = (
            camera.detected_share
            * camera.gain**2
            * (1 + camera.gain_spread**2)
            * camera.ntf(over_nyquist) ** 2
            * dose
            + camera.read_noise**2
        )
        # The wave's frequency is half of Nyquist's.
        error = np.sqrt(noise / channels / len(part))
        mean = spectra.mean(axis=0)
        assert mean[0].real == pytest.approx(detected_gain * dose, abs=4 * error[0])
        assert mean[16].real == pytest.approx(detected_gain * dose * 0.45 * 0.25, abs=4 * error[16])
        power = channels * spectra.var(axis=0)
        np.testing.assert_allclose(power / noise, 1, atol=4.5 * np.sqrt(2 / len(part)))
        signal = detected_gain * camera.mtf(over_nyquist) * dose
        dqe = signal**2 / (dose * power)
        np.testing.assert_allclose(
            dqe, camera.dqe(over_nyquist, electrons_per_pixel=dose), rtol=4.5 * np.sqrt(2 / 1000)
        )
    deviation = counts - counts.mean(axis=0)
    # Rows are compared with a mean that they are part of.
    for near, far, expected in (
        (deviation[1:], deviation[:-1], -1 / (rows - 1)),
        (deviation[:, 1:], deviation[:, :-1], 0),
    ):
        correlation = (near * far).mean() / deviation.var()
        assert correlation == pytest.approx(expected, abs=4 * np.sqrt(4 / near.size))
    along = (deviation[..., 1:] * deviation[..., :-1]).mean() / deviation.var()
    assert along > 0.1


# --- the signal -------------------------------------------------------------------------------


def test_the_signal_tells_exspy_what_it_needs() -> None:
    axis = EnergyAxis(first_ev=-10, dispersion_ev=0.25, channels=800)
    thickness = 0.4 * mean_free_path(loss_material("Li2O"), OPTICS)
    share = spectrum_image({"Li2O": np.full((1, 2), thickness)}, axis=axis, spectrometer=OPTICS)
    signal = to_eels_signal(
        share,
        axis=axis,
        spectrometer=OPTICS,
        pixel_size_a=10.0,
        elements=["Li", "O"],
        beam_current_pa=50.0,
        dwell_time_s=0.01,
    )
    assert signal.metadata.Signal.signal_type == "EELS"
    assert signal.axes_manager[-1].offset == -10
    assert signal.axes_manager["x"].scale == 1.0
    instrument = signal.metadata.Acquisition_instrument.TEM
    assert instrument.beam_energy == 300
    assert instrument.convergence_angle == 0
    assert instrument.Detector.EELS.collection_angle == 10
    assert instrument.beam_current == 0.05
    assert "Li_K" in signal.subshells
    zero_loss = signal.isig[-10.0:1.5]
    measured = signal.estimate_thickness(threshold=1.5)
    assert zero_loss.data.shape == (1, 2, 46)
    np.testing.assert_allclose(measured.data, 0.4, atol=0.01)


def test_exspy_recovers_the_atoms_from_a_noiseless_spectrum() -> None:
    """Another program's model of background, edge and plural scattering finds what was put in."""
    axis = EnergyAxis(first_ev=450, dispersion_ev=0.5, channels=500)
    low = EnergyAxis(first_ev=-20, dispersion_ev=0.5, channels=300)
    optics = replace(OPTICS, resolution_fwhm_ev=1.0)
    maps = {"Li2O": film(1000.0)}
    core, loss = (
        to_eels_signal(
            spectrum_image(maps, axis=window, spectrometer=optics, near_edge=False)[0, 0][
                None, None
            ].astype(float)
            * 1e9,
            axis=window,
            spectrometer=optics,
            pixel_size_a=10.0,
            elements=["O"],
        )
        for window in (axis, low)
    )
    model = core.inav[0, 0].create_model(low_loss=loss.inav[0, 0], GOS="hydrogenic")
    model.fit(kind="smart")
    found = model["O_K"].intensity.value
    truth = spectrum_truth(maps, spectrometer=optics).areal_density_per_nm2("O")[0, 0]
    assert found * 1e10 == pytest.approx(truth, rel=0.01)  # atoms per barn to atoms per nm²


def test_a_lazy_image_gives_a_lazy_signal() -> None:
    axis = EnergyAxis(first_ev=-10, dispersion_ev=0.5, channels=100)
    share = spectrum_image({"Li": np.ones((2, 3))}, axis=axis, spectrometer=OPTICS, lazy=True)
    signal = to_eels_signal(share, axis=axis, spectrometer=OPTICS, pixel_size_a=5.0)
    assert signal._lazy
    assert signal.data.shape == (2, 3, 100)


# --- misuse -----------------------------------------------------------------------------------


def test_misuse_is_refused_with_what_to_do() -> None:
    good = {"Li2O": film(10.0)}
    with pytest.raises(ParameterError, match=r"'cheese' is not a material: give a phase"):
        spectrum_image({"cheese": film(1.0)}, axis=LOW, spectrometer=OPTICS)
    with pytest.raises(ParameterError, match=r"thickness of Li goes down to -1 Å"):
        spectrum_image({"Li": film(-1.0)}, axis=LOW, spectrometer=OPTICS)
    with pytest.raises(ParameterError, match=r"expected one shape \(M, N\)"):
        spectrum_image({**good, "Li": np.ones((2, 2))}, axis=LOW, spectrometer=OPTICS)
    with pytest.raises(ParameterError, match=r"expected one shape"):
        spectrum_image({}, axis=LOW, spectrometer=OPTICS)
    with pytest.raises(ParameterError, match=r"energy_shift_ev has shape \(3,\)"):
        spectrum_image(good, axis=LOW, spectrometer=OPTICS, energy_shift_ev=np.zeros(3))
    with pytest.raises(ParameterError, match=r"the axis ends at -5 eV"):
        EnergyAxis(first_ev=-14, dispersion_ev=1.0, channels=10)
    with pytest.raises(ParameterError, match=r"expected at least one channel"):
        EnergyAxis(first_ev=0, dispersion_ev=0.0, channels=10)
    with pytest.raises(ParameterError, match=r"resolution_fwhm_ev is 0"):
        replace(OPTICS, resolution_fwhm_ev=0)
    with pytest.raises(ParameterError, match=r"convergence_semi_angle_mrad is -1"):
        replace(OPTICS, convergence_semi_angle_mrad=-1)
    with pytest.raises(ParameterError, match=r"expected 'iakoubovskii' or 'malis'"):
        replace(OPTICS, mean_free_path="guess")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"multiples of it"):
        probe_maps({"Li": np.ones((3, 4))}, pixel_size_a=1.0, binning=2)
    with pytest.raises(ParameterError, match=r"electrons_per_pixel is -1"):
        record_spectra(np.ones((1, 1, 4)), electrons_per_pixel=-1, rng=np.random.default_rng())
    with pytest.raises(ParameterError, match=r"coincidence_px is 3: a spectrum does not say"):
        record_spectra(
            np.ones((1, 1, 4)),
            electrons_per_pixel=1,
            detector=Detector(coincidence_px=3, frame_rate_hz=400.0),
            rng=np.random.default_rng(),
        )
    with pytest.raises(ParameterError, match=r"'La_M' is not an edge of the hydrogenic model"):
        cross_section("La_M", beam_energy_kev=300, collection_semi_angle_mrad=10)
    heavy = replace(loss_material("Li2O"), identifier="Li2O", atoms_per_a3={"Li": 10.0})
    with pytest.raises(ParameterError, match=r"core losses of Li2O alone are more"):
        spectrum_image(good, axis=LOW, spectrometer=OPTICS, materials={"Li2O": heavy})

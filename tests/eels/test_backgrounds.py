"""Cross-sections in channels, backgrounds, and the shared design matrix."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import OptimizeResult

from interphase import core_loss
from interphase.core_loss import cross_section, installed_tables, partial_cross_section
from interphase.eels.background import plasmon_tail, power_law
from interphase.eels.cross_sections import edge_cross_section, edge_onsets, edges_within
from interphase.eels.design import bin_starts, loss_kernel, scattered, shared_design
from interphase.errors import ParameterError
from interphase.inelastic import angular_factor, drude_loss_function

OPTICS = {"beam_energy_kev": 300.0, "collection_mrad": 10.0, "convergence_mrad": 0.0}
NO_LOSS = [(np.ones(1), 0)]


def carbon_and_oxygen(energy: np.ndarray) -> dict:
    return {e: [edge_cross_section(f"{e}_K", energy, **OPTICS)] for e in ("C", "O")}


# --- cross-sections -----------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(step=st.floats(0.05, 2.0), shift=st.floats(0.0, 1.0))
def test_channels_add_up_to_the_cross_section_wherever_they_begin(
    step: float, shift: float
) -> None:
    energy = 500.0 + step * shift + step * np.arange(int(150 / step))
    edge = edge_cross_section("O_K", energy, table="hydrogenic", **OPTICS)
    end = energy[-1] + step / 2
    whole = partial_cross_section(
        "O_K", window_ev=end - 532, beam_energy_kev=300, collection_semi_angle_mrad=10
    )
    assert edge.per_channel_nm2.sum() * 1e10 == pytest.approx(whole, rel=0.005)
    assert (edge.per_channel_nm2[energy + step / 2 < 532] == 0).all()


def test_an_m_edge_is_no_number_of_atoms() -> None:
    energy = np.arange(20.0, 120.0, 0.25)
    edge = edge_cross_section("Ti_M", energy, **OPTICS)
    assert not edge.quantitative
    assert np.isnan(edge.relative_uncertainty)
    assert edge.per_channel_nm2[energy < 85].sum() == pytest.approx(1.0, abs=0.01)


def test_edges_within_a_range() -> None:
    found = edges_within(["Li", "Ti", "Na", "S"], np.arange(25.0, 200.0))
    assert found == {"Li": ("Li_K",), "Ti": ("Ti_M",), "Na": ("Na_L",), "S": ("S_L",)}
    assert edge_onsets("Fe") == {"Fe_K": 7113.0, "Fe_L": 708.0, "Fe_M": 57.0}


def test_only_tables_at_hand_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(core_loss, "_table_file", lambda name: tmp_path / name)
    assert installed_tables() == ("hydrogenic",)
    (tmp_path / "dft").touch()
    assert installed_tables() == ("dft", "hydrogenic")


def gosh_file(path: Path, strength: float) -> Path:
    """Write oscillator strengths that depend on neither momentum nor energy."""
    with h5py.File(path, "w") as file:
        file.create_group("metadata/data_ref").attrs["data_doi"] = "none"
        for subshell, table in {"K": "K1", "L3": "L3", "L2": "L2"}.items():
            info = file.create_group(f"metadata/edges_info/{subshell}")
            info.attrs["table"], info.attrs["occupancy_ratio"] = table, 1.0
            for element in ("C", "Ti"):
                group = file.create_group(f"{element}/{table}")
                group["data"] = np.full((64, 30), strength)
                group["q"] = np.geomspace(1e8, 1e13, 64)
                group["free_energies"] = np.linspace(0, 3000, 30)
    return path


def test_a_file_of_oscillator_strengths_is_used_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optics = {"beam_energy_kev": 300.0, "collection_semi_angle_mrad": 10.0}
    energy = np.linspace(300, 400, 20)
    one, two = (
        cross_section("C_K", table=str(gosh_file(tmp_path / f"{g}.gosh", g)), **optics)(energy)
        for g in (1.0, 2.0)
    )
    assert (one > 0).all()
    np.testing.assert_allclose(two, 2 * one)
    # L2 and L3 of the shell are added, L1 is not in the file.
    path = str(tmp_path / "1.0.gosh")
    above = np.linspace(500, 600, 20)
    exspy = core_loss.import_exspy()
    parts = []
    for subshell in ("L3", "L2"):
        part = exspy.components.EELSCLEdge(f"Ti_{subshell}", GOS="dft", gos_file_path=path)
        part.set_microscope_parameters(E0=300, alpha=0, beta=10, energy_scale=1.0)
        parts.append(part.function(above))
    np.testing.assert_allclose(
        cross_section("Ti_L", table=path, **optics)(above), sum(parts), rtol=1e-9
    )
    edge = edge_cross_section("C_K", np.arange(250.0, 400.0), table=path, **OPTICS)
    assert edge.table == path
    # The best table that holds an edge is taken where none is asked for.
    monkeypatch.setattr(core_loss, "_table_file", lambda name: Path(path if name == "dft" else "-"))
    for name, table in (("C_K", "dft"), ("O_K", "hydrogenic")):
        found = edge_cross_section(name, np.arange(250.0, 600.0), **OPTICS)
        assert (found.table, found.relative_uncertainty) == (table, 0.1 if table == "dft" else 0.2)
    with pytest.raises(ParameterError, match=r"does not hold O_K: give another table"):
        cross_section("O_K", table=path, **optics)
    with pytest.raises(ParameterError, match=r"'none.gosh' is not installed"):
        cross_section("O_K", table="none.gosh", **optics)


# --- backgrounds --------------------------------------------------------------------------------


@given(r=st.floats(2.2, 3.8))
def test_neighbouring_power_laws_are_linear_in_the_parameters(r: float) -> None:
    energy = np.arange(250.0, 800.0, 5.0)
    background = power_law(energy, exponent=3.0, terms=4)
    truth = energy**-r
    columns = background.columns / truth[:, np.newaxis]
    parameters, *_ = np.linalg.lstsq(columns, np.ones(len(energy)), rcond=None)
    np.testing.assert_allclose(background.columns @ parameters / truth, 1, atol=2e-3)
    np.testing.assert_allclose(background.exponents(parameters)[0], r, atol=0.05)


def test_the_exponents_derivatives_are_those_of_finite_differences() -> None:
    background = power_law(np.arange(250.0, 800.0), exponent=3.0, terms=3)
    at = np.array([2.0, 0.3, -0.1])
    value, slope = background.exponents(at)
    for k in range(3):
        other = at + 1e-6 * np.eye(3)[k]
        change = (background.exponents(other)[0] - value) / 1e-6
        np.testing.assert_allclose(slope[..., k], change, atol=1e-4)


def plural_losses(energy: np.ndarray, peaks: list[tuple[float, float, float]]) -> np.ndarray:
    """Return a spectrum of plural losses, from Poisson's law order by order."""
    step = energy[1] - energy[0]
    loss = step * np.arange(4096)
    single = np.zeros(len(loss))
    for strength, place, width in peaks:
        one = drude_loss_function(loss, peak_ev=place, fwhm_ev=width)
        one[1:] *= angular_factor(loss[1:], beam_energy_kev=300, semi_angle_mrad=10)
        single += strength * one / one.sum()
    order, total = np.eye(1, len(loss)).ravel(), np.eye(1, len(loss)).ravel()
    for n in range(1, 12):
        order = np.convolve(order, single)[: len(loss)] / n
        total = total + order
    spectrum = np.interp(energy, loss, total, left=0)
    blur = np.exp(-((step * np.arange(-20, 21) / 0.4) ** 2))
    return np.convolve(spectrum, blur / blur.sum(), mode="same")


@pytest.mark.parametrize(
    "peaks", [[(0.2, 18.5, 9.0)], [(0.3, 7.3, 2.3), (0.1, 24.0, 12.0)], [(1.2, 22.0, 14.0)]]
)
def test_the_tail_of_plural_plasmon_losses_is_followed_beyond_the_first_edge(peaks: list) -> None:
    energy = -15 + 0.25 * np.arange(900)
    truth = plural_losses(energy, peaks)
    range_ev = np.arange(40.0, 160.0, 0.5)
    tail = plasmon_tail(range_ev, 1e8 * truth, low_loss_energy_ev=energy, up_to_ev=51.0, **OPTICS)
    expected = np.interp(range_ev, energy, truth)
    ratio = tail.columns[:, 0] / expected
    np.testing.assert_allclose(ratio / ratio[0], 1, atol=0.02)


def noisy_plasmon(energy: np.ndarray, place: float) -> np.ndarray:
    """Return counts of a plasmon and of losses that are none, so that more peaks are tried."""
    peak = drude_loss_function(np.maximum(energy, 0), peak_ev=place, fwhm_ev=0.4 * place)
    flat = 1e-3 / np.where(energy > 1, energy, np.inf)
    mean = np.exp(-(energy**2) / 0.3) + 0.02 * peak / peak.max() + flat
    return np.random.default_rng(21).poisson(3e4 * mean)


@pytest.mark.parametrize("top_ev", [51.0, 30.0, 20.0])
def test_one_to_three_plasmons_have_different_starts_wherever_the_strongest_is(
    top_ev: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = []

    def no_fit(residual: Callable, x: np.ndarray, **_: object) -> OptimizeResult:
        starts.append(np.exp(x).reshape(-1, 3))
        return OptimizeResult(x=x, cost=1e6)

    monkeypatch.setattr("scipy.optimize.least_squares", no_fit)
    energy = -15 + 0.25 * np.arange(300)
    for place in np.arange(5.0, 30.1, 0.25):
        starts.clear()
        counts = noisy_plasmon(energy, place)
        plasmon_tail(
            energy[energy > 40], counts, low_loss_energy_ev=energy, up_to_ev=top_ev, **OPTICS
        )
        assert {len(s) for s in starts} == {1, 2, 3}
        equal = next(s for s in starts if len(s) == 3)
        assert np.ptp(equal[:, 0]) == pytest.approx(0)
        assert np.diff(np.sort(equal[:, 1])).min() > 0.2


@pytest.mark.parametrize("place", [9.8, 10.3, 11.4, 18.0, 18.25])
def test_a_plasmon_near_a_place_where_others_are_looked_for_is_found(place: float) -> None:
    energy = -15 + 0.25 * np.arange(300)
    tail = plasmon_tail(
        energy[energy > 40], noisy_plasmon(energy, place), low_loss_energy_ev=energy,
        up_to_ev=51.0, **OPTICS,
    )  # fmt: skip
    assert tail.plasmons is not None
    assert np.abs(tail.plasmons[:, 1] - place).min() < 0.1 * place


def test_plasmons_and_a_shallow_edge_below_li_k_are_told_apart() -> None:
    """As LiF: a plasmon, and what F 2s electrons lose at 36 eV."""
    energy = -15 + 0.25 * np.arange(900)
    range_ev = np.arange(40.0, 160.0, 0.5)
    for peaks in (
        [(0.2, 25.0, 6.0), (0.1, 36.0, 6.0)],
        [(0.1, 15.0, 8.0), (0.15, 25.0, 9.0), (0.05, 36.0, 5.0)],
    ):
        truth = plural_losses(energy, peaks)
        tail = plasmon_tail(
            range_ev, 1e8 * truth, low_loss_energy_ev=energy, up_to_ev=51.0, **OPTICS
        )
        assert tail.plasmons is not None
        np.testing.assert_allclose(tail.plasmons[np.argsort(tail.plasmons[:, 1])], peaks, rtol=0.05)
        assert tail.misfit < 0.003


def test_misused_backgrounds_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"from 0 eV on: expected energies above 0"):
        power_law(np.arange(0.0, 10.0), exponent=3.0)
    with pytest.raises(ParameterError, match=r"power law of 5 terms .* expected 1 to 4"):
        power_law(np.arange(10.0, 20.0), exponent=3.0, terms=5)
    energy = np.arange(0.0, 100.0)
    with pytest.raises(ParameterError, match=r"begins at 0 eV: expected its zero-loss peak"):
        plasmon_tail(energy + 1, energy, low_loss_energy_ev=energy, up_to_ev=50, **OPTICS)
    axis = np.arange(-5.0, 100.0)
    with pytest.raises(ParameterError, match=r"expected 10 eV of losses below the first edge"):
        plasmon_tail(axis + 50, np.ones(105), low_loss_energy_ev=axis, up_to_ev=12, **OPTICS)


# --- design -------------------------------------------------------------------------------------


@given(
    counts=st.lists(st.integers(0, 100), min_size=300, max_size=300),
    near=st.sampled_from([0.0, 20.0, 50.0]),
)
@settings(max_examples=20, deadline=None)
def test_bins_lose_no_counts(counts: list[int], near: float) -> None:
    energy = np.linspace(250, 700, 300)
    columns = np.stack([energy**-3.0, np.where(energy > 284, energy**-4.0, 0)], axis=1)
    starts = bin_starts(columns, energy, [284.0, 532.0], near)
    assert starts[0] == 0
    assert np.add.reduceat(np.array(counts), starts).sum() == sum(counts)


@pytest.mark.parametrize("dispersion_ev", [0.1, 0.6, 1.0])
def test_bins_of_channels_keep_the_information_on_amounts(dispersion_ev: float) -> None:
    energy = np.arange(240.0, 800.0, dispersion_ev)
    models = carbon_and_oxygen(energy)
    background = power_law(energy, exponent=3.0, terms=3)
    columns = [edges[0].per_channel_nm2 for edges in models.values()]
    full = np.concatenate([np.stack(columns, axis=1), background.columns], axis=1)
    design = shared_design(models, [background], kernels=NO_LOSS, near_edge_ev=0)
    assert len(design.starts) < 250
    parameters = np.array([1e3, 1e3, 1e-4, 0, 0])
    errors = []
    for x in (full, design.matrix[0]):
        information = x.T @ (x / (x @ parameters)[:, np.newaxis])
        errors.append(np.sqrt(np.diag(np.linalg.inv(information))[:2]))
    np.testing.assert_allclose(errors[1] / errors[0], 1, atol=0.005)


def test_an_edge_within_anothers_window_may_take_its_structure() -> None:
    energy = np.arange(25.0, 180.0, 0.5)
    models = {
        "Li": [edge_cross_section("Li_K", energy, **OPTICS)],
        "Ti": [edge_cross_section("Ti_M", energy, **OPTICS)],
    }
    design = shared_design(
        models, [power_law(energy, exponent=3.0)], kernels=NO_LOSS, near_edge_ev=50
    )
    assert design.quantified == 1
    exchange = design.matrix[0][:, 2]
    assert exchange.sum() == pytest.approx(0, abs=1e-12)
    cut = int(np.argmin(exchange))
    assert energy[design.starts[cut]] == pytest.approx(51.0)


def test_white_lines_do_not_count_as_atoms() -> None:
    energy = np.arange(380.0, 800.0, 0.5)
    models = {"Ti": [edge_cross_section("Ti_L", energy, **OPTICS)]}
    design = shared_design(
        models, [power_law(energy, exponent=3.0)], kernels=NO_LOSS, near_edge_ev=50
    )
    free = design.matrix[0][:, 1]
    at = int(np.flatnonzero(free)[0])
    assert free.sum() == 1
    assert energy[design.starts[at]] == pytest.approx(452.0)
    assert energy[design.starts[at + 1]] == pytest.approx(506.0)
    trusting = shared_design(
        models, [power_law(energy, exponent=3.0)], kernels=NO_LOSS, near_edge_ev=0
    )
    assert trusting.matrix.shape[2] == 3


def test_plural_scattering_of_an_edge_is_its_shape_times_the_low_loss() -> None:
    low_energy = np.arange(-5.0, 50.0, 0.5)
    low_loss = np.where(low_energy == 0, 3.0, 0) + np.where(low_energy == 20, 1.0, 0)
    kernel, zero = loss_kernel(low_loss, low_energy, 0.5)
    step = np.where(np.arange(200) >= 100, 1.0, 0)
    edge = scattered(np.append(step, np.ones(zero)), kernel, zero, 200)
    assert edge[99] == pytest.approx(0, abs=1e-12)
    assert edge[100] == pytest.approx(0.75)
    assert edge[139] == pytest.approx(0.75)
    assert edge[140] == pytest.approx(1.0)


@pytest.mark.parametrize("step", [0.1, 0.3, 0.5, 2.0])
def test_a_low_loss_keeps_its_mean_loss_on_another_step(step: float) -> None:
    energy = np.arange(-6.0, 60.0, 0.3)
    low_loss = np.exp(-((energy / 0.6) ** 2)) + 0.05 * np.exp(-(((energy - 20) / 6) ** 2))
    kernel, zero = loss_kernel(low_loss, energy, step)
    assert kernel.sum() == pytest.approx(1)
    mean = kernel @ (step * (np.arange(len(kernel)) - zero))
    assert mean == pytest.approx(low_loss @ energy / low_loss.sum(), abs=0.05)

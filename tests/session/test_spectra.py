"""Files of energy-loss spectra: what is measured, what is missing, and what is never claimed."""

from pathlib import Path

import numpy as np
import pytest

from interphase.acquisition import Acquisition, Kind, Origin
from interphase.assessment import Assessment
from interphase.eels import edge_cross_section
from interphase.errors import ParameterError
from interphase.inelastic import drude_loss_function
from interphase.io import read
from interphase.session.spectra import (
    EelsResult,
    SpectraOptions,
    measure_spectra,
    measure_spectrum_files,
)

OPTICS = {"beam_energy_kev": 300.0, "collection_mrad": 20.0, "convergence_mrad": 10.0}
FIELDS = {
    "beam_energy_kev": 300.0,
    "semi_convergence_angle_mrad": 10.0,
    "collection_angle_mrad": 20.0,
}
LITHIUM = {"Li", "LiF", "Li2O", "Li2CO3", "LiOH", "Li2O2", "LiH", "Li2S"}
ELECTRONS = 1e8


def acquisition(**values: float) -> Acquisition:
    record = Acquisition(kind=Kind.SPECTRUM)
    return record.with_values(Origin.USER, **values)


def signal(counts: np.ndarray, first_ev: float, step_ev: float = 0.5):
    import hyperspy.api as hs

    made = hs.signals.Signal1D(np.asarray(counts, dtype=np.float32))
    axis = made.axes_manager.signal_axes[0]
    axis.offset, axis.scale, axis.units = first_ev, step_ev, "eV"
    return made


def core_loss(
    rng: np.random.Generator, atoms_per_nm2: dict[str, float], shape: tuple[int, ...] = ()
) -> np.ndarray:
    """Counts from 240 to 800 eV of atoms without plural scattering."""
    energy = np.arange(240.0, 800.0, 0.5)
    mean = 4e-5 * ELECTRONS * (energy / 240) ** -3
    for edge, density in atoms_per_nm2.items():
        section = edge_cross_section(edge, energy, **OPTICS).per_channel_nm2
        mean = mean + ELECTRONS * density * section
    return rng.poisson(mean, (*shape, len(mean)))


def low_loss(rng: np.random.Generator, *, at_ev: float = 0.0, lost: float = 0.0) -> np.ndarray:
    """Counts from -20 to 80 eV of the same electrons, a share of them lost to a plasmon."""
    energy = np.arange(-20.0, 80.0, 0.5) - at_ev
    peak = np.exp(-((energy / 0.6) ** 2))
    loss = np.exp(-(((energy - 22) / 5) ** 2))
    mean = ELECTRONS * ((1 - lost) * peak / peak.sum() + lost * loss / loss.sum())
    return rng.poisson(mean)


def test_atoms_are_counted_within_their_errors_and_absent_ones_are_not_detected(
    rng: np.random.Generator,
) -> None:
    truth = {"C_K": 900.0, "O_K": 600.0}
    pulls = []
    for _ in range(6):
        found = measure_spectra(
            signal(core_loss(rng, truth), 240),
            acquisition(**FIELDS),
            low_loss=signal(low_loss(rng), -20),
            exposure_ratio=1.0,
        )
        assert found.assessment is Assessment.OK
        assert found.elements["C"].detected
        assert found.elements["O"].detected
        assert not found.elements["F"].detected
        assert found.elements["F"].detection_limit_per_nm2 > 0
        assert "Li" not in found.elements
        for edge, density in truth.items():
            amount = found.elements[edge[0]]
            pulls.append((amount.areal_density_per_nm2 - density) / amount.standard_error)
    assert np.abs(pulls).max() < 3.5
    assert set(found.cross_sections) == {"C_K", "O_K", "F_K"}
    assert not LITHIUM & set(found.species)


def test_the_number_of_spectra_does_not_change_the_density(rng: np.random.Generator) -> None:
    found = measure_spectra(
        signal(core_loss(rng, {"C_K": 900.0}, (2, 3)), 240),
        acquisition(**FIELDS),
        low_loss=signal(np.stack([low_loss(rng)] * 3), -20),
        exposure_ratio=1.0,
    )
    carbon = found.elements["C"]
    assert found.spectra == 6
    assert carbon.areal_density_per_nm2 == pytest.approx(900, abs=4 * carbon.standard_error)


def test_spectra_with_nan_have_no_part_and_spoilt_low_losses_are_left_out(
    rng: np.random.Generator,
) -> None:
    counts = core_loss(rng, {"C_K": 900.0}, (5,)).astype(float)
    counts[2, 7] = np.nan
    found = measure_spectra(
        signal(counts, 240),
        acquisition(**FIELDS),
        low_loss=signal(low_loss(rng), 30),
        exposure_ratio=1.0,
    )
    assert found.spectra == 5
    assert found.elements["C"].detected
    assert found.elements["C"].areal_density_per_nm2 is None
    assert any("hold NaN and are left out" in note for note in found.notes)
    assert any("the low losses are left out" in note for note in found.notes)


def test_without_low_losses_there_is_no_density_but_a_verdict(rng: np.random.Generator) -> None:
    counts = core_loss(rng, {"C_K": 900.0, "O_K": 600.0})
    found = measure_spectra(signal(counts, 240), acquisition(**FIELDS))
    assert found.elements["C"].detected
    other = {"C": "O", "O": "C"}[found.ratios_to]
    amount, truth = found.elements[other], {"C": 1.5, "O": 1 / 1.5}[other]
    assert amount.ratio == pytest.approx(truth, abs=4 * amount.ratio_error)
    assert 0 < amount.ratio_error < 0.2
    assert found.elements[found.ratios_to].ratio == pytest.approx(1)
    assert found.elements["C"].areal_density_per_nm2 is None
    assert found.elements["C"].detection_limit_per_nm2 is None
    assert "--low-loss" in found.missing["exposure_ratio"]


def test_missing_angles_are_named_and_nothing_is_invented(rng: np.random.Generator) -> None:
    found = measure_spectra(
        signal(core_loss(rng, {"C_K": 900.0}), 240), acquisition(beam_energy_kev=300.0)
    )
    assert found.assessment is Assessment.UNCALIBRATED
    assert found.elements == {}
    assert set(found.missing) == {"semi_convergence_angle_mrad", "collection_angle_mrad"}
    assert "--convergence" in found.sentence
    assert "session.toml" in found.sentence


def test_low_losses_tell_thickness_and_shift_without_any_angle(rng: np.random.Generator) -> None:
    counts = np.stack([low_loss(rng, at_ev=at, lost=0.3) for at in (1.5, 2.0, 2.5)])
    found = measure_spectra(signal(counts[:, :140], -20), acquisition())
    assert found.assessment is Assessment.OK
    # The electrons of one scattering alone: all over those that lost nothing.
    assert found.relative_thickness["mean"] == pytest.approx(-np.log(0.7), abs=0.01)
    assert found.energy_shift_ev == pytest.approx(-2.0, abs=0.02)
    assert found.elements == {}


def film(rng: np.random.Generator, lithium_per_nm2: float, electrons: float) -> np.ndarray:
    """Counts from -20 to 140 eV of a film with t/λ = 0.25, plural scattering included."""
    energy = np.arange(-20.0, 140.0, 0.25)
    plasmon = drude_loss_function(np.maximum(energy, 1e-6), peak_ev=25.0, fwhm_ev=10.0)
    plasmon = np.where(energy > 0, plasmon, 0.0)
    peak = np.exp(-4 * np.log(2) * energy**2)
    edge = edge_cross_section("Li_K", energy, **OPTICS).per_channel_nm2

    def transform(shape: np.ndarray) -> np.ndarray:
        return np.fft.fft(np.roll(np.pad(shape, (0, 4096 - len(energy))), -80))

    once = 0.25 * (transform(plasmon / plasmon.sum()) - 1) + lithium_per_nm2 * transform(edge)
    mean = np.fft.ifft(transform(peak / peak.sum()) * np.exp(once)).real
    return rng.poisson(electrons * np.maximum(np.roll(mean, 80)[: len(energy)], 0.0))


def test_what_can_be_another_element_is_not_detected_and_named(rng: np.random.Generator) -> None:
    found = measure_spectra(signal(film(rng, 0.0, 2e8), -20, 0.25), acquisition(**FIELDS))
    lithium = found.elements["Li"]
    assert not lithium.detected
    # So many electrons see that the model of the tail is one.
    assert lithium.areal_density_per_nm2 > lithium.detection_limit_per_nm2
    assert "Mn_M" in lithium.instead
    assert "what looks like Li can be" in found.sentence
    assert "--rivals" in found.sentence


@pytest.mark.parametrize(("rivals", "electrons"), [((), 1e6), ((), 2e8), (None, 2e8)])
def test_lithium_is_found_in_a_film_that_holds_it_and_in_no_other(
    rng: np.random.Generator, rivals: tuple[str, ...] | None, electrons: float
) -> None:
    found = {}
    for density in (0.0, 8000.0):
        counts = film(rng, density, electrons)
        result = measure_spectra(signal(counts, -20, 0.25), acquisition(**FIELDS), rivals=rivals)
        found[density] = result.elements["Li"]
    assert not found[0.0].detected
    assert found[8000.0].detected
    # The tail of the plasmon is known to some per cent, which many electrons do not better.
    assert found[8000.0].areal_density_per_nm2 == pytest.approx(8000, rel=0.07)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda counts: np.full_like(counts, np.nan, dtype=float), "NaN"),
        (lambda counts: np.minimum(counts, np.sort(counts)[-60]), "saturated"),
        (lambda counts: counts - counts.mean(), "negative"),
        (lambda counts: np.full_like(counts, 7), "same 7 counts"),
    ],
)
def test_faulty_spectra_get_a_sentence_and_no_number(
    rng: np.random.Generator, spoil, words: str
) -> None:
    counts = spoil(core_loss(rng, {"C_K": 900.0}))
    found = measure_spectra(signal(counts, 240), acquisition(**FIELDS))
    assert not found.assessment.answered
    assert words in found.sentence
    assert found.elements == {}
    assert found.species == {}


def test_axes_in_other_units_are_refused(rng: np.random.Generator) -> None:
    wrong = signal(core_loss(rng, {"C_K": 900.0}), 240)
    wrong.axes_manager.signal_axes[0].units = "nm"
    with pytest.raises(ParameterError, match="'nm': expected meV, eV or keV"):
        measure_spectra(wrong, acquisition(**FIELDS))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (SpectraOptions(elements=("Xx",)), "'Xx' is not an element"),
        (SpectraOptions(elements=()), "no element is named"),
        (SpectraOptions(exposure_ratio=-1.0), "exposure_ratio is -1.0"),
        (SpectraOptions(given={"beam_energy_kev": float("nan")}), "beam_energy_kev is nan"),
        (SpectraOptions(low_loss=Path("absent.msa")), "absent.msa does not exist"),
    ],
)
def test_misuse_is_named(tmp_path: Path, options: SpectraOptions, words: str) -> None:
    path = tmp_path / "one.msa"
    path.touch()
    with pytest.raises(ParameterError, match=words):
        next(measure_spectrum_files([path], options=options))


@pytest.fixture
def real(shared_data: Path):
    """Measure a real file, with angles where it has none."""

    def measure(name: str, low: str | None = None, **given: float) -> EelsResult:
        paths = [shared_data / "eels" / n for n in (name, low) if n]
        for path in paths:
            if not path.is_file():
                pytest.skip(f"{path.name} is not among the real files")
        loaded = [read(path, user=given if path is paths[0] else {}) for path in paths]
        return measure_spectra(
            loaded[0].signal,
            loaded[0].acquisition,
            low_loss=loaded[1].signal if low else None,
            exposure_ratio=10.0 if low else None,
        )

    return measure


def test_strontium_titanate_is_shifted_and_holds_titanium_and_oxygen(real) -> None:
    found = real("EELS_STO.dm3")
    assert found.energy_shift_ev == pytest.approx(4, abs=1)
    assert {e for e, amount in found.elements.items() if amount.detected} == {"Ti", "O"}
    assert found.assessment is Assessment.AMBIGUOUS
    assert any("times the square of the noise" in note for note in found.notes)


def test_real_carbon_is_no_carbonate(real) -> None:
    for given in ({}, FIELDS):
        found = real("08_carbon.dm3", **given)
        assert found.species.get("carbonate", 0.0) < 0.1
        # C K alone tells no axis: carbon rises at 284 eV and carbonate at 290, which it must not
        # decide, so that neither is told without a zero loss.
        assert not found.species
        assert any("The energy axis is known to" in note for note in found.notes)
        assert abs(found.energy_shift_ev) < 2 * found.energy_shift_error_ev


def test_manganese_oxide_is_high_and_no_fluoride(real) -> None:
    found = real("coreloss_spectrum.msa", "lowloss_spectrum.msa", **FIELDS)
    assert -8 < found.energy_shift_ev < -5
    assert {e for e, amount in found.elements.items() if amount.detected} == {"Mn", "O"}


@pytest.mark.parametrize(
    "name",
    [
        "08_carbon.dm3",
        "AL-DFoffset0.00.dm3",
        "Cr_L_cl.hspy",
        "Cr_L_ll.hspy",
        "EELS_STO.dm3",
        "EELS_SI.dm4",
        "coreloss_spectrum.msa",
        "lowloss_spectrum.msa",
        "hl.msa",
        "ll.msa",
        "eelsdb_BN_low_loss.msa",
        "eelsdb_YAG_O_K.msa",
    ],
)
def test_no_real_file_holds_lithium(real, name: str) -> None:
    found = real(name, **FIELDS)
    assert "Li" not in found.elements or not found.elements["Li"].detected
    assert max((found.species.get(one, 0.0) for one in LITHIUM), default=0.0) < 0.1
    assert found.sentence


def test_aluminium_is_thin(real) -> None:
    found = real("AL-DFoffset0.00.dm3")
    assert found.relative_thickness["mean"] == pytest.approx(0.18, abs=0.05)
    assert found.energy_shift_ev == pytest.approx(0.127, abs=0.05)

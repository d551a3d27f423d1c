"""Spectrum images of known films: regions, maps, what is claimed where, files and figures."""

import json
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interphase.acquisition import Acquisition, Kind, Origin
from interphase.assessment import Assessment
from interphase.eels import ElementMap, edge_cross_section
from interphase.files import to_plain
from interphase.inelastic import drude_loss_function
from interphase.io import Survey
from interphase.session import run_session
from interphase.session.measure import Task, measure
from interphase.session.records import FileResult, SessionResult
from interphase.session.spectra import EelsResult, measure_spectrum_image, write_spectra
from interphase.session.spectrum_figure import draw_maps
from interphase.session.spectrum_maps import SpectrumMaps, map_arrays
from interphase.session.store import from_plain, load_pictures
from interphase.simulation import (
    EnergyAxis,
    Spectrometer,
    record_spectra,
    spectrum_image,
    to_eels_signal,
)
from interphase.simulation.imaging.spectra import SpectrumTruth, spectrum_truth

ROWS, COLUMNS = 12, 30
OPTICS = Spectrometer(
    beam_energy_kev=300,
    collection_semi_angle_mrad=20,
    convergence_semi_angle_mrad=10,
    resolution_fwhm_ev=0.8,
)
RECORDED = Acquisition(kind=Kind.SPECTRUM_IMAGE).with_values(
    Origin.USER,
    beam_energy_kev=300.0,
    semi_convergence_angle_mrad=10.0,
    collection_angle_mrad=20.0,
    scan_step_a=20.0,
)
LOW = EnergyAxis(first_ev=-20, dispersion_ev=0.5, channels=240)
CORE = EnergyAxis(first_ev=240, dispersion_ev=0.8, channels=640)
SHARE = 0.05
"""Part of the electrons that the low losses have."""
RATIO = (1 - SHARE) / SHARE
DIM, BRIGHT = 6e3, 2e6
"""Electrons per pixel of 400 Å²."""


@dataclass(frozen=True)
class Film:
    """Vacuum, Li2O, a polymer and LiF side by side."""

    materials: dict[str, np.ndarray]
    truth: SpectrumTruth
    means: tuple[np.ndarray, np.ndarray]

    def recorded(self, electrons: float, part: Any = ..., seed: int = 1) -> tuple[Any, Any]:
        """Return low and core losses as signals."""
        rng = np.random.default_rng(seed)
        low, core = (
            to_eels_signal(
                record_spectra(mean[part], electrons_per_pixel=electrons * share, rng=rng),
                axis=axis,
                spectrometer=OPTICS,
                pixel_size_a=20.0,
                beam_current_pa=50.0,
                dwell_time_s=1e-3 * share,
            )
            for mean, axis, share in zip(self.means, (LOW, CORE), (SHARE, 1 - SHARE), strict=True)
        )
        return low, core


@pytest.fixture(scope="module")
def film() -> Film:
    x = np.indices((ROWS, COLUMNS))[1]
    maps = {
        "Li2O": np.where((x >= 6) & (x < 14), 300.0, 0.0),
        "polymer": np.where((x >= 14) & (x < 22), 500.0, 0.0),
        "LiF": np.where(x >= 22, 300.0, 0.0),
    }
    # Zero losses drift by a channel of the low losses.
    drift = np.random.default_rng(5).normal(0, 0.4, x.shape)
    low, core = (
        np.asarray(spectrum_image(maps, axis=axis, spectrometer=OPTICS, energy_shift_ev=drift))
        for axis in (LOW, CORE)
    )
    return Film(maps, spectrum_truth(maps, spectrometer=OPTICS), (low, core))


Measured = tuple[EelsResult, SpectrumMaps]


def measured(signal: Any, **given: Any) -> Measured:
    result, maps = measure_spectrum_image(signal, RECORDED, **given)
    assert maps is not None
    return result, maps


@pytest.fixture(scope="module")
def core(film: Film) -> Measured:
    low, signal = film.recorded(BRIGHT)
    return measured(signal, low_loss=low, exposure_ratio=RATIO)


@pytest.fixture(scope="module")
def low(film: Film) -> Measured:
    return measured(film.recorded(BRIGHT, np.s_[:, 6:])[0], rivals=())


@pytest.fixture(scope="module")
def dim(film: Film) -> Measured:
    low, signal = film.recorded(DIM)
    return measured(
        signal, low_loss=low, exposure_ratio=RATIO, elements=["C", "O", "F"], binning=2
    )  # fmt: skip


def of_material(film: Film, maps: SpectrumMaps) -> dict[str, int]:
    """Material → the number of its region, which holds it alone and all of it."""
    assert maps.regions is not None
    labels, numbers = maps.regions.labels, {}
    for name, whole in film.materials.items():
        thickness = whole[:, -labels.shape[1] :]
        (number,) = np.unique(labels[thickness > 0])
        assert number >= 0
        assert ((labels == number) == (thickness > 0)).all()
        numbers[name] = int(number)
    return numbers


# --- what is in the film --------------------------------------------------------------------------


def test_every_material_is_a_region_of_its_own(film: Film, core: Measured, low: Measured) -> None:
    for result, maps in (core, low):
        numbers = of_material(film, maps)
        assert len(set(numbers.values())) == 3
        shares = [region.share for region in result.regions]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)
        assert [region.spectra for region in result.regions] == maps.regions.pixels.tolist()
        assert maps.regions.number == 3
    # The core losses of the vacuum hold no electrons.
    assert (core[1].regions.labels[:, :6] == -1).all()


def test_regions_hold_the_atoms_of_their_material_within_errors(
    film: Film, core: Measured, low: Measured
) -> None:
    pulls = []
    for result, maps in (core, low):
        for name, number in of_material(film, maps).items():
            inside = film.materials[name] > 0
            for element, amount in result.regions[number].elements.items():
                truth = film.truth.areal_density_per_nm2(element)[inside].mean()
                value, error = amount.areal_density_per_nm2, amount.standard_error
                limit = amount.detection_limit_per_nm2
                if truth > 0 and truth > 1.5 * limit:
                    assert amount.detected, (name, element)
                if truth == 0:
                    assert not amount.detected, (name, element)
                pulls.append((value - truth) / error)
    assert len(pulls) == 12
    assert np.abs(pulls).max() < 3.5
    assert np.std(pulls) < 1.6


def test_maps_of_elements_agree_with_the_film_square_by_square(film: Film, core: Measured) -> None:
    result, maps = core
    assert set(maps.elements) == {"C", "O", "F"}
    for element, one in maps.elements.items():
        assert one.binning == 1
        assert one.resolved
        truth = film.truth.areal_density_per_nm2(element)
        known = np.isfinite(one.areal_density_per_nm2)
        assert known[:, 6:].all()
        pull = (one.areal_density_per_nm2 - truth)[known] / one.standard_error_per_nm2[known]
        assert np.std(pull) == pytest.approx(1, abs=0.2)
        clear = truth > 2 * one.detection_limit_per_nm2
        assert one.detected[clear].mean() > 0.97
        assert one.detected[(truth == 0) & known].mean() < 0.06
        summary = result.maps[element]
        assert (summary.binning, summary.resolved) == (1, True)
        assert summary.detected_share == pytest.approx(one.detected[known].mean())
        assert summary.sentence == one.sentence
        assert summary.detection_limit_per_nm2 > 0


def test_thickness_is_that_of_the_film_with_its_scatter(film: Film, core: Measured) -> None:
    result, maps = core
    truth = film.truth.relative_thickness
    assert maps.thickness.shape == truth.shape
    for name, number in of_material(film, maps).items():
        inside = film.materials[name] > 0
        found, error = maps.thickness[inside], maps.thickness_error[inside]
        # What lies above the last channel of the low losses is missing: within a hundredth.
        assert found.mean() == pytest.approx(truth[inside].mean(), rel=0.012)
        assert found.std() == pytest.approx(error.mean(), rel=0.25)
        told = result.regions[number].relative_thickness
        assert told["mean"] == pytest.approx(found.mean())
        assert told["std"] == pytest.approx(found.std())
    assert np.abs(maps.thickness[:, :6]).max() < 0.01


def test_species_are_claimed_only_where_they_are(film: Film, core: Measured, low: Measured) -> None:
    holds = {
        "Li2O": film.materials["Li2O"] > 0,
        "LiF": film.materials["LiF"] > 0,
        "alkyl": film.materials["polymer"] > 0,
        "carbon": film.materials["polymer"] > 0,
    }
    claimed = 0
    for result, maps in (core, low):
        for name, probability in maps.species.items():
            where = np.kron(
                probability >= 0.5, np.ones((maps.species_binning,) * 2, dtype=bool)
            )  # fmt: skip
            there = holds.get(name, np.zeros((ROWS, COLUMNS), dtype=bool))
            there = there[: where.shape[0], -maps.counts.shape[1] :][:, : where.shape[1]]
            assert (where & ~there).mean() < 0.02, name
            claimed += (where & there).sum()
        for region, one in enumerate(result.regions):
            inside = maps.regions.labels == region
            for name, probability in one.species.items():
                if probability >= 0.5:
                    assert name in holds, name
                    assert holds[name][:, -inside.shape[1] :][inside].all(), name
    # Something is claimed, or the above says nothing.
    assert claimed > 30


def test_the_axis_of_dual_spectra_is_left_where_it_is(core: Measured) -> None:
    result, _ = core
    assert abs(result.energy_shift_ev) < 2 * result.energy_shift_error_ev
    assert "spectra and low losses were aligned together on the zero losses" in result.notes


def test_few_electrons_give_few_squares_and_say_so(film: Film, dim: Measured) -> None:
    result, maps = dim
    assert result.elements["C"].detected
    for element, one in maps.elements.items():
        assert one.binning == 2
        assert not one.resolved
        said = result.maps[element].sentence
        assert "do not suffice for a map" in said or "cannot be mapped" in said
    assert set(maps.elements) == {"C", "O", "F"}


# --- another element beside it --------------------------------------------------------------------


def of_manganese(energy: np.ndarray) -> np.ndarray:
    """A film with t/λ = 0.25 and the M edge of manganese, whose electrons are one."""
    first = int(np.argmin(np.abs(energy)))

    def transform(shape: np.ndarray) -> np.ndarray:
        return np.fft.fft(np.roll(np.pad(shape, (0, 4096 - len(energy))), -first))

    plasmon = drude_loss_function(np.maximum(energy, 1e-6), peak_ev=25.0, fwhm_ev=10.0)
    plasmon = np.where(energy > 0, plasmon, 0.0)
    peak = np.exp(-4 * np.log(2) * (energy / OPTICS.resolution_fwhm_ev) ** 2)
    edge = edge_cross_section(
        "Mn_M", energy, beam_energy_kev=300, collection_mrad=20, convergence_mrad=10
    ).per_channel_nm2
    once = 0.25 * (transform(plasmon / plasmon.sum()) - 1) + 0.03 * transform(edge / edge.sum())
    mean = np.fft.ifft(transform(peak / peak.sum()) * np.exp(once)).real
    return np.maximum(np.roll(mean, first)[: len(energy)], 0.0)


@pytest.mark.parametrize("rivals", [None, ()])
def test_manganese_beside_lithium_is_not_lithium(rivals: tuple[str, ...] | None) -> None:
    axis = EnergyAxis(first_ev=-20, dispersion_ev=0.25, channels=640)
    energy = axis.first_ev + axis.dispersion_ev * np.arange(axis.channels)
    oxide = spectrum_image({"Li2O": np.full((1, 1), 300.0)}, axis=axis, spectrometer=OPTICS)
    mean = np.empty((8, 16, axis.channels))
    mean[:, :8], mean[:, 8:] = of_manganese(energy), np.asarray(oxide)[0, 0]
    counts = np.random.default_rng(1).poisson(3e5 * mean)
    signal = to_eels_signal(counts, axis=axis, spectrometer=OPTICS, pixel_size_a=20.0)
    result, maps = measured(signal, rivals=rivals)
    lithium, manganese = (
        result.regions[maps.regions.labels[4, column]] for column in (12, 3)
    )  # fmt: skip
    assert maps.regions.number == 2
    assert lithium.elements["Li"].detected
    assert not manganese.elements["Li"].detected
    assert manganese.elements["Li"].doubtful
    detected = maps.elements["Li"].detected
    assert not detected[:, : detected.shape[1] // 2].any()
    assert result.maps["Li"].detected_share == detected.mean()
    assert not any(name.startswith("Li") for name, p in manganese.species.items() if p >= 0.5)
    if rivals is None:
        assert "Mn_M" in manganese.elements["Li"].instead
    else:
        # Nothing else was allowed: the Li K edge alone tells the halves apart.
        assert detected[:, detected.shape[1] // 2 :].all()
        assert "where the sum of a region does not show it" in result.maps["Li"].sentence


def element_map(shape: tuple[int, int], binning: int) -> ElementMap:
    values = np.ones(tuple(max(n // binning, 1) for n in shape))
    return ElementMap(
        element="Li",
        binning=binning,
        areal_density_per_nm2=100 * values,
        standard_error_per_nm2=values,
        detection_limit_per_nm2=3 * values,
        detected=values > 0,
        contested=(),
        mean_per_nm2=100.0,
        resolved=True,
        sentence="Li is detected.",
    )


@pytest.mark.parametrize(("shape", "binning"), [((8, 16), 1), ((8, 16), 4), ((3, 64), 8)])
def test_squares_lie_in_the_region_that_holds_more_than_half_of_them(
    core: Measured, shape: tuple[int, int], binning: int
) -> None:
    labels = np.zeros(shape, dtype=int)
    labels[:, : shape[1] // 2 + binning // 4] = 1
    maps = replace(
        core[1],
        regions=replace(core[1].regions, labels=labels, number=2),
        elements={"Li": element_map(shape, binning)},
    )
    detected = maps.without_contested({"Li": [1]}).elements["Li"].detected
    half = detected.shape[1] // 2
    assert not detected[:, :half].any()
    assert detected[:, half:].all()
    assert maps.without_contested({"Li": []}).elements["Li"].detected.all()
    assert maps.elements["Li"].detected.all()


# --- shapes, and what is no map -------------------------------------------------------------------


@pytest.mark.parametrize("part", [np.s_[4:6, 10:12], np.s_[3:4, 8:28], np.s_[0:9, 9:10]])
def test_a_few_spectra_are_summed_and_not_mapped(film: Film, part: Any) -> None:
    low, signal = film.recorded(BRIGHT, part)
    result, maps = measured(signal, low_loss=low, exposure_ratio=RATIO)
    assert result.elements["O"].detected
    assert result.regions == ()
    assert result.maps == {}
    assert maps.counts is None
    figure = draw_maps(maps)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["spectrum", ""]


@pytest.mark.parametrize("shape", [(3, 3), (3, 24)])
def test_the_smallest_maps_do_not_fail(film: Film, shape: tuple[int, int]) -> None:
    low, signal = film.recorded(BRIGHT, np.s_[: shape[0], 6 : 6 + shape[1]])
    result, maps = measured(signal, low_loss=low, exposure_ratio=RATIO)
    assert maps.counts.shape == shape
    assert result.maps["O"].sentence
    draw_maps(maps)


def test_lazy_signals_give_the_same(film: Film, core: Measured) -> None:
    low, signal = (one.as_lazy() for one in film.recorded(BRIGHT))
    result, maps = measured(signal, low_loss=low, exposure_ratio=RATIO)
    assert list(result.elements) == list(core[0].elements)
    for element, amount in result.elements.items():
        other = core[0].elements[element]
        assert amount.areal_density_per_nm2 == pytest.approx(
            other.areal_density_per_nm2, abs=0.1 * other.standard_error
        )
    np.testing.assert_array_equal(maps.counts, core[1].counts)
    np.testing.assert_array_equal(maps.regions.labels, core[1].regions.labels)


@pytest.mark.parametrize("binning", [0, 31])
def test_a_side_that_cannot_be_is_said(film: Film, binning: int) -> None:
    low, signal = film.recorded(BRIGHT)
    result, maps = measured(signal, low_loss=low, exposure_ratio=RATIO, binning=binning)
    assert maps.elements == {}
    assert any(f"binning is {binning}" in note for note in result.notes)


# --- files ----------------------------------------------------------------------------------------


def test_results_survive_the_store(core: Measured, low: Measured, dim: Measured) -> None:
    for result, _ in (core, low, dim):
        again = from_plain(EelsResult, json.loads(json.dumps(to_plain(result))))
        assert again == result
        assert again.regions == result.regions
        assert again.assessment is result.assessment


def test_maps_are_stored_by_what_they_hold(core: Measured) -> None:
    arrays = map_arrays(core[1])
    names = {
        "energy_ev", "summed_counts", "counts", "region", "relative_thickness",
        "relative_thickness_error", "scan_step_a",
    }  # fmt: skip
    for element in "COF":
        names |= {f"{element}_{of}" for of in ("per_nm2", "error_per_nm2", "limit_per_nm2")}
        names |= {f"{element}_detected", f"{element}_binning"}
    names |= {f"probability_of_{name}" for name in core[1].species}
    assert core[1].species
    assert set(arrays) == names | {"species_binning"}
    assert arrays["energy_ev"].shape == arrays["summed_counts"].shape
    for name in ("counts", "region", "relative_thickness", "C_per_nm2", "C_detected"):
        assert arrays[name].shape == (ROWS, COLUMNS)
    assert arrays["C_detected"].dtype == bool
    assert arrays["C_binning"] == 1
    assert arrays["scan_step_a"] == 20.0
    # Unusable spectra are in region 0, the first one is 1.
    assert set(np.unique(arrays["region"])) == {0, 1, 2, 3}


def test_files_hold_what_was_found(core: Measured, tmp_path: Path) -> None:
    result, maps = core
    write_spectra(result, maps, tmp_path / "out", name="film.hspy")
    assert json.loads((tmp_path / "out" / "film.hspy.json").read_text()) == to_plain(result)
    with np.load(tmp_path / "out" / "film.hspy.npz") as stored:
        for name, values in map_arrays(maps).items():
            np.testing.assert_array_equal(stored[name], values)
    assert (tmp_path / "out" / "film.hspy.png").read_bytes().startswith(b"\x89PNG")


# --- figures --------------------------------------------------------------------------------------


def titles(maps: SpectrumMaps) -> list[str]:
    """Return the titles of panels and spectra of a figure."""
    said = [(ax.get_title(), ax.get_title(loc="left")) for ax in draw_maps(maps).axes]
    return [centre or left for centre, left in said if centre or left]


def test_a_figure_has_a_panel_for_each_map_and_a_spectrum_for_each_region(core: Measured) -> None:
    maps = core[1]
    said = titles(maps)
    assert said[0] == "counts of all channels, 3 regions"
    assert said[1].startswith("thickness, ± 0.0")
    assert [one.partition(":")[0] for one in said[2:5]] == ["C", "O", "F"]
    assert all("limit" in one and "suffice" not in one for one in said[2:5])
    drawn = len(maps.species)
    assert all("white: cannot tell" in one for one in said[5 : 5 + drawn])
    assert said[5 + drawn :] == [f"region {k}, 96 spectra" for k in (1, 2, 3)]
    # Rows of four panels, a scale for each map but the picture, two axes for each spectrum.
    panels = 5 + drawn
    scales = panels - 1
    figure = draw_maps(maps)
    grid = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    assert len(grid) == 4 * -(-panels // 4) + 2 * 3
    assert sum(len(ax.child_axes) for ax in grid) == scales


def test_the_survey_image_comes_first_with_the_area(core: Measured) -> None:
    survey = Survey(
        image=np.eye(40), area_px=(10.0, 5.0, 30.0, 25.0), pixel_size_a=50.0, source="a test"
    )
    figure = draw_maps(replace(core[1], survey=survey))
    first = figure.axes[0]
    assert first.get_title() == "survey image, area mapped"
    (area,) = [patch for patch in first.patches if not patch.get_fill()]
    assert area.get_xy() == (4.5, 9.5)
    assert (area.get_width(), area.get_height()) == (20.0, 20.0)


def test_a_figure_says_where_electrons_do_not_suffice(dim: Measured) -> None:
    said = [one for one in titles(dim[1]) if one.startswith(("C:", "O:", "F:"))]
    assert len(said) == 3
    assert all("2 × 2 px" in one for one in said)
    assert all("the electrons do not suffice for a map" in one for one in said)


def test_a_figure_names_what_else_it_can_be(core: Measured) -> None:
    one = replace(element_map((12, 30), 2), contested=("Mn_M", "Fe_M"))
    said = titles(replace(core[1], elements={"Li": one}))
    assert "Li: 2 × 2 px, limit 3 /nm²\nor Mn M or Fe M" in said


def test_single_spectra_are_drawn_too(film: Film, core: Measured) -> None:
    low, signal = (one.inav[0, 0] for one in film.recorded(1e8, np.s_[:1, 15:16]))
    result, maps = measured(signal, low_loss=low, exposure_ratio=RATIO)
    assert result.spectra == 1
    assert titles(maps) == ["spectrum"]
    assert len(draw_maps(maps).axes) == 2
    # Without a fit: one axis, and beside a zero loss a logarithmic one.
    bare, others = (
        measured(one, elements=["C"] if one is low else ["Li"])[1] for one in (low, signal)
    )
    (only,) = draw_maps(bare).axes
    assert only.get_yscale() == "log"
    (only,) = draw_maps(others).axes
    assert only.get_yscale() == "linear"


# --- a session ------------------------------------------------------------------------------------


def plain_signal(shape: tuple[int, ...], units: str, kind: str = "") -> Any:
    import hyperspy.api as hs

    signal = hs.signals.Signal1D(np.random.default_rng(0).poisson(9.0, shape).astype(np.float32))
    axis = signal.axes_manager.signal_axes[0]
    axis.scale, axis.units = 1.0, units
    if kind:
        signal.set_signal_type(kind)
    return signal


@pytest.fixture(scope="module")
def folder(film: Film, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of dual spectra and of others that stand alone."""
    made = tmp_path_factory.mktemp("dual")
    low, signal = film.recorded(BRIGHT, np.s_[:6, 6:28])
    low.save(made / "film_LL.hspy")
    signal.save(made / "film_HL.hspy")
    plain_signal((4, 4, 200), "<undefined>").save(made / "channels.hspy")
    return made


def by_name(folder: Path) -> tuple[SessionResult, dict[str, FileResult]]:
    result = run_session(folder, phases="LiF", workers=1)
    return result, {one.file: one for one in result.files}


def test_a_session_of_dual_spectra(film: Film, folder: Path) -> None:
    first, files = by_name(folder)
    assert first.measured == 3
    core = files["film_HL.hspy"]
    # Thickness needs a zero-loss peak, and areal densities its electrons: both are of the LL file.
    assert any("film_LL.hspy" in note for note in core.eels.notes)
    assert core.eels.relative_thickness["mean"] == pytest.approx(
        files["film_LL.hspy"].eels.relative_thickness["mean"], abs=1e-6
    )
    assert core.eels.elements["O"].areal_density_per_nm2 > 0
    assert len(core.eels.regions) == 3
    assert "no number" not in core.sentence
    # The figure is kept as a picture.
    figure = load_pictures(core).figure
    assert figure.dtype == np.uint8
    assert figure.shape[-1] == 3
    assert 0 < figure.mean() < 255
    again, _ = by_name(folder)
    assert again.measured == 0
    # Other low losses: both files of the pair are measured again, and no other.
    film.recorded(BRIGHT, np.s_[:6, 6:28], seed=2)[0].save(folder / "film_LL.hspy", overwrite=True)
    changed, later = by_name(folder)
    assert changed.measured == 2
    for name in files:
        assert (later[name].key != files[name].key) == name.startswith("film")
    assert (
        later["film_HL.hspy"].eels.relative_thickness != core.eels.relative_thickness
    )  # fmt: skip


@pytest.mark.parametrize(
    ("units", "kind", "assessment", "words"),
    [
        ("keV", "EDS_TEM", Assessment.NOT_ASSESSED, "These are X-ray spectra"),
        ("<undefined>", "", Assessment.UNCALIBRATED, "energy axis of a.hspy is unknown"),
    ],
)
def test_spectra_that_are_not_measured_are_shown_and_say_why(
    tmp_path: Path, units: str, kind: str, assessment: Assessment, words: str
) -> None:
    plain_signal((4, 5, 200), units, kind).save(tmp_path / "a.hspy")
    base = FileResult(file="a.hspy", assessment=Assessment.OK, sentence="")
    task = Task(path=tmp_path / "a.hspy", base=base, candidates=pickle.dumps(()))
    result, pictures = measure(task)
    assert result.assessment is assessment
    assert words in result.sentence
    assert result.eels is None
    assert result.spectrum.spectra == 20
    assert pictures.figure is None
    assert pictures.counts.shape == (200,)
    assert pictures.thumbnail.shape == (4, 5)

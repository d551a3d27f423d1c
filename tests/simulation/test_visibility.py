"""What a crystallite can show, and which places show it."""

from types import SimpleNamespace

import numpy as np
import pytest

from interphase.electron import contrast_transfer, wavelength_from_energy
from interphase.phases import load_phase
from interphase.simulation import (
    CrystalliteTruth,
    Multislice,
    Optics,
    Scene,
    ShownPlanes,
    crystallite,
    exit_wave,
    fringe_transfer,
    image_from_exit_wave,
    match_places,
    shown_planes,
    transferred_planes,
    zone_axis_orientation,
)
from interphase.simulation.visibility import _excitation, _sphere_overlap


def truth_of(phase="LiF", diameter=40.0, tilt=0.0, centre=(50.0, 60.0, 30.0)):
    lies = zone_axis_orientation(
        load_phase(phase), (0, 0, 1), in_plane_deg=20.0, tilt_deg=tilt, tilt_azimuth_deg=20.0
    )
    rows = tuple(tuple(row) for row in lies.matrix.tolist())
    return CrystalliteTruth(
        phase=phase,
        centre_a=centre,
        diameter_a=diameter,
        orientation=rows,
        zone_axis=(0, 0, 1),
        tilt_deg=tilt,
    )


def test_columns_of_a_sphere_add_up_to_the_closed_form():
    s, diameter = 0.013, 50.0
    height = (np.arange(200_000) + 0.5) / 200_000 * diameter
    # Columns of height u have the area π u du / 2 in projection.
    summed = (height * (np.sin(np.pi * s * height) / (np.pi * s)) ** 2).sum()
    assert _excitation(np.array([2 * np.pi * s * diameter]))[0] == pytest.approx(
        summed / (height**3).sum(), rel=1e-6
    )


def test_the_excitation_joins_its_series():
    x = np.array([0.0, 0.0299, 0.0301, 0.1])
    assert _excitation(x) == pytest.approx(1 - x**2 / 18, abs=1e-4)


@pytest.mark.parametrize("tilt", [0.0, 1.5, 3.0])
def test_a_thin_crystallite_diffracts_as_the_formula_says(tilt):
    truth = truth_of(diameter=36.0, tilt=tilt)
    phase = load_phase("LiF")
    lies = zone_axis_orientation(
        phase, (0, 0, 1), in_plane_deg=20.0, tilt_deg=tilt, tilt_azimuth_deg=20.0
    )
    atoms = crystallite(phase, 36.0, orientation=lies)
    atoms.positions += (40.0, 40.0, 20.0)
    atoms.set_cell([80.0, 80.0, 40.0])
    atoms.pbc = True
    scene = Scene(atoms=atoms, size_a=(80.0, 80.0), thickness_a=40.0, matrix="vacuum")
    wave = exit_wave(
        scene,
        beam_energy_kev=300.0,
        settings=Multislice(sampling_a=0.2, slice_thickness_a=2.0),
    )
    power = np.abs(np.fft.fft2(wave.array)) ** 2
    ky = np.fft.fftfreq(power.shape[0], wave.pixel_size_a[0])[:, None]
    kx = np.fft.fftfreq(power.shape[1], wave.pixel_size_a[1])
    planes = shown_planes(truth, beam_energy_kev=300.0, d_min_a=1.3, relative_min=0.0)
    strong = np.isin(np.abs(planes.hkl).sum(axis=1), (2, 4)) & (planes.hkl[:, 2] == 0)

    def intensity(k):
        return power[np.hypot(ky - k[0], kx - k[1]) < 1.5 / 36].sum()

    measured = np.array([max(intensity(k), intensity(-k)) for k in planes.k_per_a[strong]])
    expected = planes.relative[strong]
    # Kinematic: what a second scattering adds in 36 Å of LiF stays below a tenth of the strongest.
    assert measured / measured.max() == pytest.approx(expected / expected.max(), abs=0.1)
    assert len(expected) >= 4


def place(centre, k, strength=(5.0,)):
    spots = SimpleNamespace(k_per_a=np.array(k, dtype=float), strength=np.array(strength))
    return SimpleNamespace(centre_a=centre, spots=spots)


def test_a_place_shows_the_crystallite_whose_fringe_is_its_strongest_spot():
    truths = [truth_of(), truth_of("Li2O", centre=(50.0, 66.0, 30.0))]
    lif, oxide = (shown_planes(row, beam_energy_kev=300.0).k_per_a[0] for row in truths)
    both = [lif + 0.2, oxide]
    shown, spare = match_places(
        truths,
        [place((50.0, 60.0), both, (3.0, 9.0)), place((50.0, 60.0), [-lif])],
        beam_energy_kev=300.0,
    )
    assert shown == [1, 0]
    assert spare == []


def test_places_that_show_nothing_are_left_over():
    truths = [truth_of()]
    fringe = shown_planes(truths[0], beam_energy_kev=300.0).k_per_a[0]
    turned = np.array([-fringe[1], fringe[0]]) + 0.1 * fringe
    places = [
        place((50.0, 60.0), [turned]),
        place((50.0, 100.0), [fringe]),
        place((55.0, 60.0), [fringe]),
        place((50.0, 60.0), [fringe]),
    ]
    shown, spare = match_places(truths, places, beam_energy_kev=300.0)
    assert shown == [2]
    assert spare == [0, 1, 3]


def test_lengths_that_were_scaled_are_scaled_back():
    truths = [truth_of(centre=(400.0, 400.0, 30.0))]
    fringe = shown_planes(truths[0], beam_energy_kev=300.0).k_per_a[0]
    wrong = [place((440.0, 440.0), [fringe / 1.1])]
    assert match_places(truths, wrong, beam_energy_kev=300.0, scale=1.1)[0] == [0]
    assert match_places(truths, wrong, beam_energy_kev=300.0)[0] == [None]


def test_an_orientation_without_a_bragg_condition_shows_nothing():
    lies = zone_axis_orientation(load_phase("LiF"), (13, 7, 3))
    rows = tuple(tuple(row) for row in lies.matrix.tolist())
    truth = CrystalliteTruth(
        phase="LiF",
        centre_a=(0.0, 0.0, 0.0),
        diameter_a=100.0,
        orientation=rows,
        zone_axis=None,
        tilt_deg=None,
    )
    assert len(shown_planes(truth, beam_energy_kev=300.0, d_min_a=1.9).hkl) == 0


def planes_with(excitation, mate, k=0.3):
    return ShownPlanes(
        hkl=np.array([[1, 1, 1]]),
        k_per_a=np.array([[0.0, k]]),
        excitation=np.array([excitation]),
        mate_excitation=np.array([mate]),
        relative=np.array([1.0]),
    )


def test_evenly_excited_beams_are_transferred_as_contrast_is():
    lens = {"defocus_a": 430.0, "spherical_aberration_mm": 0.8, "focal_spread_a": 30.0}
    shown = fringe_transfer(
        planes_with(0.7, 0.7),
        Optics(**lens, semi_convergence_mrad=0.2),
        beam_energy_kev=300.0,
        diameter_a=1e6,
    )
    expected = contrast_transfer(
        0.3, beam_energy_kev=300.0, **lens, semi_convergence_angle_mrad=0.2
    )
    assert shown == pytest.approx([abs(expected)], rel=1e-4)


def test_a_single_beam_has_no_zeros():
    # At the zero of contrast: λ Δf k² = 1.
    defocus = 1 / (float(wavelength_from_energy(300.0)) * 0.3**2)
    given = {"optics": Optics(defocus_a=defocus), "beam_energy_kev": 300.0}
    both, single = planes_with(0.7, 0.7), planes_with(0.7, 0.0)
    assert fringe_transfer(both, **given, diameter_a=1e6) == pytest.approx([0.0], abs=1e-2)
    assert fringe_transfer(single, **given, diameter_a=1e6) == pytest.approx([0.5])
    # Images of the two beams that have left each other know no zero either.
    assert fringe_transfer(both, **given, diameter_a=5.0) == pytest.approx([0.5**0.5])


def test_a_projected_sphere_overlaps_itself_as_counted():
    y, x = np.mgrid[-100:101, -100:401] / 100
    height = np.sqrt(np.clip(1 - y**2 - x**2, 0, None))
    for shift in (0.0, 0.2, 0.5, 0.9, 1.2):
        moved = np.roll(height, round(200 * shift), axis=1)
        counted = (height * moved).sum() / (height**2).sum()
        assert _sphere_overlap(shift) == pytest.approx(counted, abs=0.005)


@pytest.mark.parametrize("tilt", [0.0, 1.5])
def test_fringes_of_a_multislice_follow_their_transfer(tilt):
    truth = truth_of("Li", diameter=30.0, tilt=tilt)
    phase = load_phase("Li")
    lies = zone_axis_orientation(
        phase, (0, 0, 1), in_plane_deg=20.0, tilt_deg=tilt, tilt_azimuth_deg=20.0
    )
    atoms = crystallite(phase, 30.0, orientation=lies)
    atoms.positions += (40.0, 40.0, 16.0)
    scene = Scene(atoms=atoms, size_a=(80.0, 80.0), thickness_a=32.0, matrix="vacuum")
    wave = exit_wave(
        scene, beam_energy_kev=300.0, settings=Multislice(sampling_a=0.25, slice_thickness_a=4.0)
    )
    planes = shown_planes(truth, beam_energy_kev=300.0, d_min_a=1.9)
    assert len(planes.hkl) == 2
    defoci = np.arange(-900.0, 901.0, 150.0)
    power, expected = [], []
    for defocus in defoci:
        optics = Optics(defocus_a=defocus, focal_spread_a=25.0)
        image = image_from_exit_wave(wave, optics)
        spectrum = np.abs(np.fft.fft2(image)) ** 2
        ky = np.fft.fftfreq(image.shape[0], wave.pixel_size_a[0])[:, None]
        kx = np.fft.fftfreq(image.shape[1], wave.pixel_size_a[1])
        power.append(
            [spectrum[np.hypot(ky - k[0], kx - k[1]) < 1.2 / 30].sum() for k in planes.k_per_a]
        )
        # The exit plane lies 16 Å below the crystallite's middle.
        middle = Optics(defocus_a=defocus - 16.0, focal_spread_a=25.0)
        transfer = fringe_transfer(planes, middle, beam_energy_kev=300.0, diameter_a=30.0)
        expected.append(transfer**2)
    for measured, stated in zip(np.transpose(power), np.transpose(expected), strict=True):
        scale = (measured @ stated) / (stated @ stated)
        assert np.sqrt(measured / scale) == pytest.approx(np.sqrt(stated), abs=0.08)


def test_what_a_pixel_cannot_show_is_not_transferred():
    truth = truth_of()
    given = {
        "beam_energy_kev": 300.0,
        "optics": Optics(defocus_a=300.0),
        "thickness_a": 60.0,
        "transfer_min": 0.0,
    }
    fine, coarse = (transferred_planes(truth, pixel_size_a=pixel, **given) for pixel in (0.4, 0.8))
    d = [1 / np.linalg.norm(planes.k_per_a, axis=1) for planes in (fine, coarse)]
    assert d[0].min() == pytest.approx(1.42, abs=0.02)
    assert d[1].min() == pytest.approx(2.01, abs=0.02)


def test_a_place_upon_two_crystallites_shows_the_one_that_makes_more_of_it():
    # Tilted about the normal of (200), one has lost all other fringes of the zone.
    row, net = truth_of(tilt=8.0), truth_of(centre=(50.0, 90.0, 30.0))
    planes = shown_planes(net, beam_energy_kev=300.0)
    shared = np.abs(planes.hkl).tolist().index([2, 0, 0])
    strength = np.full(len(planes.hkl), 20.0)
    strength[shared] = 30.0
    spots = SimpleNamespace(k_per_a=planes.k_per_a, strength=strength)
    place = SimpleNamespace(centre_a=(50.0, 65.0), spots=spots)
    assert match_places([row], [place], beam_energy_kev=300.0) == ([0], [])
    assert match_places([row, net], [place], beam_energy_kev=300.0) == ([None, 0], [])

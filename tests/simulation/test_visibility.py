"""What a crystallite can show, and which places show it."""

from types import SimpleNamespace

import numpy as np
import pytest

from interphase.phases import load_phase
from interphase.simulation import (
    CrystalliteTruth,
    Multislice,
    Scene,
    crystallite,
    exit_wave,
    match_places,
    shown_planes,
    zone_axis_orientation,
)
from interphase.simulation.visibility import _excitation


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

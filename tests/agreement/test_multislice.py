"""Exit waves against plain abTEM, kinematic structure factors and mean inner potentials."""

import abtem
import numpy as np
import pytest
from abtem.core.energy import energy2sigma, energy2wavelength
from abtem.parametrizations import LobatoParametrization
from ase import Atoms

from interphase.electron import interaction_parameter, lorentz_factor, wavelength_from_energy
from interphase.phases import load_phase
from interphase.phases.kinematics import structure_factors
from interphase.simulation import (
    Grain,
    Multislice,
    Optics,
    Scene,
    Vibrations,
    exit_wave,
    film_scene,
    image_from_exit_wave,
    multislice_for,
    propagated,
    resample,
    zone_axis_orientation,
)
from interphase.simulation.imaging.projection import SplineProjection
from interphase.simulation.imaging.waves import potential_of

SIZE, THICKNESS = (20.0, 16.0), 12.0

MEAN_INNER_POTENTIAL = {
    "Li": 7.3,
    "Li2O": 16.7,
    "LiF": 15.0,
    "Li2CO3": 12.3,
    "LiOH": 10.2,
    "LiH": 10.7,
    "Si": 13.9,
    "graphite": 13.6,
    "Cu": 22.7,
    "Au": 29.8,
}
"""Phase → volts, of neutral atoms side by side, computed from the phases' cells elsewhere."""

WEAK = Multislice(sampling_a=0.1, slice_thickness_a=30.0)
"""One slice."""


@pytest.fixture
def atoms(rng):
    atoms = Atoms("C150O150Au5", positions=rng.uniform(0, (16.0, 20.0, 12.0), (305, 3)))
    atoms.set_cell([SIZE[1], SIZE[0], THICKNESS])
    atoms.pbc = True
    return atoms


def scene_of(atoms):
    return Scene(atoms=atoms, size_a=SIZE, thickness_a=THICKNESS, matrix="vacuum")


def by_abtem(atoms, *, energy_kev, tilt=(0.0, 0.0), cutoff=2 / 3, **potential):
    """The waves as abTEM's user would compute them, (row, column), sums in the same order."""
    settings = {"antialias.cutoff": cutoff, "fftw.planning_effort": "FFTW_ESTIMATE"}
    with abtem.config.set(settings | {"diagnostics.progress_bar": False}):
        plane = abtem.PlaneWave(energy=energy_kev * 1e3, tilt=tilt[::-1])
        waves = plane.multislice(abtem.Potential(atoms, **potential), lazy=False)
    return np.swapaxes(waves.array, -2, -1)


@pytest.mark.parametrize("tilt", [(0.0, 0.0), (3.0, -8.0)])
@pytest.mark.parametrize("projection", ["infinite", "finite"])
def test_exit_wave_is_that_of_plain_abtem(atoms, projection, tilt):
    wave = exit_wave(
        scene_of(atoms),
        beam_energy_kev=200.0,
        settings=Multislice(sampling_a=0.2, slice_thickness_a=2.0, projection=projection),
        beam_tilt_mrad=tilt,
    )
    plain = by_abtem(
        atoms, energy_kev=200.0, tilt=tilt, sampling=0.2, slice_thickness=2.0, projection=projection
    )
    np.testing.assert_allclose(wave.array, plain, atol=1e-6)


def test_splines_in_abtem_are_our_exit_wave_half_a_slice_further(atoms):
    tilt = (3.0, -8.0)
    wave = exit_wave(
        scene_of(atoms),
        beam_energy_kev=200.0,
        settings=Multislice(sampling_a=0.2, slice_thickness_a=3.0),
        beam_tilt_mrad=tilt,
    )
    plain = by_abtem(
        atoms,
        energy_kev=200.0,
        tilt=tilt,
        cutoff=1.0,
        sampling=0.2,
        slice_thickness=3.0,
        integrator=SplineProjection(slice_thickness_a=3.0, thickness_a=THICKNESS),
    )
    np.testing.assert_allclose(propagated(wave, 1.5, beam_tilt_mrad=tilt).array, plain, atol=3e-6)


@pytest.mark.parametrize("projection", ["infinite", "finite"])
def test_frozen_phonons_are_those_of_plain_abtem(atoms, projection):
    rms = {"C": 0.08, "O": 0.1, "Au": 0.05}
    waves = exit_wave(
        scene_of(atoms),
        beam_energy_kev=300.0,
        settings=Multislice(sampling_a=0.2, slice_thickness_a=2.0, projection=projection),
        vibrations=Vibrations(rms_a=rms, configurations=3),
        rng=np.random.default_rng(11),
    )
    seeds = np.random.default_rng(11).integers(2**31, size=3)
    phonons = abtem.FrozenPhonons(atoms, 3, rms, seed=tuple(int(seed) for seed in seeds))
    plain = by_abtem(
        phonons, energy_kev=300.0, sampling=0.2, slice_thickness=2.0, projection=projection
    )
    np.testing.assert_allclose(waves.array, plain, atol=1e-6)


@pytest.mark.parametrize("energy", [60.0, 80.0, 200.0, 300.0])
def test_wavelength_and_interaction_are_abtems(energy):
    assert wavelength_from_energy(energy) == pytest.approx(energy2wavelength(energy * 1e3))
    assert interaction_parameter(energy) == pytest.approx(energy2sigma(energy * 1e3))


def foil(phase, along_x, along_y, repeats=(1, 1)):
    """One cell's height of a crystal, periodic across; the two lattice vectors are orthogonal."""
    vectors = np.asarray(phase.lattice_vectors)
    x, y = np.asarray(along_x) @ vectors, np.asarray(along_y) @ vectors
    assert abs(x @ y) < 1e-9
    axes = np.stack([x, y, np.cross(x, y)])
    axes /= np.linalg.norm(axes, axis=1)[:, None]
    width, depth = np.linalg.norm(x), np.linalg.norm(y)
    height = abs(vectors[2] @ axes[2])
    # Whole cells on a parallelogram, folded into the rectangle: each atom counts once.
    cells = round(width * depth * height / phase.volume_a3)
    fractions = np.concatenate(
        [np.asarray(phase.fractional) + np.array([0, n, 0]) for n in range(cells)]
    )
    positions = (fractions % [1, cells, 1]) @ vectors @ axes.T
    positions %= (width, depth, height)
    symbols = list(phase.species) * cells
    atoms = Atoms(symbols, positions=positions, cell=[width, depth, height], pbc=True)
    atoms = atoms.repeat((*repeats, 1))
    scene = Scene(
        atoms=atoms,
        size_a=(depth * repeats[1], width * repeats[0]),
        thickness_a=height,
        matrix="vacuum",
    )
    return scene, len(symbols)


def foil_of(name):
    return foil(load_phase(name), (1, 0, 0), (1, 2, 0) if name == "graphite" else (0, 1, 0))[0]


@pytest.mark.parametrize("name", MEAN_INNER_POTENTIAL)
def test_mean_inner_potentials(name):
    scene = foil_of(name)
    projected = potential_of(scene, WEAK, shape=(40, 40)).build(lazy=False).array
    volts = projected.mean() / scene.thickness_a
    assert volts == pytest.approx(MEAN_INNER_POTENTIAL[name], rel=0.015)


@pytest.mark.parametrize("name", sorted(set(MEAN_INNER_POTENTIAL) - {"Cu", "Au"}))
def test_the_mean_wave_is_late_by_the_mean_inner_potential(name):
    # Heavy atoms are no weak phase objects, not even one cell thick.
    scene = foil_of(name)
    wave = exit_wave(scene, beam_energy_kev=300.0, settings=WEAK)
    volts = np.angle(wave.array.mean()) / (interaction_parameter(300.0) * scene.thickness_a)
    assert volts == pytest.approx(MEAN_INNER_POTENTIAL[name], rel=0.015)


REFLECTIONS = {
    "LiF": [(2, 0, 0), (2, 2, 0), (4, 0, 0), (4, 2, 0)],
    "Li2O": [(2, 2, 0), (4, 0, 0), (4, 4, 0)],
    "Li2CO3": [(1, 1, 0), (2, 0, 0), (0, 2, 0), (3, 1, 0), (2, 2, 0)],
}
"""Phase → hk0, seen along the normal of a and b."""


@pytest.mark.parametrize("name", REFLECTIONS)
def test_thin_foils_diffract_kinematically(name):
    phase, energy = load_phase(name), 300.0
    scene, in_foil = foil(phase, (1, 0, 0), (0, 1, 0), repeats=(2, 3))
    assert in_foil == len(phase.species)
    wave = exit_wave(scene, beam_energy_kev=energy, settings=WEAK)
    amplitude = np.fft.fft2(wave.array) / wave.array.size
    area = np.prod(scene.size_a) / 6
    lobato = LobatoParametrization()
    for h, k, _ in REFLECTIONS[name]:
        # The structure factor of what lies in the foil, from the positions and Lobato's f(g).
        g = np.array([h, k]) / (np.array(scene.size_a[::-1]) / (2, 3))
        phases = np.exp(-2j * np.pi * scene.atoms.positions[:, :2] @ g)
        factor = (
            sum(
                lobato.scattering_factor(symbol)(np.array([g @ g]))[0]
                * phases[np.array(scene.atoms.symbols) == symbol].sum()
                for symbol in set(phase.species)
            )
            / 6
        )
        expected = lorentz_factor(energy) * wavelength_from_energy(energy) * factor / area
        measured = amplitude[3 * k, 2 * h]
        assert abs(measured) == pytest.approx(abs(expected), rel=0.01)
        # The table's factors are Doyle and Turner's. Where c leans along a, a foil one cell thick
        # shows the rod beside h, not the reflection.
        if name != "Li2CO3" or h == 0:
            tabulated, _ = structure_factors(phase, np.array([[h, k, 0]]))
            assert abs(factor) == pytest.approx(abs(tabulated[0]), rel=0.05)


def crystallites_in_film(first, second, size=36.0, thickness=50.0, seed=21):
    grains = [
        Grain(
            phase=load_phase(name),
            diameter_a=15.0,
            centre_a=centre,
            orientation=zone_axis_orientation(load_phase(name), uvw, in_plane_deg=11.0, tilt_deg=1),
        )
        for (name, uvw), centre in zip(
            (first, second), ((9.0, 10.0, 12.0), (25.0, 24.0, 36.0)), strict=True
        )
    ]
    return film_scene((size, size), thickness, grains, seed=seed)


SHARP = Optics(defocus_a=60.0, focal_spread_a=25.0, semi_convergence_mrad=0.1)


def image(scene, settings, energy):
    wave = exit_wave(scene, beam_energy_kev=energy, settings=settings)
    shape = tuple(round(extent / 0.375) for extent in scene.size_a)
    return resample(image_from_exit_wave(wave, SHARP), shape)


def error(estimate, truth):
    return np.sqrt(((estimate - truth) ** 2).mean()) / truth.std()


def test_abtems_projection_converges_to_ours():
    lif = load_phase("LiF")
    orientation = zone_axis_orientation(lif, (0, 1, 1), tilt_deg=1.0)
    grain = Grain(phase=lif, diameter_a=20.0, centre_a=(12.0, 12.0, 12.0), orientation=orientation)
    scene = film_scene((24.0, 24.0), 24.0, [grain], seed=7)
    ours = image(scene, Multislice(sampling_a=0.08, slice_thickness_a=0.5), 300.0)
    errors = []
    for sampling in (0.2, 0.1, 0.05):
        settings = Multislice(sampling_a=sampling, slice_thickness_a=0.5, projection="infinite")
        errors.append(error(image(scene, settings, 300.0), ours))
    assert errors[0] > 0.04
    assert errors[1] < 0.4 * errors[0]
    assert errors[2] < 0.01


@pytest.mark.parametrize(
    ("first", "second", "energy", "factor"),
    [
        (("Li2CO3", (0, 0, 1)), ("LiOH", (0, 0, 1)), 200.0, 1),
        (("Li2CO3", (0, 0, 1)), ("LiOH", (0, 0, 1)), 80.0, 1),
        (("LiF", (0, 0, 1)), ("Li2CO3", (0, 1, 0)), 300.0, 1),
        (("LLZO-tetragonal", (0, 0, 1)), ("Li2O", (0, 1, 1)), 300.0, 5),
    ],
)
def test_errors_are_no_larger_than_stated(first, second, energy, factor):
    scene = crystallites_in_film(first, second)
    truth = image(scene, Multislice(sampling_a=0.08, slice_thickness_a=0.5), energy)
    for stated in (0.01, 0.03):
        settings = multislice_for(stated, beam_energy_kev=energy)
        assert error(image(scene, settings, energy), truth) < factor * stated


@pytest.mark.parametrize(
    ("settings", "finer", "power"),
    [
        ({"sampling_a": 0.3}, {"sampling_a": 0.2}, 2.0),
        ({"slice_thickness_a": 8.0}, {"slice_thickness_a": 4.0}, 1.2),
    ],
)
def test_errors_fall_with_sampling_and_slices(settings, finer, power):
    scene = crystallites_in_film(("Li2CO3", (0, 0, 1)), ("LiOH", (0, 0, 1)))
    fine = {"sampling_a": 0.1, "slice_thickness_a": 0.5}
    truth, coarse, better = (
        image(scene, Multislice(**(fine | step)), 200.0) for step in ({}, settings, finer)
    )
    coarse, better = error(coarse, truth), error(better, truth)
    (name,) = settings
    assert better < coarse * (finer[name] / settings[name]) ** power

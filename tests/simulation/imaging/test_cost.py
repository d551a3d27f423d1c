"""What a multislice costs is known, and its settings keep the error they state."""

import time
import tracemalloc

import numpy as np
import pytest
from ase import Atoms

from interphase.errors import ParameterError
from interphase.simulation import (
    Multislice,
    Scene,
    Vibrations,
    exit_wave,
    exit_wave_cost,
    multislice_for,
)
from interphase.simulation.imaging.cost import (
    free_memory_gb,
    refuse_exit_wave_above,
    slice_count,
    wave_pixels,
)


def gas(size, thickness, rng, atoms_per_a3=0.09):
    """As many atoms as an organic film has, of four elements."""
    count = int(size[0] * size[1] * thickness * atoms_per_a3)
    positions = rng.uniform(0, (size[1], size[0], thickness), (count, 3))
    atoms = Atoms(list(rng.choice(list("CHOF"), count)), positions=positions)
    return Scene(atoms=atoms, size_a=size, thickness_a=thickness, matrix="vacuum")


@pytest.mark.parametrize(
    ("size", "thickness", "settings", "configurations"),
    [
        ((60.0, 50.0), 80.0, Multislice(sampling_a=0.16), 1),
        ((150.0, 140.0), 12.0, Multislice(sampling_a=0.16), 1),
        ((60.0, 50.0), 80.0, Multislice(sampling_a=0.2, projection="infinite"), 1),
        ((60.0, 50.0), 24.0, Multislice(sampling_a=0.16), 4),
        ((30.0, 30.0), 40.0, Multislice(sampling_a=0.25, projection="finite"), 1),
    ],
)
def test_memory_and_time_are_near_what_is_measured(size, thickness, settings, configurations, rng):
    scene = gas(size, thickness, rng)
    vibrations = (
        Vibrations(rms_a=dict.fromkeys("CHOF", 0.1), configurations=configurations)
        if configurations > 1
        else None
    )

    def run():
        exit_wave(scene, beam_energy_kev=300.0, settings=settings, vibrations=vibrations, rng=rng)

    run()  # what is loaded once
    start = time.process_time()
    run()
    seconds = time.process_time() - start
    tracemalloc.start()
    try:
        run()
        peak_gb = tracemalloc.get_traced_memory()[1] / 1e9
    finally:
        tracemalloc.stop()
    cost = exit_wave_cost(scene, settings, configurations=configurations)
    assert cost.memory_gb == pytest.approx(peak_gb, rel=0.3)
    assert 0.4 < cost.time_s / seconds < 2.5


@pytest.mark.parametrize("configurations", [1, 6])
def test_the_remedy_fits(configurations, rng):
    scene = gas((90.0, 70.0), 10.0, rng)
    fine = Multislice(sampling_a=0.05)
    with pytest.raises(ParameterError, match="or a sampling of") as refusal:
        refuse_exit_wave_above(0.05, scene, fine, configurations=configurations)
    sampling = float(str(refusal.value).rsplit(" ", 2)[1])
    coarser = Multislice(sampling_a=sampling)
    refuse_exit_wave_above(0.05, scene, coarser, configurations=configurations)
    assert exit_wave_cost(scene, coarser, configurations=configurations).memory_gb > 0.04


def test_where_atoms_alone_are_too_many_no_sampling_is_offered(rng):
    scene = gas((40.0, 40.0), 40.0, rng)
    with pytest.raises(ParameterError, match=r"larger `memory_limit_gb`$"):
        refuse_exit_wave_above(1e-4, scene, Multislice(sampling_a=0.2))


def test_without_a_limit_what_is_free_counts(rng, monkeypatch):
    scene = gas((40.0, 40.0), 10.0, rng)
    refuse_exit_wave_above(None, scene, Multislice(sampling_a=0.2))
    monkeypatch.setattr("interphase.simulation.imaging.cost.free_memory_gb", lambda: 1e-3)
    with pytest.raises(ParameterError, match=r"above the limit of 0\.0 GB"):
        refuse_exit_wave_above(None, scene, Multislice(sampling_a=0.2))


def test_free_memory_is_less_than_all_of_it():
    import psutil

    assert 0 < free_memory_gb() < psutil.virtual_memory().total / 1e9


@pytest.mark.parametrize("energy", [80.0, 200.0, 300.0])
def test_smaller_errors_need_finer_settings(energy):
    errors = (0.002, 0.01, 0.05, 0.2)
    settings = [multislice_for(error, beam_energy_kev=energy) for error in errors]
    assert np.all(np.diff([s.sampling_a for s in settings]) > 0)
    assert np.all(np.diff([s.slice_thickness_a for s in settings]) > 0)


def test_settings_hold_the_spacings_asked_for():
    free = multislice_for(0.05, beam_energy_kev=300.0)
    bound = multislice_for(0.05, beam_energy_kev=300.0, d_min_a=0.4)
    assert bound.sampling_a == pytest.approx(0.2)
    assert bound.slice_thickness_a == free.slice_thickness_a
    bound.refuse_spacing(0.4)
    with pytest.raises(ParameterError, match=r"spacings of 0\.39 Å are lost"):
        bound.refuse_spacing(0.39)


def test_numbers_that_mean_nothing_are_refused():
    for error in (0.001, 0.5, float("nan")):
        with pytest.raises(ParameterError, match=r"expected 0\.002 to 0\.2"):
            multislice_for(error, beam_energy_kev=300.0)
    with pytest.raises(ParameterError, match="did you give eV"):
        multislice_for(0.01, beam_energy_kev=300e3)
    with pytest.raises(ParameterError, match="sampling_a is 0"):
        Multislice(sampling_a=0)
    with pytest.raises(ParameterError, match=r"slice_thickness_a is -1\.0"):
        Multislice(sampling_a=0.2, slice_thickness_a=-1.0)
    with pytest.raises(ParameterError, match="projection is 'exact': give one of spline, infinite"):
        Multislice(sampling_a=0.2, projection="exact")


def test_pixels_are_no_coarser_than_asked_and_slices_no_thicker(rng):
    for size in rng.uniform(5, 500, (50, 2)):
        rows, columns = wave_pixels(tuple(size), 0.17)
        assert size[0] / rows <= 0.17 + 1e-6
        assert 0.15 < size[1] / columns <= 0.17 + 1e-6
        assert size[0] / slice_count(size[0], 3.1) <= 3.1 + 1e-5

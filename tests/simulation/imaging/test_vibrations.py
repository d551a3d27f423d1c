"""Thermal displacements follow Debye, and waves fade as Debye and Waller say."""

import numpy as np
import pytest
from ase import Atoms

from interphase.errors import ParameterError
from interphase.simulation import (
    DEBYE_TEMPERATURE_K,
    Multislice,
    Scene,
    Vibrations,
    debye_displacement,
    exit_wave,
)


def test_hot_solids_are_classical():
    # <u²> = 3 ħ² T / (m k Θ²) far above Θ.
    hot = debye_displacement(20.0, debye_temperature_k=200.0, temperature_k=20000.0)
    classical = 3 * 48.508734 * 20000.0 / (20.0 * 200.0**2)
    assert hot**2 == pytest.approx(classical, rel=1e-4)


def test_cold_solids_keep_their_zero_point_motion():
    still = debye_displacement(20.0, debye_temperature_k=200.0, temperature_k=0.0)
    assert still**2 == pytest.approx(3 * 48.508734 / (4 * 20.0 * 200.0))
    cold = debye_displacement(20.0, debye_temperature_k=200.0, temperature_k=2.0)
    # The integral is π²/6 where Θ/T is large.
    assert cold**2 / still**2 == pytest.approx(1 + 4 * 1e-4 * np.pi**2 / 6, rel=1e-6)


def test_constant_is_that_of_codata():
    from scipy.constants import atomic_mass, hbar, k

    value = debye_displacement(1.0, debye_temperature_k=3.0, temperature_k=0.0) ** 2 * 4
    assert value == pytest.approx(hbar**2 / (k * atomic_mass) * 1e20, rel=1e-6)


@pytest.mark.parametrize(
    ("element", "mass", "b_a2"),
    # Debye-Waller factors B at 280 K, Peng et al., Acta Cryst. A 52, 456 (1996), remembered.
    [("Al", 26.98, 0.73), ("Cu", 63.55, 0.52), ("Au", 196.97, 0.57)],
)
def test_displacements_are_near_those_measured(element, mass, b_a2):
    u = debye_displacement(
        mass, debye_temperature_k=DEBYE_TEMPERATURE_K[element], temperature_k=280.0
    )
    assert 8 * np.pi**2 * u**2 == pytest.approx(b_a2, rel=0.2)


def test_mean_wave_fades_as_debye_and_waller_say():
    # A thin foil's mean wave has its potential damped by exp(-2π² u² g²).
    period, u = 2.0, 0.15
    x, y = np.meshgrid(np.arange(16) * period, np.arange(16) * period)
    positions = np.stack([x.ravel(), y.ravel(), np.full(256, 2.0)], axis=1)
    scene = Scene(
        atoms=Atoms("C256", positions=positions), size_a=(32.0, 32.0), thickness_a=4.0, matrix=""
    )
    settings = Multislice(sampling_a=0.25)
    waves = exit_wave(
        scene,
        beam_energy_kev=300.0,
        settings=settings,
        vibrations=Vibrations(rms_a={"C": u}, configurations=24),
        rng=np.random.default_rng(3),
    )
    still = exit_wave(scene, beam_energy_kev=300.0, settings=settings)
    spots = [
        np.fft.fft2(array)[[0, 16, 16], [16, 0, 16]] for array in (waves.array.mean(0), still.array)
    ]
    g2 = np.array([1, 1, 2]) / period**2
    damped = np.exp(-2 * np.pi**2 * u**2 * g2)
    # Each spot is a mean over N = 6144 atoms of exp(2πi g·u), off by (1 - e^-2M)/N^½ or less.
    np.testing.assert_allclose(np.abs(spots[0] / spots[1]), damped, atol=4 / np.sqrt(6144))


def test_what_cannot_be_is_refused():
    with pytest.raises(ParameterError, match="configurations is 0"):
        Vibrations(rms_a={"C": 0.1}, configurations=0)
    for value in (-0.1, 2.0, float("nan")):
        with pytest.raises(ParameterError, match="rms_a of C is"):
            Vibrations(rms_a={"C": value})
    for name, value in (("debye_temperature_k", 0.0), ("temperature_k", float("nan"))):
        numbers = {"debye_temperature_k": 300.0, "temperature_k": 100.0, name: value}
        with pytest.raises(ParameterError, match=f"{name} is"):
            debye_displacement(12.0, **numbers)
    with pytest.raises(ParameterError, match="mass_u is -1"):
        debye_displacement(-1.0, debye_temperature_k=300.0, temperature_k=1.0)

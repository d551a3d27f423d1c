"""Imaging conditions are what a microscope can have."""

import numpy as np
import pytest
from ase import Atoms

from interphase.errors import ParameterError
from interphase.simulation import (
    ExitWave,
    ImagingConditions,
    ImagingRanges,
    Optics,
    Probe,
    Scene,
    Spectrometer,
    partial_cross_section,
)
from interphase.simulation.imaging.conditions import sample_conditions
from interphase.simulation.imaging.waves import refuse_wave_of_another


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"beam_energies_kev": (80.0, 3e5)}, "did you give eV"),
        ({"beam_energies_kev": ()}, "give at least one beam energy"),
        ({"pixel_size_a": (1.0, 0.3)}, "expected two numbers, lower first"),
        ({"dose_e_per_a2": (0.0, 10.0)}, "dose_e_per_a2 is .* expected finite numbers > 0"),
        ({"focal_spread_a": (-1.0, 10.0)}, "focal_spread_a is .* >= 0"),
        ({"corrected_defocus_a": (0.0, np.inf)}, "corrected_defocus_a is .* expected finite"),
        ({"over_scherzer": (1.0,)}, "over_scherzer is .* expected two numbers"),
        ({"dqe0": (0.5, 1.2)}, "dqe0 reaches 1.2: expected shares from 0 to 1"),
        ({"corrected_share": -0.1}, "corrected_share reaches -0.1"),
    ],
)
def test_ranges_that_cannot_be_are_refused(given, said):
    with pytest.raises(ParameterError, match=said):
        ImagingRanges(**given)


def test_a_range_may_be_one_value(rng):
    ranges = ImagingRanges(pixel_size_a=(0.5, 0.5), focal_spread_a=(0.0, 0.0), corrected_share=1)
    drawn = sample_conditions(rng, ranges=ranges)
    assert drawn.pixel_size_a == pytest.approx(0.5)
    assert drawn.optics.focal_spread_a == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"beam_energy_kev": 300e3}, "did you give eV"),
        ({"pixel_size_a": 0.0}, "pixel_size_a is 0"),
        ({"dose_e_per_a2": -1.0}, "dose_e_per_a2 is -1"),
        ({"dqe0": 1.1}, "dqe0 is 1.1"),
    ],
)
def test_conditions_that_cannot_be_are_refused(given, said):
    fine = {"beam_energy_kev": 300.0, "pixel_size_a": 0.5, "dose_e_per_a2": 20.0}
    with pytest.raises(ParameterError, match=said):
        ImagingConditions(**(fine | {"optics": Optics(defocus_a=100.0)} | given))


def test_ev_are_no_kev():
    with pytest.raises(ParameterError, match="did you give eV"):
        Probe(beam_energy_kev=300e3, semi_convergence_mrad=20.0)
    with pytest.raises(ParameterError, match="did you give eV"):
        Spectrometer(
            beam_energy_kev=300e3,
            collection_semi_angle_mrad=10.0,
            convergence_semi_angle_mrad=0.0,
            resolution_fwhm_ev=1.0,
        )


def test_a_wave_belongs_to_its_scene():
    wave = ExitWave(array=np.ones((40, 50), complex), pixel_size_a=(0.5, 0.4), beam_energy_kev=80.0)
    refuse_wave_of_another(
        wave, Scene(atoms=Atoms(), size_a=(20.0, 20.0), thickness_a=9.0, matrix="vacuum")
    )
    other = Scene(atoms=Atoms(), size_a=(20.0, 25.0), thickness_a=9.0, matrix="vacuum")
    with pytest.raises(ParameterError, match=r"\[20.0, 20.0\] Å is not that of a scene of"):
        refuse_wave_of_another(wave, other)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"window_ev": 0.0}, "window_ev is 0"),
        ({"window_ev": np.nan}, "window_ev is nan"),
        ({"collection_semi_angle_mrad": -1.0}, "collection_semi_angle_mrad is -1"),
        ({"convergence_semi_angle_mrad": np.inf}, "convergence_semi_angle_mrad is inf"),
        ({"beam_energy_kev": 300e3}, "did you give eV"),
    ],
)
def test_cross_sections_of_nothing_are_refused(given, said):
    fine = {"window_ev": 50.0, "beam_energy_kev": 300.0, "collection_semi_angle_mrad": 10.0}
    with pytest.raises(ParameterError, match=said):
        partial_cross_section("Li_K", **(fine | given))

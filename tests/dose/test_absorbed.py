"""Absorbed dose against published numbers."""

import pytest

from interphase.dose.absorbed import charge_per_mass, mean_excitation_energy
from interphase.electron import absorbed_dose, collision_stopping_power
from interphase.errors import ParameterError

# MGy per e/Å² at 100, 200 and 300 keV, as science tables state them.
PUBLISHED = {
    "carbon": ({"C": 1}, (5.87, 3.99, 3.36)),
    "water": ({"H": 2, "O": 1}, (6.59, 4.47, 3.77)),
    "LiF": ({"Li": 1, "F": 1}, (5.32, 3.62, 3.06)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_additivity_is_within_one_per_cent_of_published_doses(name):
    composition, expected = PUBLISHED[name]
    for energy, dose in zip((100.0, 200.0, 300.0), expected, strict=True):
        power = collision_stopping_power(
            energy,
            charge_per_mass_mol_g=charge_per_mass(composition),
            mean_excitation_ev=mean_excitation_energy(composition),
        )
        assert absorbed_dose(1.0, stopping_power_mev_cm2_g=power) == pytest.approx(dose, rel=0.01)


def test_formulas_of_any_multiple_are_the_same_material():
    one, three = {"Li": 2, "C": 1, "O": 3}, {"Li": 6, "C": 3, "O": 9}
    assert mean_excitation_energy(three) == pytest.approx(mean_excitation_energy(one))
    assert charge_per_mass(three) == pytest.approx(charge_per_mass(one))


@pytest.mark.parametrize("composition", [{}, {"Li": 0}, {"Li": -1, "F": 2}])
def test_what_is_no_composition_is_named(composition):
    with pytest.raises(ParameterError, match=r"composition is .*expected atoms per formula"):
        charge_per_mass(composition)


def test_an_element_that_is_not_in_the_table_is_named():
    with pytest.raises(ParameterError, match="no mean excitation energy of Rn is known here"):
        mean_excitation_energy({"Rn": 1})

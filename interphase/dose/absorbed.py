"""What the stopping of electrons needs of a material, from its composition."""

import math
from collections.abc import Mapping
from numbers import Real

from interphase.errors import ParameterError
from interphase.phases.elements import atomic_mass, atomic_number

MEAN_EXCITATION_EV = {
    "H": 19.2, "Li": 40.0, "Be": 63.7, "B": 76.0, "C": 78.0, "N": 82.0, "O": 95.0, "F": 115.0,
    "Na": 149.0, "Mg": 156.0, "Al": 166.0, "Si": 173.0, "P": 173.0, "S": 180.0, "Cl": 174.0,
    "K": 190.0, "Ca": 191.0, "Ti": 233.0, "V": 245.0, "Cr": 257.0, "Mn": 272.0, "Fe": 286.0,
    "Co": 297.0, "Ni": 311.0, "Cu": 322.0, "Zn": 330.0, "Ga": 334.0, "Ge": 350.0, "Br": 343.0,
    "Sr": 366.0, "Y": 379.0, "Zr": 393.0, "Nb": 417.0, "Ag": 470.0, "In": 488.0, "Sn": 488.0,
    "I": 491.0, "La": 501.0, "Ta": 718.0, "W": 727.0, "Pt": 790.0, "Au": 790.0,
}  # fmt: skip
"""Mean excitation energies of the elements [eV], Seltzer and Berger, Int. J. Appl. Radiat. Isot.
33, 1189 (1982), as in ICRU Report 37; read second hand, grade B. Hydrogen, nitrogen, oxygen,
fluorine and chlorine are gases, carbon is graphite."""
_IN_COMPOUNDS_EV = {"H": 19.2, "C": 81.0, "N": 82.0, "O": 106.0, "F": 112.0, "Cl": 180.0}
"""Those in solid and liquid compounds, of the same source, remembered, grade B."""
_BOUND = 1.13
"""Ratio of those of all other elements in solid compounds to those of the element, as before."""


def mean_excitation_energy(composition: Mapping[str, float]) -> float:
    r"""Return the mean excitation energy of a solid by the additivity of its elements.

    Where a measured value is known, it is better: additivity is off by some per cent, of which the
    stopping power feels a tenth.

    Parameters
    ----------
    composition
        Element → atoms per formula.

    Returns
    -------
    float
        I [eV].

    Raises
    ------
    ParameterError
        There is no atom, or the table lacks an element.

    Notes
    -----
    Bragg's rule, :math:`\ln I = \sum n_i Z_i \ln I_i / \sum n_i Z_i`, with the values that hold in
    compounds.

    Examples
    --------
    >>> round(mean_excitation_energy({"H": 2, "O": 1}), 1)
    75.3
    """
    _check(composition)
    alone = sum(number > 0 for number in composition.values()) == 1
    charge = logarithm = 0.0
    for element, number in composition.items():
        if element not in MEAN_EXCITATION_EV:
            raise ParameterError(
                f"no mean excitation energy of {element} is known here: give mean_excitation_ev"
            )
        value = MEAN_EXCITATION_EV[element]
        if not alone:
            value = _IN_COMPOUNDS_EV.get(element, _BOUND * value)
        electrons = number * atomic_number(element)
        charge += electrons
        logarithm += electrons * math.log(value)
    return math.exp(logarithm / charge)


def charge_per_mass(composition: Mapping[str, float]) -> float:
    """Return electrons per mass, Z/A.

    Parameters
    ----------
    composition
        Element → atoms per formula.

    Returns
    -------
    float
        [mol/g].

    Examples
    --------
    >>> round(charge_per_mass({"H": 2, "O": 1}), 4)
    0.5551
    """
    _check(composition)
    charge = sum(number * atomic_number(element) for element, number in composition.items())
    mass = sum(number * atomic_mass(element) for element, number in composition.items())
    return charge / mass


def _check(composition: Mapping[str, float]) -> None:
    numbers = list(composition.values()) if isinstance(composition, Mapping) else []
    known = all(isinstance(number, Real) and 0 <= number < math.inf for number in numbers)
    if not known or not any(numbers):
        raise ParameterError(
            f"composition is {composition!r}: expected atoms per formula, such as "
            "{'Li': 2, 'O': 1}"
        )

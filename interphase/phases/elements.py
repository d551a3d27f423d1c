"""Atomic masses and electron scattering factors of the elements."""

import csv
from functools import cache
from importlib.resources import files

import numpy as np

from interphase.errors import PhaseError


@cache
def _table() -> dict[str, tuple[float, ...]]:
    text = files("interphase.phases").joinpath("data/elements.csv").read_text(encoding="utf-8")
    return {row[0]: tuple(map(float, row[1:])) for row in list(csv.reader(text.splitlines()))[1:]}


def atomic_mass(element: str) -> float:
    """Return the standard atomic mass [u] of an element.

    >>> atomic_mass("Li")
    6.941
    """
    if element in _table():
        return _table()[element][0]
    from pymatgen.core.periodic_table import Element

    try:
        return float(Element(element).atomic_mass)
    except ValueError:
        raise PhaseError(f"{element!r} is not an element: expected a symbol such as Li") from None


_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se "
    "Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb "
    "Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm "
    "Bk Cf"
).split()


def atomic_number(element: str) -> int:
    """Return the number Z of an element.

    >>> atomic_number("Li")
    3
    """
    if element not in _SYMBOLS:
        raise PhaseError(f"{element!r} is not an element: expected a symbol such as Li")
    return _SYMBOLS.index(element) + 1


def annular_dark_field_factor(element: str) -> float:
    """Return how strongly an element shines in an annular dark-field image, Z^1.64.

    The exponent is that of Krivanek et al., Nature 464, 571 (2010), doi:10.1038/nature08879,
    for light elements at 60 keV; it varies with the detector's angles between about 1.5 and 2.

    >>> round(annular_dark_field_factor("O") / annular_dark_field_factor("Li"), 2)
    5.0
    """
    return float(atomic_number(element) ** 1.64)


@cache
def scattering_parameters(element: str) -> np.ndarray:
    """Return the Gaussians of an element's scattering factor: a [Å] and b [Å²], shape (2, 4).

    Elements that the package's own table lacks are read from pymatgen's copy of the same
    parametrisation.

    Raises
    ------
    PhaseError
        The parametrisation does not cover the element.
    """
    if element in _table():
        return np.array(_table()[element][1:]).reshape(2, 4)
    from pymatgen.analysis.diffraction.tem import ATOMIC_SCATTERING_PARAMS

    if element not in ATOMIC_SCATTERING_PARAMS:
        raise PhaseError(
            f"no electron scattering factor is known for {element!r}: expected an element "
            "between H and Cf"
        )
    parameters: np.ndarray = np.array(ATOMIC_SCATTERING_PARAMS[element], dtype=float).T
    return parameters


def scattering_factor(element: str, g_per_a: np.ndarray) -> np.ndarray:
    r"""Return the electron scattering factor of a neutral atom at rest.

    Use it for relative kinematic intensities. It holds up to g = 4 1/Å; at small g the true
    factor of an ion differs strongly, and neither thermal motion nor the relativistic mass is
    in it.

    Parameters
    ----------
    element
        Symbol.
    g_per_a
        Length of the scattering vector, 1/d [1/Å], any shape.

    Returns
    -------
    ndarray
        f [Å], same shape.

    Notes
    -----
    :math:`f(s) = \sum_{i=1}^{4} a_i \exp(-b_i s^2)` with :math:`s = g / 2` ([1]_;
    hydrogen and other elements that table leaves out from [2]_).

    References
    ----------
    .. [1] P. A. Doyle and P. S. Turner, Acta Cryst. A 24, 390 (1968),
           doi:10.1107/S0567739468000756
    .. [2] G. H. Smith and R. E. Burge, Acta Cryst. 15, 182 (1962)

    Examples
    --------
    >>> oxygen = scattering_factor("O", np.array([2 / 4.6114]))
    >>> lithium = scattering_factor("Li", np.array([2 / 4.6114]))
    >>> round(float(oxygen[0]), 3), round(float(lithium[0]), 3)
    (1.352, 0.668)
    """
    a, b = scattering_parameters(element)
    s_squared = np.asarray(g_per_a, dtype=float)[..., np.newaxis] ** 2 / 4
    factor: np.ndarray = np.sum(a * np.exp(-b * s_squared), axis=-1)
    return factor

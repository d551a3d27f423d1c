"""What the numbers and names of a recipe may be; anything else is refused in words."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.checks import check_finite

MOST_ATOMS = 20_000_000
"""Specimens of more atoms are not built: they fill the memory of a computer before it says so."""
ATOMS_PER_A3 = 0.1
"""What solids hold, for an estimate: Li 0.046, Cu 0.085, LiF 0.12."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Which numbers mean something."""

    words: str
    """What is expected, after "expected"."""
    holds: Callable[[np.ndarray], bool | np.bool_] = lambda x: True
    """Whether finite numbers are what is expected."""

    def pair(self) -> "Allowed":
        """Return the same for a lower and an upper end."""
        return Allowed(
            f"(lowest, highest), each {self.words}",
            lambda x: x.shape == (2,) and x[0] <= x[1] and self.holds(x),
        )


FINITE = Allowed("a finite number")
NON_NEGATIVE = Allowed("a finite number >= 0", lambda x: (x >= 0).all())
LENGTH = Allowed("a length > 0 Å", lambda x: (x > 0).all())
WIDTH = Allowed("a length >= 0 Å", lambda x: (x >= 0).all())
EXTENT = Allowed("a length of at least 10 Å (did you give nm?)", lambda x: (x >= 10).all())
CRYSTAL = Allowed(
    "a diameter of at least 6 Å, one and a half cells of LiF, below which nothing is a crystal "
    "(did you give nm? 3 nm are 30 Å)",
    lambda x: (x >= 6).all(),
)
SHARE = Allowed("a share from 0 to 1", lambda x: ((x >= 0) & (x <= 1)).all())
STRAIN = Allowed("a strain from 0 to 0.1; 0.01 is 1 %", lambda x: ((x >= 0) & (x <= 0.1)).all())
TILT = Allowed(
    "less than 90 degrees either way, which is a plan view", lambda x: (abs(x) < 90).all()
)
TEMPERATURE = Allowed(
    "a temperature > 0 K, such as 90, or None for the cells as tabulated", lambda x: (x > 0).all()
)


def check(name: str, value: object, allowed: Allowed) -> None:
    """Refuse a number, or an array of them, that means nothing.

    >>> check("diameter_a", -3.0, LENGTH)
    Traceback (most recent call last):
        ...
    interphase.errors.ParameterError: diameter_a is -3.0: expected a length > 0 Å
    """
    check_finite(**{name: value})
    if not allowed.holds(np.asarray(value)):
        raise ParameterError(f"{name} is {value!r}: expected {allowed.words}")


def check_fields(record: object, **allowed: Allowed) -> None:
    """Refuse a record of which a field means nothing."""
    for name, what in allowed.items():
        check(name, getattr(record, name), what)


def check_seed(seed: object) -> None:
    """Refuse what is no seed, among them ``None``, with which nothing could be made again."""
    if not isinstance(seed, Integral) or int(seed) < 0:
        raise ParameterError(f"seed is {seed!r}: expected an integer >= 0, such as 0")


def check_name(name: str, value: object, known: Iterable[str]) -> None:
    """Refuse a name that is not known."""
    if value not in (names := tuple(known)):
        raise ParameterError(f"{name} {value!r} is unknown: give one of {', '.join(names)}")


def check_atoms(atoms: float) -> None:
    """Refuse a specimen of more atoms than a computer holds, before they are placed."""
    if not atoms <= MOST_ATOMS:
        raise ParameterError(
            f"a specimen of about {atoms:.2g} atoms is too large (at most {MOST_ATOMS:.0e}): give "
            f"a smaller field, of at most {MOST_ATOMS / atoms:.1g} of its volume; lengths are in Å"
        )

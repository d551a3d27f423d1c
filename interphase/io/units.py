"""Units of axes, from the spellings of many programs to those of this package."""

_LENGTH_A = {
    "pm": 1e-2,
    "å": 1.0,
    "angstrom": 1.0,
    "angstroms": 1.0,
    "a": 1.0,
    "nm": 10.0,
    "nanometer": 10.0,
    "nanometers": 10.0,
    "um": 1e4,
    "micron": 1e4,
    "microns": 1e4,
    "mm": 1e7,
    "cm": 1e8,
    "m": 1e10,
    "meter": 1e10,
    "meters": 1e10,
}
_ENERGY_EV = {"mev": 1e-3, "ev": 1.0, "kev": 1e3}


def _spelling(unit: object) -> str:
    text = unit if isinstance(unit, str) else ""
    text = text.strip().replace("µ", "u").replace("μ", "u").replace("\u212b", "Å")
    return "".join(text.split())


def angstrom_per(unit: object) -> float | None:
    """Return how many Å the length `unit` is, or ``None`` where it is no length.

    >>> angstrom_per("nm"), angstrom_per("µm"), angstrom_per("1/nm"), angstrom_per("")
    (10.0, 10000.0, None, None)
    """
    return _LENGTH_A.get(_spelling(unit).lower())


def per_angstrom_per(unit: object) -> float | None:
    """Return how many 1/Å the reciprocal `unit` is (no 2π), or ``None`` where it is none.

    >>> per_angstrom_per("1 / nm"), per_angstrom_per("Å^-1"), per_angstrom_per("nm")
    (0.1, 1.0, None)
    """
    text = _spelling(unit).lower().replace("⁻¹", "^-1").replace("**-1", "^-1").strip("()")
    if text.startswith("1/"):
        length = _LENGTH_A.get(text[2:].strip("()"))
    elif text.endswith("^-1"):
        length = _LENGTH_A.get(text[:-3])
    else:
        length = None
    return None if length is None else 1.0 / length


def ev_per(unit: object) -> float | None:
    """Return how many eV the energy `unit` is, or ``None`` where it is none.

    >>> ev_per("eV"), ev_per("keV"), ev_per("nm")
    (1.0, 1000.0, None)
    """
    text = _spelling(unit)
    return 1e6 if text == "MeV" else _ENERGY_EV.get(text.lower())


def is_angle(unit: object) -> bool:
    """Whether `unit` is a scattering angle.

    >>> is_angle("mrad"), is_angle("nm")
    (True, False)
    """
    return _spelling(unit).lower() in {"mrad", "rad", "urad", "deg", "degree", "degrees", "°"}

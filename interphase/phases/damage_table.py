"""Facts of beam damage: the table of the package, and the user's own measurements.

A user's table is a TOML file of the same form as ``data/damage.toml``: one in the user's data
folder, or where the environment variable ``INTERPHASE_DAMAGE`` says, and one beside a session.toml.
"""

import contextlib
import difflib
import json
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from numbers import Real
from pathlib import Path

from interphase.electron import checked_energy
from interphase.errors import ConfigurationError, InterphaseError, ParameterError

DAMAGE_VARIABLE = "INTERPHASE_DAMAGE"
"""Environment variable that names the user's table; empty: there is none."""
DAMAGE_FILE = "damage.toml"
"""Name of a table of damage, in the user's data folder or beside a session.toml."""
OWN = "own"
"""Grade of the user's own measurements."""
_MOST_E_PER_A2 = 1e9
"""Nothing is left of any specimen then: a larger number has another unit."""
_DOSES = ("low_e_per_a2", "value_e_per_a2", "high_e_per_a2")
_NEEDED = ("phase", "process", "criterion", "source")
_HEAD = "# Own measurements of beam damage; they outrank the table of the package.\n"
_CONDITIONS = ("beam_energy_kev", "temperature_k", "dose_rate_e_per_a2_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageFact:
    """One thing the beam does to one phase, as one source gives it."""

    phase: str
    """Identifier of the phase, or ``SEI`` for an interphase whose phase was not named."""
    process: str
    """What happens."""
    criterion: str
    """How the change was seen; another criterion gives another dose."""
    grade: str
    """Trust in the number: A read in a source, B at second hand, recomputed or carried over from a
    like material, C remembered; ``own`` for a measurement of the user's, which outranks them."""
    source: str
    """Who says so."""
    product: str | None = None
    """Identifier of the phase that the beam makes."""
    value_e_per_a2: float | None = None
    """Critical dose [e/Å²]; ``None`` where the source gives a bracket only, or nothing."""
    low_e_per_a2: float | None = None
    """Lower end of the bracket [e/Å²]: no change is known below."""
    high_e_per_a2: float | None = None
    """Upper end of the bracket [e/Å²]: from here on the change is reported."""
    beam_energy_kev: float | None = None
    """Beam energy of the measurement [keV]; ``None`` where the source does not state it."""
    temperature_k: float | None = None
    """Temperature of the measurement [K]; ``None`` where the source does not state it."""
    dose_rate_e_per_a2_s: float | None = None
    """Dose rate of the measurement [e/Å²/s]; ``None`` where the source does not state it."""
    conditions: str = ""
    """What else of the conditions matters."""
    missing: str = ""
    """Where there is no number, the word for that."""
    doi: str | None = None
    """Digital object identifier of the source."""
    note: str = ""
    """What a reader should know besides."""

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self) if f.name not in (*_DOSES, *_CONDITIONS)):
            value = getattr(self, name)
            if not isinstance(value, str | None):
                raise ParameterError(f"{name} of a damage fact is {value!r}: expected words")
        for name in _NEEDED:
            if not getattr(self, name):
                raise ParameterError(
                    f"{name} of a damage fact is {getattr(self, name)!r}: expected words"
                )
        for name in (*_DOSES, *_CONDITIONS):
            value = getattr(self, name)
            if not (value is None or (isinstance(value, Real) and not isinstance(value, bool))):
                raise ParameterError(f"{name} of {self.phase} is {value!r}: expected a number")
        numbers = [dose for name in _DOSES if (dose := getattr(self, name)) is not None]
        if numbers != sorted(numbers) or not all(0 < dose < _MOST_E_PER_A2 for dose in numbers):
            raise ParameterError(
                f"doses of {self.phase} are {numbers!r} e/Å²: expected 0 < low <= value <= high, "
                f"below {_MOST_E_PER_A2:g}"
            )
        if bool(numbers) == bool(self.missing):
            raise ParameterError(
                f"{self.phase} ({self.process}) needs either a dose or the word why there is none"
            )
        if self.beam_energy_kev is not None:
            checked_energy(self.beam_energy_kev)
        for name in ("temperature_k", "dose_rate_e_per_a2_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ParameterError(
                    f"{name} of {self.phase} is {value!r}: expected a finite number above 0"
                )

    @property
    def own(self) -> bool:
        """Whether it is a measurement of the user's own."""
        return self.grade == OWN

    @property
    def bracket_e_per_a2(self) -> tuple[float | None, float | None]:
        """Dose below which no change is known and dose from which on it is reported [e/Å²]."""
        low = self.low_e_per_a2 if self.low_e_per_a2 is not None else self.value_e_per_a2
        high = self.high_e_per_a2 if self.high_e_per_a2 is not None else self.value_e_per_a2
        return low, high


@cache
def table_facts() -> tuple[DamageFact, ...]:
    """Return the facts of the package's table."""
    text = files("interphase.phases").joinpath("data/damage.toml").read_text(encoding="utf-8")
    return tuple(DamageFact(**row) for row in tomllib.loads(text)["fact"])


def damage_file() -> Path | None:
    """Return where the user's own measurements are kept; ``None`` where they shall not be.

    The environment variable ``INTERPHASE_DAMAGE`` names another file than the one in the user's
    data folder, or none if it is empty.
    """
    named = os.environ.get(DAMAGE_VARIABLE)
    if named is not None:
        return Path(named) if named else None
    from platformdirs import user_data_path

    return user_data_path("interphase", appauthor=False) / DAMAGE_FILE


def own_facts(folder: str | Path | None = None) -> tuple[DamageFact, ...]:
    """Return the user's own measurements of damage.

    Parameters
    ----------
    folder
        Folder of a session; of a phase that its ``damage.toml`` knows, what the user's own table
        says is set aside.

    Returns
    -------
    tuple of DamageFact
        Each of grade ``own``; empty where nothing was recorded.

    Raises
    ------
    ConfigurationError
        A table is there and cannot be understood; it is left as it is.
    """
    near = () if folder is None else read_damage_file(Path(folder) / DAMAGE_FILE)
    path = damage_file()
    far = () if path is None else read_damage_file(path)
    known = {fact.phase for fact in near}
    return (*near, *(fact for fact in far if fact.phase not in known))


def read_damage_file(path: str | Path) -> tuple[DamageFact, ...]:
    """Read a table of the user's own measurements; empty where there is none.

    Parameters
    ----------
    path
        TOML file with a ``[[fact]]`` per measurement. Its keys are the fields of `DamageFact`; no
        grade is needed.

    Returns
    -------
    tuple of DamageFact
        In the order of the file.

    Raises
    ------
    ConfigurationError
        The file cannot be opened, is no TOML, or holds what is no fact.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be opened: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} is not valid TOML ({error}): mend it or move it away; nothing was changed"
        ) from error
    rows = content.pop("fact", [])
    if content or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigurationError(f"{path} is no table of damage: expected nothing but [[fact]]")
    return tuple(_fact(row, f"{path}, fact {number}") for number, row in enumerate(rows, 1))


def _fact(row: dict[str, object], where: str) -> DamageFact:
    known = [f.name for f in fields(DamageFact)]
    for key in row.keys() - set(known):
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
        raise ConfigurationError(f"{where}: `{key}` is unknown; did you mean `{close}`?")
    for key in _NEEDED:
        if not row.get(key):
            raise ConfigurationError(f"{where}: `{key}` is missing")
    try:
        return DamageFact(**{**row, "grade": OWN})  # type: ignore[arg-type]
    except ParameterError as error:
        raise ConfigurationError(f"{where}: {error}") from error


def record_damage(fact: DamageFact, path: str | Path | None = None) -> Path:
    """Write a measurement into the user's own table.

    An earlier one of the same phase, process, criterion, conditions and source is replaced, and
    with it go the comments of the file.

    Parameters
    ----------
    fact
        The measurement; it is recorded with grade ``own``.
    path
        The table, instead of the user's own, such as ``damage.toml`` beside a session.toml.

    Returns
    -------
    Path
        The file it was written into.

    Raises
    ------
    ConfigurationError
        The file that is there cannot be understood; it is left as it is.
    InterphaseError
        The file cannot be written, or there is no table of the user's.
    """
    from interphase.files import write_text

    path = damage_file() if path is None else Path(path)
    if path is None:
        raise InterphaseError(
            f"{DAMAGE_VARIABLE} is empty, so there is no table to write to: name a file in it"
        )
    with _held(path):
        known = read_damage_file(path)
        kept = [old for old in known if _occasion(old) != _occasion(fact)]
        if known and len(kept) == len(known):
            text = path.read_text(encoding="utf-8").rstrip() + "\n\n" + _block(fact)
        else:
            text = "\n".join([_HEAD, *map(_block, [*kept, fact])])
        try:
            write_text(path, text)
        except OSError as error:
            raise InterphaseError(
                f"{path} cannot be written ({error.strerror}): nothing was changed"
            ) from error
    return path


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a table, waiting for whoever holds it; what else is in its folder is not touched."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock").open("a")
    except OSError as error:
        raise InterphaseError(
            f"{path} cannot be written ({error.strerror}): name a file in a folder that can be, in "
            f"{DAMAGE_VARIABLE} or with the session"
        ) from error
    with lock:
        with contextlib.suppress(ImportError, OSError):  # not on Windows, nor on every share
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _occasion(fact: DamageFact) -> tuple[object, ...]:
    """Return what makes a second measurement one in place of the first."""
    numbers = {*_DOSES, "missing", "grade", "note"}
    return tuple(getattr(fact, f.name) for f in fields(fact) if f.name not in numbers)


def _block(fact: DamageFact) -> str:
    said = {f.name: getattr(fact, f.name) for f in fields(fact) if f.name != "grade"}
    lines = [f"{name} = {_quoted(value)}" for name, value in said.items() if value]
    return "\n".join(["[[fact]]", *lines, ""])


def _quoted(value: object) -> str:
    if isinstance(value, str):
        # What JSON writes of a string is TOML, but for one character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(float(value))  # type: ignore[arg-type]

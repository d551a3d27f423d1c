"""Studies: one question each, answered by many independent cases.

A study is a folder with files that a person writes, and tables that prove it:

``study.toml``
    `question` (a string), the parameters and the seeds, in any tables that suit the question.
    The table ``[quick]`` overrides keys of the rest (``[quick.fields]`` those of ``[fields]``) for
    a run of seconds; a table that is empty takes any key. `tolerance` says how far a number may lie
    from its expected one, as a fraction of the larger of that and 1; without it tables are compared
    exactly.
``run.py``
    Short, calls the package, has no other module beside it, and defines::

        def cases(study: dict[str, Any]) -> list[Case]: ...
        def measure(case: Case) -> dict[str, Any]: ...
        def tables(study: dict[str, Any], results: Iterable[tuple[Case, dict[str, Any]]]
            ) -> dict[str, list[dict[str, Any]]]: ...

    `cases` names the cases. `study` is what ``study.toml`` says, quick overrides applied.
    `measure` makes one case in a process of its own and returns a dictionary: arrays stand
    under keys of their own, everything else is what JSON can hold (``None`` for a missing
    number, not NaN). **It sees its case and nothing else**: whatever it needs of ``study.toml``
    is among the parameters of the case. So a case is redone when its parameters, its seed, the
    code that `measure` reaches in ``run.py``, or the version of the package changed, and not when
    a count was raised or a table is made differently.
    `tables` reads the finished cases one by one, in the order of `cases`, and returns rows by
    the name of the table. Results come as JSON gives them back: lists for tuples, strings for
    keys. Rows of one table have the same columns; ``None`` is an empty cell.
``README.md``
    The finding as it came out.
``expected.csv``, ``expected_NAME.csv``
    The tables ``summary`` and ``NAME`` of the full run.

Cases carry their own seeds, made by `spawn_seed` from the seed of the study and what names the
case; then more of them may be asked for later and those that are there stay what they are.

A finished case is two files, ``cases/NAME.npz`` with its arrays, if it has any, and then
``cases/NAME.json`` with the rest; the second says that the first is complete. The process that made
the case writes them, so results never pass through the run. The package is known by its version:
who changes it between two versions removes the results that may have changed with it.
"""

import hashlib
import json
import re
import sys
import time
import tomllib
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import interphase
from interphase.errors import ConfigurationError, FileReadError, InterphaseError, ParameterError
from interphase.files import digest, locked, write_json, write_text, write_whole
from interphase.parallel import for_each
from interphase.parallel.calls import one_line
from interphase.simulation.study_code import code_behind
from interphase.simulation.study_tables import as_csv, different_cells, expected_name

STUDIES = Path("simulations")
"""Where studies are looked for by name."""

_NAME = r"\w[\w.+-]*"
"""Names of cases and tables, after which files are named."""

Progress = Callable[[int, int, str], None]
"""Is given the number of cases finished, of all, and the name of the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case of a study: all that its measurement may depend on."""

    name: str
    """Unique in the study, and the stem of its files."""
    seed: int
    """Seed of everything that is drawn."""
    parameters: Mapping[str, Any]
    """What else makes this case, as JSON can hold it."""

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise ParameterError(
                f"a case is called {self.name!r}: expected letters, digits and _ . + - only, "
                "because files are named after it"
            )
        whole = isinstance(self.seed, int | np.integer) and not isinstance(self.seed, bool)
        if not whole or self.seed < 0:
            raise ParameterError(
                f"the seed of case {self.name} is {self.seed!r}: expected a whole number >= 0"
            )
        if not isinstance(self.parameters, Mapping):
            raise ParameterError(
                f"the parameters of case {self.name} are {one_line(repr(self.parameters))}: "
                "expected a dictionary"
            )
        object.__setattr__(
            self, "parameters", _as_json(self.parameters, f"the parameters of case {self.name}")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A question and how it is asked, as its folder says."""

    folder: Path
    """The folder of the study."""
    settings: Mapping[str, Any]
    """What study.toml says, with the quick overrides where they are wanted."""
    quick: bool
    """Whether this is the short form, which is expected to run but to prove nothing."""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def question(self) -> str:
        """What is asked."""
        return str(self.settings["question"])

    @property
    def results(self) -> Path:
        """Where results go unless another folder is given."""
        return self.folder / "results" / ("quick" if self.quick else "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """What became of a run of a study."""

    study: Study
    """The study."""
    out: Path
    """The folder of the results."""
    cases: int
    """Cases of the study."""
    measured: int
    """Cases that were measured now."""
    stale: int
    """Cases that were there but are made in another way by now, and so were measured again."""
    failed: Mapping[str, str]
    """Why a case is missing from the tables, by its name."""
    tables: Mapping[str, Path]
    """The tables by their names."""
    differences: Mapping[str, int]
    """Cells that differ from the expected ones, for each table of which some are expected."""
    seconds: float
    """How long it took [s]."""

    @property
    def done(self) -> int:
        """Cases that are in the tables."""
        return self.cases - len(self.failed)


def spawn_seed(seed: int, *keys: int | str) -> int:
    """Return the seed of one case, below 2⁵³ so that every program reads it exactly.

    It depends on the keys alone, not on how many other cases there are or in which order.

    Parameters
    ----------
    seed
        Seed of the study.
    keys
        What tells the case from the others, such as its name or its number.

    >>> spawn_seed(7, "LiF", 0) == spawn_seed(7, "LiF", 0)
    True
    >>> len({spawn_seed(7, "LiF", i) for i in range(1000)})
    1000
    """
    hashed = hashlib.sha256(json.dumps([seed, *keys]).encode()).digest()
    return int.from_bytes(hashed[:8]) >> 11


def load_study(folder: str | Path, *, quick: bool = False) -> Study:
    """Read what a study asks.

    Parameters
    ----------
    folder
        The folder of the study, or the name of one in ``simulations``.
    quick
        Apply the overrides of its ``[quick]`` table.

    Returns
    -------
    Study

    Raises
    ------
    ParameterError
        There is no such study.
    ConfigurationError
        Its study.toml cannot be understood.
    """
    path = next((p for p in (Path(folder), STUDIES / folder) if p.is_dir()), None)
    if path is None:
        known = ", ".join(sorted(p.parent.name for p in STUDIES.glob("*/study.toml"))) or "none"
        raise ParameterError(
            f"{folder} is no study: give the folder of one, or the name of one in {STUDIES} "
            f"(there: {known})"
        )
    for needed in ("study.toml", "run.py"):
        if not (path / needed).is_file():
            raise ParameterError(f"{path} is no study: it has no {needed}")
    place = path / "study.toml"
    try:
        settings = tomllib.loads(place.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{place} is not TOML: {error}") from error
    overrides = settings.pop("quick", None)
    if not isinstance(overrides, dict | None):
        raise ConfigurationError(f"quick is {overrides!r} in {place}: expected a table [quick]")
    if not isinstance(settings.get("question"), str):
        raise ConfigurationError(f"{place} asks nothing: give `question`, a string")
    tolerance = settings.get("tolerance", 0.0)
    if not isinstance(tolerance, int | float) or not 0 <= tolerance < float("inf"):
        raise ConfigurationError(f"tolerance is {tolerance!r} in {place}: expected a number >= 0")
    if quick:
        if overrides is None:
            raise ConfigurationError(f"{place} has no table [quick], which says what is left out")
        settings = _overridden(settings, overrides, "quick", place)
    return Study(folder=path, settings=settings, quick=quick)


def _overridden(
    settings: dict[str, Any], overrides: Mapping[str, Any], table: str, place: Path
) -> dict[str, Any]:
    """Return settings with overrides; what is not there without them may be a slip."""
    merged = dict(settings)
    for key, value in overrides.items():
        old = merged.get(key)
        known = key in settings and isinstance(old, dict) == isinstance(value, dict)
        if settings and not known:
            raise ConfigurationError(
                f"[{table}] in {place} overrides `{key}`, which is not there without it: "
                f"known are {', '.join(settings)}"
            )
        if isinstance(old, dict):
            value = _overridden(old, value, f"{table}.{key}", place)
        merged[key] = value
    return merged


def run_study(
    study: Study,
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Measure the cases of a study that are not there yet, and make its tables.

    The tables are the same whatever the number of workers and however often the run was stopped
    and started again. A case that fails stops no other; it is tried again by the next run.

    Parameters
    ----------
    study
        The study, from `load_study`.
    out
        Folder of the results; ``results/full`` or ``results/quick`` in the study's unless given.
    workers
        Cases measured at a time on this machine, one thread each; one per core unless given.
    scheduler
        Address of a Dask scheduler, such as ``tcp://host:8786``, whose workers see the folders of
        the study and of the results under the same paths.
    progress
        Is called when it begins and after each case.

    Returns
    -------
    StudyResult

    Raises
    ------
    ParameterError
        `workers` is below 1, `out` is empty, or two cases have one name.
    ConfigurationError
        run.py cannot be run, lacks one of its functions, or they fail or return something else.
    InterphaseError
        The result folder cannot be written or another run writes to it, or the scheduler does not
        answer.
    """
    begun = time.monotonic()
    out = _folder(study, out)
    program = _Program.of(study)
    tasks = program.tasks(study, out / "cases")
    failed: dict[str, str] = {}
    with locked(out):
        (out / "cases").mkdir(exist_ok=True)
        wanted = [task for task in tasks if task.result() is None]
        stale = sum(task.is_stale() for task in wanted)
        finished = len(tasks) - len(wanted)
        if progress is not None:
            progress(finished, len(tasks), "")

        def take(task: _Task, outcome: InterphaseError | None) -> None:
            nonlocal finished
            if outcome is None and task.result() is None:
                outcome = InterphaseError(
                    f"its worker left nothing at {task.record}: workers must see the folder of the "
                    "results under the same path"
                )
            if outcome is not None:
                failed[task.case.name] = str(outcome)
                task.write_error(outcome)
            finished += 1
            if progress is not None:
                progress(finished, len(tasks), task.case.name)

        for_each(_measure, wanted, take, workers=workers, scheduler=scheduler, threads=1)
        kept = [task for task in tasks if task.case.name not in failed]
        made = program.tables(study, kept) if kept else {}
        written = {name: out / f"{name}.csv" for name in made}
        for name in _tables_before(out) - set(made):
            (out / f"{name}.csv").unlink(missing_ok=True)
        # Said before they are written: whatever lies there, the next run knows of it.
        provenance = {
            "study": study.name,
            "settings": study.settings,
            "quick": study.quick,
            "interphase": interphase.__version__,
            "cases": len(tasks),
            "failed": failed,
            "tables": sorted(made),
        }
        write_json(out / "provenance.json", provenance)
        for name, path in written.items():
            write_text(path, made[name])
        result = StudyResult(
            study=study,
            out=out,
            cases=len(tasks),
            measured=len(wanted) - len(failed),
            stale=stale,
            failed={name: failed[name] for task in wanted if (name := task.case.name) in failed},
            tables=written,
            differences={} if study.quick else _differences(study, written),
            seconds=time.monotonic() - begun,
        )
    return result


def _tables_before(out: Path) -> set[str]:
    """Return the names of the tables that the run before this one left in a folder."""
    stored = _read_json(out / "provenance.json").get("tables")
    return {name for name in stored if _is_name(name)} if isinstance(stored, list) else set()


def read_results(
    study: Study, *, out: str | Path | None = None
) -> Iterator[tuple[Case, dict[str, Any]]]:
    """Give the finished cases of a study one by one; those that are stale or missing are left out.

    Parameters
    ----------
    study
        The study, from `load_study`.
    out
        Folder of the results, if `run_study` was given one.

    Yields
    ------
    case : Case
        In the order of the study.
    result : dict
        What was measured, as JSON gives it back, with its arrays.
    """
    folder = _folder(study, out) / "cases"
    for task in _Program.of(study).tasks(study, folder):
        result = task.result()
        if result is not None:
            yield task.case, result


def _folder(study: Study, out: str | Path | None) -> Path:
    """Return where the results of a study are."""
    if out == "":
        raise ParameterError("the result folder is '': give the path of one, or none")
    return (study.results if out is None else Path(out)).absolute()


def _is_name(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch(_NAME, name, flags=re.ASCII) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    """The run.py of a study as it was when the run began; no folder is searched for modules."""

    path: Path
    source: bytes

    @classmethod
    def of(cls, study: Study) -> "_Program":
        path = study.folder.absolute() / "run.py"
        return cls(path=path, source=path.read_bytes())

    def function(self, name: str) -> Callable[..., Any]:
        """Return one of its functions."""
        found = getattr(self._module(), name, None)
        if not callable(found):
            raise ConfigurationError(
                f"{self.path} defines no function `{name}`: a study needs cases, measure and tables"
            )
        function: Callable[..., Any] = found
        return function

    def _module(self) -> ModuleType:
        # Named after its content: a warm process that sees another version takes that one.
        name = f"interphase_study_{hashlib.sha256(self.source).hexdigest()}"
        if name not in sys.modules:
            module = ModuleType(name)
            module.__file__ = str(self.path)
            sys.modules[name] = module  # dataclasses look for their module here
            try:
                with self._blamed("it"):
                    exec(compile(self.source, self.path, "exec"), module.__dict__)  # noqa: S102
            except BaseException:
                del sys.modules[name]
                raise
        return sys.modules[name]

    @contextmanager
    def _blamed(self, what: str) -> Iterator[None]:
        """Say which part of run.py failed, and in which line."""
        try:
            yield
        except FileReadError:  # of a result, and not its fault
            raise
        except (Exception, SystemExit) as error:  # people write run.py: it may raise anything
            frames = traceback.extract_tb(error.__traceback__)
            lines = [frame.lineno for frame in frames if frame.filename == str(self.path)]
            where = f" in line {lines[-1]}" if lines else ""
            raise ConfigurationError(
                f"{self.path} cannot be used: {what} raises {type(error).__name__}{where}: "
                f"{one_line(str(error))}"
            ) from error

    def _refuse(self, name: str, found: object, expected: str) -> ConfigurationError:
        return ConfigurationError(
            f"`{name}` in {self.path} returns {one_line(repr(found))}: expected {expected}"
        )

    def tasks(self, study: Study, folder: Path) -> list["_Task"]:
        """Return what makes each case, once every name is known to be used once."""
        for name in ("cases", "measure", "tables"):
            self.function(name)
        code = code_behind(self.source, "measure")
        tasks: dict[str, _Task] = {}
        with self._blamed("`cases`"):
            found = self.function("cases")(study.settings)
            cases = list(found) if isinstance(found, Iterable) else [found]
        for case in cases:
            if not isinstance(case, Case):
                raise self._refuse("cases", case, "a list of Case")
            if case.name in tasks:
                raise ParameterError(f"two cases of {study.name} are called {case.name}")
            tasks[case.name] = _Task(
                case=case,
                program=self,
                fingerprint=digest([asdict(case), code, interphase.__version__]),
                folder=folder,
            )
        if not tasks:
            raise ConfigurationError(f"{self.path} names no cases for what study.toml says")
        return list(tasks.values())

    def tables(self, study: Study, tasks: Sequence["_Task"]) -> dict[str, str]:
        """Return the tables of finished cases as CSV."""
        results = ((task.case, task.kept()) for task in tasks)
        with self._blamed("`tables`"):
            made = self.function("tables")(study.settings, results)
            if isinstance(made, Mapping):
                made = {name: _list(rows) for name, rows in made.items()}
        if not isinstance(made, dict):
            raise self._refuse("tables", made, "a dictionary of tables, each a list of rows")
        for name, rows in made.items():
            if not _is_name(name):
                raise self._refuse("tables", name, "names of letters, digits and _ . + - only")
            if not isinstance(rows, list):
                raise self._refuse("tables", rows, f"a list of rows as the table {name}")
            for row in rows:
                if not isinstance(row, Mapping):
                    raise self._refuse("tables", row, f"dictionaries as rows of the table {name}")
                if row.keys() != rows[0].keys():
                    columns = ", ".join(map(str, rows[0]))
                    raise self._refuse(
                        "tables", dict(row), f"the columns {columns} in each row of {name}"
                    )
        return {name: as_csv(rows) for name, rows in made.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """How one case is made, and where it goes."""

    case: Case
    program: _Program
    fingerprint: str
    folder: Path

    @property
    def record(self) -> Path:
        return self.folder / f"{self.case.name}.json"

    @property
    def arrays(self) -> Path:
        return self.folder / f"{self.case.name}.npz"

    def is_stale(self) -> bool:
        """Whether it is there, but made in another way than now."""
        stored = _read_json(self.record)
        made = stored.get("fingerprint", self.fingerprint)
        return "result" in stored and bool(made != self.fingerprint)

    def result(self) -> dict[str, Any] | None:
        """Return what was measured, unless it is not there, stale, or damaged."""
        stored = _read_json(self.record)
        result, names = stored.get("result"), stored.get("arrays")
        if stored.get("fingerprint") != self.fingerprint or not isinstance(result, dict):
            return None
        if not isinstance(names, list):
            return None
        if names:
            try:
                # Opened here, because NumPy leaves a file open that is no archive.
                with self.arrays.open("rb") as stream, np.load(stream) as arrays:
                    result |= {name: arrays[name] for name in names}
            except Exception:  # damage shows in as many ways as there are bytes
                return None
        return result

    def kept(self) -> dict[str, Any]:
        """Return what was measured and is known to be there."""
        result = self.result()
        if result is None:
            raise FileReadError(
                f"{self.record} was changed or removed while this run went on: run again"
            )
        return result

    def write(self, result: Mapping[str, Any]) -> None:
        if not isinstance(result, Mapping):
            raise ParameterError(
                f"`measure` returns {one_line(repr(result))} for case {self.case.name}: expected "
                "a dictionary"
            )
        arrays: dict[str, Any] = {k: v for k, v in result.items() if isinstance(v, np.ndarray)}
        rest = {k: v for k, v in result.items() if k not in arrays}
        for key, value in result.items():
            if not isinstance(key, str) or (key in arrays and key in _TAKEN):
                raise ParameterError(
                    f"the result of case {self.case.name} has the key {key!r}: expected strings, "
                    f"and for arrays other ones than {' and '.join(_TAKEN)}"
                )
            if key in arrays and value.dtype.hasobject:
                raise ParameterError(
                    f"the array {key} in the result of case {self.case.name} holds objects: give "
                    "numbers, or a list of what JSON can hold"
                )
        record = {
            "case": asdict(self.case),
            "fingerprint": self.fingerprint,
            "result": _as_json(rest, f"the result of case {self.case.name}"),
            "arrays": sorted(arrays),
        }
        if arrays:
            write_whole(self.arrays, lambda stream: np.savez_compressed(stream, **arrays))
        write_json(self.record, record)

    def write_error(self, error: InterphaseError) -> None:
        trace = "\n".join(getattr(error, "__notes__", ()))
        write_json(
            self.record, {"case": asdict(self.case), "error": str(error), "traceback": trace}
        )


_TAKEN = ("file", "allow_pickle")
"""What `numpy.savez_compressed` calls its own arguments."""


def _measure(task: _Task) -> None:
    task.write(task.program.function("measure")(task.case))


def _list(rows: Any) -> Any:
    """Return what can be walked through as a list, anything else as it is."""
    return list(rows) if isinstance(rows, Iterable) and not isinstance(rows, str) else rows


def _read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file says; nothing if there is none that can be read."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _as_json(value: Any, what: str) -> Any:
    """Return a value as JSON gives it back."""
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=_plain))
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"{what} cannot be written as JSON ({error}): give numbers, strings, lists and "
            "dictionaries, None for what is missing, and arrays under keys of their own"
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not one of them")


def _differences(study: Study, tables: Mapping[str, Path]) -> dict[str, int]:
    """Return how many cells differ, for each table of which the study's folder has another."""
    tolerance = study.settings.get("tolerance", 0.0)
    return {
        name: different_cells(path.read_text(), expected.read_text(), tolerance)
        for name, path in tables.items()
        if (expected := study.folder / expected_name(name)).is_file()
    }

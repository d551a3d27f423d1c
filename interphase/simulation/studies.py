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

import ast
import csv
import hashlib
import io
import json
import re
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import interphase
from interphase.errors import ConfigurationError, InterphaseError, ParameterError
from interphase.files import digest, locked, write_json, write_text, write_whole
from interphase.parallel import for_each

STUDIES = Path("simulations")
"""Where studies are looked for by name."""

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
        if not re.fullmatch(r"\w[\w.+-]*", self.name, flags=re.ASCII):
            raise ParameterError(
                f"a case is called {self.name!r}: expected letters, digits and _ . + - only, "
                "because files are named after it"
            )
        if self.seed < 0:
            raise ParameterError(f"the seed of case {self.name} is {self.seed}: expected >= 0")
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
        `workers` is below 1, or two cases have one name.
    ConfigurationError
        run.py lacks one of its functions.
    InterphaseError
        The result folder cannot be written or another run writes to it, or the scheduler does not
        answer.
    """
    begun = time.monotonic()
    out = (study.results if out is None else Path(out)).absolute()
    program = _Program.of(study)
    tasks = program.tasks(study, out / "cases")
    failed: dict[str, str] = {}
    with locked(out):
        (out / "cases").mkdir(exist_ok=True)
        wanted = [task for task in tasks if not task.is_finished()]
        stale = sum(task.was_finished() for task in wanted)
        finished = len(tasks) - len(wanted)
        if progress is not None:
            progress(finished, len(tasks), "")

        def take(task: _Task, outcome: InterphaseError | None) -> None:
            nonlocal finished
            if outcome is None and not task.is_finished():
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
        written = {}
        if kept:
            results = ((task.case, task.result()) for task in kept)
            for name, rows in program.function("tables")(study.settings, results).items():
                written[name] = out / f"{name}.csv"
                write_text(written[name], _csv(rows))
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
        write_json(
            out / "provenance.json",
            {
                "study": study.name,
                "settings": study.settings,
                "quick": study.quick,
                "interphase": interphase.__version__,
                "cases": result.cases,
                "failed": result.failed,
            },
        )
    return result


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
    folder = (study.results if out is None else Path(out)).absolute() / "cases"
    for task in _Program.of(study).tasks(study, folder):
        if task.is_finished():
            yield task.case, task.result()


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
                exec(compile(self.source, self.path, "exec"), module.__dict__)  # noqa: S102
            except BaseException:
                del sys.modules[name]
                raise
        return sys.modules[name]

    def tasks(self, study: Study, folder: Path) -> list["_Task"]:
        """Return what makes each case, once every name is known to be used once."""
        for name in ("measure", "tables"):
            self.function(name)
        code = code_behind(self.source, "measure")
        tasks: dict[str, _Task] = {}
        for case in self.function("cases")(study.settings):
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

    def _stored(self) -> dict[str, Any]:
        try:
            stored = json.loads(self.record.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return stored if isinstance(stored, dict) else {}

    def is_finished(self) -> bool:
        stored = self._stored()
        return "result" in stored and stored.get("fingerprint") == self.fingerprint

    def was_finished(self) -> bool:
        return "result" in self._stored()

    def result(self) -> dict[str, Any]:
        stored = self._stored()
        result: dict[str, Any] = stored["result"]
        if stored["arrays"]:
            with np.load(self.arrays) as arrays:
                result |= {name: arrays[name] for name in stored["arrays"]}
        return result

    def write(self, result: Mapping[str, Any]) -> None:
        arrays: dict[str, Any] = {k: v for k, v in result.items() if isinstance(v, np.ndarray)}
        rest = {k: v for k, v in result.items() if k not in arrays}
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


def _measure(task: _Task) -> None:
    task.write(task.program.function("measure")(task.case))


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


def code_behind(source: bytes, name: str) -> str:
    r"""Return the code of a module that one of its functions can reach, without its comments.

    Parameters
    ----------
    source
        The module.
    name
        The function.

    >>> source = b"a = 1\nb = 2  # seconds\ndef f(): return b\ndef g(): return a"
    >>> print(code_behind(source, "f"))
    b = 2
    def f():
        return b
    """
    statements = ast.parse(source).body
    reached: set[int] = set()
    names = {name}
    # What one statement names, another defines, until nothing new is named.
    while True:
        new = {
            number
            for number, statement in enumerate(statements)
            if number not in reached and (names & _defined(statement))
        }
        if not new:
            return "\n".join(ast.unparse(statements[number]) for number in sorted(reached))
        reached |= new
        names = names.union(*(_named(statements[number]) for number in new))


def _defined(statement: ast.stmt) -> set[str]:
    """Return the names that a statement of a module defines or may change."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    return _named(statement)


def _named(statement: ast.stmt) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _differences(study: Study, tables: Mapping[str, Path]) -> dict[str, int]:
    """Return how many cells differ, for each table of which the study's folder has another."""
    tolerance = study.settings.get("tolerance", 0.0)
    return {
        name: different_cells(path.read_text(), expected.read_text(), tolerance)
        for name, path in tables.items()
        if (expected := study.folder / expected_name(name)).is_file()
    }


def expected_name(table: str) -> str:
    """Return the name of the file beside run.py that says what a table should be.

    >>> expected_name("summary"), expected_name("films")
    ('expected.csv', 'expected_films.csv')
    """
    return "expected.csv" if table == "summary" else f"expected_{table}.csv"


def different_cells(found: str, expected: str, tolerance: float = 0.0) -> int:
    r"""Return how many cells of two tables differ.

    Parameters
    ----------
    found
        The table, as CSV.
    expected
        The table as it should be, as CSV; rows are compared in their order.
    tolerance
        How far a number may be off, as a fraction of the larger of the expected one and 1.

    >>> different_cells("a,b\n1.0,LiF\n", "a,b\n1,LiF\n2,Li\n")
    2
    """
    ours, theirs = (list(csv.DictReader(io.StringIO(text))) for text in (found, expected))
    return sum(
        not _same(one.get(column), other.get(column), tolerance)
        for one, other in zip_longest(ours, theirs, fillvalue=dict[str, str]())
        for column in one.keys() | other.keys()
    )


def _same(found: str | None, expected: str | None, tolerance: float) -> bool:
    if found is None or expected is None:
        return found is expected
    try:
        number = float(expected)
        return found == expected or abs(float(found) - number) <= tolerance * max(1, abs(number))
    except ValueError:
        return found == expected

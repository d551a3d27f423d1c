"""The session run: discover, measure, store, sum up."""

import pickle
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import interphase
from interphase.assessment import Assessment
from interphase.diffraction.options import Options
from interphase.dose import Ledger
from interphase.errors import InterphaseError, ParameterError
from interphase.files import digest, file_digest, locked, write_json, write_text
from interphase.io.discovery import LEDGER_FILE, RESULT_MARKERS
from interphase.session.account import DoseAccount, dose_account, fill_ledger, pre_exposures
from interphase.session.engine import measure_files
from interphase.session.measure import Task
from interphase.session.notes import add_notes
from interphase.session.provenance import provenance
from interphase.session.records import FileResult, Pictures, SessionResult
from interphase.session.store import FORMAT, Store
from interphase.session.tables import regions_csv, results_csv
from interphase.session.verdicts import with_dose

RESULT_FOLDER = "interphase-results"
"""Name of the result folder within a session's folder."""
DEFAULT_PHASES = "lithium-sei"
"""Candidates where nobody names others."""
DATA_NOT_READ = frozenset({".eer"})
"""Suffixes of measurements that cannot be read; other unread files are no measurements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a session is measured."""

    identification: Options | None = None
    """How to look for phases; ``None``: as suits how each image was made."""
    time_limit_s: float = 900.0
    """Time after which a file is given up, so that none holds up the others [s]."""

    def __post_init__(self) -> None:
        if not 0 < self.time_limit_s < float("inf"):
            raise ParameterError(
                f"time_limit_s is {self.time_limit_s!r}: expected a finite time > 0 in seconds"
            )


class Progress(Protocol):
    """Is told how far a run is."""

    def __call__(self, done: int, total: int, result: FileResult | None) -> None:
        """Take note that `done` of `total` files are finished, `result` the last of them."""


def run_session(
    folder: str | Path,
    *,
    out: str | Path | None = None,
    phases: Any = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
    options: RunOptions | None = None,
) -> SessionResult:
    """Measure every file of a session and write what was found.

    The dose ledger is filled first, so that every verdict knows what its place had received. The
    run may be stopped at any instant and called again: files whose results are there are not
    measured again, unless the file, its sidecars, session.toml, the parameters or the version of
    the package have changed. What the beam may have done is looked up anew each time.

    Parameters
    ----------
    folder
        The session's folder, with all folders below it.
    out
        Where the results go; ``interphase-results`` in `folder` unless given.
    phases
        Candidates, as :func:`interphase.phases.candidates` takes them; the set ``lithium-sei``
        unless given.
    workers
        Files measured at a time; one per core unless given.
    scheduler
        Address of a Dask scheduler that measures instead of this machine.
    progress
        Is called after each file.
    options
        How to measure.

    Returns
    -------
    SessionResult
        One result per file, and the dose account. ``results.csv``, ``regions.csv``,
        ``ledger.sqlite`` and ``provenance.json`` are in `out`.

    Raises
    ------
    ParameterError
        The folder does not exist, `out` is the same folder, or an option is out of range.
    PhaseError
        A candidate is unknown.
    ConfigurationError
        session.toml, or the user's table of damage, cannot be understood.
    LedgerError
        A ledger is damaged, of a newer version, or cannot be written.
    InterphaseError
        The result folder cannot be written, another run writes to it, or the scheduler does not
        answer.
    """
    from interphase.io import read_session_config
    from interphase.phases import candidates, own_facts

    folder, out = _folders(folder, out)
    options = RunOptions() if options is None else options
    config, own = read_session_config(folder), own_facts(folder)
    if phases is None:
        phases = phases_of(config.phases, folder)
    found = candidates(phases)
    with locked(out):
        store = Store(out)
        tasks, unread = prepare(folder, out=out, candidates=found, options=options)
        how: dict[str, Any] = {
            "workers": workers,
            "scheduler": scheduler,
            "time_limit_s": options.time_limit_s,
        }
        doubts = fill_ledger(folder, out, tasks, unread, store, **how)
        results, measured = _measure(tasks, unread, store, progress=progress, **how)
        with Ledger.open(out / LEDGER_FILE, read_only=True) as ledger:
            account = dose_account(
                ledger,
                candidates=found,
                own=own,
                temperature_k=config.temperature_k,
                complete=bool(config.ledger_is_complete),
                doubts=doubts,
            )
            before = pre_exposures(ledger, (result.file for result in results))
        results = tuple(
            with_dose(
                result,
                before.get(result.file),
                candidates=found,
                own=own,
                complete=bool(config.ledger_is_complete) and not doubts,
            )
            for result in results
        )
        session = SessionResult(
            name=folder.resolve().name,
            folder=folder,
            out=out,
            files=results,
            measured=measured,
            candidates=tuple(phase.identifier for phase in found),
            description={
                name: value
                for name in ("sample", "electrolyte", "electrode")
                if (value := getattr(config, name)) is not None
            },
            ledger=out / LEDGER_FILE,
            account=account,
            provenance=provenance(
                inputs=[*map(_input, results), *_own_ledger(folder)],
                parameters=_parameters(options),
                phases=found,
            ),
        )
        write_text(out / "results.csv", results_csv(results))
        write_text(out / "regions.csv", regions_csv(results))
        write_json(out / "provenance.json", session.provenance)
    return session


def run_account(
    folder: str | Path,
    *,
    out: str | Path | None = None,
    phases: Any = None,
    budgets: Mapping[str, float] | None = None,
    notes: str | Path | None = None,
) -> tuple[Path, DoseAccount]:
    """Fill the dose ledger of a session from its files, without measuring them.

    Parameters
    ----------
    folder, out, phases
        As for :func:`run_session`, which may be under way.
    budgets
        Phase, or any name → dose that it survives, in place of what is known of it [e/Å²].
    notes
        A table of exposures noted by hand, see `read_notes`. They are kept in ``ledger.sqlite``
        in `folder`; those of an older table of the same name are replaced.

    Returns
    -------
    ledger : Path
        The ledger.
    account : DoseAccount
        What it adds up to.

    Raises
    ------
    ParameterError
        The folder does not exist, or a budget is no dose.
    PhaseError
        A candidate is unknown.
    ConfigurationError
        session.toml, the table of damage or that of exposures cannot be understood.
    LedgerError
        A ledger is damaged, of a newer version, or cannot be written.
    """
    from interphase.io import read_session_config
    from interphase.phases import candidates, own_facts

    folder, out = _folders(folder, out)
    config, own = read_session_config(folder), own_facts(folder)
    found = candidates(phases_of(config.phases, folder) if phases is None else phases)
    if notes is not None:
        add_notes(notes, folder)
    try:
        store = Store(out)
        (out / RESULT_MARKERS[-1]).touch()
    except OSError as error:
        raise InterphaseError(
            f"{out} cannot be written ({error.strerror}): give another result folder with --out"
        ) from error
    tasks, unread = prepare(folder, out=out, candidates=(), options=RunOptions())
    doubts = fill_ledger(folder, out, tasks, unread, store)
    with Ledger.open(out / LEDGER_FILE, read_only=True) as ledger:
        account = dose_account(
            ledger,
            candidates=found,
            own=own,
            budgets=budgets,
            temperature_k=config.temperature_k,
            complete=bool(config.ledger_is_complete),
            doubts=doubts,
        )
    return out / LEDGER_FILE, account


def _folders(folder: str | Path, out: str | Path | None) -> tuple[Path, Path]:
    """Return the session's folder and that of its results."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ParameterError(f"{folder} is not a folder: give the folder of a session's files")
    out = folder / RESULT_FOLDER if out is None else Path(out)
    if out.resolve() == folder.resolve():
        raise ParameterError(
            f"{out} is the session's own folder: give another folder for the results"
        )
    return folder, out


def prepare(
    folder: Path, *, out: Path, candidates: Sequence[Any], options: RunOptions
) -> tuple[list[Task], list[FileResult]]:
    """Return one task per file of a session that can be read, and a result for each that cannot.

    Parameters
    ----------
    folder
        The session's folder.
    out
        The result folder, which is no part of the session.
    candidates
        The candidate phases.
    options
        How to measure.
    """
    from interphase.io import discover

    entries = discover(folder, exclude=[out])
    common = digest(
        {"parameters": _parameters(options), "candidates": candidates},
    )
    pickled = pickle.dumps(tuple(candidates))
    configs = _Configs(folder)

    def task(entry: Any) -> Task | FileResult:
        name = entry.path.relative_to(folder).as_posix()
        base = FileResult(file=name, assessment=Assessment.FAILED, sentence="not measured")
        if entry.reason:
            return replace(base, **_unread(entry))
        config = configs.of(entry.path.parent)
        try:
            content = file_digest(entry.path)
            sidecars = {
                path.relative_to(folder).as_posix(): file_digest(path) for path in entry.sidecars
            }
            size = entry.path.stat().st_size
        except OSError as error:
            return replace(base, sentence=f"{name} cannot be opened: {error.strerror}.")
        facts = digest(
            {
                "format": FORMAT,
                "version": interphase.__version__,
                "file": name,
                "content": content,
                "sidecars": sidecars,
                "session": config.model_dump(),
            }
        )
        return Task(
            path=entry.path,
            facts=facts,
            session=config,
            candidates=pickled,
            options=options.identification,
            base=replace(
                base,
                sha256=content,
                size_bytes=size,
                sidecars=tuple(sidecars),
                key=digest({"facts": facts, "common": common}),
            ),
        )

    # Hashing waits for the disk and leaves Python's lock alone while it computes.
    with ThreadPoolExecutor(4) as threads:
        prepared = list(threads.map(task, entries))
    return (
        _with_companions([item for item in prepared if isinstance(item, Task)]),
        [item for item in prepared if isinstance(item, FileResult)],
    )


def _with_companions(tasks: list[Task]) -> list[Task]:
    """Return tasks whose keys depend on the files that spectra are measured with too."""
    from interphase.io import low_losses_by_name

    contents = {task.path: task.base.sha256 for task in tasks}
    low = low_losses_by_name(list(contents))

    def keyed(task: Task) -> Task:
        said = task.session.companions_for(task.path).values()
        named = [task.path.parent / name for name in said if isinstance(name, str)]
        found = {contents[p] for p in (*low.get(task.path, ()), *named) if p in contents}
        if not found:
            return task
        key = digest({"key": task.base.key, "companions": sorted(map(str, found))})
        return replace(task, base=replace(task.base, key=key))

    return [keyed(task) for task in tasks]


def _unread(entry: Any) -> dict[str, Any]:
    """Say of a file that is not one to read why that is so."""
    lost = entry.path.suffix.lower() in DATA_NOT_READ
    return {
        "assessment": Assessment.FAILED if lost else Assessment.NOT_ASSESSED,
        "sentence": f"Not read: {entry.reason}.",
    }


class _Configs:
    """The session.toml that holds for a folder: its own or the nearest above it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = Lock()
        self._known: dict[Path, Any] = {}

    def of(self, folder: Path) -> Any:
        from interphase.io import SESSION_FILE, read_session_config

        with self._lock:
            nearest = folder
            while nearest != self._root and not (nearest / SESSION_FILE).is_file():
                nearest = nearest.parent
            if nearest not in self._known:
                self._known[nearest] = read_session_config(nearest)
            return self._known[nearest]


def phases_of(named: str | tuple[str, ...] | None, folder: Path) -> Any:
    """Return the candidates that session.toml names; its CIF files lie beside it."""
    if named is None:
        return DEFAULT_PHASES
    words = named.split(",") if isinstance(named, str) else named
    return [
        folder / word.strip() if word.strip().lower().endswith(".cif") else word.strip()
        for word in words
    ]


def _measure(
    tasks: Sequence[Task],
    unread: Sequence[FileResult],
    store: Store,
    *,
    workers: int | None,
    scheduler: str | None,
    progress: Progress | None,
    time_limit_s: float,
) -> tuple[tuple[FileResult, ...], int]:
    """Measure what is not finished; return all results by name, and how many were measured."""
    results = {result.file: result for result in unread}
    todo: list[Task] = []
    for task in tasks:
        if (finished := store.load(task.base.key)) is not None:
            results[task.base.file] = finished
        else:
            todo.append(task)
    if progress is not None:
        progress(len(results), len(tasks) + len(unread), None)

    def take(result: FileResult, pictures: Pictures | None) -> None:
        results[result.file] = store.save(result, pictures)
        if progress is not None:
            progress(len(results), len(tasks) + len(unread), results[result.file])

    measure_files(todo, take, workers=workers, scheduler=scheduler, time_limit_s=time_limit_s)
    return tuple(results[name] for name in sorted(results)), len(todo)


def _parameters(options: RunOptions) -> dict[str, Any]:
    # The time limit decides whether there is a result, not which.
    chosen = options.identification
    return {
        "identification": chosen or Options(),
        "identification_of_scanned_images": chosen or Options.for_scanned_image(),
    }


def _own_ledger(folder: Path) -> list[Mapping[str, Any]]:
    path = folder / LEDGER_FILE
    if not path.is_file():
        return []
    return [{"file": path.name, "sha256": file_digest(path), "size_bytes": path.stat().st_size}]


def _input(result: FileResult) -> Mapping[str, Any]:
    return {
        "file": result.file,
        "sha256": result.sha256,
        "size_bytes": result.size_bytes,
        "sidecars": result.sidecars,
    }

"""The dose account of a session: its ledger filled from all files, and what follows from it.

The ledger of a session is ``ledger.sqlite`` in its result folder. It is written anew from the
files' metadata each time; exposures that name no file were added by hand, and stay. A second one,
which the user keeps beside the files, outranks what files say.
"""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from interphase.acquisition import Acquisition, Kind
from interphase.assessment import Assessment
from interphase.dose import (
    DoseTotal,
    Exposure,
    Ledger,
    Moment,
    OverBudget,
    Purpose,
    PurposeShare,
    exposures_of,
)
from interphase.dose.exposure import with_one_kind_of_time
from interphase.errors import FileReadError, InterphaseError, ParameterError
from interphase.io.discovery import LEDGER_FILE
from interphase.parallel import for_each
from interphase.parallel.calls import one_line
from interphase.phases import DamageFact, DoseLevel, Phase, dose_level, dose_verdict
from interphase.session.measure import Task
from interphase.session.records import FileResult, SessionResult
from interphase.session.store import Store

_COPIED = "ledger"
"""Source of an exposure that was copied from the user's own ledger."""
_GONE = "is missing from the ledger"
_NO_ORDER = "not comparable"
"""In the source of a time that was left out, see `with_one_kind_of_time`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseBudget:
    """How much a phase survives, and whether some place of the session received more."""

    phase: str
    """Identifier of the phase."""
    bracket_e_per_a2: tuple[float | None, float | None]
    """Dose without, and dose with damage [e/Å²]."""
    fact: DamageFact | None
    """Where the bracket comes from; ``None`` for a budget of the caller's."""
    level: DoseLevel
    """Where the place that received most lies beside it; ``unknown_dose`` in place of ``below``
    while the dose or the place of any exposure is not known."""
    places: int
    """Places that certainly received more than its lower end."""
    absorbed_dose_mgy: float | None = None
    """What the place that received most absorbed at the least, if it were this phase [MGy]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DoseAccount:
    """What a session's exposures add up to."""

    exposures: tuple[Exposure, ...]
    """All of them, in the order of time; those without a time come last."""
    highest: DoseTotal | None
    """The place that certainly received most; ``None`` where no dose is known."""
    by_purpose: Mapping[Purpose, PurposeShare]
    """What each purpose took."""
    budgets: tuple[PhaseBudget, ...]
    """Phases of which a limit is known."""
    over_budget: tuple[OverBudget, ...]
    """Places that certainly received more than the lower end of a phase's bracket, worst first."""
    doubts: tuple[str, ...] = ()
    """What could not be taken into the ledger as it was, one sentence each."""

    @property
    def unknown(self) -> int:
        """Number of exposures without a known dose."""
        return sum(shot.dose_e_per_a2 is None for shot in self.exposures)

    @property
    def unplaced(self) -> int:
        """Number of exposures that may have hit more than where they are drawn."""
        return sum(shot.position_uncertain_um > 0 for shot in self.exposures)

    @property
    def sentence(self) -> str:
        """The account in words."""
        if not self.exposures:
            return "No file of this session stands for an exposure."
        parts = [_counted(len(self.exposures), "exposure") + "."]
        if self.highest is not None:
            bound = "" if self.highest.is_exact else "at least "
            parts.append(f"One place received {bound}{self.highest.at_least_e_per_a2:.4g} e/Å².")
        aside = [
            share.dose_share
            for purpose, share in self.by_purpose.items()
            if purpose in (Purpose.SEARCH, Purpose.FOCUS) and share.dose_share
        ]
        if aside:
            parts.append(
                f"Of the dose upon what was recorded, {100 * sum(aside):.2g} % went into search "
                "and focus."
            )
        return " ".join(parts)

    @property
    def bound(self) -> str:
        """What makes every sum a lower bound, in words; empty where nothing does."""
        parts = []
        if self.unknown:
            parts.append(f"Lower bound: {_counted(self.unknown, 'exposure')} of unknown dose.")
        if self.unplaced:
            parts.append(
                f"{_counted(self.unplaced, 'exposure')} at places that are not certain: shifts "
                "have no calibration, or no source states the stage."
            )
        return " ".join(parts)


def read_records(
    tasks: Sequence[Task],
    store: Store,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    time_limit_s: float = 300.0,
) -> tuple[dict[str, tuple[Acquisition, ...]], tuple[str, ...]]:
    """Return what each file says of its exposures, and a sentence for each that could not be read.

    Parameters
    ----------
    tasks
        The files.
    store
        Keeps what was read, so that it is read once.
    workers, scheduler, time_limit_s
        As for `measure_files`.
    """
    found: dict[str, tuple[Acquisition, ...]] = {}
    doubts: dict[str, str] = {}
    todo = []
    for task in tasks:
        records = store.load_records(task.facts)
        if records is None:
            todo.append(task)
        else:
            found[task.base.file] = records

    def take(task: Task, outcome: tuple[Acquisition, ...] | InterphaseError) -> None:
        if isinstance(outcome, InterphaseError):
            doubts[task.base.file] = (
                f"{task.base.file} {_GONE}: {one_line(str(outcome)).rstrip('.')}."
            )
        else:
            found[task.base.file] = outcome
            store.save_records(task.facts, outcome)

    for_each(
        records_of,
        todo,
        take,
        workers=workers,
        scheduler=scheduler,
        time_limit_s=time_limit_s,
    )
    names = [task.base.file for task in tasks]
    return {name: found[name] for name in names if name in found}, tuple(
        doubts[name] for name in sorted(doubts)
    )


def records_of(task: Task) -> tuple[Acquisition, ...] | FileReadError:
    """Read what a file says of its exposures, of what holds an error instead."""
    from interphase.io import read_acquisitions

    try:
        return read_acquisitions(task.path, session=task.session)
    except FileReadError as error:
        return error


def fill_ledger(
    folder: Path,
    out: Path,
    tasks: Sequence[Task],
    unread: Sequence[FileResult],
    store: Store,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    time_limit_s: float = 300.0,
) -> tuple[str, ...]:
    """Write the ledger of a session, and return a sentence for each exposure that is doubted.

    Parameters
    ----------
    folder
        The session's folder; a ``ledger.sqlite`` in it, or in a folder of its files, is heeded.
    out
        The result folder, where the ledger is.
    tasks
        The files.
    unread
        Those that cannot be read.
    store
        Keeps what was read, so that it is read once.
    workers, scheduler, time_limit_s
        As for `measure_files`.

    Raises
    ------
    LedgerError
        One of the ledgers is damaged, of a newer version, or cannot be written.
    """
    own = _own_exposures(folder, tasks)
    records, missing = read_records(
        tasks, store, workers=workers, scheduler=scheduler, time_limit_s=time_limit_s
    )
    shots, doubts = _of_files(records, {task.base.file: task.session for task in tasks})
    lost = [result.file for result in unread if result.assessment is Assessment.FAILED]

    def change(before: list[Exposure]) -> Iterable[Exposure]:
        by_hand = [shot for shot in before if shot.file is None and _COPIED not in shot.sources]
        named = {shot.key: shot for shot in (*by_hand, *shots, *own)}
        return with_one_kind_of_time(list(named.values()))

    with Ledger.open(out / LEDGER_FILE) as ledger:
        ledger.rewrite(change)
        odd = [shot for shot in ledger.exposures() if _NO_ORDER in shot.sources.get("time", "")]
    if odd:
        more = f" and of {len(odd) - 1} more" if len(odd) > 1 else ""
        doubts.append(f"The time of {odd[0].key}{more} is not heeded: {odd[0].sources['time']}.")
    return (*missing, *(f"{name} is not read: it {_GONE}." for name in lost), *doubts)


def _of_files(
    records: Mapping[str, tuple[Acquisition, ...]], sessions: Mapping[str, Any]
) -> tuple[list[Exposure], list[str]]:
    """Return the exposures of files; what one says that cannot be is doubted, and left out."""
    try:
        return exposures_of(records, session=sessions), []
    except InterphaseError:
        sound, doubts = {}, []
        for name, said in records.items():
            for attempt in (said, tuple(map(_without_doses, said))):
                try:
                    exposures_of({name: attempt}, session=sessions)
                except InterphaseError as error:
                    reason = str(error).rstrip(".")
                    continue
                sound[name] = attempt
                if attempt is not said:
                    doubts.append(f"The dose of {name} is taken for unknown: {reason}.")
                break
            else:
                doubts.append(f"{name} {_GONE}: {reason}.")
        return exposures_of(sound, session=sessions), doubts


def _without_doses(said: Acquisition) -> Acquisition:
    nothing = dict.fromkeys(
        ("dose_e_per_a2", "dose_rate_e_per_a2_s", "prior_dose_e_per_a2", "beam_current_pa")
    )
    return replace(said, **nothing)  # type: ignore[arg-type]


def _own_exposures(folder: Path, tasks: Sequence[Task]) -> list[Exposure]:
    """Return what the user's own ledgers hold, beside the files and in the folders of others."""
    beside = (parent for task in tasks for parent in task.path.parents)
    found: list[Exposure] = []
    for place in sorted({folder, *(path for path in beside if path.is_relative_to(folder))}):
        path = place / LEDGER_FILE
        if not path.is_file():
            continue
        under = "" if place == folder else f"{place.relative_to(folder).as_posix()}/"
        with Ledger.open(path, read_only=True) as ledger:
            found += [
                replace(
                    shot,
                    key=f"{under}{shot.key}",
                    file=None if shot.file is None else f"{under}{shot.file}",
                    sources={**shot.sources, _COPIED: f"{under}{LEDGER_FILE}"},
                )
                for shot in ledger.exposures()
            ]
    return found


def open_ledger(session: SessionResult) -> Ledger:
    """Open the ledger of a session's results, or one of what they say where there is none."""
    if session.ledger is not None:
        return Ledger.open(session.ledger, read_only=True)
    records = {r.file: (r.acquisition,) for r in session.files if r.acquisition is not None}
    ledger = Ledger.in_memory()
    ledger.add(_of_files(records, {})[0])
    return ledger


def pre_exposures(ledger: Ledger, files: Iterable[str]) -> dict[str, DoseTotal]:
    """Return what the place of each file had received before, of files that the ledger knows.

    A file of several exposures had received what came between them as well, so that its own dose
    added to it is what the place had in the end.
    """
    of_file: dict[str | None, list[Exposure]] = {}
    for shot in ledger.exposures():
        of_file.setdefault(shot.file, []).append(shot)
    return {file: _before(ledger, file, of_file[file]) for file in files if file in of_file}


def _before(ledger: Ledger, file: str, shots: Sequence[Exposure]) -> DoseTotal:
    """Return what others gave to the place of a file, before it and between its exposures."""
    before = ledger.pre_exposure(file)
    own = [shot.dose_e_per_a2 for shot in shots if shot.dose_e_per_a2 is not None]
    if len(shots) == 1:
        return before
    if len(own) < len(shots):
        return replace(before, at_most_e_per_a2=None)
    end = ledger.pre_exposure(file, moment=Moment.END)
    least, most = end.at_least_e_per_a2 - math.fsum(own), end.at_most_e_per_a2
    if most is not None and before.at_most_e_per_a2 is not None:
        most = max(before.at_most_e_per_a2, most - math.fsum(own))
    else:
        most = None
    if least <= before.at_least_e_per_a2 + 1e-9 * end.at_least_e_per_a2:
        return replace(before, at_most_e_per_a2=most)
    others = max(before.exposures, end.exposures - len(shots))
    return replace(before, at_least_e_per_a2=least, at_most_e_per_a2=most, exposures=others)


def ask_ledger(
    path: Path,
    *,
    place_um: tuple[float, float] | None = None,
    file: str | None = None,
) -> dict[str, DoseTotal]:
    """Return what a place received (``at``) and what that of a file had before it (``before``).

    Parameters
    ----------
    path
        The ledger.
    place_um
        (x, y) in stage coordinates [µm].
    file
        A file as the ledger names it, or the end of its path.

    Raises
    ------
    ParameterError
        The ledger knows no such file, or several.
    """
    answers = {}
    with Ledger.open(path, read_only=True) as ledger:
        if place_um is not None:
            answers["at"] = ledger.at(place_um)
        if file is not None:
            file = _named(file, {shot.file or shot.key for shot in ledger.exposures()})
            answers["before"] = ledger.pre_exposure(file)
    return answers


def _named(file: str, names: set[str]) -> str:
    """Return the file of a ledger that a path, or the end of one, stands for."""
    if file in names:
        return file
    asked = "/" + Path(file).as_posix().lstrip("/")
    # What SerialEM says of an image stands for it where the image itself is not in the session.
    for ending in (asked, f"{asked}.mdoc"):
        found = sorted(name for name in names if f"/{name}".endswith(ending))
        if len(found) == 1:
            return found[0]
        if found:
            raise ParameterError(
                f"{file!r} is several files of the ledger: expected one of "
                f"{', '.join(found[:4])}{', ...' if len(found) > 4 else ''}"
            )
    if not names:
        raise ParameterError(f"{file!r} is no file of the ledger, which is empty")
    close = difflib.get_close_matches(file, sorted(names), n=4, cutoff=0.0)
    raise ParameterError(
        f"{file!r} is no file of the ledger: expected one such as {', '.join(close)}"
    )


def write_dose_map(path: Path, map_file: Path, *, pixels: int = 512) -> None:
    """Write the map of a ledger, as a figure or as a table of its pixels.

    Parameters
    ----------
    path
        The ledger.
    map_file
        Where the map goes: ``.csv``, or a kind of figure that Matplotlib writes.
    pixels
        Of its longer side.
    """
    from interphase import plotting

    if not map_file.suffix:
        raise ParameterError(
            f"{map_file} has no ending: expected a file such as map.png, map.pdf or map.csv"
        )
    with Ledger.open(path, read_only=True) as ledger:
        dose = ledger.map(shape=(pixels, pixels))
    try:
        if map_file.suffix.lower() == ".csv":
            rows, columns = np.indices(dose.dose_e_per_a2.shape)
            x, y = dose.place_of(rows, columns)  # type: ignore[arg-type]
            values = (x, y, dose.dose_e_per_a2, dose.at_most_e_per_a2, dose.unknown)
            head = "x_um,y_um,dose_e_per_a2,at_most_e_per_a2,unknown_exposures"
            table = np.stack([np.ravel(value) for value in values], axis=1)
            with map_file.open("w") as stream:
                np.savetxt(stream, table, fmt="%.6g", delimiter=",", header=head, comments="")
            return
        figure, ax = plotting.new_figure(width_in=6, height_in=6)
        plotting.plot_dose_map(ax, dose.dose_e_per_a2, bounds_um=dose.bounds_um)
        figure.savefig(map_file, dpi=200)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InterphaseError(f"{map_file} cannot be written: {reason}") from error


def dose_account(
    ledger: Ledger,
    *,
    candidates: Sequence[Phase],
    own: Sequence[DamageFact] = (),
    budgets: Mapping[str, float] | None = None,
    temperature_k: float | None = None,
    complete: bool = False,
    doubts: tuple[str, ...] = (),
) -> DoseAccount:
    """Sum up a ledger.

    Parameters
    ----------
    ledger
        The ledger.
    candidates
        The phases whose limits are looked at.
    own
        The user's own measurements of damage, which outrank the table.
    budgets
        Phase → dose that replaces what is known of it [e/Å²]; it may be any name.
    temperature_k
        Temperature of the specimen [K]; of several own measurements one at it comes first.
    complete
        Whether somebody vouches that no exposure is missing; else nothing is below a limit.
    doubts
        What could not be taken into the ledger.
    """
    given = {} if budgets is None else dict(budgets)
    known = {phase.identifier: phase for phase in candidates}
    limits: dict[str, tuple[tuple[float | None, float | None], DamageFact | None]] = {}
    here = Acquisition(kind=Kind.METADATA, temperature_k=temperature_k)
    # What is known of interphases in which no phase was named concerns every session.
    asked: list[str | Phase] = [*candidates, "SEI"]
    for phase in asked:
        fact = dose_verdict(phase, here, own=own).limit
        if fact is not None and not fact.missing:
            limits[fact.phase] = fact.bracket_e_per_a2, fact
    limits |= {phase: ((dose, dose), None) for phase, dose in given.items()}
    # What is a lower bound alone was never seen to do damage: there is nothing to pass.
    ends = {phase: low or high for phase, ((low, high), _) in limits.items() if high is not None}
    over = ledger.over_budget(ends)
    shots = tuple(ledger.exposures())
    highest = _highest(ledger, shots)
    sure = (
        complete
        and not doubts
        and all(
            shot.dose_e_per_a2 is not None
            and shot.local_dose_e_per_a2
            is None  # what the probe hit of a scan with gaps is not known
            and shot.position_uncertain_um == 0
            for shot in shots
        )
    )
    return DoseAccount(
        exposures=shots,
        highest=highest,
        by_purpose=ledger.by_purpose(),
        budgets=tuple(
            PhaseBudget(
                phase=phase,
                bracket_e_per_a2=bracket,
                fact=fact,
                level=_level(bracket, highest, sure=sure),
                places=sum(place.phase == phase for place in over),
                absorbed_dose_mgy=_absorbed(ledger, known.get(phase), highest),
            )
            for phase, (bracket, fact) in limits.items()
        ),
        over_budget=tuple(over),
        doubts=doubts,
    )


def _highest(ledger: Ledger, shots: Iterable[Exposure]) -> DoseTotal | None:
    """Return what the place that certainly received most did, be its area known or not."""
    worst = ledger.maximum()
    highest = None if worst is None else worst[1]
    least = 0.0 if highest is None else highest.at_least_e_per_a2
    # The map knows nothing of exposures without an area, but each of them hit some place.
    apart = {s.key: s.dose_e_per_a2 or 0.0 for s in shots if s.footprint_um is None}
    key = max(apart, key=apart.__getitem__, default="")
    if apart.get(key, 0.0) <= least:
        return highest
    return ledger.pre_exposure(key, moment=Moment.END)


def _level(
    bracket: tuple[float | None, float | None], highest: DoseTotal | None, *, sure: bool
) -> DoseLevel:
    """Return where the highest dose lies; while anything is unknown, none says "not reached"."""
    least = None if highest is None else highest.at_least_e_per_a2
    level = dose_level(bracket, received_e_per_a2=least, at_least_e_per_a2=least)
    return level if sure or level is not DoseLevel.BELOW else DoseLevel.UNKNOWN_DOSE


def _absorbed(ledger: Ledger, phase: Phase | None, highest: DoseTotal | None) -> float | None:
    """Return what a place absorbed [MGy] if it is of a phase, of elements that are tabulated."""
    if phase is None or highest is None or highest.place_um is None:
        return None
    composition = dict(phase.omitted)
    for element, share in zip(phase.species, phase.occupancies, strict=True):
        composition[element] = composition.get(element, 0.0) + float(share)
    try:
        absorbed, _ = ledger.absorbed_dose(highest.place_um, composition=composition)
    except ParameterError:
        return None
    return absorbed or None


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"

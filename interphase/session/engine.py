"""Measure many files at once; whatever happens to one of them becomes a result."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from interphase.assessment import Assessment
from interphase.errors import InterphaseError
from interphase.parallel import for_each
from interphase.parallel.calls import one_line
from interphase.session.measure import Task, measure
from interphase.session.records import FileResult, Pictures

Take = Callable[[FileResult, Pictures | None], None]
"""Is given the result and the pictures of a file as soon as they are there, one at a time."""


def measure_files(
    tasks: Sequence[Task],
    take: Take,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    time_limit_s: float,
) -> None:
    """Measure files, each in a process of its own.

    Parameters
    ----------
    tasks
        The files.
    take
        Is called with each result as it comes, in any order, never twice at a time.
    workers
        Files measured at a time on this machine; one per core unless given.
    scheduler
        Address of a Dask scheduler, such as ``tcp://host:8786``, whose workers measure instead.
    time_limit_s
        Time after which a file is given up [s].

    Raises
    ------
    ParameterError
        `workers` is below 1, or given beside a scheduler.
    InterphaseError
        The scheduler does not answer, has no workers, or they have another version.
    """

    def deliver(task: Task, outcome: tuple[FileResult, Pictures | None] | InterphaseError) -> None:
        if isinstance(outcome, InterphaseError):
            # What a file itself is to blame for, reading says; this may not happen again.
            reason = one_line(str(outcome)).rstrip(".")
            sentence = f"{task.base.file} could not be measured: {reason}."
            failed = replace(
                task.base, assessment=Assessment.FAILED, sentence=sentence, final=False
            )
            take(failed, None)
        else:
            take(*outcome)

    for_each(
        measure,
        tasks,
        deliver,
        workers=workers,
        scheduler=scheduler,
        time_limit_s=time_limit_s,
    )

"""Measure many files at once, on this machine or on a Dask cluster.

On one machine Dask's threads only wait for child processes, one per file in progress. A cluster
is the address of a Dask scheduler; its workers must see the files under the same paths and have
the same version of the package.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import interphase
from interphase.assessment import Assessment
from interphase.errors import InterphaseError, ParameterError
from interphase.session.isolation import ChildCallError, ChildLostError, ChildPool
from interphase.session.measure import Task, measure
from interphase.session.records import FileResult, Pictures

CONNECT_S = 10.0
"""Time a scheduler has to answer [s]."""
WORKERS_S = 30.0
"""Time a scheduler has to find its first worker [s]."""

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
        `workers` is below 1.
    InterphaseError
        The scheduler does not answer, has no workers, or they have another version.
    """
    if workers is not None and workers < 1:
        raise ParameterError(f"workers is {workers}: expected at least 1")
    if not tasks:
        return
    if scheduler is None:
        _measure_here(tasks, take, workers, time_limit_s)
    else:
        _measure_there(tasks, take, scheduler, time_limit_s)


def _measure_here(
    tasks: Sequence[Task], take: Take, workers: int | None, time_limit_s: float
) -> None:
    from dask import threaded

    cores = _cores()
    workers = min(workers or cores, len(tasks))
    children = ChildPool(threads=max(1, cores // workers))
    one_at_a_time = threading.Lock()

    def deliver(task: Task) -> None:
        result, pictures = measure_apart(task, children, time_limit_s)
        # Taken here and not returned: Dask would keep all results until the last one is there.
        with one_at_a_time:
            take(result, pictures)

    graph = {f"measure-{number}": (partial(deliver, task),) for number, task in enumerate(tasks)}
    try:
        threaded.get(graph, list(graph), num_workers=workers)
    finally:
        # Busy children end here too when the run is interrupted.
        children.close()


def _measure_there(tasks: Sequence[Task], take: Take, scheduler: str, time_limit_s: float) -> None:
    from distributed import as_completed

    with _cluster(scheduler) as client:
        futures = {
            client.submit(measure_on_worker, task, time_limit_s, pure=False): task for task in tasks
        }
        for future in as_completed(futures):  # type: ignore[no-untyped-call]
            task = futures.pop(future)
            error = future.exception()
            if error is None:
                take(*future.result())
            else:
                take(_failed(task, f"its worker was lost ({type(error).__name__}: {error})"), None)
            future.release()


def measure_apart(
    task: Task, children: ChildPool, time_limit_s: float
) -> tuple[FileResult, Pictures | None]:
    """Measure one file in a process of its own; whatever happens to it becomes a result."""
    try:
        result: tuple[FileResult, Pictures | None] = children.call(
            measure, task, time_limit_s=time_limit_s
        )
    except (ChildLostError, ChildCallError) as error:
        # What a file itself is to blame for, reading says; this may not happen again.
        return _failed(task, str(error)), None
    return result


def _failed(task: Task, reason: str) -> FileResult:
    sentence = f"{task.base.file} could not be measured: {_one_line(reason).rstrip('.')}."
    return replace(task.base, assessment=Assessment.FAILED, sentence=sentence, final=False)


def _one_line(text: str, most: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _cores() -> int:
    """Return the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_worker_children: ChildPool | None = None
_worker_lock = threading.Lock()


def measure_on_worker(task: Task, time_limit_s: float) -> tuple[FileResult, Pictures | None]:
    """Measure one file on a worker of a cluster, whose children stay warm between files."""
    global _worker_children
    with _worker_lock:
        if _worker_children is None:
            _worker_children = ChildPool()
        children = _worker_children
    return measure_apart(task, children, time_limit_s)


def _release_children() -> None:
    """End the idle children of a worker."""
    if _worker_children is not None:
        _worker_children.release()


@contextmanager
def _cluster(scheduler: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(scheduler, timeout=CONNECT_S)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError) as error:
        raise InterphaseError(
            f"no Dask scheduler answers at {scheduler} ({_one_line(str(error))}): start one with "
            "`dask scheduler` and workers with `dask worker ADDRESS`"
        ) from error
    with client:
        _check_workers(client, scheduler)
        try:
            yield client
        finally:
            client.run(_release_children)


def _check_workers(client: Any, scheduler: str) -> None:
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
    except TimeoutError as error:
        raise InterphaseError(
            f"the scheduler at {scheduler} has no workers: start some with "
            f"`dask worker {scheduler}`"
        ) from error
    for address, version in client.run(package_version, on_error="return").items():
        if version != interphase.__version__:
            raise InterphaseError(
                f"worker {address} answers {_one_line(str(version))!r} when asked for the version "
                f"of interphase: install interphase {interphase.__version__} there"
            )


def package_version() -> str:
    """Return the version of the package that this process runs."""
    return interphase.__version__

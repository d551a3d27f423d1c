"""Measure many files at once, on this machine or on a Dask cluster.

One machine runs a Dask scheduler inside this process; its threads only wait for child
processes, so no port is opened and nothing is left behind. A cluster is the address of a
scheduler; its workers must see the files under the same paths and have the same version of
the package.
"""

import logging
import os
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import interphase
from interphase.assessment import Assessment
from interphase.errors import InterphaseError, ParameterError
from interphase.session.isolation import ChildCallError, ChildLostError, ChildPool
from interphase.session.measure import Task, measure
from interphase.session.records import FileResult, Pictures

Measured = tuple[FileResult, Pictures | None]

_pool: ChildPool | None = None
_pool_lock = threading.Lock()


def _children(threads: int) -> ChildPool:
    """Return the pool of this process."""
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ChildPool(threads)
        return _pool


def _close_children() -> None:
    global _pool
    with _pool_lock:
        pool, _pool = _pool, None
    if pool is not None:
        pool.close()


def _release_children() -> None:
    if _pool is not None:
        _pool.release()


def measure_apart(task: Task, threads: int, time_limit_s: float) -> Measured:
    """Measure one file in a process of its own; whatever happens to it becomes a result."""
    try:
        return _children(threads).call(measure, task, time_limit_s=time_limit_s)  # type: ignore[no-any-return]
    except ChildLostError as error:
        sentence = f"{task.base.file} could not be measured: {error}."
        return replace(
            task.base, assessment=Assessment.FAILED, sentence=sentence, final=False
        ), None
    except ChildCallError as error:
        return _failed(task, _one_line(str(error)), final=True)


def _failed(task: Task, reason: str, *, final: bool) -> Measured:
    sentence = f"{task.base.file} could not be measured: {reason.rstrip('.')}."
    failed = replace(task.base, assessment=Assessment.FAILED, sentence=sentence, final=final)
    return failed, None


def _one_line(text: str, most: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def measure_files(
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    time_limit_s: float,
) -> Iterator[Measured]:
    """Yield the result of each task as it comes.

    Parameters
    ----------
    tasks
        The files.
    workers
        Files measured at a time on this machine; one per core, at most one per file, unless
        given.
    scheduler
        Address of a Dask scheduler, such as ``tcp://host:8786``, whose workers measure instead.
    time_limit_s
        Time after which a file is given up [s].
    """
    if workers is not None and workers < 1:
        raise ParameterError(f"workers is {workers}: expected at least 1")
    if not tasks:
        return
    with closing(_results(tasks, workers, scheduler, time_limit_s)) as results:
        yield from results


def _results(
    tasks: Sequence[Task], workers: int | None, scheduler: str | None, time_limit_s: float
) -> Generator[Measured, None, None]:
    from distributed import as_completed

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(workers or cores or 1, len(tasks))
    threads = max(1, (cores or 1) // workers) if scheduler is None else 1
    with _cluster(scheduler) if scheduler else _this_machine(workers) as client:
        futures = {
            client.submit(measure_apart, task, threads, time_limit_s, pure=False): task
            for task in tasks
        }
        for future in as_completed(futures):  # type: ignore[no-untyped-call]
            task = futures.pop(future)
            error = future.exception()
            if error is None:
                yield future.result()
            else:
                reason = _one_line(f"its worker was lost ({type(error).__name__}: {error})")
                yield _failed(task, reason, final=False)
            future.release()


@contextmanager
def _this_machine(workers: int) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=1,
            threads_per_worker=workers,
            processes=False,
            dashboard_address=None,
            memory_limit=0,  # the memory is the children's, not this process's
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        try:
            yield client
        finally:
            # Busy children end here too when the run is interrupted.
            _close_children()


@contextmanager
def _cluster(scheduler: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(scheduler, timeout=10)  # type: ignore[no-untyped-call]
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
        client.wait_for_workers(1, timeout=30)
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

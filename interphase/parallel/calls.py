"""One call for each of many tasks, on this machine or on a Dask cluster.

On one machine Dask's threads only wait for child processes, one per call in progress. A cluster
is the address of a Dask scheduler; its workers must see the files under the same paths and have
the same version of the package. There, too, each call runs in a child.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import interphase
from interphase.errors import InterphaseError, ParameterError
from interphase.parallel.children import ChildCallError, ChildLostError, ChildPool

CONNECT_S = 10.0
"""Time a scheduler has to answer [s]."""
WORKERS_S = 30.0
"""Time a scheduler has to find its first worker [s]."""

Task = TypeVar("Task")
Value = TypeVar("Value")


def for_each(
    function: Callable[[Task], Value],
    tasks: Sequence[Task],
    take: Callable[[Task, Value | InterphaseError], None],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    threads: int | None = None,
    time_limit_s: float | None = None,
) -> None:
    """Call a function once for each task, each time in a process of its own.

    Parameters
    ----------
    function
        A function at the top of a module that the workers can import.
    tasks
        What it is called with; must be picklable.
    take
        Is given each task and its value, or the error that stands for it, as soon as it is there,
        in any order, never twice at a time.
    workers
        Calls at a time on this machine; one per core unless given.
    scheduler
        Address of a Dask scheduler, such as ``tcp://host:8786``, whose workers do it instead.
    threads
        Threads of each process on this machine; the cores divided among them unless given.
    time_limit_s
        Time after which a call is given up [s]; never unless given.

    Raises
    ------
    ParameterError
        `workers` is below 1, or given beside a scheduler.
    InterphaseError
        The scheduler does not answer, has no workers, or they have another version.
    """
    if workers is not None and workers < 1:
        raise ParameterError(f"workers is {workers}: expected at least 1")
    if workers is not None and scheduler is not None:
        raise ParameterError(
            f"workers is {workers} beside the scheduler {scheduler}, which has its own workers: "
            "give one of the two"
        )
    if not tasks:
        return
    if scheduler is None:
        workers = min(workers or cores(), len(tasks))
        children = ChildPool(threads=threads or max(1, cores() // workers))
        _call_here(function, tasks, take, children, workers, time_limit_s)
    else:
        _call_there(function, tasks, take, scheduler, time_limit_s)


def cores() -> int:
    """Return the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> int:
    """Return how many threads a computation may use here: the cores, or fewer where asked to.

    The environment variable ``OMP_NUM_THREADS`` asks, as it does of numerical libraries; children
    that work side by side are given it.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores(), int(asked)) if asked.isdecimal() and int(asked) > 0 else cores()


def _call_here(
    function: Callable[[Task], Value],
    tasks: Sequence[Task],
    take: Callable[[Task, Value | InterphaseError], None],
    children: ChildPool,
    workers: int,
    time_limit_s: float | None,
) -> None:
    from dask import threaded

    one_at_a_time = threading.Lock()

    def deliver(task: Task) -> None:
        outcome: Value | InterphaseError
        try:
            outcome = children.call(function, task, time_limit_s=time_limit_s)
        except (ChildLostError, ChildCallError) as error:
            outcome = error
        # Taken here and not returned: Dask would keep all values until the last one is there.
        with one_at_a_time:
            if not children.stopped:
                take(task, outcome)

    graph = {f"call-{number}": (partial(deliver, task),) for number, task in enumerate(tasks)}
    try:
        threaded.get(graph, list(graph), num_workers=workers)
    finally:
        # Busy children end here too when the run is interrupted.
        children.close()


def _call_there(
    function: Callable[[Task], Value],
    tasks: Sequence[Task],
    take: Callable[[Task, Value | InterphaseError], None],
    scheduler: str,
    time_limit_s: float | None,
) -> None:
    from distributed import as_completed

    with _cluster(scheduler) as client:
        futures = {
            client.submit(call_on_worker, function, task, time_limit_s, pure=False): task
            for task in tasks
        }
        for future in as_completed(futures):  # type: ignore[no-untyped-call]
            task = futures.pop(future)
            error = future.exception()
            if error is None:
                take(task, future.result())
            elif isinstance(error, InterphaseError):
                take(task, error)
            else:
                lost = f"its worker was lost ({type(error).__name__}: {one_line(str(error))})"
                take(task, InterphaseError(lost))
            future.release()


_worker_children: ChildPool | None = None
_worker_lock = threading.Lock()


def call_on_worker(
    function: Callable[[Task], Value], task: Task, time_limit_s: float | None
) -> Value:
    """Call a function on a worker of a cluster, whose children stay warm between calls."""
    global _worker_children
    with _worker_lock:
        if _worker_children is None:
            _worker_children = ChildPool()
        children = _worker_children
    value: Value = children.call(function, task, time_limit_s=time_limit_s)
    return value


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
            f"no Dask scheduler answers at {scheduler} ({one_line(str(error))}): start one with "
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
                f"worker {address} answers {one_line(str(version))!r} when asked for the version "
                f"of interphase: install interphase {interphase.__version__} there"
            )


def package_version() -> str:
    """Return the version of the package that this process runs."""
    return interphase.__version__


def one_line(text: str, most: int = 200) -> str:
    """Return a text on one line, cut to `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"

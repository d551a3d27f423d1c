"""Calls in a process of their own, so that one that crashes harms no other.

A corrupt HDF5 file can end the process that reads it, a damaged header can send a reader into an
endless loop, and a large model can run out of memory. None of it can be caught inside the process.
So each call runs in a child that is warm (its imports are done) and is replaced when it dies or
takes too long. This works alike under every scheduler, on one machine or in a cluster.
"""

import contextlib
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from interphase.errors import InterphaseError

log = logging.getLogger(__name__)


class ChildLostError(InterphaseError):
    """The process that worked on a call died or was stopped before it answered."""


class ChildTimeoutError(ChildLostError):
    """The process took longer than one call may take."""


class ChildCallError(InterphaseError):
    """The call raised; the message names what, and a note holds the traceback."""


class _Child:
    """One warm process."""

    def __init__(self, threads: int) -> None:
        environment = dict(os.environ)
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            # Several are what there is room for, and the user may want fewer; one is meant.
            if threads == 1 or name not in environment:
                environment[name] = str(threads)
        environment["DASK_NUM_WORKERS"] = str(threads)
        debugging = log.isEnabledFor(logging.DEBUG)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "interphase.parallel.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if debugging else subprocess.DEVNULL,
            env=environment,
        )

    def call(
        self, function: Callable[..., Any], args: tuple[Any, ...], time_limit_s: float | None
    ) -> Any:
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self.process.kill()

        timer = threading.Timer(time_limit_s or threading.TIMEOUT_MAX, expire)
        timer.daemon = True
        timer.start()
        try:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            pickle.dump((function, args), self.process.stdin)
            self.process.stdin.flush()
            done, value = pickle.load(self.process.stdout)  # noqa: S301 - our own child wrote it
        except (EOFError, OSError, pickle.UnpicklingError):
            code = self.close()
            if expired.is_set():
                raise ChildTimeoutError(
                    f"it was stopped after {time_limit_s:g} s, the time limit"
                ) from None
            raise ChildLostError(f"its process {_ending(code)}") from None
        finally:
            timer.cancel()
            timer.join()
        if not done:
            name, text, trace = value
            log.debug("%s", trace)
            error = ChildCallError(f"{name}: {text}" if text else name)
            error.add_note(trace)
            raise error
        return value

    def close(self) -> int:
        """End the process and return its exit status."""
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was buffered has nobody to read it
                    pipe.close()
        return self.process.wait()


def _ending(code: int) -> str:
    """Return how a process ended, in words."""
    if code == -9:
        return "was killed (signal 9), perhaps because memory ran out"
    if code < 0:
        return f"crashed (signal {-code}), as a corrupt file may bring about"
    return f"ended with status {code}"


class ChildPool:
    """Warm processes that take calls, from any number of threads.

    Parameters
    ----------
    threads
        Threads that numerical libraries may use in each process: 1 is kept to, a larger number
        is less where the environment says so.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def call(
        self,
        function: Callable[..., Any],
        *args: Any,
        time_limit_s: float | None = None,
        attempts: int = 2,
    ) -> Any:
        """Return ``function(*args)`` computed in a process of its own.

        Parameters
        ----------
        function
            A function at the top of a module.
        args
            Arguments that can be pickled.
        time_limit_s
            Time after which the process is killed [s]; never unless given.
        attempts
            Calls made in fresh processes before a crash is believed: it may have been another
            call's. A call that took too long is not repeated.

        Raises
        ------
        ChildLostError
            The process died, or the time was up.
        ChildCallError
            The function raised.
        """
        while True:
            attempts -= 1
            child = self._take()
            try:
                value = child.call(function, args, time_limit_s)
            except ChildTimeoutError:
                self._forget(child)
                raise
            except ChildLostError:
                self._forget(child)
                if attempts <= 0 or self._stopped:
                    raise
            except ChildCallError:
                self._give_back(child)
                raise
            except BaseException:  # interrupted in the middle of a reply: of no use any more
                self._forget(child)
                child.close()
                raise
            else:
                self._give_back(child)
                return value

    @property
    def stopped(self) -> bool:
        """Whether the pool was closed; what calls raise since then says nothing about them."""
        return self._stopped

    def close(self) -> None:
        """End every process, busy ones too; calls in progress raise."""
        with self._lock:
            self._stopped = True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        for child in idle:
            child.close()
        for child in busy:
            # The thread that waits for its answer closes it.
            child.process.kill()

    def release(self) -> None:
        """End the idle processes."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.close()

    def _take(self) -> _Child:
        with self._lock:
            if self._stopped:
                raise ChildLostError("the run was stopped")
            while self._idle:
                child = self._idle.pop()
                if child.process.poll() is None:
                    self._busy.add(child)
                    return child
                child.close()
            child = _Child(self._threads)
            self._busy.add(child)
            return child

    def _forget(self, child: _Child) -> None:
        with self._lock:
            self._busy.discard(child)

    def _give_back(self, child: _Child) -> None:
        with self._lock:
            self._busy.discard(child)
            if not self._stopped and child.process.poll() is None:
                self._idle.append(child)
                return
        child.close()

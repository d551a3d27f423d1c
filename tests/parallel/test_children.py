import ctypes
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from interphase.parallel.children import (
    ChildCallError,
    ChildLostError,
    ChildPool,
    ChildTimeoutError,
)


@pytest.fixture
def pool() -> Iterator[ChildPool]:
    pool = ChildPool()
    yield pool
    pool.close()


def test_a_call_returns_what_the_function_returns(pool: ChildPool) -> None:
    assert pool.call(math.hypot, 3, 4, time_limit_s=60) == 5
    # The same warm process serves the next call.
    assert pool.call(os.getpid, time_limit_s=60) == pool.call(os.getpid, time_limit_s=60)


def test_a_crash_is_said_and_the_pool_goes_on(pool: ChildPool) -> None:
    with pytest.raises(ChildLostError, match=r"crashed \(signal 11\)"):
        pool.call(ctypes.string_at, 0, time_limit_s=60)
    assert pool.call(math.sqrt, 4, time_limit_s=60) == 2


def test_a_killed_process_is_tried_once_more(pool: ChildPool) -> None:
    pid = pool.call(os.getpid, time_limit_s=60)
    killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    killer.start()
    start = time.monotonic()
    pool.call(time.sleep, 1.0, time_limit_s=60)
    assert time.monotonic() - start > 1.2
    killer.join()


def test_a_call_that_takes_too_long_is_stopped(pool: ChildPool) -> None:
    pool.call(math.sqrt, 4, time_limit_s=60)
    start = time.monotonic()
    with pytest.raises(ChildTimeoutError, match=r"stopped after 0\.3 s, the time limit"):
        pool.call(time.sleep, 60, time_limit_s=0.3)
    assert time.monotonic() - start < 5


def test_an_exception_is_named(pool: ChildPool) -> None:
    with pytest.raises(ChildCallError, match=r"^ValueError: "):
        pool.call(math.sqrt, -1, time_limit_s=60)


def test_what_a_library_prints_does_not_harm_the_reply(pool: ChildPool) -> None:
    assert pool.call(os.write, 1, b"chatter", time_limit_s=60) == 7
    assert pool.call(print, "more chatter", time_limit_s=60) is None
    assert pool.call(math.sqrt, 9, time_limit_s=60) == 3


def test_closing_stops_busy_processes(pool: ChildPool) -> None:
    pool.call(math.sqrt, 4, time_limit_s=60)
    threading.Timer(0.3, pool.close).start()
    with pytest.raises(ChildLostError, match="was killed"):
        pool.call(time.sleep, 60, time_limit_s=60)
    with pytest.raises(ChildLostError, match="the run was stopped"):
        pool.call(math.sqrt, 4, time_limit_s=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a parent's death is seen on POSIX only")
def test_children_do_not_outlive_a_killed_parent() -> None:
    code = (
        "import os, threading, time; from interphase.parallel.children import ChildPool\n"
        "pool = ChildPool(); print(pool.call(os.getpid, time_limit_s=60), flush=True)\n"
        "pool.call(time.sleep, 60, time_limit_s=60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        # An orphan nobody waits for may stay in the process table as a zombie.
        with open(f"/proc/{child}/stat") as stat:
            if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                return
        time.sleep(0.1)
    pytest.fail("the child still runs")

"""Fixtures that every room's tests share."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

# Programs that tests start import the installed package, too, and not the folder they start in.
os.environ["PYTHONSAFEPATH"] = "1"
# Tests leave nothing in the user's cache folder and take nothing from it.
os.environ["INTERPHASE_CACHE"] = ""
# Nor do they know of the user's own measurements.
os.environ["INTERPHASE_DAMAGE"] = ""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real files with known truths, or skip."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real files, ../shared/data, is not beside this checkout")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator, new for each test."""
    return np.random.default_rng(20261122)


@pytest.fixture
def dask_scheduler(tmp_path: Path) -> Iterator[str]:
    """Address of a Dask scheduler in a process of its own, with one worker of two threads."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    address_file = folder / "scheduler.json"
    processes: list[subprocess.Popen[bytes]] = []

    def start(program: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments]
        quiet = subprocess.DEVNULL
        processes.append(subprocess.Popen(command, cwd=folder, stdout=quiet, stderr=quiet))

    try:
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"]
        start("scheduler", *options, "--scheduler-file", str(address_file))
        deadline = time.monotonic() + 30
        while not address_file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.1)
        address = json.loads(address_file.read_text())["address"]
        start("worker", address, "--nthreads", "2", "--no-dashboard", "--no-nanny")
        yield address
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()

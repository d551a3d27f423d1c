"""Look through an HDF5 file in a process of its own, because a corrupt one can end the process.

The HDF5 library dereferences what a damaged heap points to: one file in a thousand with a flipped
byte ends Python by a segmentation fault, which no ``except`` can catch. :func:`probe` therefore
reads all that is small in a short-lived process first; only a file that survives is opened here.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_LARGEST_COMPRESSION = 1100
"""No lossless filter of HDF5 expands more; deflate reaches 1032."""
_READ_AT_MOST = 64 * 2**20
"""Bytes of a data set that are read as a trial, and of all of them four times as much."""
_MEMORY = 8 * 2**30
TIME_LIMIT_S = 60.0
"""A sound file takes well under a second: what is larger than the limits above is not read."""


def probe(path: Path) -> tuple[int, str]:
    """Look through an HDF5 file from a process of its own.

    Returns
    -------
    claimed : int
        Bytes that its arrays take in memory.
    why : str
        What is wrong with it; empty where nothing is.
    """
    command = [sys.executable, "-P", __file__, str(path)]
    try:
        done = subprocess.run(  # noqa: S603 - our own file, no shell
            command, capture_output=True, timeout=TIME_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return 0, f"reading its structure took longer than {TIME_LIMIT_S:.0f} s"
    if done.returncode != 0:
        return 0, "the HDF5 library breaks down over it"
    answer = json.loads(done.stdout.decode().splitlines()[-1])
    return int(answer["claimed"]), str(answer["why"])


def look_through(path: str) -> tuple[int, str]:
    """Walk over all groups, attributes and data sets; see :func:`probe`."""
    import h5py

    size, sizes = os.path.getsize(path), [0]
    trial = 0

    def visit(name: str, item: Any) -> str | None:
        nonlocal trial
        for key in item.attrs:
            item.attrs[key]
        if not isinstance(item, h5py.Dataset):
            return None
        claimed, stored = int(item.nbytes), int(item.id.get_storage_size())
        if stored > size or claimed > max(stored, 4096) * _LARGEST_COMPRESSION:
            return f"{name[:60]} claims {claimed} bytes and stores {stored}"
        sizes.append(claimed)
        if claimed <= _READ_AT_MOST and trial + claimed <= 4 * _READ_AT_MOST:
            trial += claimed
            item[()]
        return None

    try:
        with h5py.File(path, "r") as file:
            why = file.visititems(visit)
            if "Data/SpectrumStream" in file:  # a stream of events expands to a dense cube
                sizes.append(2**40)
    # h5py raises OSError, RuntimeError, KeyError, TypeError, ValueError and more on damage.
    except Exception as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return sum(sizes), why or ""


if __name__ == "__main__":
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    except (ImportError, ValueError, OSError):
        pass  # a system without limits: the sizes are still checked before anything is read
    _claimed, _why = look_through(sys.argv[1])
    sys.stdout.write(json.dumps({"claimed": _claimed, "why": _why}) + "\n")

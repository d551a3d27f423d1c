"""Files that are whole or absent, what JSON can hold, digests, and folders held by one run."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from interphase.errors import InterphaseError


def to_plain(value: Any) -> Any:
    """Return a record as what JSON can say: no NaN, no infinity, no tuples.

    >>> to_plain({"doses": (1.5, float("nan")), "kind": None})
    {'doses': [1.5, None], 'kind': None}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "shape": list(value.shape), "data": value.tolist()}
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def digest(value: Any) -> str:
    """Return the SHA-256 of a plain value, independent of the order of its keys."""
    text = json.dumps(to_plain(value), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that it is there completely or not at all.

    Parameters
    ----------
    path
        Where the file shall be; an older one is replaced.
    write
        Is given the open stream.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write text so that the file is there completely or not at all."""
    write_whole(path, lambda stream: stream.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON so that the file is there completely or not at all."""
    write_text(path, json.dumps(to_plain(value), allow_nan=False, ensure_ascii=False, indent=1))


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a result folder for this run alone; the lock falls with the process, however it ends.

    Parameters
    ----------
    folder
        The folder; made if it is not there. What killed runs left half written in it is removed.

    Raises
    ------
    InterphaseError
        The folder cannot be made or written, another run holds it, or it is removed meanwhile.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    except OSError as error:
        raise InterphaseError(
            f"{folder} cannot be written ({error.strerror}): give another result folder with --out"
        ) from error
    with lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows: two runs at once are left to the user's care
            pass
        except OSError:
            raise InterphaseError(
                f"another run is writing to {folder}: wait for its end, or give --out"
            ) from None
        for part in [*folder.glob(".*.part"), *folder.glob("*/.*.part")]:
            part.unlink(missing_ok=True)
        try:
            yield
        except FileNotFoundError as error:
            place = Path(error.filename or folder).absolute().parent
            ours = place.is_relative_to(folder.absolute())
            if folder.is_dir() and (place.is_dir() or not ours):
                raise
            raise InterphaseError(
                f"{folder} or a folder in it was removed while this run wrote to it: run again"
            ) from error

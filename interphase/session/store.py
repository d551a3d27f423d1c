"""Results on disk: whole or absent, keyed by all that they depend on.

A result is two files, ``<key>.npz`` with small pictures and then ``<key>.json`` with the
record; the second says that the first is complete. Each is written beside its place, brought
to the disk, and renamed, so that a run may be killed at any instant.
"""

import contextlib
import hashlib
import json
import os
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from interphase.errors import InterphaseError
from interphase.session.records import FileResult, Pictures

FORMAT = 1
"""Number of the layout of stored results; results of another layout are measured again."""


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


def from_plain(kind: Any, value: Any) -> Any:
    """Return the record of type `kind` that :func:`to_plain` wrote as `value`."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return from_plain(next(arg for arg in args if arg is not type(None)), value)
    if value is None:
        return float("nan") if kind is float else None
    if isinstance(kind, type) and is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ValueError(f"{value!r} is no {kind.__name__}")
        hints = typing.get_type_hints(kind)
        # A field that was added later takes its default.
        known = {f.name for f in fields(kind)} & value.keys()
        return kind(**{name: from_plain(hints[name], value[name]) for name in known})
    if kind is np.ndarray:
        return np.array(value["data"], dtype=value["dtype"]).reshape(value["shape"])
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(from_plain(args[0], item) for item in value)
        return tuple(from_plain(arg, item) for arg, item in zip(args, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: from_plain(args[1], item) for key, item in value.items()}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if kind is datetime:
        return datetime.fromisoformat(value)
    if kind is Path:
        return Path(value)
    return value


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


class Store:
    """The finished results of a session.

    Parameters
    ----------
    out
        Result folder; made if it is not there.

    Raises
    ------
    InterphaseError
        The folder cannot be made or written.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out / "files"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (out / ".lock").touch()
        except OSError as error:
            raise InterphaseError(
                f"{out} cannot be written ({error.strerror}): give another result folder with --out"
            ) from error
        self.out = out

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this run alone; the lock falls with the process, however it ends."""
        try:
            import fcntl
        except ImportError:  # Windows: two runs at once are left to the user's care
            yield
            return
        with (self.out / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InterphaseError(
                    f"another run is writing to {self.out}: wait for its end, or give --out"
                ) from None
            for part in [*self.out.glob(".*.part"), *self.folder.glob(".*.part")]:
                part.unlink()
            yield

    def load(self, key: str) -> FileResult | None:
        """Return the finished result with this key, or ``None``."""
        path = self.folder / f"{key}.json"
        try:
            result = from_plain(FileResult, json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return None  # written by another version, or damaged since: measured again
        if not isinstance(result, FileResult) or not result.final:
            return None
        return self._with_pictures(result)

    def save(self, result: FileResult, pictures: Pictures | None) -> FileResult:
        """Write a result and return it as :meth:`load` would."""
        if pictures is not None:
            arrays = {name: value for name, value in asdict(pictures).items() if value is not None}
            write_whole(
                self.folder / f"{result.key}.npz",
                lambda stream: np.savez_compressed(stream, **arrays),
            )
        write_json(self.folder / f"{result.key}.json", replace(result, pictures=None))
        return self._with_pictures(result)

    def _with_pictures(self, result: FileResult) -> FileResult:
        path = self.folder / f"{result.key}.npz"
        return replace(result, pictures=path if path.exists() else None)


def load_pictures(result: FileResult) -> Pictures:
    """Return the small arrays that belong to a result; empty if there are none."""
    if result.pictures is None:
        return Pictures()
    values: dict[str, Any] = {}
    with np.load(result.pictures) as arrays:
        for name in arrays.files:
            array = arrays[name]
            values[name] = float(array) if array.ndim == 0 else array
    return Pictures(**values)

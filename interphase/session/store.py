"""Results on disk: whole or absent, keyed by all that they depend on.

A result is two files, ``<key>.npz`` with small pictures and then ``<key>.json`` with the
record; the second says that the first is complete. Each is written beside its place, brought
to the disk, and renamed, so that a run may be killed at any instant. What files say of their
exposures lies beside them in a folder of its own.
"""

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from interphase.acquisition import Acquisition
from interphase.files import write_json, write_whole
from interphase.session.records import FileResult, Pictures

FORMAT = 2
"""Number of the layout of stored results; results of another layout are measured again."""


def from_plain(kind: Any, value: Any) -> Any:
    """Return the record of type `kind` that :func:`interphase.files.to_plain` wrote as `value`."""
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


class Store:
    """The finished results of a session.

    Parameters
    ----------
    out
        Result folder; made if it is not there.
    """

    def __init__(self, out: Path) -> None:
        self.folder, self.records = out / "files", out / "exposures"
        for folder in (self.folder, self.records):
            folder.mkdir(parents=True, exist_ok=True)

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

    def load_records(self, facts: str) -> tuple[Acquisition, ...] | None:
        """Return what was read of a file's exposures, or ``None``."""
        try:
            said = json.loads((self.records / f"{facts}.json").read_text())
            records: tuple[Acquisition, ...] = from_plain(tuple[Acquisition, ...], said)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return records

    def save_records(self, facts: str, records: tuple[Acquisition, ...]) -> None:
        """Write what was read of a file's exposures."""
        write_json(self.records / f"{facts}.json", records)

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

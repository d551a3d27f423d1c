"""An acquisition as the plain dictionary that ``interphase info --json`` prints."""

from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from interphase.acquisition import Acquisition

_PLAIN = ("sources", "missing", "dose_statements", "stage", "warnings", "kind", "shape")


def describe(acquisition: Acquisition, path: str | Path) -> dict[str, Any]:
    """Return what a file holds, ready for JSON.

    Parameters
    ----------
    acquisition
        The record of the file.
    path
        The file, named in the result.

    Returns
    -------
    dict
        ``file``, ``kind``, ``shape``, every field of the record under its own name, ``stage``,
        ``missing``, ``warnings``, ``sources`` and ``dose_statements``.
    """
    described: dict[str, Any] = {
        "file": str(path),
        "kind": str(acquisition.kind),
        "shape": list(acquisition.shape),
    }
    for field in fields(acquisition):
        if field.name not in _PLAIN:
            value = getattr(acquisition, field.name)
            described[field.name] = value.isoformat() if isinstance(value, datetime) else value
    described["stage"] = None if acquisition.stage is None else asdict(acquisition.stage)
    described["missing"] = dict(acquisition.missing)
    described["warnings"] = list(acquisition.warnings)
    described["sources"] = {name: str(source) for name, source in acquisition.sources.items()}
    described["dose_statements"] = [
        {"dose_e_per_a2": statement.dose_e_per_a2, "source": str(statement.source)}
        for statement in acquisition.dose_statements
    ]
    return described

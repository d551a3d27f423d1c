"""Exposures that a user noted by hand, in a table that any spreadsheet writes."""

import csv
import difflib
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from interphase.dose import Exposure, Ledger, Purpose, camera_rectangle, disc, onto_specimen
from interphase.errors import ConfigurationError, InterphaseError
from interphase.io.discovery import LEDGER_FILE

NOTE_COLUMNS: Mapping[str, str] = {
    "name": "what names it; a number if it has none",
    "purpose": f"{', '.join(Purpose)}",
    "time": "when it began, such as 2026-03-02 10:04:30",
    "duration_s": "how long it lasted [s]",
    "x_um": "stage x of its middle [µm]",
    "y_um": "stage y of its middle [µm]",
    "diameter_um": "diameter of the beam, if it is a disc [µm]",
    "width_um": "size along x, if it is a rectangle [µm]",
    "height_um": "size along y [µm]",
    "dose_e_per_a2": "dose [e/Å²]",
    "dose_rate_e_per_a2_s": "dose rate, which times the duration is the dose [e/Å²/s]",
    "beam_energy_kev": "beam energy [keV]",
    "temperature_k": "specimen temperature [K]",
    "alpha_deg": "tilt about the stage's x [degrees]",
}
"""Columns of a table of exposures; only ``purpose`` is needed, an empty cell is unknown."""
_WORDS = ("name", "purpose", "time")
"""Columns that hold no number."""
_PAIRS = (("x_um", "y_um"), ("width_um", "height_um"))
"""Columns of which one says nothing without the other."""


def read_notes(path: str | Path) -> list[Exposure]:
    """Read exposures that were noted by hand.

    Parameters
    ----------
    path
        CSV file with a head line of some of `NOTE_COLUMNS`; lines that begin with ``#`` are
        comments. Where semicolons or tabs part the cells, decimals may have a comma.

    Returns
    -------
    list of Exposure
        Their keys are the file's name and theirs.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or a line cannot be understood; the message names the line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path} cannot be read: it is no text in UTF-8; save it as CSV in UTF-8"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    kept = ["" if line.startswith("#") or not line.strip() else line for line in lines]
    head = next(filter(None, kept), "")
    # Spreadsheets write semicolons where the comma is the decimal mark.
    mark = next((mark for mark in ";\t" if mark in head and "," not in head), ",")
    table = csv.reader((f"{line}\n" for line in kept), delimiter=mark)
    try:
        rows = [(table.line_num, [cell.strip() for cell in row]) for row in table if any(row)]
    except csv.Error as error:
        raise ConfigurationError(f"{path.name}, line {table.line_num}: {error}") from error
    columns = rows[0][1] if rows else []
    _check_columns(columns, path.name)
    found: dict[str, Exposure] = {}
    for count, (number, row) in enumerate(rows[1:], 1):
        try:
            said = _said(columns, row, decimal_comma=mark != ",")
            shot = _exposure(said, f"{path.name}: {said.get('name', count)}")
            if shot.key in found:
                raise ConfigurationError(
                    f"`{said.get('name', count)}` is the name of an earlier line: expected another"
                )
        except (InterphaseError, ValueError) as error:
            raise ConfigurationError(f"{path.name}, line {number}: {error}") from error
        found[shot.key] = shot
    return list(found.values())


def _check_columns(columns: Sequence[str], name: str) -> None:
    """Refuse a head line that has columns that are unknown or there twice, or lacks `purpose`."""
    for column in filter(None, columns):
        if column not in NOTE_COLUMNS:
            close = difflib.get_close_matches(column, list(NOTE_COLUMNS), n=1, cutoff=0.0)[0]
            raise ConfigurationError(
                f"{name}: the column `{column}` is unknown; did you mean `{close}`?"
            )
        if columns.count(column) > 1:
            raise ConfigurationError(f"{name}: the column `{column}` is there twice")
    if "purpose" not in columns:
        raise ConfigurationError(
            f"{name} has no column `purpose`: expected a head line such as "
            "purpose,time,x_um,y_um,diameter_um,dose_e_per_a2"
        )


def _said(columns: Sequence[str], row: Sequence[str], *, decimal_comma: bool) -> dict[str, str]:
    """Return what the cells of a line say, by column."""
    if any(row[len(columns) :]) or any(
        cell and not column for cell, column in zip(row, columns, strict=False)
    ):
        raise ConfigurationError(
            f"{len(row)} cells under {len(list(filter(None, columns)))} columns: write decimals "
            "with a point, and text that holds a comma in quotes"
        )
    said = {column: cell for column, cell in zip(columns, row, strict=False) if cell}
    if decimal_comma:
        said |= {name: said[name].replace(",", ".") for name in said if name not in _WORDS}
    return said


def add_notes(path: str | Path, folder: Path) -> None:
    """Keep exposures that were noted by hand in the ledger beside a session's files.

    Those of an older table of the same name go.
    """
    name, notes = f"{Path(path).name}: ", read_notes(path)
    with Ledger.open(folder / LEDGER_FILE) as ledger:
        ledger.rewrite(
            lambda before: [*(shot for shot in before if not shot.key.startswith(name)), *notes]
        )


def _exposure(said: Mapping[str, str], key: str) -> Exposure:
    numbers = {name: _number(name, text) for name, text in said.items() if name not in _WORDS}
    for one, other in _PAIRS:
        if (one in numbers) != (other in numbers):
            given, lacking = (one, other) if one in numbers else (other, one)
            raise ConfigurationError(f"`{given}` is given without `{lacking}`: expected both")
    dose, rate = numbers.get("dose_e_per_a2"), numbers.get("dose_rate_e_per_a2_s")
    if rate is not None and "duration_s" in numbers:
        product = rate * numbers["duration_s"]
        if dose is not None and not math.isclose(dose, product, rel_tol=0.1):
            raise ConfigurationError(
                f"dose_e_per_a2 is {dose:g}, but rate times duration is {product:g} e/Å²: leave "
                "out the one that is wrong"
            )
        dose = product if dose is None else dose
    place = (numbers["x_um"], numbers["y_um"]) if {"x_um", "y_um"} <= numbers.keys() else None
    fields: dict[str, Any] = {
        name: numbers.get(name)
        for name in ("duration_s", "beam_energy_kev", "temperature_k", "alpha_deg")
    }
    return Exposure(
        key=key,
        purpose=_purpose(said.get("purpose", "")),
        time=_time(said["time"]) if "time" in said else None,
        place_um=place,
        illuminated_um=None if place is None else _outline(numbers, place),
        position_uncertain_um=0.0 if place else math.inf,
        dose_e_per_a2=dose,
        dose_rate_e_per_a2_s=rate,
        sources={"dose_e_per_a2": "noted by hand"},
        **fields,
    )


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"`{name}` is {text!r}: expected a number alone") from None


def _purpose(text: str) -> Purpose:
    try:
        return Purpose(text.lower())
    except ValueError:
        raise ConfigurationError(
            f"`purpose` is {text!r}: expected one of {', '.join(Purpose)}"
        ) from None


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"`time` is {text!r}: expected a time such as 2026-03-02 10:04:30"
        ) from None


def _outline(numbers: Mapping[str, float], place: tuple[float, float]) -> np.ndarray | None:
    if "diameter_um" in numbers:
        shape = disc(numbers["diameter_um"])
    elif {"width_um", "height_um"} <= numbers.keys():
        unit = camera_rectangle((1, 1), pixel_size_a=1e4)
        shape = unit * [numbers["width_um"], numbers["height_um"]]
    else:
        return None
    return onto_specimen(shape, centre_um=place, alpha_deg=numbers.get("alpha_deg", 0.0))

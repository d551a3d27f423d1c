"""Exposures that a user noted by hand, in a table that any spreadsheet writes."""

import csv
import difflib
import math
from collections.abc import Mapping
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


def read_notes(path: str | Path) -> list[Exposure]:
    """Read exposures that were noted by hand.

    Parameters
    ----------
    path
        CSV file with a head line of some of `NOTE_COLUMNS`; lines that begin with ``#`` are
        comments.

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
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"{path} cannot be read: {reason}") from error
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and line[0] != "#"]
    table = csv.DictReader(line for _, line in numbered)
    for column in table.fieldnames or ():
        if column not in NOTE_COLUMNS:
            close = difflib.get_close_matches(column, list(NOTE_COLUMNS), n=1, cutoff=0.0)[0]
            raise ConfigurationError(
                f"{path.name}: the column `{column}` is unknown; did you mean `{close}`?"
            )
    if "purpose" not in (table.fieldnames or ()):
        raise ConfigurationError(
            f"{path.name} has no column `purpose`: expected a head line such as "
            "purpose,time,x_um,y_um,diameter_um,dose_e_per_a2"
        )
    found = []
    for count, ((number, _), row) in enumerate(zip(numbered[1:], table, strict=True), 1):
        try:
            said = {name: text.strip() for name, text in row.items() if text and text.strip()}
            found.append(_exposure(said, f"{path.name}: {said.get('name', count)}"))
        except (InterphaseError, ValueError, AttributeError, TypeError) as error:
            raise ConfigurationError(f"{path.name}, line {number}: {error}") from error
    return found


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
    numbers = {
        name: float(text) for name, text in said.items() if name not in ("name", "purpose", "time")
    }
    dose, rate = numbers.get("dose_e_per_a2"), numbers.get("dose_rate_e_per_a2_s")
    if dose is None and rate is not None and "duration_s" in numbers:
        dose = rate * numbers["duration_s"]
    place = (numbers["x_um"], numbers["y_um"]) if {"x_um", "y_um"} <= numbers.keys() else None
    fields: dict[str, Any] = {
        name: numbers.get(name)
        for name in ("duration_s", "beam_energy_kev", "temperature_k", "alpha_deg")
    }
    return Exposure(
        key=key,
        purpose=Purpose(said.get("purpose", "").lower()),
        time=datetime.fromisoformat(said["time"]) if "time" in said else None,
        place_um=place,
        illuminated_um=None if place is None else _outline(numbers, place),
        position_uncertain_um=0.0 if place else math.inf,
        dose_e_per_a2=dose,
        dose_rate_e_per_a2_s=rate,
        sources={"dose_e_per_a2": "noted by hand"},
        **fields,
    )


def _outline(numbers: Mapping[str, float], place: tuple[float, float]) -> np.ndarray | None:
    if "diameter_um" in numbers:
        shape = disc(numbers["diameter_um"])
    elif {"width_um", "height_um"} <= numbers.keys():
        unit = camera_rectangle((1, 1), pixel_size_a=1e4)
        shape = unit * [numbers["width_um"], numbers["height_um"]]
    else:
        return None
    return onto_specimen(shape, centre_um=place, alpha_deg=numbers.get("alpha_deg", 0.0))

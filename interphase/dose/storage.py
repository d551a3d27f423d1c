"""The ledger's file: an SQLite data base that many processes may write, each exposure whole.

Tables: ``exposure`` with one row each, ``place`` (an R*Tree) with the box of each that has a place,
``about`` with what holds for all.
"""

import contextlib
import json
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from interphase.dose.exposure import Exposure, Purpose
from interphase.dose.rows import Rows
from interphase.dose.totals import chronological
from interphase.errors import LedgerError, ParameterError

APPLICATION_ID = 0x69704C67
"""What marks an SQLite file as a ledger of this package ("ipLg")."""
FORMAT = 1
"""Number of the layout of the tables."""
_CACHE_KIB = 65536
"""Pages that are kept in memory, for the index of many exposures [KiB]."""
_PATIENCE_S = 60.0
"""How long to wait for another process that writes [s]."""

_SCHEMA = """
CREATE TABLE exposure (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, file TEXT, purpose TEXT NOT NULL,
    start_s REAL, duration_s REAL, dose REAL, most_dose REAL, prior REAL, energy REAL,
    electrons REAL, x REAL, y REAL, uncertain REAL NOT NULL, reach REAL NOT NULL,
    doubt TEXT NOT NULL, everywhere INTEGER NOT NULL,
    recorded BLOB, illuminated BLOB, inner BLOB, record TEXT NOT NULL
);
CREATE INDEX exposure_file ON exposure (file);
CREATE INDEX exposure_everywhere ON exposure (everywhere) WHERE everywhere;
CREATE VIRTUAL TABLE place USING rtree (id, x0, x1, y0, y1);
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_COLUMNS = (
    "key file purpose start_s duration_s dose most_dose prior energy electrons x y uncertain reach "
    "doubt everywhere recorded illuminated inner record"
).split()
_INSERT = (
    f"INSERT INTO exposure ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "  # noqa: S608
    "ON CONFLICT (key) DO NOTHING"
)
_NUMBERS = (
    "id, start_s, duration_s, dose, most_dose, prior, energy, electrons, x, y, uncertain, reach"
)
_ROWS = (
    f"SELECT {_NUMBERS}, everywhere, illuminated IS NOT NULL, key, doubt, purpose, "  # noqa: S608
    "file, coalesce(illuminated, inner, recorded), coalesce(inner, recorded, illuminated) "
    "FROM exposure"
)


def seconds(when: datetime) -> float:
    """Return a moment in seconds; one without a zone counts as if its clock showed UTC."""
    zoned = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return zoned.timestamp()


class Storage:
    """The exposures of one ledger, in a file or in memory.

    Parameters
    ----------
    path
        The file; ``None`` for memory.
    read_only
        Whether nothing may be written, and the file must exist.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self.name = "the ledger in memory" if path is None else path.name or str(path)
        self._path = path
        if path is not None and not path.parent.is_dir():
            raise LedgerError(
                f"{self.name} cannot be opened: the folder {path.parent} does not exist; make it"
            )
        if path is not None and read_only and not path.is_file():
            raise LedgerError(f"{self.name} cannot be opened: there is no such file")
        if path is not None and os.path.isdir(path):
            raise LedgerError(f"{self.name} cannot be opened: it is a folder; name a file in it")
        target = ":memory:"
        if path is not None:
            mode = "ro" if read_only else "rwc"
            target = f"{path.absolute().as_uri()}?mode={mode}"
            if read_only and _is_at_rest(path):
                target += "&immutable=1"  # SQLite would write beside it
        with self._explained("opened"):
            self._base = sqlite3.connect(target, uri=path is not None, timeout=_PATIENCE_S)
        self._base.isolation_level = None
        self._file = None if path is None else _identity(path)
        try:
            with self._explained("opened"):
                self._prepare(read_only=read_only)
        except BaseException:  # whatever stops it, the file must not stay open
            self._base.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def _prepare(self, *, read_only: bool) -> None:
        self._base.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if self._known():
            return
        if read_only:
            raise LedgerError(f"{self.name} is empty: expected a dose ledger")
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._base.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                # Another process that opens the same new file is not waited for by SQLite here.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        with self.transaction():
            if not self._known():
                for statement in _SCHEMA.split(";"):
                    self._base.execute(statement)
                self._base.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._base.execute(f"PRAGMA user_version = {FORMAT}")

    def _known(self) -> bool:
        """Return whether the file is a ledger, and not yet empty; raise if it is another thing."""
        mark, version = (
            self._base.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version")
        )
        if mark == APPLICATION_ID:
            if version > FORMAT:
                raise LedgerError(
                    f"{self.name} is a dose ledger of format {version}, written by a newer version "
                    f"of interphase; this one knows format {FORMAT}: update interphase"
                )
            return True
        if self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise LedgerError(
                f"{self.name} is an SQLite file of another program, not a dose ledger: choose "
                "another name"
            )
        return False

    @contextlib.contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        """Turn what SQLite says into one sentence."""
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerError(f"{self.name} cannot be {done}: {_reason(error)}") from error
        except UnicodeDecodeError as error:
            raise LedgerError(
                f"{self.name} cannot be {done}: it is damaged; restore it from a copy"
            ) from error
        except UnicodeEncodeError as error:
            raise ParameterError(
                f"{error.object[:80]!r} cannot be {done}: expected characters that Unicode has; "
                "rename the file"
            ) from error

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """Say of what is in the file and cannot be there that it is damaged."""
        try:
            yield
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise LedgerError(
                f"{self.name} cannot be read: an exposure in it is damaged ({error}); restore it "
                "from a copy"
            ) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all of it or nothing."""
        if self._path is not None and _identity(self._path) != self._file:
            raise LedgerError(
                f"{self.name} was moved, removed or replaced while it was open; nothing was "
                "written, close it, look for the file and open it again"
            )
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield self._base
            self._base.execute("COMMIT")
        except BaseException:  # an interrupt, too, must not leave a transaction open
            with contextlib.suppress(sqlite3.Error):
                self._base.execute("ROLLBACK")
            raise
        # Whoever copies or moves the file of an open ledger takes the exposures with it; they are
        # written, whether or not this succeeds.
        with contextlib.suppress(sqlite3.Error):
            self._base.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def add(self, exposures: Iterable[Exposure], *, replace: bool) -> int:
        """Write exposures and return how many are new."""
        given = _checked(exposures)
        rows = [(_row(shot), _box(shot)) for shot in given]
        with self._explained("written"), self.transaction():
            self._check_zones(given)
            return sum(self._put(row, box, replace=replace) for row, box in rows)

    def rewrite(self, change: Callable[[list[Exposure]], Iterable[Exposure]]) -> None:
        """Write what `change` makes of all exposures in their place."""
        with self._explained("written"), self.transaction() as base:
            given = _checked(change(self.exposures()))
            for statement in (
                "DELETE FROM exposure",
                "DELETE FROM place",
                "DELETE FROM about WHERE name = 'zoned'",
            ):
                base.execute(statement)
            self._check_zones(given)
            for shot in given:
                self._put(_row(shot), _box(shot), replace=False)

    def _put(self, row: tuple[Any, ...], box: tuple[float, ...] | None, *, replace: bool) -> bool:
        """Write one exposure and return whether it is new."""
        cursor = self._base.execute(_INSERT, row)
        identifier, new = cursor.lastrowid, bool(cursor.rowcount)
        if not new:
            identifier, changed = self._compare(row, replace=replace)
            if not changed:
                return False
            self._base.execute("DELETE FROM place WHERE id = ?", (identifier,))
        if box is not None:
            self._base.execute("INSERT INTO place VALUES (?, ?, ?, ?, ?)", (identifier, *box))
        return new

    def _compare(self, row: tuple[Any, ...], *, replace: bool) -> tuple[int, bool]:
        """Return the number of the exposure of the same key, and whether it was changed."""
        names = ", ".join(_COLUMNS)
        found = self._base.execute(
            f"SELECT id, {names} FROM exposure WHERE key = ?",  # noqa: S608
            row[:1],
        ).fetchone()
        if found[1:] == row:
            return found[0], False
        if not replace:
            differ = [name for name, a, b in zip(_COLUMNS, found[1:], row, strict=True) if a != b]
            raise ParameterError(
                f"{row[0]} is in {self.name} already, with another {_in_words(differ)}: give it "
                "another key, or replace=True to put it in the place of the old one"
            )
        sets = ", ".join(f"{name} = ?" for name in _COLUMNS)
        self._base.execute(
            f"UPDATE exposure SET {sets} WHERE id = ?",  # noqa: S608
            (*row, found[0]),
        )
        return found[0], True

    def _check_zones(self, exposures: Sequence[Exposure]) -> None:
        """Refuse times with and without a zone in one ledger: they cannot be ordered."""
        said = self.zoned()
        for shot in exposures:
            if shot.time is None:
                continue
            zoned = shot.time.tzinfo is not None
            if said is None:
                said = zoned
                self._base.execute("INSERT INTO about VALUES ('zoned', ?)", (str(int(zoned)),))
            elif zoned != said:
                self._raise_zone(f"time of {shot.key}", zoned=zoned)

    def zoned(self) -> bool | None:
        """Return whether the times have a zone; ``None`` where there is none yet."""
        with self._explained("read"):
            found = self._base.execute("SELECT value FROM about WHERE name = 'zoned'").fetchone()
        return None if found is None else found[0] == "1"

    def _raise_zone(self, what: str, *, zoned: bool) -> None:
        have, others = ("with", "without") if zoned else ("without", "with")
        raise ParameterError(
            f"{what} is {have} a time zone and those in {self.name} are {others}, so that they "
            f"cannot be ordered: give all times {others} a zone"
        )

    def moment(self, until: datetime | None) -> float | None:
        """Return a moment in seconds, if it can be compared with the times of the ledger."""
        if until is None:
            return None
        if not isinstance(until, datetime):
            raise ParameterError(f"until is {until!r}: expected a datetime")
        said, zoned = self.zoned(), until.tzinfo is not None
        if said is not None and zoned != said:
            self._raise_zone("until", zoned=zoned)
        return seconds(until)

    def rows(self, condition: str = "", values: Sequence[Any] = ()) -> Rows:
        """Return what sums need of the exposures for which an SQL condition holds."""
        with self._explained("read"):
            found = self._base.execute(f"{_ROWS} {condition}", values).fetchall()
        with self._understood():
            numbers = np.array([row[:12] for row in found], dtype=float).reshape(-1, 12)
            order = chronological(numbers[:, 1], [row[14] for row in found])
            numbers, found = numbers[order], [found[i] for i in order]
            return Rows(
                id=numbers[:, 0],
                start_s=numbers[:, 1],
                duration_s=numbers[:, 2],
                dose=numbers[:, 3],
                most_dose=numbers[:, 4],
                prior=np.nan_to_num(numbers[:, 5]),
                energy=numbers[:, 6],
                electrons=np.nan_to_num(numbers[:, 7]),
                place=numbers[:, 8:10],
                uncertain=numbers[:, 10],
                reach=numbers[:, 11],
                everywhere=np.array([row[12] for row in found], dtype=bool),
                lit=np.array([row[13] for row in found], dtype=bool),
                key=[row[14] for row in found],
                doubt=np.array([row[15] for row in found], dtype=object),
                purpose=[row[16] for row in found],
                file=[row[17] for row in found],
                footprint=[_polygon(row[18]) for row in found],
                viewed=[_polygon(row[19]) for row in found],
            )

    def within(self, x0: float, y0: float, x1: float, y1: float) -> Rows:
        """Return the exposures whose boxes meet a box [µm]."""
        return self.rows(
            "WHERE id IN (SELECT id FROM place WHERE x1 >= ? AND x0 <= ? AND y1 >= ? AND y0 <= ?)",
            (x0, x1, y0, y1),
        )

    def exposures(self, condition: str = "", values: Sequence[Any] = ()) -> list[Exposure]:
        """Return the exposures for which an SQL condition holds, in the order of time."""
        names = ", ".join(_COLUMNS)
        with self._explained("read"):
            found = self._base.execute(
                f"SELECT {names} FROM exposure {condition}",  # noqa: S608
                values,
            ).fetchall()
        with self._understood():
            start = [math.nan if row[3] is None else row[3] for row in found]
            order = chronological(start, [row[0] for row in found])
            return [_exposure(found[i]) for i in order]

    def count(self) -> int:
        """Return the number of exposures."""
        with self._explained("read"):
            number: int = self._base.execute("SELECT count(*) FROM exposure").fetchone()[0]
        return number

    def version(self) -> tuple[int, int]:
        """Return what changes whenever this or another process writes."""
        with self._explained("read"):
            others: int = self._base.execute("PRAGMA data_version").fetchone()[0]
        return others, self._base.total_changes


def _checked(exposures: Iterable[Exposure]) -> list[Exposure]:
    given = list(exposures) if isinstance(exposures, Iterable) else [exposures]
    for shot in given:
        if not isinstance(shot, Exposure):
            raise ParameterError(f"{repr(shot)[:80]} is no Exposure: expected a list of them")
    return given


def _reason(error: sqlite3.Error) -> str:
    said = str(error)
    if "closed database" in said:
        return "it was closed; open it again"
    if "same thread" in said:
        return "another thread opened it; open it once in each thread"
    if "full" in said:
        return "the disk is full; nothing of this was written, make room and do it again"
    if "readonly" in said or "read-only" in said:
        return "it is read-only; nothing was written, change its permissions or copy it"
    if "locked" in said or "busy" in said:
        return f"another process has been writing for {_PATIENCE_S:g} s; try again when it is done"
    if "not a database" in said or "malformed" in said or "encrypted" in said:
        return "it is no SQLite file, or a damaged one; restore it, or choose another name"
    return f"{said}; check the path and its permissions"


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another of the same name; ``None`` where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _is_at_rest(path: Path) -> bool:
    """Return whether nothing was left beside a file, and nothing can be: its folder is closed."""
    beside = path.with_name(f"{path.name}-wal")
    return not beside.exists() and not os.access(path.absolute().parent, os.W_OK)


def _in_words(columns: Sequence[str]) -> str:
    words = {"start_s": "time", "duration_s": "duration", "x": "place", "y": "place"}
    names = dict.fromkeys(words.get(name, name) for name in columns if name != "record")
    return " and ".join(names) or "origin of its numbers"


def _blob(polygon: np.ndarray | None) -> bytes | None:
    return None if polygon is None else polygon.astype("<f8").tobytes()


def _polygon(blob: bytes | None) -> np.ndarray | None:
    # An inner part that is empty is no polygon.
    return np.frombuffer(blob, dtype="<f8").reshape(-1, 2) if blob else None


def _row(shot: Exposure) -> tuple[Any, ...]:
    record = {
        "time": None if shot.time is None else shot.time.isoformat(),
        "local": shot.local_dose_e_per_a2,
        "rate": shot.dose_rate_e_per_a2_s,
        "temperature_k": shot.temperature_k,
        "alpha_deg": shot.alpha_deg,
        "beta_deg": shot.beta_deg,
        "sources": dict(shot.sources),
    }
    dose, local = shot.dose_e_per_a2, shot.local_dose_e_per_a2
    most = None if dose is None else max(dose, local or 0.0)
    x, y = shot.place_um or (None, None)
    unbounded = math.isinf(shot.position_uncertain_um) or x is None
    prior, energy = shot.prior_dose_e_per_a2, shot.beam_energy_kev
    numbers = (shot.duration_s, dose, most, prior, energy, shot.electrons, x, y)
    return (
        shot.key,
        shot.file,
        shot.purpose.value,
        None if shot.time is None else seconds(shot.time),
        *(None if number is None else float(number) for number in numbers),
        math.inf if x is None else float(shot.position_uncertain_um),
        float(shot.reach_um),
        shot.uncalibrated_shift,
        int(unbounded or (shot.illuminated_um is None and math.isinf(shot.reach_um))),
        _blob(shot.recorded_um),
        _blob(shot.illuminated_um),
        _blob(shot.inner_um),
        json.dumps(record, default=float, ensure_ascii=False),
    )


def _exposure(row: Sequence[Any]) -> Exposure:
    said = dict(zip(_COLUMNS, row, strict=True))
    record = json.loads(said["record"])
    return Exposure(
        key=said["key"],
        purpose=Purpose(said["purpose"]),
        time=None if record["time"] is None else datetime.fromisoformat(record["time"]),
        duration_s=said["duration_s"],
        place_um=None if said["x"] is None else (said["x"], said["y"]),
        recorded_um=_polygon(said["recorded"]),
        illuminated_um=_polygon(said["illuminated"]),
        inner_um=np.zeros((0, 2)) if said["inner"] == b"" else _polygon(said["inner"]),
        position_uncertain_um=said["uncertain"],
        reach_um=said["reach"],
        uncalibrated_shift=said["doubt"],
        dose_e_per_a2=said["dose"],
        local_dose_e_per_a2=record["local"],
        prior_dose_e_per_a2=said["prior"],
        dose_rate_e_per_a2_s=record["rate"],
        beam_energy_kev=said["energy"],
        temperature_k=record["temperature_k"],
        alpha_deg=record["alpha_deg"],
        beta_deg=record["beta_deg"],
        file=said["file"],
        sources=record["sources"],
    )


def _box(shot: Exposure) -> tuple[float, float, float, float] | None:
    """Return x0, x1, y0, y1 around all that an exposure may have hit, where that is bounded."""
    spare = shot.position_uncertain_um if math.isfinite(shot.position_uncertain_um) else 0.0
    corners = [] if shot.footprint_um is None else [shot.footprint_um]
    if shot.illuminated_um is None and shot.place_um is not None and math.isfinite(shot.reach_um):
        reach = np.array([(-shot.reach_um,) * 2, (shot.reach_um,) * 2])
        corners.append(np.asarray(shot.place_um) + reach)
    if not corners:
        return None
    all_corners = corners[0] if len(corners) == 1 else np.concatenate(corners)
    (x0, y0), (x1, y1) = all_corners.min(axis=0) - spare, all_corners.max(axis=0) + spare
    return float(x0), float(x1), float(y0), float(y1)

"""The ledger's file: nothing lost, nothing doubled, nothing half-written, one clear sentence."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import fields, replace
from datetime import UTC, datetime

import numpy as np
import pytest

from interphase.dose import Exposure, Ledger, camera_rectangle
from interphase.errors import InterphaseError, LedgerError, ParameterError

SQUARE = camera_rectangle((2, 2), pixel_size_a=1e4)


def shots(first, last, dose=1.0):
    return [
        Exposure(
            key=f"{n}.mrc", purpose="record", illuminated_um=SQUARE + np.array([0.1 * n, 0.0]),
            dose_e_per_a2=dose,
        )
        for n in range(first, last)
    ]  # fmt: skip


WRITER = """
import sys
from interphase.dose import Exposure, Ledger, camera_rectangle
square = camera_rectangle((2, 2), pixel_size_a=1e4)
path, first, last, batch = sys.argv[1], *map(int, sys.argv[2:])
with Ledger.open(path) as ledger:
    print("open", flush=True)
    for start in range(first, last, batch):
        ledger.add(
            Exposure(key=f"{n}.mrc", purpose="record", illuminated_um=square + (0.1 * n, 0.0),
                     dose_e_per_a2=1.0)
            for n in range(start, start + batch)
        )
"""


def writer(path, first, last, batch):
    command = [sys.executable, "-c", WRITER, path, first, last, batch]
    return subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)


def is_whole(path):
    base = sqlite3.connect(path)
    try:
        (said,) = base.execute("PRAGMA integrity_check").fetchone()
        exposures = base.execute("SELECT id FROM exposure ORDER BY id").fetchall()
        places = base.execute("SELECT id FROM place ORDER BY id").fetchall()
    finally:
        base.close()
    return said == "ok" and exposures == places


def all_of(path):
    with Ledger.open(path) as ledger:
        return ledger.map((0, 0, 5, 5), shape=(4, 4)), ledger.exposures()


def test_what_was_added_comes_back_as_it_was(tmp_path):
    full = Exposure(
        key="a.mdoc#3", purpose="scan", time=datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC),
        duration_s=0.61, place_um=(1 / 3, -2 / 3), recorded_um=SQUARE, illuminated_um=SQUARE * 2,
        inner_um=SQUARE / 2, position_uncertain_um=0.1, reach_um=15.0,
        uncalibrated_shift="beam shift (1, 0)", dose_e_per_a2=25.1, local_dose_e_per_a2=100.0,
        prior_dose_e_per_a2=3.0, dose_rate_e_per_a2_s=41.0, beam_energy_kev=300.0,
        temperature_k=90.0, alpha_deg=-12.5, beta_deg=1.25, file="a.mdoc",
        sources={"dose_e_per_a2": "Dose [e/m²] in the EPU file"},
    )  # fmt: skip
    empty = Exposure(key="b", purpose="focus")
    with Ledger.open(tmp_path / "dose.ledger") as ledger:
        ledger.add([full, empty])
    with Ledger.open(tmp_path / "dose.ledger", read_only=True) as ledger:
        read = ledger.exposures()
    for before, after in zip([full, empty], read, strict=True):
        for field in fields(Exposure):
            a, b = getattr(before, field.name), getattr(after, field.name)
            assert (a == b) if not isinstance(a, np.ndarray) else (a == b).all(), field.name


def test_a_copy_of_an_open_ledger_holds_what_was_added(tmp_path):
    with Ledger.open(tmp_path / "open.ledger") as ledger:
        ledger.add(shots(0, 40))
        (tmp_path / "copy.ledger").write_bytes((tmp_path / "open.ledger").read_bytes())
        with Ledger.open(tmp_path / "copy.ledger") as copy:
            assert len(copy) == 40


def test_adding_again_changes_nothing(tmp_path):
    with Ledger.open(tmp_path / "dose.ledger") as ledger:
        assert ledger.add(shots(0, 5)) == 5
        assert ledger.add(shots(2, 8)) == 3
        assert ledger.add(ledger.exposures()) == 0
        assert len(ledger) == 8
    with Ledger.open(tmp_path / "dose.ledger") as ledger:
        assert ledger.add(shots(0, 8)) == 0
        assert ledger.at((0.0, 0.0)).at_least_e_per_a2 == 8.0


def test_one_name_for_two_exposures_is_refused_and_nothing_of_it_is_written():
    with Ledger.in_memory() as ledger:
        ledger.add(shots(0, 5))
        with pytest.raises(ParameterError, match=r"2\.mrc is in the ledger in memory already, wit"):
            ledger.add([*shots(5, 9), *shots(2, 3, dose=7.0)])
        assert len(ledger) == 5
        with pytest.raises(ParameterError, match="with another dose"):
            ledger.add(shots(2, 3, dose=7.0))
        assert ledger.add([*shots(5, 6), *shots(2, 3, dose=7.0)], replace=True) == 1
        assert len(ledger) == 6
        assert ledger.at((0.2, 0.0)).at_least_e_per_a2 == 12.0


def test_an_exposure_that_is_replaced_moves():
    with Ledger.in_memory() as ledger:
        ledger.add(shots(0, 1))
        moved = replace(shots(0, 1)[0], illuminated_um=SQUARE + 50.0, place_um=None)
        ledger.add([moved], replace=True)
        assert ledger.at((0, 0)).at_least_e_per_a2 == 0.0
        assert ledger.at((50, 50)).at_least_e_per_a2 == 1.0


def test_an_error_in_the_middle_of_many_leaves_nothing():
    def broken():
        yield from shots(0, 100)
        raise RuntimeError("the source ended")

    with Ledger.in_memory() as ledger:
        with pytest.raises(RuntimeError, match="the source ended"):
            ledger.add(broken())
        assert len(ledger) == 0


def test_all_exposures_are_rewritten_or_none():
    with Ledger.in_memory() as ledger:
        ledger.add(shots(0, 5))
        with pytest.raises(ParameterError, match=r"3\.mrc is in the ledger"):
            ledger.rewrite(lambda before: [*before, *shots(3, 4, dose=9.0)])
        assert len(ledger) == 5
        ledger.rewrite(lambda before: [*before[:2], *shots(7, 8)])
        assert [shot.key for shot in ledger.exposures()] == ["0.mrc", "1.mrc", "7.mrc"]
        assert ledger.at((0, 0)).at_least_e_per_a2 == 3.0


def test_a_ledger_of_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "dose.ledger"
    Ledger.open(path).close()
    base = sqlite3.connect(path)
    base.execute("PRAGMA user_version = 7")
    base.close()
    with pytest.raises(LedgerError, match=r"dose\.ledger is a dose ledger of format 7, written by"):
        Ledger.open(path)


def test_another_programs_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "other.sqlite"
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE dose (value REAL)")
    base.commit()
    base.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=r"other\.sqlite is an SQLite file of another program"):
        Ledger.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"no ledger at all" * 100, b"SQLite format 3\0" + b"\xff" * 99]
)
def test_what_is_no_data_base_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "dose.ledger"
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"dose\.ledger cannot be opened: it is no SQLite file"):
        Ledger.open(path)
    assert path.read_bytes() == content


def test_a_damaged_ledger_says_so(tmp_path):
    path = tmp_path / "dose.ledger"
    with Ledger.open(path) as ledger:
        ledger.add(shots(0, 2000))
    raw = bytearray(path.read_bytes())
    raw[8192 : len(raw) // 2] = b"\x5a" * (len(raw) // 2 - 8192)
    path.write_bytes(bytes(raw))
    with pytest.raises(LedgerError, match=r"dose\.ledger cannot be (opened|read|written): "):
        all_of(path)


def test_a_truncated_ledger_says_so(tmp_path):
    path = tmp_path / "dose.ledger"
    with Ledger.open(path) as ledger:
        ledger.add(shots(0, 2000))
    os.truncate(path, path.stat().st_size // 3)
    with pytest.raises(LedgerError, match=r"dose\.ledger cannot be"):
        all_of(path)


def test_a_ledger_that_is_only_read_is_not_written(tmp_path):
    path = tmp_path / "dose.ledger"
    with Ledger.open(path) as ledger:
        ledger.add(shots(0, 3))
    with Ledger.open(path, read_only=True) as ledger:
        assert ledger.at((0.0, 0.0)).at_least_e_per_a2 == 3.0
        with pytest.raises(LedgerError, match="cannot be written: it is read-only; nothing was wr"):
            ledger.add(shots(3, 4))


def test_places_where_no_ledger_can_be_are_named(tmp_path):
    with pytest.raises(LedgerError, match=r"the folder .* does not exist"):
        Ledger.open(tmp_path / "nowhere" / "dose.ledger")
    with pytest.raises(LedgerError, match="there is no such file"):
        Ledger.open(tmp_path / "dose.ledger", read_only=True)
    with pytest.raises(LedgerError, match="cannot be opened"):
        Ledger.open(tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(LedgerError, match="empty is empty: expected a dose ledger"):
        Ledger.open(tmp_path / "empty", read_only=True)


def test_a_disk_that_fills_up_loses_nothing_and_doubles_nothing(tmp_path):
    path = tmp_path / "dose.ledger"
    with Ledger.open(path) as ledger:
        ledger.add(shots(0, 10))
        base = ledger._storage._base
        (pages,) = base.execute("PRAGMA page_count").fetchone()
        base.execute(f"PRAGMA max_page_count = {pages + 20}")
        with pytest.raises(LedgerError, match="the disk is full; nothing of this was written"):
            ledger.add(shots(0, 5000))
        assert len(ledger) == 10
        assert ledger.at((0, 0)).at_least_e_per_a2 == 10.0
        base.execute("PRAGMA max_page_count = 1000000")
        assert ledger.add(shots(0, 5000)) == 4990
    assert is_whole(path)


def test_two_processes_write_and_a_third_reads(tmp_path):
    path = tmp_path / "dose.ledger"
    both = [writer(path, 0, 1200, 20), writer(path, 600, 1800, 20)]
    with Ledger.open(path) as ledger:
        seen = set()
        while any(process.poll() is None for process in both):
            number = len(ledger)
            assert number % 20 == 0
            drawn = ledger.map((-2, -2, 200, 2), shape=(4, 50))
            # Each exposure has 4 µm²; the map holds them all, as far as they were written by then.
            total = drawn.dose_e_per_a2.sum() * np.prod(drawn.pixel_um) / 4
            assert round(total) >= number
            seen.add(number)
            time.sleep(0.02)
        for process in both:
            process.communicate()
        assert [process.returncode for process in both] == [0, 0]
        assert len(ledger) == 1800
        assert ledger.add(shots(0, 1800)) == 0
    assert is_whole(path)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes cannot be killed here")
def test_a_killed_writer_leaves_whole_exposures_and_goes_on(tmp_path, rng):
    path = tmp_path / "dose.ledger"
    written = [0]
    for _ in range(8):
        process = writer(path, 0, 100_000, 25)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        time.sleep(rng.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with Ledger.open(path) as ledger:
            written.append(len(ledger))
        assert is_whole(path)
    assert all(number % 25 == 0 for number in written)
    assert written == sorted(written)
    assert 0 < written[-1] < 100_000
    last = written[-1] + 25
    with Ledger.open(path) as ledger:
        assert ledger.add(shots(0, last)) == 25
        keys = [shot.key for shot in ledger.exposures()]
        assert sorted(keys) == sorted(f"{n}.mrc" for n in range(last))


def test_many_processes_may_open_a_new_ledger_at_once(tmp_path):
    path = tmp_path / "dose.ledger"
    all_of_them = [writer(path, 100 * n, 100 * n + 20, 10) for n in range(4)]
    assert [process.wait(60) for process in all_of_them] == [0] * 4
    for process in all_of_them:
        process.communicate()
    with Ledger.open(path) as ledger:
        assert len(ledger) == 80


def test_a_writer_that_does_not_let_go_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("interphase.dose.storage._PATIENCE_S", 0.05)
    path = tmp_path / "dose.ledger"
    with Ledger.open(path) as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match=r"another process has been writing for 0\.05 s"):
            ledger.add(shots(0, 1))
        other.execute("ROLLBACK")
        other.close()
        assert ledger.add(shots(0, 1)) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_a_file_that_is_gone_while_it_is_open_takes_nothing_more(tmp_path, change):
    path = tmp_path / "dose.ledger"
    with Ledger.open(path) as ledger:
        ledger.add(shots(0, 1))
        path.rename(tmp_path / "elsewhere")
        if change == "replaced":
            path.write_bytes((tmp_path / "elsewhere").read_bytes())
        with pytest.raises(LedgerError, match="moved, removed or replaced while it was open"):
            ledger.add(shots(1, 2))


def test_a_ledger_in_a_folder_that_is_only_read_can_be_read(tmp_path, monkeypatch):
    path = tmp_path / "dose.ledger"
    with Ledger.open(path) as ledger:
        ledger.add(shots(0, 3))
    monkeypatch.setattr("interphase.dose.storage.os.access", lambda *_: False)
    with Ledger.open(path, read_only=True) as ledger:
        assert ledger.at((0.0, 0.0)).at_least_e_per_a2 == 3.0
        assert [p.name for p in tmp_path.iterdir()] == ["dose.ledger"]


@pytest.mark.parametrize(
    "change",
    [
        "illuminated = x'0011'",
        "record = '{'",
        "record = '{}'",
        "purpose = 'portrait'",
        "dose = 'much'",
        "x = 'left'",
        "purpose = CAST(x'FF' AS TEXT)",
    ],
)
def test_an_exposure_that_is_damaged_in_the_file_is_named(tmp_path, change):
    path = tmp_path / "dose.ledger"
    with Ledger.open(path) as ledger:
        ledger.add(shots(0, 1))
    base = sqlite3.connect(path)
    base.execute(f"UPDATE exposure SET {change}")
    base.commit()
    base.close()
    with (
        Ledger.open(path) as ledger,
        pytest.raises(LedgerError, match=r"dose\.ledger cannot be read"),
    ):
        ledger.exposures()


@pytest.mark.parametrize(
    ("ask", "kind", "said"),
    [
        (lambda ledger: ledger.add(None), ParameterError, "None is no Exposure"),
        (lambda ledger: ledger.add(["a"]), ParameterError, "'a' is no Exposure"),
        (lambda ledger: ledger.rewrite(lambda _: None), ParameterError, "None is no Exposure"),
        (lambda ledger: ledger.exposures(purpose="portrait"), ParameterError, "purpose is 'portr"),
        (lambda ledger: ledger.at("ab"), ParameterError, "place_um is 'ab'"),
        (lambda ledger: ledger.map((0, 0, 1)), ParameterError, r"bounds_um is \(0, 0, 1\)"),
        (lambda ledger: ledger.over_budget({"Li": "1"}), ParameterError, "budget of Li is '1'"),
        (lambda ledger: ledger.pre_exposure(3), ParameterError, "key_or_file is 3"),
        (
            lambda ledger: ledger.add([Exposure(key="\udc80", purpose="record")]),
            ParameterError,
            "expected characters that Unicode has",
        ),
        (
            lambda ledger: (ledger.close(), ledger.at((0, 0), until=datetime.now(UTC))),
            LedgerError,
            "it was closed; open it again",
        ),
    ],
)
def test_what_cannot_be_asked_is_named(ask, kind, said):
    with Ledger.in_memory() as ledger, pytest.raises(kind, match=said):
        ask(ledger)


def test_a_duration_beyond_the_calendar_has_no_moment():
    shot = Exposure(
        key="a",
        purpose="record",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        duration_s=1e30,
        illuminated_um=camera_rectangle((10, 10), pixel_size_a=10.0),
        dose_e_per_a2=10.0,
    )
    with Ledger.in_memory() as ledger:
        ledger.add([shot])
        (over,) = ledger.over_budget({"Li": 3.0})
        assert over.passed_at is None
        assert "passed in a." in over.sentence


def test_every_refusal_is_one_of_ours():
    assert issubclass(LedgerError, InterphaseError)

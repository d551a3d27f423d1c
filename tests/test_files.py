"""What is written is whole, what is hashed is what was meant, and one run holds a folder."""

import json
from pathlib import Path

import numpy as np
import pytest

from interphase.errors import InterphaseError
from interphase.files import digest, file_digest, locked, to_plain, write_json, write_whole


def test_numbers_that_are_none_become_null() -> None:
    plain = to_plain({"a": np.float32("nan"), "b": [float("inf"), 1.0], "c": np.int64(3)})
    assert json.dumps(plain, allow_nan=False) == '{"a": null, "b": [null, 1.0], "c": 3}'


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": 2.5}) == digest({"b": 2.5, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_the_file_digest_is_sha256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_digest(path) == expected


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"old": 1})

    def fail(stream: object) -> None:
        stream.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fail)
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_two_runs_cannot_share_a_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(InterphaseError, match="another run is writing"):
        with locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    parts = [tmp_path / ".k.csv.123.part", tmp_path / "files" / ".k.json.123.part"]
    for part in parts:
        part.write_text("half")
    with locked(tmp_path):
        assert not any(part.exists() for part in parts)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InterphaseError, match="give another result folder with --out"):
        with locked(tmp_path / "file" / "out"):
            pass

"""``interphase damage``: listing what is known, and recording a measurement."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., subprocess.CompletedProcess[str]]

GIVEN = ["--critical-dose", 420, "--low", 380, "--high", 470, "--criterion", "111 spots to 1/e"]
GIVEN += ["--beam-energy", 300, "--temperature", 100, "--dose-rate", 10, "--source", "grid 3"]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own table, which is not there yet."""
    path = tmp_path / "mine" / "damage.toml"
    monkeypatch.setenv("INTERPHASE_DAMAGE", str(path))
    return path


def test_a_measurement_is_one_command_away_and_wins(interphase: Call, table: Path) -> None:
    listed = interphase("damage")
    assert listed.returncode == 0
    assert "500 to 750 e/Å²" in listed.stdout
    assert f"Your own measurements: 0, in {table}" in listed.stdout
    recorded = interphase("damage", "LiF", *GIVEN)
    assert recorded.returncode == 0, recorded.stderr
    assert f"LiF: 380 to 470 e/Å² recorded in {table}." in recorded.stdout
    (row,) = [
        json.loads(line) for line in interphase("damage", "LiF", "--json").stdout.splitlines()
    ]
    first = row["damage"][0]
    assert row["phase"] == "LiF"
    assert (first["value_e_per_a2"], first["grade"], first["temperature_k"]) == (420, "own", 100)
    assert row["damage"][1]["missing"]
    # Every list of damage knows it.
    assert "380 to 470 e/Å²" in interphase("phases", "--set", "LiF").stdout
    assert "380 to 470 e/Å²" in interphase("damage").stdout


def test_the_help_says_what_the_ends_of_a_bracket_mean(interphase: Call) -> None:
    said = " ".join(interphase("damage", "--help").stdout.replace("│", " ").split())
    assert "No change was seen below." in said
    assert "The change is seen from here on." in said


def test_json_lists_the_phases_of_which_something_is_known(interphase: Call, table: Path) -> None:
    rows = [json.loads(line) for line in interphase("damage", "--json").stdout.splitlines()]
    known = {row["phase"]: row for row in rows}
    assert known["Li2O"]["made_by_beam_from"] == ["Li2CO3", "SEI", "Li2O2"]
    assert "LiOH" not in known
    # Asked for, a phase without a number is still answered.
    (nothing,) = interphase("damage", "LiOH", "--json").stdout.splitlines()
    assert json.loads(nothing) == {"phase": "LiOH", "damage": [], "made_by_beam_from": []}


def test_a_measurement_may_belong_to_a_session(
    interphase: Call, table: Path, tmp_path: Path
) -> None:
    session = tmp_path / "grid1"
    session.mkdir()
    said = interphase("damage", "SEI", *GIVEN, "--product", "Li2O", "--session", session, "--json")
    assert json.loads(said.stdout)["file"] == str(session / "damage.toml")
    assert not table.exists()
    assert "380 to 470" not in interphase("damage", "SEI").stdout
    assert "380 to 470 e/Å²" in interphase("damage", "SEI", "--session", session).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["kryptonite"], "'kryptonite' is neither a phase"),
        (["LiF", "--critical-dose", "420"], "give --criterion, --source as well"),
        (["--critical-dose", "420", "--criterion", "x", "--source", "y"], "give PHASE as well"),
        (["LiF", "--criterion", "x", "--source", "y"], "needs either a dose or the word"),
        (["lithium-sei", *map(str, GIVEN)], "'lithium-sei' is a set: record one phase"),
        (["LiF", *map(str, GIVEN), "--product", "Lu"], "'Lu' is neither a phase"),
        (["LiF", "--critical-dose", "-3", "--criterion", "x", "--source", "y"], r"[-3.0] e/Å²"),
        (["LiF", *map(str, GIVEN), "--beam-energy", "300000"], "did you give eV"),
        (["LiF", *map(str, GIVEN), "--process", ""], "process of a damage fact is ''"),
        (["LiF", *map(str, GIVEN), "--session", "/nowhere/grid"], "/nowhere/grid, which is no fol"),
    ],
)
def test_a_wrong_call_writes_nothing(
    interphase: Call, table: Path, arguments: list[str], said: str
) -> None:
    result = interphase("damage", *arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert not table.exists()


def test_a_damaged_table_is_named_and_kept(interphase: Call, table: Path) -> None:
    table.parent.mkdir()
    table.write_text("[[fact")
    for arguments in (["damage"], ["damage", "LiF", *GIVEN], ["phases"]):
        result = interphase(*arguments)
        assert result.returncode == 2
        assert f"{table} is not valid TOML" in result.stderr
    assert table.read_text() == "[[fact"

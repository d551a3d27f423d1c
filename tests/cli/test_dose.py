"""``interphase dose`` as people and programs call it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from interphase.cli.dose import dose
from interphase.errors import ParameterError
from interphase.io import LEDGER_FILE

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def exposed(tmp_path: Path) -> Path:
    """A session of sidecars: a search, a focus of unknown dose, and two records of one place."""
    folder = tmp_path / "session [1]"
    folder.mkdir()
    for name, minute, dose_e_per_a2 in (
        ("search", 0, 0.5),
        ("focus", 1, 0.0),
        ("hole_a", 2, 300.0),
        ("hole_b", 3, 300.0),
    ):
        (folder / f"{name}.mrc.mdoc").write_text(
            f"PixelSpacing = 10\nVoltage = 300\nImageFile = {name}.mrc\nImageSize = 1000 1000\n"
            f"\n[ZValue = 0]\nStagePosition = 5.0 -3.0\nExposureDose = {dose_e_per_a2}\n"
            f"ExposureTime = 2\nDateTime = 02-Mar-26  10:0{minute}:00\n"
        )
    (folder / "session.toml").write_text("beam_diameter_a = 20000.0\nimage_rotation_deg = 0.0\n")
    return folder


def test_the_account_of_a_session_for_programs(interphase: Call, exposed: Path) -> None:
    result = interphase("dose", exposed, "--at", "5,-3", "--before", "hole_b.mrc.mdoc", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    (line,) = result.stdout.splitlines()
    said = json.loads(line)
    assert said["session"] == str(exposed)
    assert (said["exposures"], said["unknown_exposures"]) == (4, 1)
    assert said["max_dose_e_per_a2"] == pytest.approx(600.5)
    purposes = said["dose_by_purpose"]
    assert purposes["record"]["dose_share"] == pytest.approx(600 / 600.5)
    assert purposes["focus"]["unknown"] == 1
    over = {entry["phase"]: entry for entry in said["over_budget"]}
    assert set(over) == {"Li2CO3", "SEI"}
    carbonate = over["Li2CO3"]
    assert (carbonate["dose_e_per_a2"], carbonate["budget_e_per_a2"]) == (600.5, 500.0)
    assert carbonate["passed_by"] == "hole_b.mrc.mdoc"
    assert len(carbonate["place_um"]) == 2
    assert said["at"]["at_least_e_per_a2"] == pytest.approx(600.5)
    assert said["at"]["at_most_e_per_a2"] is None
    assert said["before"]["at_least_e_per_a2"] == pytest.approx(300.5)
    assert "Lower bound: 1 exposure of unknown dose." in said["sentence"]
    # Brackets stay brackets.
    budgets = {budget["phase"]: budget for budget in said["budgets"]}
    assert budgets["Li2CO3"]["between_e_per_a2"] == [500.0, 750.0]
    assert budgets["Li2CO3"]["level"] == "within"
    # One dose is unknown: of no limit is it said that it was not reached.
    assert budgets["Li"]["level"] == "unknown_dose"


def test_the_account_of_a_session_for_people(interphase: Call, exposed: Path) -> None:
    notes = exposed.parent / "notes.csv"
    notes.write_text("purpose,x_um,y_um,diameter_um,dose_e_per_a2\nfocus,5,-3,3,200\n")
    drawn = exposed.parent / "map.png"
    result = interphase(
        *("dose", exposed, "--add", notes, "--budget", "LiF=700", "--map", drawn, "--at", "5,-3")
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "Of the dose upon what was recorded, 25 % went into search and focus." in result.stdout
    assert "Lower bound: 1 exposure of unknown dose." in result.stdout
    assert "over the 700 e/Å² of LiF" in result.stdout
    assert "500 to 750 e/Å²" in result.stdout
    assert "At 5,-3 µm: At least 800.5 e/Å² from 5 exposures" in result.stdout
    assert drawn.read_bytes()[:4] == b"\x89PNG"
    assert (exposed / LEDGER_FILE).is_file()
    # What was noted is kept for every later call, and a table of the map is for programs.
    table = exposed.parent / "map.csv"
    again = interphase("dose", exposed, "--map", table, "--json")
    assert json.loads(again.stdout)["exposures"] == 5
    lines = table.read_text().splitlines()
    assert lines[0] == "x_um,y_um,dose_e_per_a2,at_most_e_per_a2,unknown_exposures"
    assert max(float(line.split(",")[2]) for line in lines[1:]) == pytest.approx(800.5)


@pytest.mark.parametrize("name", ["hole_b.mrc", "hole_b.mrc.mdoc", "grid/hole_b.mrc.mdoc"])
def test_a_file_goes_by_the_image_its_path_or_the_end_of_it(
    exposed: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    before = str(exposed / name.removeprefix("grid/")) if name.startswith("grid/") else name
    dose(exposed, before=before, json=True)
    assert json.loads(capsys.readouterr().out)["before"]["at_least_e_per_a2"] == 300.5


def test_a_budget_replaces_what_is_known_however_the_phase_is_written(
    exposed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dose(exposed, budget=["li2co3=400"], json=True)
    budgets = {b["phase"]: b for b in json.loads(capsys.readouterr().out)["budgets"]}
    assert "li2co3" not in budgets
    assert budgets["Li2CO3"]["between_e_per_a2"] == [400.0, 400.0]


def test_a_file_that_cannot_be_read_is_said_and_the_exit_status_is_1(
    interphase: Call, exposed: Path
) -> None:
    (exposed / "broken.mrc").write_bytes(b"\0" * 500)
    result = interphase("dose", exposed, "--json")
    assert result.returncode == 1
    (doubt,) = json.loads(result.stdout)["doubts"]
    assert doubt.startswith("broken.mrc is missing from the ledger: ")


def test_a_session_without_exposures_says_so(interphase: Call, tmp_path: Path) -> None:
    result = interphase("dose", tmp_path)
    assert result.returncode == 0
    assert "No file of this session stands for an exposure." in result.stdout


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"budget": ["Li2CO3"]}, "--budget is 'Li2CO3': expected one such as Li2CO3=400"),
        ({"budget": ["=4"]}, "--budget is '=4'"),
        ({"budget": ["LiF=0"]}, "the budget of LiF is 0"),
        ({"before": "elsewhere/hole_a.mrc.mdoc"}, "is no file of the ledger"),
        ({"map_file": Path("map")}, "map has no ending: expected a file such as map.png"),
        ({"budget": ["LiF=4=5"]}, "--budget is 'LiF=4=5'"),
        ({"at": "5"}, "--at is '5': expected x,y in µm"),
        ({"before": "nothing.mrc"}, "'nothing.mrc' is no file of the ledger: expected one such"),
    ],
)
def test_a_wrong_call_is_said(exposed: Path, arguments: dict[str, object], match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        dose(exposed, **arguments)

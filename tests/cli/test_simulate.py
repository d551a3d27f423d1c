"""``interphase simulate`` as people and programs call it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., subprocess.CompletedProcess[str]]

STUDY = """\
question = "Which [numbers] are square?"
count = 4
pause_s = 0.0
unlucky = -1
[quick]
count = 2
"""

RUN = """\
import time
from interphase.simulation import Case, spawn_seed

def cases(study):
    given = {"pause_s": study["pause_s"], "unlucky": study["unlucky"]}
    return [
        Case(name=f"n{i}", seed=spawn_seed(1, i), parameters={"number": i, **given})
        for i in range(study["count"])
    ]

def measure(case):
    time.sleep(case.parameters["pause_s"])
    if case.parameters["number"] == case.parameters["unlucky"]:
        raise ValueError("[unlucky] number")
    return {"root": case.parameters["number"] ** 0.5}

def tables(study, results):
    return {"summary": [{"case": case.name, "root": result["root"]} for case, result in results]}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of which every case takes no time."""
    folder = tmp_path / "simulations" / "squares"
    folder.mkdir(parents=True)
    (folder / "study.toml").write_text(STUDY)
    (folder / "run.py").write_text(RUN)
    (folder / "expected.csv").write_text("case,root\nn0,0.0\nn1,1.0\nn2,1.5\n")
    return folder


def test_people_are_told_the_tables_and_how_they_compare(interphase: Call, study: Path) -> None:
    result = interphase("simulate", "squares", "--workers", 2, cwd=study.parents[1])
    assert result.returncode == 0, result.stderr
    table = study / "results" / "full" / "summary.csv"
    assert result.stdout.splitlines() == [
        "Which [numbers] are square?",
        "4 cases measured, 0 kept from before.",
        # A root that differs, and a row of two cells that is not expected.
        f"Table: {table}: 3 cells differ from expected.csv",
    ]
    assert result.stderr == ""
    (study / "expected.csv").write_text(table.read_text())
    (study / "study.toml").write_text(STUDY.replace("pause_s = 0.0", "pause_s = 0.01"))
    again = interphase("simulate", study)
    assert again.stdout.splitlines()[1:] == [
        "4 cases measured, 0 kept from before.",
        "4 of them were there, but made in another way than now.",
        f"Table: {table}: as expected.csv",
    ]


def test_programs_are_told_one_object(interphase: Call, study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = interphase("simulate", study, "--quick", "--json", "--out", out, "--workers", 1)
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    told = json.loads(line)
    assert 0 < told.pop("seconds") < 60
    assert told == {
        "study": "squares",
        "question": "Which [numbers] are square?",
        "quick": True,
        "out": str(out),
        "cases": 2,
        "done": 2,
        "measured": 2,
        "stale": 0,
        "failed": 0,
        "errors": {},
        "tables": {"summary": str(out / "summary.csv")},
        "differences": {},
    }
    assert (out / "summary.csv").read_text() == "case,root\nn0,0.0\nn1,1.0\n"


def test_a_failed_case_is_named_and_counted(interphase: Call, study: Path) -> None:
    (study / "study.toml").write_text(STUDY.replace("unlucky = -1", "unlucky = 2"))
    result = interphase("simulate", study)
    assert result.returncode == 1
    assert "n2 failed: ValueError: [unlucky] number\n" in result.stdout
    assert "1 of 4 cases is missing from the tables; run again to try it again.\n" in result.stdout
    told = json.loads(interphase("simulate", study, "--json").stdout)
    assert (told["done"], told["measured"], told["failed"]) == (3, 0, 1)
    assert told["errors"] == {"n2": "ValueError: [unlucky] number"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["absent"],
            "absent is no study: give the folder of one, or the name of one in simulations",
        ),
        (["simulations"], "simulations is no study: it has no study.toml"),
        (["squares", "--workers", "0"], "--workers"),
        (["squares", "--workers", "1", "--scheduler", "tcp://h:1"], "give one of the two"),
        (["squares", "--half"], "No such option"),
        (["squares", "--out", ""], "the result folder is '': give the path of one, or none"),
    ],
)
def test_a_wrong_call_ends_with_2_and_one_sentence(
    interphase: Call, study: Path, arguments: list[str], said: str
) -> None:
    result = interphase("simulate", *arguments, cwd=study.parents[1])
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_mistake_in_the_program_ends_with_2_and_one_sentence(
    interphase: Call, study: Path
) -> None:
    (study / "run.py").write_text(RUN.replace('study["count"]', 'study["counts"]'))
    result = interphase("simulate", study)
    assert result.returncode == 2
    sentence = f"{study / 'run.py'} cannot be used: `cases` raises KeyError in line 8: 'counts'"
    assert result.stderr == f"interphase: {sentence}\n"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="children are listed on Linux")
def test_an_interrupt_ends_it_at_once_and_leaves_no_process(study: Path) -> None:
    (study / "study.toml").write_text(STUDY.replace("pause_s = 0.0", "pause_s = 30.0"))
    code = "from interphase.cli import main; main()"
    command = [sys.executable, "-c", code, "simulate", str(study), "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(children := children_of(process.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - begun < 5
    assert process.returncode == 130
    assert "interrupted; what is finished is kept" in said
    assert len(children) == 2
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    # What was being measured is no failure.
    assert list((study / "results" / "full" / "cases").iterdir()) == []


def children_of(parent: int) -> list[int]:
    """Processes that a process has started."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = Path(entry.path, "stat").read_text()
            except OSError:  # it has ended since
                continue
            if int(stat.rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.name))
    return found

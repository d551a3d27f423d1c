"""The studies run from end to end in their quick mode."""

import csv
import subprocess
import sys
from pathlib import Path

STUDY = Path(__file__).resolve().parents[1] / "simulations" / "single_crystallites"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_single_crystallites_are_found_and_named_in_the_quick_study(tmp_path: Path) -> None:
    run = [sys.executable, str(STUDY / "run.py"), "--quick", "--workers", "1"]
    done = subprocess.run(
        [*run, "--out", str(tmp_path)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    results = tmp_path / "test-quick"
    at_300 = [r for r in rows(results / "summary.csv") if r["dose_e_per_a2"] == "300.0"]
    # Eight crystallites of 5 nm along zone axes: the whole study finds 98 % of such.
    assert [r["crystallites"] for r in at_300] == ["8"]
    assert float(at_300[0]["recall"]) >= 0.75
    assert float(at_300[0]["coverage90"]) >= 0.75
    alarms = rows(results / "false_alarms.csv")
    assert [r["films_with_a_region"] for r in alarms] == ["0", "0"]
    assert set(rows(STUDY / "expected.csv")[0]) == set(at_300[0])

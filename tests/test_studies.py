"""The studies run from end to end in their quick mode."""

import csv
from pathlib import Path

import pytest

from interphase.simulation import load_study, run_study

STUDIES = Path(__file__).resolve().parents[1] / "simulations"
FOLDERS = sorted(path.parent for path in STUDIES.glob("*/study.toml"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_a_study_makes_the_tables_it_is_known_for(folder: Path, tmp_path: Path) -> None:
    result = run_study(load_study(folder, quick=True), out=tmp_path, workers=1)
    assert result.failed == {}
    assert (folder / "README.md").is_file()
    known = {
        path.stem.partition("_")[2] or "summary": path for path in folder.glob("expected*.csv")
    }
    assert "summary" in known
    assert known.keys() <= result.tables.keys()
    for name, path in known.items():
        assert list(rows(path)[0]) == list(rows(result.tables[name])[0])
    if folder.name == "phase_identification":
        check_phase_identification(result.tables)


def check_phase_identification(tables: dict[str, Path]) -> None:
    at_300 = [r for r in rows(tables["summary"]) if r["dose_e_per_a2"] == "300.0"]
    # Four crystallites of 4 to 5 nm near zone axes, far above what an ideal observer needs.
    assert [r["crystallites"] for r in at_300] == ["4"]
    assert float(at_300[0]["recall"]) >= 0.75
    assert float(at_300[0]["coverage90"]) >= 0.75
    assert [r["regions_in_films"] for r in rows(tables["false_alarms"])] == ["0", "0"]
    (observed,) = [r for r in rows(tables["observers"]) if r["group"].startswith("3-5 nm")]
    assert float(observed["informed_e_per_a2"]) < float(observed["searching_e_per_a2"]) < 60

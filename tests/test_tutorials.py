"""Every tutorial runs from its first cell to its last, in an empty folder."""

import re
from pathlib import Path
from typing import Any

import pytest

TUTORIALS = sorted((Path(__file__).resolve().parents[1] / "tutorials").glob("*.ipynb"))


def execute(path: Path, folder: Path) -> Any:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    return client.execute()


def printed_by(notebook: Any) -> str:
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    return "".join(out["text"] for out in outputs if out.get("name") == "stdout")


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs_and_shows_what_its_words_say(path: Path, tmp_path: Path) -> None:
    notebook = execute(path, tmp_path)
    said = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert [out["text"] for out in said if out.get("name") == "stderr"] == []
    printed = printed_by(notebook)
    if path.stem == "would_i_have_seen_it":
        found = [int(n) for n in re.findall(r"(\d+) of \d+ crystallites", printed)]
        (silent,) = re.findall(r"(\d+) of them without any fringes", printed)
        assert len(found) == 3
        assert found[0] < found[2]
        assert int(silent) > 0
        return
    if path.stem == "how_much_did_my_specimen_get":
        assert "Lower bound: 1 exposure of unknown dose." in printed
        assert "before record_2: 400.1 e/Å² from 3 exposures." in printed
        assert "over the 500 e/Å² of Li2CO3, passed in record_2.mrc.mdoc" in printed
        # The movie was made with 200.
        (low, high) = re.findall(r"Li2CO3 ([\d.]+) to ([\d.]+) e/Å² - power", printed)[0]
        assert float(low) < 200 < float(high)
        return
    if path.stem == "where_is_the_lithium":
        regions = re.findall(r"Li +(\d+) ± +(\d+) /nm², truth +(\d+)", printed)
        assert len(regions) == 5
        for found, error, truth in (map(int, numbers) for numbers in regions):
            assert abs(found - truth) < 3 * error + 1
        squares = [int(n or 1) for n in re.findall(r"e/Å²: Li is.*?(?:(\d+) × \d+ )?pix", printed)]
        assert len(squares) == 3
        assert squares == sorted(squares)
        assert squares[0] < squares[2]
        # Manganese without lithium, unless one says that there is none of it.
        assert len(re.findall(r"detected: none; in doubt: Li; .* can be Mn M", printed)) == 3
        assert "Li before Li2O before Li2CO3 before LiF before polymer" in printed
        widths = re.findall(r"interval ([\d.]+) to ([\d.]+)\)", printed)
        assert len(widths) == 2
        assert all(float(low) < 100 < float(high) for low, high in widths)
        return
    if path.stem == "li2o_or_li2co3":
        assert "2 crystalline places: Li2CO3 in 1, Li2O in 1." in printed
        sets = [int(n) for n in re.findall(r"scale known to .* (\d+) answers", printed)]
        assert len(sets) == 4
        assert min(sets) > 1
        return
    assert "LiH is 1.4% larger than LiF" in printed
    assert "Li2O in 1" in printed
    assert "1 crystalline place: Li in 1." in printed
    assert (tmp_path / "first-session-results" / "report.html").stat().st_size > 10_000

import functools
import re
from pathlib import Path

import pytest

import interphase.simulation
from interphase.cli.demo import demo
from interphase.errors import ParameterError
from interphase.simulation import DemoExposure, write_demo_session

SMALL = DemoExposure(
    stem="small",
    kind="image",
    grains=(("LiF", 30.0),),
    dose_e_per_a2=400.0,
    defocus_a=140.0,
    stage_um=(1.0, 2.0),
    field_a=64.0,
    thickness_a=34.0,
)


@pytest.fixture
def smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate one small image instead of the whole session."""
    small = functools.partial(write_demo_session, exposures=(SMALL,))
    monkeypatch.setattr(interphase.simulation, "write_demo_session", small, raising=False)


@pytest.mark.usefixtures("smaller")
def test_the_demo_shows_what_was_found_beside_what_was_put_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo(out=tmp_path, seed=1) == 0
    said = capsys.readouterr().out.strip().splitlines()
    (row,) = (line for line in said if line.startswith("small.mrc"))
    assert re.match(r"small\.mrc +image +400 +LiF +\S", row)
    report = tmp_path / "results" / "report.html"
    assert said[-1] == f"Report: {report}"
    assert "small.mrc" in report.read_text()


def test_the_demo_does_not_write_into_a_folder_of_data(tmp_path: Path) -> None:
    (tmp_path / "simulated-session").mkdir()
    with pytest.raises(ParameterError, match="is no demo session: give another folder"):
        demo(out=tmp_path, seed=0)

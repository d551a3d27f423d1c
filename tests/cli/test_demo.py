import functools
import json
import re
from pathlib import Path

import pytest

import interphase.simulation
from interphase.cli.demo import demo
from interphase.errors import ParameterError
from interphase.simulation import (
    DemoExposure,
    Interphase,
    Layer,
    Population,
    Structure,
    write_demo_session,
)

GRAIN = Population(phase="LiF", volume_fraction=0.3, diameter_a=30.0, zone_axis_share=1.0)
SMALL = DemoExposure(
    stem="small",
    kind="image",
    recipe=Interphase(
        architecture="mosaic",
        structure=Structure.MOSAIC,
        electrode="Li",
        layers=(Layer(name="mosaic", thickness_a=40.0, matrix="LEDC", populations=(GRAIN,)),),
        foil_thickness_a=36.0,
        length_a=60.0,
        electrode_width_a=14.0,
        outside_width_a=10.0,
        seed=1,
    ),
    dose_e_per_a2=400.0,
    defocus_a=140.0,
    stage_um=(1.0, 2.0),
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
    (row,) = (line for line in said if line.startswith("small.hspy"))
    assert re.match(r"small\.hspy +image +400 +mosaic on Li +LiF +\S", row)
    report = tmp_path / "results" / "report.html"
    assert said[-1] == f"Report: {report}"
    assert "small.hspy" in report.read_text()
    # Once more, what is measured is not measured again, and programs are told the same.
    assert demo(out=tmp_path, seed=1, json=True) == 0
    (line,) = capsys.readouterr().out.strip().splitlines()
    spoken = json.loads(line)
    assert spoken["put_in"] == ["LiF"]
    assert (spoken["structure"], spoken["electrode"]) == ("mosaic", "Li")
    # Rock salt either way, which no diffraction tells apart.
    assert {"LiF", "LiH"} & set(spoken["found"])
    # And the electrode's own lattice.
    assert set(spoken["found"]) <= {"LiF", "LiH", "Li"}


def test_the_demo_does_not_write_into_a_folder_of_data(tmp_path: Path) -> None:
    (tmp_path / "simulated-session").mkdir()
    with pytest.raises(ParameterError, match="is no demo session: give another folder"):
        demo(out=tmp_path, seed=0)

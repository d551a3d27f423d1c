import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from interphase.cli.identify import identify
from interphase.cli.info import info
from interphase.errors import ParameterError

Call = Callable[..., subprocess.CompletedProcess[str]]

REGION_KEYS = {
    "phase",
    "probability",
    "alternatives",
    "centre_a",
    "area_a2",
    "d_spacings_a",
    "zone_axis",
    "p_value",
}


def objects(text: str) -> list[dict[str, object]]:
    """Read one JSON object per line; anything else on standard output is an error."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def test_help_lists_the_verbs_at_once(interphase: Call) -> None:
    times = []
    for _ in range(3):
        start = os.times().children_user
        result = interphase("--help")
        # Time of the processor, which a busy machine does not stretch.
        times.append(os.times().children_user - start)
    assert result.returncode == 0
    for verb in ("demo", "info", "phases", "identify", "eels", "run"):
        assert f" {verb} " in result.stdout
    assert min(times) < 1.0


def test_parsing_a_call_loads_nothing_heavy() -> None:
    code = (
        "import sys, interphase.cli;"
        "print([m for m in ('hyperspy', 'numpy', 'dask', 'matplotlib', 'pymatgen', 'abtem')"
        " if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["phases", "--set", "kryptonite"], "'kryptonite' is neither a phase"),
        (["phases", "--ambiguous", "-3"], "ambiguous"),
        (["identify", "absent.mrc"], "absent.mrc does not exist"),
        (["identify", "."], "is a folder: give files"),
        (["info", "absent.mrc"], "absent.mrc does not exist"),
        (["info", "."], "is a folder: give files"),
        (["run", "absent"], "absent is not a folder"),
        (["run", ".", "--out", "."], "is the session's own folder"),
        (["run"], "Missing argument"),
        (["identify", "--nonsense"], "nonsense"),
        (["watch"], "No such command"),
    ],
)
def test_a_wrong_call_ends_with_2_and_one_sentence(
    interphase: Call, tmp_path: Path, arguments: list[str], said: str
) -> None:
    result = interphase(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_debug_shows_where(interphase: Call) -> None:
    result = interphase("--debug", "phases", "--set", "kryptonite")
    assert result.returncode == 2
    assert "Traceback" in result.stderr


def test_phases_and_the_pairs_that_look_alike(interphase: Call) -> None:
    rows = objects(interphase("phases", "--set", "LiF,LiH,Li2O", "--json").stdout)
    assert [row["identifier"] for row in rows] == ["LiF", "LiH", "Li2O"]
    assert all(row["source"] and row["grade"] for row in rows)
    assert rows[0]["damage"][0]["product"] == "Li"
    assert rows[0]["damage"][0]["value_e_per_a2"] is None
    assert rows[2]["made_by_beam_from"] == ["Li2CO3", "SEI", "Li2O2"]
    pairs = objects(
        interphase("phases", "--set", "LiF,LiH,Li2O", "--ambiguous", "2", "--json").stdout
    )
    assert [(pair["first"], pair["second"]) for pair in pairs] == [("LiF", "LiH")]
    table = interphase("phases", "--ambiguous", "2")
    assert table.returncode == 0
    assert "LiF" in table.stdout
    listed = interphase("phases", "--set", "Li2O,LiOH").stdout
    assert "500 to 750 e/Å²" in listed  # Li2CO3, out of which the beam makes Li2O
    assert "no critical dose could be sourced" in listed


def test_identify_says_what_the_beam_may_have_done(interphase: Call, session: Path) -> None:
    said = (
        'electrolyte = "1 M LiPF6 in EC:DEC"\ndose_e_per_a2 = 60.0\n'
        "prior_dose_e_per_a2 = 500.0\nbeam_energy_kev = 300.0\n"
    )
    (session / "session.toml").write_text(said)
    arguments = ["identify", session / "lif [1].mrc", "--phases", "LiF,Li2O"]
    (row,) = objects(interphase(*arguments, "--json").stdout)
    region = row["regions"][0]
    dose = region["dose"]
    assert (dose["received_before_e_per_a2"], dose["received_after_e_per_a2"]) == (500, 560)
    assert dose["level"] == "no_known_limit"
    assert dose["critical_e_per_a2"] == [None, None]
    assert dose["critical"]["process"] == "loss of fluorine"
    assert dose["made_by_beam"] is None
    assert "Received 500 e/Å² before" in dose["sentence"]
    assert sum(region["informed"].values()) == pytest.approx(1)
    assert "LiF × 2" in row["prior"]
    table = interphase(*arguments).stdout
    for words in ("with prior", "no limit known", "Received 500 e/Å² before", "LiF × 2"):
        assert words in table


def test_identify_prints_the_promised_json(interphase: Call, session: Path, tmp_path: Path) -> None:
    files = [session / "lif [1].mrc", session / "broken.mrc", session / "noise [1].mrc"]
    out = tmp_path / "out"
    result = interphase("identify", *files, "--phases", "LiF,Li2O", "--out", out, "--json")
    assert result.returncode == 1, result.stderr
    lif, broken, noise = objects(result.stdout)
    assert [row["file"] for row in (lif, broken, noise)] == [str(path) for path in files]
    assert lif["assessment"] == "ok"
    assert lif["pixel_size_a"] == pytest.approx(0.4)
    assert lif["dose_e_per_a2"] is None
    assert sum(lif["area_fraction"].values()) == pytest.approx(1)
    assert "none" in lif["area_fraction"]
    region = lif["regions"][0]
    assert region.keys() >= REGION_KEYS
    assert region["phase"] == "LiF"
    assert region["probability"] > 0.9
    assert region["d_spacings_a"][0] == pytest.approx(4.0263 / 2, rel=0.01)
    assert broken["assessment"] == "failed"
    assert "broken.mrc" in broken["sentence"]
    assert noise["assessment"] == "no_periodicity"
    assert noise["regions"] == []
    assert (out / "lif [1].mrc.png").stat().st_size > 10_000
    assert json.loads((out / "lif [1].mrc.json").read_text())["assessment"] == "ok"


def test_a_pixel_size_given_by_hand_is_used(interphase: Call, session: Path) -> None:
    path = session / "lif [1].mrc"
    given = ["--pixel-size", "0.41", "--beam-energy", "300", "--phases", "LiF,Li2O"]
    result = interphase("identify", path, *given, "--json")
    (row,) = objects(result.stdout)
    assert row["pixel_size_a"] == 0.41
    wrong = interphase("identify", path, "--pixel-size", "-1")
    assert wrong.returncode == 2
    assert "--pixel-size is -1 Å: expected more than 0" in wrong.stderr


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--beam-energy", "300000", "is 300000 keV: expected 1 to 3000; did you give volts?"),
        ("--beam-energy", "nan", "is nan keV: expected 1 to 3000"),
        ("--pixel-size", "0", "is 0 Å: expected more than 0"),
        ("--pixel-size", "2e7", "is 20000000 Å: expected more than 0 and at most 1e+07"),
        ("--pixel-size", "inf", "is inf Å: expected more than 0"),
    ],
)
def test_numbers_in_another_unit_are_refused(option: str, value: str, said: str) -> None:
    given = {option[2:].replace("-", "_"): float(value)}
    with pytest.raises(ParameterError, match=re.escape(f"{option} {said}")):
        identify([Path("any.mrc")], **given)


def test_identify_keeps_inputs_of_one_name_apart(
    session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    files = [session / "broken.mrc", other / "broken.mrc"]
    files[1].write_bytes(b"1" * 500)
    assert identify(files, phases="LiF", out=tmp_path / "out", json=True) == 1
    written = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in written] == ["other_broken.mrc.json", "session_broken.mrc.json"]
    found = [json.loads(path.read_text())["file"] for path in written]
    assert found == [str(files[1]), str(files[0])]


def test_info_skips_folders_and_describes_the_files(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, folder = session / "lif [1].mrc", session / "more"
    folder.mkdir()
    assert info([image, image], json=True) == 0
    capsys.readouterr()
    assert info([folder, image], json=True) == 1
    said = capsys.readouterr()
    assert [row["file"] for row in objects(said.out)] == [str(image)]
    assert said.err == f"interphase: skipped {folder}, which is a folder\n"
    with pytest.raises(ParameterError, match=r"absent\.mrc does not exist"):
        info([folder, session / "absent.mrc"])


def test_people_read_a_table_with_names_as_they_are(interphase: Call, session: Path) -> None:
    result = interphase("identify", session / "lif [1].mrc", "--phases", "LiF")
    assert result.returncode == 0
    assert "lif [1].mrc" in result.stdout
    assert "2.01" in result.stdout


def test_info_says_what_is_missing_and_writes_a_session_toml_once(
    interphase: Call, session: Path
) -> None:
    files = [session / "lif [1].mrc", session / "broken.mrc"]
    result = interphase("info", *files, "--json", "--write-session")
    assert result.returncode == 1
    row, broken = objects(result.stdout)
    promised = ("file", "kind", "shape", "pixel_size_a", "beam_energy_kev", "dose_e_per_a2")
    assert set(row) >= {*promised, "dose_rate_e_per_a2_s", "exposure_time_s", "stage", "missing"}
    assert (row["kind"], row["shape"]) == ("image", [256, 256])
    assert "--beam-energy" in row["missing"]["beam_energy_kev"]
    assert broken["assessment"] == "failed"
    assert (session / "session.toml").read_text().startswith("# session.toml")
    again = interphase("info", files[0], "--write-session")
    assert again.returncode == 2
    assert "exists: edit it, or move it away first" in again.stderr
    assert "dose_e_per_a2" in again.stdout


def test_run_ends_in_a_report_and_goes_on_where_it_was(interphase: Call, session: Path) -> None:
    result = interphase("run", session, "--phases", "LiF,Li2O", "--workers", "2")
    assert result.returncode == 1, result.stderr
    assert "LiF was identified in 1 of 2 images and patterns." in result.stdout
    assert "3 measured, 0 kept from before." in result.stdout
    out = session / "interphase-results"
    assert f"Report: {out / 'report.html'}" in result.stdout
    assert {path.name for path in out.iterdir()} >= {
        "report.html",
        "results.csv",
        "regions.csv",
        "provenance.json",
    }
    (session / "broken.mrc").unlink()
    again = interphase("run", session, "--phases", "LiF,Li2O", "--json")
    assert again.returncode == 0
    assert [row["file"] for row in objects(again.stdout)] == ["lif [1].mrc", "noise [1].mrc"]


def test_an_interrupt_ends_cleanly(session: Path) -> None:
    files = session / "interphase-results" / "files"
    command = [sys.executable, "-c", "from interphase.cli import main; main()"]
    process = subprocess.Popen(
        [*command, "run", str(session)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not files.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    # As the keyboard does it: the whole group of processes is told.
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; what is finished is kept" in said
    assert "Traceback" not in said

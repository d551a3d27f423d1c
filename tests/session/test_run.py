import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from interphase.acquisition import Kind
from interphase.assessment import Assessment
from interphase.errors import ConfigurationError, InterphaseError, ParameterError, PhaseError
from interphase.session import RunOptions, SessionResult, load_pictures, run_session

PHASES = "LiF,Li2O"


def run(folder: Path, **kwargs: object) -> SessionResult:
    return run_session(folder, **{"phases": PHASES, "workers": 1, **kwargs})


def test_a_session_is_measured_once_and_only_what_changed_again(
    make_session: Callable[..., Path],
) -> None:
    folder = make_session(images=3)
    (folder / "notes.txt").write_text("thin ice on square 7")
    (folder / "broken.mrc").write_bytes((folder / "a0.mrc").read_bytes()[:700])
    told = []
    first = run(folder, progress=lambda done, total, result: told.append((done, total)))
    by_name = {result.file: result for result in first.files}
    assert list(by_name) == ["a0.mrc", "a1.mrc", "a2.mrc", "broken.mrc", "notes.txt"]
    assert first.measured == 4
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]

    # What was measured says so, with the dose of the sidecar.
    image = by_name["a1.mrc"]
    assert image.assessment is Assessment.NO_PERIODICITY
    assert image.kind is Kind.IMAGE
    assert image.acquisition.dose_e_per_a2 == 11.0
    assert image.sidecars == ("a1.mrc.mdoc",)
    assert load_pictures(image).thumbnail.shape == (192, 192)
    # The broken file is explained in one sentence that names it and stops nobody.
    broken = by_name["broken.mrc"]
    assert broken.assessment is Assessment.FAILED
    assert "broken.mrc" in broken.sentence
    assert "\n" not in broken.sentence
    assert by_name["notes.txt"].sentence.startswith("Not read: ")
    assert not first.assessed

    # Nothing is done twice.
    again = run(folder)
    assert again.measured == 0
    assert [r.sentence for r in again.files] == [r.sentence for r in first.files]

    # A changed file, a changed sidecar: that file alone.
    data = bytearray((folder / "a0.mrc").read_bytes())
    data[2000] ^= 1
    times = (folder / "a0.mrc").stat()
    (folder / "a0.mrc").write_bytes(data)
    os.utime(folder / "a0.mrc", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert run(folder).measured == 1
    mdoc = folder / "a1.mrc.mdoc"
    mdoc.write_text(mdoc.read_text().replace("ExposureDose = 11.0", "ExposureDose = 12.0"))
    changed = run(folder)
    assert changed.measured == 1
    assert changed.files[1].acquisition.dose_e_per_a2 == 12.0

    # Other candidates and another session.toml: all files.
    (folder / "session.toml").write_text("temperature_k = 90\n")
    cold = run(folder)
    assert cold.measured == 4
    assert cold.files[0].acquisition.temperature_k == 90
    assert run(folder, phases="LiF").measured == 4

    # Going back costs nothing, and nothing is doubled.
    (folder / "session.toml").unlink()
    back = run(folder)
    assert back.measured == 0
    assert len(back.files) == 5

    out = folder / "interphase-results"
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert [row["file"] for row in rows] == list(by_name)
    assert rows[1]["dose_e_per_a2"] == "12"
    assert rows[1]["dose_source"].startswith("sidecar")
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["inputs"][1]["sha256"] == back.files[1].sha256
    assert provenance["versions"]["numpy"] == np.__version__
    assert provenance["parameters"]["identification"]["windows_a"] == [32.0, 50.0, 80.0]
    assert {phase["phase"] for phase in provenance["candidates"]} == {"LiF", "Li2O"}


def test_a_run_killed_in_the_middle_goes_on_where_it_was(make_session: Callable[..., Path]) -> None:
    folder = make_session(images=6, side=256)
    command = [
        sys.executable,
        "-c",
        "import sys; from interphase.session import run_session\n"
        f"run_session(sys.argv[1], phases={PHASES!r}, workers=1)",
        str(folder),
    ]
    files = folder / "interphase-results" / "files"

    def finished() -> dict[str, tuple[int, int]]:
        found = [path for path in files.glob("*.json") if not path.name.startswith(".")]
        return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}

    kept: dict[str, tuple[int, int]] = {}
    for least in (1, 3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(finished()) < least and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        now = finished()
        assert len(now) >= least
        # Files finished before were not touched again, and all that is there is whole.
        assert {name: now[name] for name in kept} == kept
        for name in now:
            json.loads((files / name).read_text())
        kept = now
    result = run(folder)
    assert result.measured == 6 - len(kept)
    assert [r.file for r in result.files] == [f"a{n}.mrc" for n in range(6)]
    assert all(r.assessment is Assessment.NO_PERIODICITY for r in result.files)
    assert {name: finished()[name] for name in kept} == kept
    assert len(finished()) == 6


def test_a_file_that_takes_too_long_is_given_up_and_tried_again(
    make_session: Callable[..., Path],
) -> None:
    folder = make_session(images=1)
    result = run(folder, options=RunOptions(time_limit_s=0.01))
    assert result.files[0].assessment is Assessment.FAILED
    assert "0.01 s, the time limit" in result.files[0].sentence
    again = run(folder)
    assert again.measured == 1
    assert again.files[0].assessment is Assessment.NO_PERIODICITY


def test_a_dask_cluster_measures_the_same(
    make_session: Callable[..., Path], dask_scheduler: str, tmp_path: Path
) -> None:
    folder = make_session(images=2)
    result = run(folder, scheduler=dask_scheduler, workers=None)
    assert result.measured == 2
    here = run(folder, out=tmp_path / "here")
    assert [r.sentence for r in result.files] == [r.sentence for r in here.files]
    assert [r.key for r in result.files] == [r.key for r in here.files]


def test_a_scheduler_that_does_not_answer_is_said(
    make_session: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_session(images=1)
    monkeypatch.setattr("interphase.parallel.calls.CONNECT_S", 1.0)
    with pytest.raises(InterphaseError, match="no Dask scheduler answers at tcp"):
        run(folder, scheduler="tcp://127.0.0.1:9", workers=None)


def test_a_movie_is_summed_and_a_file_without_pixel_size_says_how_to_give_it(
    tmp_path: Path, rng: np.random.Generator, write_mrc: Callable[..., Path]
) -> None:
    write_mrc(tmp_path / "movie.mrc", rng.poisson(7.0, (3, 192, 192)))
    write_mrc(tmp_path / "plain.mrc", rng.poisson(7.0, (160, 160)), pixel_size_a=None)
    movie, plain = run(tmp_path).files
    assert movie.kind is Kind.MOVIE
    assert movie.sentence.endswith("The 3 frames were summed without alignment.")
    assert plain.assessment is Assessment.UNCALIBRATED
    assert "--pixel-size" in plain.sentence
    assert load_pictures(plain).thumbnail is not None


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"phases": "kryptonite"}, PhaseError, "'kryptonite' is neither a phase"),
        ({"workers": 0}, ParameterError, "workers is 0: expected at least 1"),
    ],
)
def test_a_wrong_call_is_said(
    make_session: Callable[..., Path], arguments: dict[str, object], error: type, match: str
) -> None:
    with pytest.raises(error, match=match):
        run(make_session(images=1), **arguments)


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="is not a folder"):
        run(tmp_path / "absent")


def test_a_session_toml_that_cannot_be_understood_is_said(
    make_session: Callable[..., Path],
) -> None:
    folder = make_session(images=1)
    (folder / "session.toml").write_text("pixelsize = 3\n")
    with pytest.raises(ConfigurationError, match="did you mean `pixel_size_a`"):
        run(folder)


def test_a_time_limit_must_be_a_time() -> None:
    with pytest.raises(ParameterError, match="time_limit_s is 0: expected a finite time"):
        RunOptions(time_limit_s=0)


def test_an_empty_session_has_no_files(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.files == ()
    assert result.measured == 0


def test_the_results_do_not_go_among_the_data(make_session: Callable[..., Path]) -> None:
    folder = make_session(images=1)
    with pytest.raises(ParameterError, match="is the session's own folder: give another"):
        run(folder, out=folder / ".." / folder.name)
    assert not (folder / "results.csv").exists()

"""Studies are the same whoever measures them, go on after a kill, and redo what changed alone."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import interphase
from interphase.errors import ConfigurationError, InterphaseError, ParameterError
from interphase.simulation import (
    Case,
    StudyResult,
    load_study,
    read_results,
    run_study,
    spawn_seed,
)
from interphase.simulation.study_code import code_behind
from interphase.simulation.study_tables import different_cells

STUDY = """\
question = "Of which size is the product?"
seed = 5
count = 6
side = 40
pause_s = 0.0
unlucky = -1

[quick]
count = 2
"""

RUN = """\
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interphase.simulation import Case, spawn_seed

POWER = 2
DIGITS = 12


@dataclass(frozen=True, slots=True)
class Product:
    values: np.ndarray


def cases(study):
    given = {key: study[key] for key in ("side", "pause_s", "unlucky")}
    return [
        Case(name=f"c{i}", seed=spawn_seed(study["seed"], i), parameters={"number": i, **given})
        for i in range(study["count"])
    ]


def measure(case):
    time.sleep(case.parameters["pause_s"])
    if case.parameters["number"] == case.parameters["unlucky"]:
        raise ValueError("the number is unlucky")
    side = case.parameters["side"]
    matrix = np.random.default_rng(case.seed).normal(size=(side, side))
    product = Product(np.linalg.matrix_power(matrix, POWER))
    return {"norm": np.linalg.norm(product.values), "sizes": (side, 2), "product": product.values}


def tables(study, results):
    rows = []
    for case, result in results:
        norm, trace = round(result["norm"], DIGITS), np.trace(result["product"])
        rows.append({"case": case.name, "norm": norm, "trace": trace})
    return {"summary": rows, "names": [{"case": row["case"], "none": None} for row in rows]}
"""


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Path]:
    """Write a small study; keywords replace what is assigned in study.toml."""

    def make(*changes: tuple[str, str], **values: object) -> Path:
        folder = tmp_path / "product"
        folder.mkdir(exist_ok=True)
        lines = STUDY.splitlines()
        head = lines.index("[quick]")
        for name, value in values.items():
            found = next(n for n, line in enumerate(lines[:head]) if line.startswith(f"{name} ="))
            lines[found] = f"{name} = {json.dumps(value)}"
        program = RUN
        for old, new in changes:
            assert old in program
            program = program.replace(old, new)
        (folder / "study.toml").write_text("\n".join(lines))
        (folder / "run.py").write_text(program)
        return folder

    return make


def run(folder: Path, *, quick: bool = False, **options: object) -> StudyResult:
    if "scheduler" not in options:
        options.setdefault("workers", 1)
    return run_study(load_study(folder, quick=quick), **options)


def contents(result: StudyResult) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in result.tables.items()}


def stamps(out: Path) -> dict[str, tuple[int, int]]:
    """What changes when a record is written again."""
    found = [path for path in (out / "cases").glob("*.json") if path.name[0] != "."]
    return {path.stem: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def test_tables_do_not_depend_on_who_measured(
    make_study: Callable[..., Path], dask_scheduler: str, tmp_path: Path
) -> None:
    folder = make_study(side=200)
    before = list(sys.path)
    one = run(folder, out=tmp_path / "one")
    two = run(folder, out=tmp_path / "two", workers=2)
    cluster = run(folder, out=tmp_path / "cluster", scheduler=dask_scheduler)
    assert one.measured == two.measured == cluster.measured == 6
    assert contents(one) == contents(two) == contents(cluster)
    assert one.tables["summary"].read_text().splitlines()[0] == "case,norm,trace"
    assert one.tables["names"].read_text().splitlines() == [
        "case,none",
        *(f"c{i}," for i in range(6)),
    ]
    for path in (tmp_path / "one").rglob("*.*"):
        if path.name != ".lock" and path.is_file():
            other = tmp_path / "cluster" / path.relative_to(tmp_path / "one")
            assert path.read_bytes() == other.read_bytes()
    # Nothing but the three files a person writes is in the study's folder, nor is it searched.
    assert sys.path == before
    assert sorted(path.name for path in folder.iterdir()) == ["run.py", "study.toml"]


def test_a_killed_study_goes_on_where_it_was(make_study: Callable[..., Path]) -> None:
    folder = make_study(count=8, pause_s=0.15)
    out = folder / "results" / "full"
    code = (
        "import sys; from interphase.simulation import load_study, run_study\n"
        "run_study(load_study(sys.argv[1]), workers=2)"
    )
    kept: dict[str, tuple[int, int]] = {}
    for least in (1, 4):
        process = subprocess.Popen([sys.executable, "-c", code, str(folder)])
        deadline = time.monotonic() + 60
        while len(stamps(out)) < least and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        now = stamps(out)
        assert len(now) >= least
        # What was finished was not made again, and all that is there is whole.
        assert {name: now[name] for name in kept} == kept
        for name in now:
            assert "result" in json.loads((out / "cases" / f"{name}.json").read_text())
        time.sleep(1.0)  # the processes that measured end when they see that they are orphans
        kept = stamps(out)
    told: list[tuple[int, int, str]] = []
    result = run(folder, progress=lambda *args: told.append(args))
    assert result.measured == 8 - len(kept)
    assert {name: stamps(out)[name] for name in kept} == kept
    assert [done for done, _, _ in told] == list(range(len(kept), 9))
    assert not list(out.rglob("*.part"))
    # Killed or not, the tables are those of a run in one go.
    assert contents(result) == contents(run(folder, out=folder.parent / "at once"))


def test_a_killed_worker_costs_nothing_unless_it_dies_each_time(
    make_study: Callable[..., Path], tmp_path: Path
) -> None:
    marker = tmp_path / "killed once"
    dies = (
        "    side = case.parameters",
        f"    marker = Path({str(marker)!r})\n"
        '    if case.parameters["number"] == 2 and not marker.exists():\n'
        "        marker.touch(mode=0o644)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    side = case.parameters",
    )
    result = run(make_study(dies))
    assert marker.exists()
    assert result.failed == {}
    assert result.done == 6
    always = (dies[0], dies[1].replace("marker.touch(mode=0o644)", "pass"))
    marker.unlink()
    out = tmp_path / "always"
    lost = run(make_study(always), out=out)
    assert list(lost.failed) == ["c2"]
    assert "was killed (signal 9)" in lost.failed["c2"]
    assert lost.done == 5
    assert "c2" not in lost.tables["summary"].read_text()


def test_only_what_changed_is_measured_again(
    make_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(make_study())
    assert (first.measured, first.stale, first.cases) == (6, 0, 6)
    assert first.out == make_study() / "results" / "full"
    once = stamps(first.out)

    # The same again, a table made in another way, a comment, a helper that `measure` does not use.
    for change in [
        ("POWER", "POWER"),
        ("DIGITS = 12", "DIGITS = 3"),
        ("POWER = 2", "POWER = 2  # two"),
    ]:
        again = run(make_study(change))
        assert (again.measured, again.stale) == (0, 0)
    assert stamps(first.out) == once

    # More of it: the cases that are there stay what they are.
    more = run(make_study(count=8))
    assert (more.measured, more.stale, more.cases) == (2, 0, 8)
    assert {name: stamps(more.out)[name] for name in once} == once
    assert more.tables["summary"].read_text().startswith(first.tables["summary"].read_text())

    # Another parameter, another seed, another code, another version: all of it.
    for folder in (lambda: make_study(side=41), lambda: make_study(seed=6)):
        assert run(folder()).stale == 6
    squared = contents(run(make_study()))
    cubed = run(make_study(("POWER = 2", "POWER = 3")))
    assert cubed.stale == 6
    assert contents(cubed) != squared
    monkeypatch.setattr(interphase, "__version__", "99")
    assert run(make_study(("POWER = 2", "POWER = 3"))).stale == 6


def test_a_case_that_fails_stops_no_other_and_is_tried_again(
    make_study: Callable[..., Path],
) -> None:
    folder = make_study(unlucky=3)
    result = run(folder, workers=2)
    assert result.failed == {"c3": "ValueError: the number is unlucky"}
    assert (result.measured, result.done, result.cases) == (5, 5, 6)
    record = json.loads((result.out / "cases" / "c3.json").read_text())
    assert 'raise ValueError("the number is unlucky")' in record["traceback"]
    assert len(result.tables["summary"].read_text().splitlines()) == 6
    again = run(folder)
    assert (again.measured, list(again.failed)) == (0, ["c3"])
    names = [case.name for case, _ in read_results(load_study(folder))]
    assert names == ["c0", "c1", "c2", "c4", "c5"]


def test_a_study_of_which_every_case_fails_has_no_tables(make_study: Callable[..., Path]) -> None:
    before = run(make_study())
    (before.out / "mine.csv").write_text("not a table of the study")
    result = run(make_study(("rng(case.seed)", "rng(case.sead)")))
    assert len(result.failed) == 6
    assert result.tables == {}
    assert [path.name for path in before.out.glob("*.csv")] == ["mine.csv"]


def test_a_table_that_is_no_longer_made_is_removed(make_study: Callable[..., Path]) -> None:
    before = run(make_study(), quick=True)
    after = run(make_study(('"names": [', '"others": [')), quick=True)
    assert after.measured == 0
    assert {path.name for path in before.out.glob("*.csv")} == {"summary.csv", "others.csv"}


def test_results_come_back_as_they_were_with_their_arrays(make_study: Callable[..., Path]) -> None:
    folder = make_study()
    run(folder, quick=True)
    (case, result), (other, _) = read_results(load_study(folder, quick=True))
    assert (case.name, other.name) == ("c0", "c1")
    assert case.parameters["number"] == 0
    matrix = np.random.default_rng(case.seed).normal(size=(40, 40))
    np.testing.assert_array_equal(result["product"], matrix @ matrix)
    assert result["norm"] == np.linalg.norm(matrix @ matrix)
    assert result["sizes"] == [40, 2]


def test_a_result_that_json_cannot_hold_is_a_failure_with_a_remedy(
    make_study: Callable[..., Path],
) -> None:
    for wrong in ('float("nan")', "object()"):
        result = run(make_study(("np.linalg.norm(product.values)", wrong)), quick=True)
        assert "the result of case c0 cannot be written as JSON" in result.failed["c0"]
        assert "None for what is missing" in result.failed["c0"]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def _without(key: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        record = json.loads(path.read_text())
        del record[key]
        path.write_text(json.dumps(record))

    return change


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".npz", _cut),
        (".npz", _flip),
        (".npz", Path.unlink),
        (".npz", lambda path: np.savez(path, product=np.array([{}], dtype=object))),
        (".npz", lambda path: np.savez(path, other=np.zeros(3))),
        (".json", lambda path: path.write_text("[")),
        (".json", lambda path: path.write_text('{"result": 1}')),
        (".json", _without("arrays")),
        (".json", _without("result")),
    ],
)
def test_a_damaged_case_is_measured_again(
    make_study: Callable[..., Path], suffix: str, damage: Callable[[Path], object]
) -> None:
    folder = make_study()
    first = run(folder, quick=True)
    whole = contents(first)
    damage(first.out / "cases" / f"c1{suffix}")
    assert [case.name for case, _ in read_results(load_study(folder, quick=True))] == ["c0"]
    again = run(folder, quick=True)
    assert (again.measured, again.stale, again.failed) == (1, 0, {})
    assert contents(again) == whole


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("{'a': np.array([{}], dtype=object)}", "array a in the result of case c0 holds objects"),
        ("{'file': np.zeros(2)}", "the result of case c0 has the key 'file'"),
        ("{1: np.zeros(2)}", "the result of case c0 has the key 1: expected strings"),
        ("None", "`measure` returns None for case c0: expected a dictionary"),
    ],
)
def test_a_result_that_files_cannot_hold_is_a_failure_in_words(
    make_study: Callable[..., Path], returned: str, said: str
) -> None:
    folder = make_study(("    time.sleep(case", f"    return {returned}\n    time.sleep(case"))
    assert said in run(folder, quick=True).failed["c0"]


def test_a_result_folder_that_is_removed_meanwhile_is_said(make_study: Callable[..., Path]) -> None:
    folder = make_study()

    def remove(done: int, total: int, last: str) -> None:
        if last:
            shutil.rmtree(folder / "results", ignore_errors=True)

    with pytest.raises(InterphaseError, match=r"results/quick or a folder in it was removed"):
        run(folder, quick=True, progress=remove)


def test_memory_holds_one_result_at_a_time(make_study: Callable[..., Path]) -> None:
    folder = make_study(count=5, side=700)  # 3.9 MB each
    run(make_study(count=1, side=2))  # what is imported once is not counted
    tracemalloc.start()
    try:
        run(make_study(count=5, side=700), out=folder / "large")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 3.9e6 < peak < 2.5 * 3.9e6


def test_quick_overrides_are_merged_and_lie_apart(make_study: Callable[..., Path]) -> None:
    folder = make_study()
    (folder / "study.toml").write_text(
        STUDY + "deep.side = 3\nopen.any = 1\n[deep]\nside = 4\n[deep.down]\nkept = true\n[open]\n"
    )
    quick = load_study(folder, quick=True)
    assert quick.settings["count"] == 2
    assert quick.settings["deep"] == {"side": 3, "down": {"kept": True}}
    assert quick.settings["open"] == {"any": 1}
    assert "quick" not in quick.settings
    full = load_study(folder)
    assert (full.settings["count"], full.settings["deep"]["side"]) == (6, 4)
    assert quick.results == folder / "results" / "quick"


def test_the_expected_tables_are_compared_in_the_full_form_alone(
    make_study: Callable[..., Path],
) -> None:
    folder = make_study()
    first = run(folder)
    assert first.differences == {}
    text = first.tables["summary"].read_text()
    (folder / "expected.csv").write_text(text)
    (folder / "expected_names.csv").write_text(text.partition("\n")[0].replace("norm", "none"))
    again = run(folder)
    assert again.differences == {"summary": 0, "names": 12}
    assert run(folder, quick=True).differences == {}
    other = text.replace(text.splitlines()[1].split(",")[1], "1e6")
    (folder / "expected.csv").write_text(other)
    assert run(folder).differences["summary"] == 1


@pytest.mark.parametrize(
    ("file", "text", "error", "match"),
    [
        ("study.toml", "count = 1", ConfigurationError, "asks nothing: give `question`"),
        ("study.toml", "question = ", ConfigurationError, "study.toml is not TOML"),
        (
            "study.toml",
            STUDY.replace("[quick]\ncount", "[quick]\nconut"),
            ConfigurationError,
            r"\[quick\] in .*study.toml overrides `conut`, .* known are question",
        ),
        ("study.toml", STUDY + "[quick.seed]\nx = 1", ConfigurationError, "overrides `seed`"),
        ("study.toml", STUDY.partition("[quick]")[0], ConfigurationError, r"no table \[quick\]"),
        ("study.toml", "tolerance = -1\n" + STUDY, ConfigurationError, "tolerance is -1 in"),
        ("study.toml", STUDY.replace("count = 2", "count = 0"), ConfigurationError, "no cases"),
        ("run.py", RUN.replace("def tables", "def table"), ConfigurationError, "no function `tab"),
        ("run.py", RUN.replace('f"c{i}"', '"c"'), ParameterError, "two cases .* are called c"),
        (
            "run.py",
            RUN.replace('f"c{i}"', 'f"c/{i}"'),
            ConfigurationError,
            r"run\.py.*`cases` raises Par.* is called 'c/0': expected",
        ),
        (
            "study.toml",
            "quick = 3\n" + STUDY.partition("[quick]")[0],
            ConfigurationError,
            "is 3 in",
        ),
    ],
)
def test_a_study_that_cannot_be_understood_is_said(
    make_study: Callable[..., Path], file: str, text: str, error: type, match: str
) -> None:
    folder = make_study()
    (folder / file).write_text(text)
    with pytest.raises(error, match=match):
        run(folder, quick=True)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("def cases", "def cases(", "it raises SyntaxError.*line 20"),
        ("POWER = 2", "import nowhere_at_all", "it raises ModuleNotFoundError in line 11: No mod"),
        ("POWER = 2", "POWER = 1 / 0", "it raises ZeroDivisionError in line 11"),
        ("POWER = 2", "raise SystemExit(0)", "it raises SystemExit in line 11"),
        ('study["count"]', 'study["counts"]', "`cases` raises KeyError in line .*'counts'"),
        ('seed=spawn_seed(study["seed"], i)', "seed=1.5", "seed of case c0 is 1.5: expected a wh"),
        ('{"number": i, **given}', "[i]", r"parameters of case c0 are \[0\]: expected a dict"),
        ("    return [\n", "    return None\n    [\n", "`cases` in .* returns None: expected a li"),
        ("    return [\n", "    return 'ab'\n    [\n", "`cases` in .* returns 'a': expected a li"),
        ("    rows = []", "    return None", "`tables` in .* returns None: expected a dict"),
        ("    rows = []", "    return [1]", r"`tables` in .* returns \[1\]: expected a dict"),
        (
            "    rows = []",
            '    return {"a": 3}',
            "returns 3: expected a list of rows as the table a",
        ),
        ("    rows = []", '    return {"a": "x"}', "returns 'x': expected a list of rows"),
        ("    rows = []", '    return {"a": [3]}', "returns 3: expected dictionaries as rows of"),
        (
            'return {"summary": rows',
            'return {"summary": [{}, *rows]',
            "expected the columns  in each row of summary",
        ),
        ('{"summary"', '{"../../summary"', r"returns '\.\./\.\./summary': expected names"),
        ("    rows = []", "    raise SystemExit", "`tables` raises SystemExit in line"),
        ('result["norm"]', 'result["none"]', "`tables` raises KeyError in line .*'none'"),
    ],
)
def test_a_program_with_a_mistake_is_named_with_it(
    make_study: Callable[..., Path], old: str, new: str, match: str
) -> None:
    folder = make_study((old, new))
    with pytest.raises(ConfigurationError, match=match) as caught:
        run(folder, quick=True)
    assert str(folder / "run.py") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(folder.rglob("*.csv"))


def test_a_wrong_call_is_said(
    make_study: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_study()
    with pytest.raises(ParameterError, match="workers is 0: expected at least 1"):
        run(folder, workers=0)
    with pytest.raises(ParameterError, match="the result folder is ''"):
        run(folder, out="")
    with pytest.raises(ParameterError, match="give one of the two"):
        run(folder, workers=1, scheduler="tcp://127.0.0.1:9")
    monkeypatch.setattr("interphase.parallel.calls.CONNECT_S", 1.0)
    with pytest.raises(InterphaseError, match="no Dask scheduler answers at tcp"):
        run(folder, scheduler="tcp://127.0.0.1:9")
    (tmp_path / "simulations" / "named").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match=r"named is no study: it has no study\.toml"):
        load_study("named")
    os.rename(folder, tmp_path / "simulations" / "product")
    assert load_study("product").name == "product"
    with pytest.raises(ParameterError, match=r"absent is no study: .*\(there: product\)"):
        load_study("absent")


def test_two_runs_of_one_study_are_kept_apart(make_study: Callable[..., Path]) -> None:
    folder = make_study()

    def begin_another(done: int, total: int, last: str) -> None:
        with pytest.raises(InterphaseError, match="another run is writing"):
            run(folder, quick=True)

    assert run(folder, quick=True, progress=begin_another).done == 2


@given(st.integers(0, 2**63), st.lists(st.integers() | st.text(), max_size=3))
def test_seeds_fit_every_program_and_tell_cases_apart(seed: int, keys: list[int | str]) -> None:
    spawned = spawn_seed(seed, *keys)
    assert spawned == spawn_seed(seed, *keys)
    assert 0 <= spawned < 2**53
    others = {spawn_seed(seed + 1, *keys), spawn_seed(seed, *keys, 0), spawn_seed(seed, *keys, "0")}
    assert len(others | {spawned}) == 4


def test_seeds_are_spread_evenly() -> None:
    # Kolmogorov-Smirnov: a distance of 1.95 / sqrt(n) is passed by chance once in a thousand.
    shares = np.sort([spawn_seed(1, i) / 2**53 for i in range(4000)])
    distance = np.abs(shares - (np.arange(4000) + 0.5) / 4000).max()
    assert distance < 1.95 / np.sqrt(4000)


@pytest.mark.parametrize(
    ("seed", "parameters", "match"),
    [
        (-1, {}, "seed of case a is -1"),
        ("1", {}, "seed of case a is '1': expected a whole number"),
        (1, {"x": {1, 2}}, "the parameters of case a cannot be"),
        (1, [1], r"the parameters of case a are \[1\]: expected a dictionary"),
    ],
)
def test_cases_that_cannot_be_kept_are_refused(seed: int, parameters: dict, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        Case(name="a", seed=seed, parameters=parameters)


def test_the_code_behind_a_function_is_what_it_can_reach() -> None:
    source = """
import json as j
from math import pi, tau
A = [1]
A.append(2)
B = pi
def f(x): return g(x) + len(A)  # comment
def g(x): return j.dumps(x)
def h(x):
    A = tau
    return f(x)
class C: pass
"""
    assert code_behind(source.encode(), "f").splitlines() == [
        "import json as j",
        "A = [1]",
        "A.append(2)",
        "def f(x):",
        "    return g(x) + len(A)",
        "def g(x):",
        "    return j.dumps(x)",
    ]


@pytest.mark.parametrize(
    "block",
    [
        "if A:\n    def g(x):\n        return B",
        "try:\n    import fast as g\nexcept ImportError:\n    g = B",
        "with A:\n    class g:\n        b = B",
        "for A in ():\n    if A:\n        from math import tau as g\n    B",
        "try:\n    pass\nexcept OSError as g:\n    B",
        "if A:\n    from B import *",
        "from B import *",
    ],
)
def test_the_code_behind_a_function_may_be_in_a_block(block: str) -> None:
    block = ast.unparse(ast.parse(block))
    unused = "if Z:\n    def unused():\n        return 2"
    source = f"B = 1\n{block}\n{unused}\ndef f(x):\n    return g(x)"
    behind = code_behind(source.encode(), "f")
    assert block in behind
    assert "unused" not in behind
    assert ("B = 1" in behind) == ("import *" not in block)


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.sampled_from(["LiF", "", "Li,2"])), max_size=5),
    st.floats(1e-6, 0.1),
)
def test_tables_differ_where_numbers_do(rows: list[tuple[float, str]], tolerance: float) -> None:
    def table(factor: float) -> str:
        lines = [f'{x + factor * tolerance * max(1, abs(x))!r},"{name}"\n' for x, name in rows]
        return "".join(["x,name\n", *lines])

    assert different_cells(table(0), table(0)) == 0
    assert different_cells(table(0.9), table(0), tolerance) == 0
    assert different_cells(table(1.1), table(0), tolerance) == len(rows)
    assert different_cells(table(0), "x,name\n", tolerance) == 2 * len(rows)

"""The house around the package: what is written about it stays true."""

import ast
import contextlib
import importlib
import importlib.metadata
import inspect
import io
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import interphase
from interphase.assessment import Assessment
from interphase.diffraction import PhaseMap

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROOMS = (
    "io",
    "phases",
    "plotting",
    "diffraction",
    "dose",
    "eels",
    "simulation",
    "session",
    "report",
)


def block(mark: str) -> str:
    """The README's code block under a mark."""
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", README, flags=re.DOTALL)
    assert found is not None, f"README.md has no block marked <!-- {mark} -->"
    return found.group(1)


def test_the_tests_run_on_the_installed_package() -> None:
    installed = importlib.metadata.distribution("interphase").locate_file("interphase/__init__.py")
    if not Path(str(installed)).is_file():
        pytest.skip("interphase is installed as a link to a checkout")
    assert Path(str(interphase.__file__)).samefile(str(installed))
    code = "import interphase; print(interphase.__file__)"
    child = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert Path(child.stdout.strip()).samefile(str(installed))


@pytest.mark.parametrize("name", ["demo", "test"])
def test_one_command_of_the_readme_does_it_all(name: str) -> None:
    (command,) = block(f"{name} command").splitlines()
    steps = command.split(" && ")
    assert steps[0] == "python -m venv .venv"
    assert all(step.startswith(".venv/bin/") for step in steps[1:])


@pytest.mark.parametrize("name", ["demo", "test"])
def test_the_check_of_changes_runs_the_commands_of_the_readme(name: str) -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f"$(command_of {name})" in script
    function = re.search(r"^command_of\(\) \{\n.*?^\}", script, flags=re.DOTALL | re.MULTILINE)
    assert function is not None
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    said = subprocess.run(
        [bash, "-c", f"{function.group()}\ncommand_of {name}"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert said.stdout == block(f"{name} command")


def test_the_example_of_the_readme_finds_what_the_readme_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(printed):
        exec(block("example"), names)
    found = names["found"]
    assert isinstance(found, PhaseMap)
    sure = {r.phase for r in found.regions if r.assessment is Assessment.OK}
    assert sure <= {"Li2O", "LiF", "Li2CO3", "Li"}
    # Digits may differ between versions of what lies below; what is said may not.
    told = re.compile(r"^(\S+) with probability", flags=re.MULTILINE)
    assert told.findall(printed.getvalue()) == told.findall(block("example output"))
    dose, _, _ = block("example output").partition(": ")
    assert printed.getvalue().startswith(f"{dose}: ")


def test_the_simulation_of_the_readme_gives_counts_and_truth_of_one_shape() -> None:
    names: dict[str, Any] = {}
    exec(block("simulation"), names)
    counts, truth, seen = names["counts"], names["truth"], names["seen"]
    assert counts.shape == truth.depth_a.shape
    assert truth.structure == "layered"
    expected = 100 * seen.pixel_size_a**2 * seen.detector.dqe0 * names["image"].mean()
    assert counts.mean() == pytest.approx(float(expected), rel=0.01)


def test_the_verbs_of_the_readme_are_those_of_the_command_line() -> None:
    from interphase.cli import app

    verbs = {str(command.callback.__name__) for command in app.registered_commands}  # type: ignore[union-attr]
    assert set(re.findall(r"^interphase (\w+)", README, flags=re.MULTILINE)) == verbs


def test_links_of_the_readme_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [t for t in targets if not t.startswith("http") and not (ROOT / t).exists()]
    assert missing == []


def test_the_citation_names_this_version_and_licence() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (\S+)$", citation, re.MULTILINE).group(1) == interphase.__version__  # type: ignore[union-attr]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"license: {project['license']}" in citation
    assert importlib.metadata.version("interphase") == interphase.__version__


def test_every_dependency_has_a_lower_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = project["optional-dependencies"].values()
    wanted = project["dependencies"] + [d for group in groups for d in group]
    assert [d for d in wanted if ">=" not in d and not d.startswith("interphase[")] == []


def public_objects() -> list[tuple[str, object]]:
    modules: list[ModuleType] = [interphase]
    modules += [importlib.import_module(f"interphase.{room}") for room in ROOMS]
    found = {}
    for module in modules:
        names = getattr(module, "__all__", None) or [n for n in vars(module) if n[0] != "_"]
        for name in names:
            value = getattr(module, name)
            if getattr(value, "__module__", "").startswith("interphase"):
                found[f"{module.__name__}.{name}"] = value
    return sorted(found.items())


def test_every_public_function_and_record_says_what_it_is() -> None:
    objects = public_objects()
    assert len(objects) > 40
    assert [name for name, value in objects if not (inspect.getdoc(value) or "").strip()] == []


def test_every_argument_of_a_public_function_is_described() -> None:
    silent = []
    for name, value in public_objects():
        if not inspect.isfunction(value):
            continue
        doc = inspect.getdoc(value) or ""
        if "Parameters\n---" not in doc:
            continue
        silent += [
            f"{name}({parameter})"
            for parameter in inspect.signature(value).parameters
            if not re.search(rf"^(\w+, )*\*{{0,2}}{parameter}(, \w+)*$", doc, flags=re.MULTILINE)
        ]
    assert silent == []


def test_nothing_below_the_command_line_prints_or_asks() -> None:
    guilty = []
    for path in sorted((ROOT / "interphase").rglob("*.py")):
        if path.is_relative_to(ROOT / "interphase" / "cli"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in {"print", "input", "breakpoint"}:
                    guilty.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert guilty == []


def test_imports_point_down_the_floors() -> None:
    linter = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("import-linter is not installed: pip install '.[dev]'")
    run = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_notebooks_are_committed_without_outputs() -> None:
    import nbformat

    notebooks = sorted((ROOT / "tutorials").glob("*.ipynb"))
    assert notebooks
    for path in notebooks:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                assert cell.outputs == [], f"{path.name} has outputs: run nbstripout on it"
                assert cell.execution_count is None

"""Prepared candidates: kept by content, in memory and on disk."""

import ast
import inspect
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import interphase.phases
from interphase.diffraction import catalogue
from interphase.diffraction.catalogue import PhaseKey, cache_folder, library_of, templates_of
from interphase.diffraction.templates import Templates, make_templates
from interphase.phases import Contrast, load_phase

RANGE = (1.2, 6.0, Contrast.ELECTRON)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache folder and an empty memory."""
    monkeypatch.setenv(catalogue.CACHE_VARIABLE, str(tmp_path / "cache"))
    forget()
    yield tmp_path / "cache" / "templates"
    forget()


@pytest.fixture
def made(monkeypatch):
    """Identifiers of the phases whose templates were computed and not read."""
    calls = []

    def counted(phase, **options):
        calls.append(phase.identifier)
        return make_templates(phase, **options)

    monkeypatch.setattr(catalogue, "make_templates", counted)
    return calls


def forget():
    templates_of.cache_clear()
    library_of.cache_clear()


def same(first, second):
    return all(
        np.array_equal(getattr(first, f.name), getattr(second, f.name), equal_nan=f.name != "phase")
        for f in fields(Templates)
    )


def test_what_was_kept_is_what_was_made(folder, made):
    key = PhaseKey(load_phase("Li2O"))
    first = templates_of(key, *RANGE)
    forget()
    again = templates_of(key, *RANGE)
    assert made == ["Li2O"]
    assert same(first, again)
    assert same(again, make_templates(load_phase("Li2O"), d_min_a=1.2, d_max_a=6.0))
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda p: replace(p, fractional=p.fractional + 0.01 * np.eye(12, 3)),
        lambda p: replace(p, occupancies=p.occupancies * np.linspace(0.5, 1, 12)),
        lambda p: replace(p, species=("S",) * 12),
        lambda p: replace(p, lattice=(4.62, *p.lattice[1:])),
    ],
    ids=["positions", "occupancies", "elements", "cell"],
)
def test_structures_of_one_name_that_differ_never_share_templates(folder, made, change):
    phase = load_phase("Li2O")
    other = change(phase)
    first, second = (templates_of(PhaseKey(p), *RANGE) for p in (phase, other))
    assert made == ["Li2O", "Li2O"]
    assert not same(first, second)
    assert same(second, make_templates(other, d_min_a=1.2, d_max_a=6.0))


def test_a_copy_of_a_structure_is_not_made_again(folder, made):
    phase = load_phase("LiF")
    templates_of(PhaseKey(phase), *RANGE)
    forget()
    copy = replace(phase, identifier="my-salt", fractional=phase.fractional.copy(), note="mine")
    assert templates_of(PhaseKey(copy), *RANGE).phase == "my-salt"
    assert made == ["LiF"]


@pytest.mark.parametrize(
    "options",
    [(1.3, 6.0, Contrast.ELECTRON), (1.2, 5.0, Contrast.ELECTRON), (1.2, 6.0, Contrast.DARK_FIELD)],
)
def test_other_options_are_other_templates(folder, made, options):
    key = PhaseKey(load_phase("LiF"))
    templates_of(key, *RANGE)
    templates_of(key, *options)
    assert made == ["LiF", "LiF"]


def test_another_program_makes_them_anew(folder, made, monkeypatch):
    key = PhaseKey(load_phase("LiF"))
    templates_of(key, *RANGE)
    forget()
    monkeypatch.setattr(catalogue, "_program", lambda: "the next version")
    templates_of(key, *RANGE)
    assert made == ["LiF", "LiF"]


def test_all_that_templates_are_computed_from_is_in_the_digest():
    """Follow the imports of templates.py within the package; misuse and words change nothing."""
    told = {
        f"{package}.{name.removesuffix('.py')}"
        for package, names in catalogue.SOURCES.items()
        for name in names
    }
    todo, used = ["interphase.diffraction.templates"], set()
    while todo:
        module = todo.pop()
        used.add(module)
        path = Path(interphase.__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (
                isinstance(node, ast.ImportFrom) and (node.module or "").startswith("interphase")
            ):
                continue
            names = (
                {inspect.getmodule(getattr(interphase.phases, a.name)).__name__ for a in node.names}
                if node.module == "interphase.phases"
                else {node.module}
            )
            todo += names - used - {"interphase.errors"}
    assert used <= told


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_made_again(folder, made, share):
    key = PhaseKey(load_phase("LiF"))
    first = templates_of(key, *RANGE)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    forget()
    assert same(templates_of(key, *RANGE), first)
    assert made == ["LiF", "LiF"]
    assert file.read_bytes() == whole


def test_a_file_with_changed_bytes_is_never_believed(folder, rng):
    key = PhaseKey(load_phase("Cu"))
    first = templates_of(key, *RANGE)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    for place in rng.integers(0, len(whole), 60):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(changed)
        forget()
        assert same(templates_of(key, *RANGE), first)


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path, monkeypatch, made):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(catalogue.CACHE_VARIABLE, str(tmp_path / "file"))
    forget()
    templates_of(PhaseKey(load_phase("LiF")), *RANGE)
    forget()
    templates_of(PhaseKey(load_phase("LiF")), *RANGE)
    assert made == ["LiF", "LiF"]
    assert (tmp_path / "file").read_text() == "no folder"


def test_an_empty_variable_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv(catalogue.CACHE_VARIABLE, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget()
    templates_of(PhaseKey(load_phase("LiF")), *RANGE)
    assert cache_folder() is None
    assert list(tmp_path.iterdir()) == []


def test_without_a_variable_the_system_says_where(monkeypatch):
    monkeypatch.delenv(catalogue.CACHE_VARIABLE, raising=False)
    assert cache_folder().is_absolute()
    assert "interphase" in cache_folder().parts


def test_what_was_longest_not_used_makes_room(folder, monkeypatch):
    keys = [PhaseKey(load_phase(name)) for name in ("LiF", "Li2O", "Cu", "LiH")]
    for key in keys[:3]:
        templates_of(key, *RANGE)
    before = {file.stat().st_size: file for file in folder.iterdir()}
    assert len(before) == 3
    forget()
    for age, file in enumerate(before.values()):
        os.utime(file, (1e9 + age, 1e9 + age))
    templates_of(keys[0], *RANGE)  # used again: now the newest
    first = max(folder.iterdir(), key=lambda f: f.stat().st_mtime)
    monkeypatch.setattr(catalogue, "LARGEST_CACHE", 250_000)
    templates_of(keys[3], *RANGE)
    left = list(folder.iterdir())
    assert first in left
    assert len(left) < 4
    assert sum(f.stat().st_size for f in left) <= 250_000


PREPARE = """
import sys
from interphase.diffraction.catalogue import PhaseKey, templates_of
from interphase.phases import Contrast, load_phase
for name in ("Li2CO3", "LiF"):
    templates_of.cache_clear()
    weight = templates_of(PhaseKey(load_phase(name)), 1.2, 6.0, Contrast.ELECTRON).weight
    print(name, len(weight), repr(float(weight.sum())))
"""


def test_processes_may_write_at_the_same_time(folder):
    both = [
        subprocess.Popen([sys.executable, "-c", PREPARE], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    expected = [
        make_templates(load_phase(name), d_min_a=1.2, d_max_a=6.0).weight
        for name in ("Li2CO3", "LiF")
    ]
    for process in both:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        for line, weight in zip(said.splitlines(), expected, strict=True):
            assert line.split()[1:] == [str(len(weight)), repr(float(weight.sum()))]
    assert sorted(f.suffix for f in folder.iterdir()) == [".npz", ".npz"]

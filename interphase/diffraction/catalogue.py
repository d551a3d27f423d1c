"""Templates of candidates, prepared once per content, options and range of spacings.

In a process they are kept in memory; between processes in files of the user's cache folder, named
by a digest of all they depend on. A file is never trusted beyond that: one that is damaged is made
again, and a folder that cannot be written is done without.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from interphase.diffraction.matching import Library
from interphase.diffraction.templates import Templates, make_templates
from interphase.files import write_whole
from interphase.phases import Contrast, Phase

# Names the cache folder; empty: nothing is kept on disk.
CACHE_VARIABLE = "INTERPHASE_CACHE"
# Size above which the files that were longest not used are removed [bytes].
LARGEST_CACHE = 256 * 2**20
# What templates are computed from besides the phase: a change of it makes them anew.
SOURCES = {
    "interphase.diffraction": ("templates.py",),
    "interphase.phases": (
        "table.py",
        "kinematics.py",
        "symmetry.py",
        "elements.py",
        "data/elements.csv",
    ),
}

_writing = threading.Lock()


class PhaseKey:
    """A phase that hashes by what its templates depend on: its name, its cell and its atoms."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        content = hashlib.sha256(",".join(phase.species).encode())
        for numbers in (phase.lattice, phase.fractional, phase.occupancies):
            content.update(np.ascontiguousarray(numbers, dtype=float).tobytes())
        self.content = content.hexdigest()
        self.key = (phase.identifier, self.content)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PhaseKey) and self.key == other.key


@lru_cache(maxsize=256)
def templates_of(key: PhaseKey, d_min: float, d_max: float, contrast: Contrast) -> Templates:
    """Return the templates of one candidate between two spacings [Å]."""

    def make() -> Mapping[str, np.ndarray]:
        made = make_templates(key.phase, d_min_a=d_min, d_max_a=d_max, contrast=contrast)
        return {name: getattr(made, name) for name in names}

    names = tuple(f.name for f in fields(Templates) if f.name != "phase")
    arrays = kept_arrays(f"{key.content} {d_min!r} {d_max!r} {contrast.value}", names, make)
    return Templates(phase=key.phase.identifier, **arrays)


@lru_cache(maxsize=4)
def library_of(
    keys: tuple[PhaseKey, ...], d_min: float, d_max: float, contrast: Contrast
) -> Library:
    """Return the joined templates of candidates between two spacings [Å]."""
    templates = [templates_of(key, d_min, d_max, contrast) for key in keys]
    return Library.from_templates([t for t in templates if len(t.weight)])


def cache_folder() -> Path | None:
    """Return where prepared candidates are kept, or nothing where they shall not be.

    The environment variable ``INTERPHASE_CACHE`` names another folder than the system's for caches,
    or none if it is empty.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named is not None:
        return Path(named) if named else None
    from platformdirs import user_cache_path

    return user_cache_path("interphase", appauthor=False)


def kept_arrays(
    content: str, names: tuple[str, ...], make: Callable[[], Mapping[str, np.ndarray]]
) -> Mapping[str, np.ndarray]:
    """Return arrays from the cache folder, or make them and keep them there.

    Parameters
    ----------
    content
        All that the arrays depend on, apart from the program.
    names
        Names of the arrays.
    make
        Makes them where they are not kept.
    """
    folder, program = cache_folder(), _program()
    if folder is None or program is None:
        return make()
    name = hashlib.sha256(f"{program} {content}".encode()).hexdigest()
    path = folder / "templates" / f"{name}.npz"
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in names}
        os.utime(path)
    except Exception:  # absent, or damaged in a way that any part of the reader may meet first
        arrays = dict(make())
        _keep(path, arrays)
    return arrays


def _keep(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays into the cache folder, if that can be done, and make room for them."""
    try:
        with _writing:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, lambda stream: np.savez(stream, **arrays))  # type: ignore[arg-type]
            ours = [*path.parent.glob("*.npz"), *path.parent.glob(".*.npz.*.part")]
            kept = [(file, file.stat()) for file in ours]
            excess = sum(state.st_size for _, state in kept) - LARGEST_CACHE
            for file, state in sorted(kept, key=lambda pair: pair[1].st_mtime):
                if excess <= 0:
                    break
                file.unlink(missing_ok=True)
                excess -= state.st_size
    except OSError:
        pass


@cache
def _program() -> str | None:
    """Return a digest of the program that makes templates; ``None`` where it cannot be read."""
    try:
        parts = [
            files(package).joinpath(name).read_bytes()
            for package, names in SOURCES.items()
            for name in names
        ]
    except OSError:
        return None
    return hashlib.sha256(b"\0".join(parts)).hexdigest()

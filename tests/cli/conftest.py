"""The command line as people call it: in a process of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def interphase() -> Call:
    """Call ``interphase`` with arguments; nothing is raised for its exit status."""

    def call(*arguments: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from interphase.cli import main; main()"]
        return subprocess.run(
            [*command, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **kwargs,
        )

    return call


@pytest.fixture
def session(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A session of an image of LiF along [001], one of noise, and a broken one."""
    folder = tmp_path / "session"
    folder.mkdir()
    y, x = np.indices((256, 256)) * 0.4
    lattice = sum(np.cos(2 * np.pi * axis / (4.0263 / 2)) for axis in (x, y))
    images = {"lif": 40 * (1 + 0.15 * lattice), "noise": np.full(x.shape, 40.0)}
    for name, mean in images.items():
        with mrcfile.new(folder / f"{name} [1].mrc") as file:
            file.set_data(rng.poisson(mean).astype(np.float32))
            file.voxel_size = 0.4
    (folder / "broken.mrc").write_bytes(b"\0" * 500)
    return folder

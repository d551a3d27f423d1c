"""Small sessions of real files, written as a microscope would."""

from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest


def _write_mrc(path: Path, data: np.ndarray, pixel_size_a: float | None = 0.4) -> Path:
    """Write an MRC file; without a pixel size its header says nothing of it."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(data.astype(np.float32))
        if pixel_size_a is not None:
            file.voxel_size = pixel_size_a
    return path


def _write_mdoc(path: Path, *, dose: float) -> Path:
    """Write a SerialEM sidecar for the MRC file of the same name."""
    text = f"[ZValue = 0]\nExposureDose = {dose}\nStagePosition = 1.0 2.0\nVoltage = 300\n"
    sidecar = path.with_name(path.name + ".mdoc")
    sidecar.write_text(f"PixelSpacing = 0.4\nImageFile = {path.name}\nVoltage = 300\n\n{text}")
    return sidecar


@pytest.fixture
def write_mrc() -> Callable[..., Path]:
    """Write an array as an MRC file; ``pixel_size_a=None`` leaves its sampling out."""
    return _write_mrc


@pytest.fixture
def make_session(tmp_path: Path, rng: np.random.Generator) -> Callable[..., Path]:
    """Make a session of images of noise with doses in their sidecars."""

    def make(images: int = 3, side: int = 192) -> Path:
        folder = tmp_path / "session"
        folder.mkdir()
        for number in range(images):
            path = _write_mrc(folder / f"a{number}.mrc", rng.poisson(20.0, (side, side)))
            _write_mdoc(path, dose=10.0 + number)
        return folder

    return make

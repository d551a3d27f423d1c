"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import numpy as np
import pytest

# Programs that tests start import the installed package, too, and not the folder they start in.
os.environ["PYTHONSAFEPATH"] = "1"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real files with known truths, or skip."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real files, ../shared/data, is not beside this checkout")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator, new for each test."""
    return np.random.default_rng(20261122)

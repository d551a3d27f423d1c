"""``interphase eels`` as people call it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import hyperspy.api as hs
import numpy as np
import pytest

Call = Callable[..., subprocess.CompletedProcess[str]]

KEYS = {
    "file",
    "relative_thickness",
    "energy_shift_ev",
    "elements",
    "species",
    "cross_sections",
    "assessment",
    "sentence",
}
ANGLES = ("--beam-energy", 300, "--convergence", 10, "--collection", 20)


@pytest.fixture
def spectra(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A low loss 2 eV off, a core loss with a carbon edge, an image and a broken file."""
    loss = np.arange(-20.0, 50.0, 0.5) - 2.0
    low = 1e6 * np.exp(-((loss / 0.6) ** 2)) + 4e4 * np.exp(-(((loss - 22) / 5) ** 2))
    energy = np.arange(230.0, 450.0, 0.5)
    # As resolved as the zero-loss peak: a step within a channel is a fault of the detector.
    edge = 3000 * (energy / 284) ** -4 / (1 + np.exp(-2 * (energy - 285)))
    for name, mean, first in (
        ("low", low, -20.0),
        ("core", 4000 * (energy / 230) ** -3 + edge, 230),
    ):
        signal = hs.signals.Signal1D(rng.poisson(mean).astype(np.float32))
        axis = signal.axes_manager.signal_axes[0]
        axis.offset, axis.scale, axis.units = first, 0.5, "eV"
        signal.save(tmp_path / f"{name}.hspy")
    image = hs.signals.Signal2D(rng.poisson(40, (64, 64)).astype(np.float32))
    image.save(tmp_path / "image.hspy")
    (tmp_path / "broken.hspy").write_bytes(b"\0" * 500)
    return tmp_path


def test_json_has_the_fields_that_were_promised(interphase: Call, spectra: Path) -> None:
    names = ("low.hspy", "core.hspy")
    result = interphase("eels", *names, *ANGLES, "--out", "out", "--json", cwd=spectra)
    assert result.returncode == 0, result.stderr
    low, core = (json.loads(line) for line in result.stdout.splitlines())
    for found, name in ((low, "low.hspy"), (core, "core.hspy")):
        assert set(found) >= KEYS
        assert found["file"] == name
        assert json.loads((spectra / "out" / f"{name}.json").read_text())["file"] == name
    assert low["energy_shift_ev"] == pytest.approx(-2.0, abs=0.02)
    assert low["relative_thickness"]["mean"] == pytest.approx(0.29, abs=0.02)
    assert low["relative_thickness"]["std"] > 0
    assert low["elements"] == {}
    # Its name says whose low losses it has, which tell the thickness of both.
    assert core["relative_thickness"]["mean"] == pytest.approx(
        low["relative_thickness"]["mean"], abs=1e-3
    )
    assert core["elements"]["C"]["detected"] is True
    assert set(core["elements"]["C"]) >= {
        "detected",
        "areal_density_per_nm2",
        "standard_error",
        "detection_limit_per_nm2",
    }
    assert list(core["cross_sections"]) == ["C_K"]
    assert all(0 <= p <= 1 for p in core["species"].values())


def test_missing_angles_and_wrong_files_are_said_with_status_1(
    interphase: Call, spectra: Path
) -> None:
    files = ("core.hspy", "image.hspy", "broken.hspy")
    result = interphase("eels", *files, "--beam-energy", 300, "--json", cwd=spectra)
    assert result.returncode == 1
    core, image, broken = (json.loads(line) for line in result.stdout.splitlines())
    assert core["assessment"] == "uncalibrated"
    assert core["elements"] == {}
    assert set(core["missing"]) == {"semi_convergence_angle_mrad", "collection_angle_mrad"}
    assert image["assessment"] == "not_assessed"
    assert "holds no spectra" in image["sentence"]
    assert broken["assessment"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("absent.msa",), "absent.msa does not exist"),
        (("core.hspy", "--elements", "Xx"), "'Xx' is not an element"),
        (("core.hspy", "--collection", "-1"), "collection_angle_mrad is -1.0"),
        (("core.hspy", "--low-loss", "absent.msa"), "absent.msa does not exist"),
    ],
)
def test_wrong_calls_end_with_status_2(
    interphase: Call, spectra: Path, arguments: tuple[str, ...], words: str
) -> None:
    result = interphase("eels", *arguments, cwd=spectra)
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_people_see_a_table(interphase: Call, spectra: Path) -> None:
    low = ("--low-loss", "low.hspy", "--exposure-ratio", 1)
    result = interphase("eels", "core.hspy", *low, *ANGLES, cwd=spectra)
    assert result.returncode == 0, result.stderr
    assert "detected: C" in result.stdout
    assert "detection limit" in result.stdout


@pytest.fixture
def carbon_map(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A map of 6 × 8 pixels of which the right half holds carbon, with its low losses."""
    loss = np.arange(-20.0, 50.0, 0.5)
    low = 1e4 * np.exp(-((loss / 0.6) ** 2)) + 400 * np.exp(-(((loss - 22) / 5) ** 2))
    energy = np.arange(230.0, 450.0, 0.5)
    edge = 300 * (energy / 284) ** -4 / (1 + np.exp(-2 * (energy - 285)))
    tail = 400 * (energy / 230) ** -3
    core = np.tile(tail, (6, 8, 1))
    core[:, 4:] += edge
    for name, counts, first in (
        ("map_LL", np.tile(low, (6, 8, 1)), -20.0),
        ("map_HL", core, 230.0),
    ):
        signal = hs.signals.Signal1D(rng.poisson(counts).astype(np.float32))
        axis = signal.axes_manager.signal_axes[0]
        axis.offset, axis.scale, axis.units = first, 0.5, "eV"
        signal.save(tmp_path / f"{name}.hspy")
    return tmp_path


def test_a_map_leaves_numbers_and_a_figure(interphase: Call, carbon_map: Path) -> None:
    given = ("--exposure-ratio", 1, "--binning", 2, "--out", "out", "--json")
    result = interphase("eels", "map_HL.hspy", *ANGLES, *given, cwd=carbon_map)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert [region["spectra"] for region in found["regions"]] == [24, 24]
    assert {region["elements"]["C"]["detected"] for region in found["regions"]} == {True, False}
    assert found["maps"]["C"]["binning"] == 2
    assert found["maps"]["C"]["detected_share"] == pytest.approx(0.5, abs=0.09)
    assert any("map_LL.hspy" in note for note in found["notes"])
    out = carbon_map / "out"
    assert {path.name for path in out.iterdir()} == {
        f"map_HL.hspy.{suffix}" for suffix in ("json", "npz", "png")
    }
    with np.load(out / "map_HL.hspy.npz") as arrays:
        assert arrays["C_per_nm2"].shape == (3, 4)
        assert arrays["C_detected"][:, 2:].all()
        assert arrays["region"].shape == (6, 8)
        assert len(np.unique(arrays["region"][:, 4:])) == 1


def test_a_binning_that_cannot_be_ends_with_status_2(interphase: Call, spectra: Path) -> None:
    result = interphase("eels", "core.hspy", *ANGLES, "--binning", 0, cwd=spectra)
    assert result.returncode == 2
    assert "binning is 0" in result.stderr
    assert "Traceback" not in result.stderr

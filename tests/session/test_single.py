"""Files measured one by one, as the session measures them."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from interphase.assessment import Assessment
from interphase.diffraction.options import Contrast, Options
from interphase.errors import ParameterError
from interphase.session import RunOptions, run_session
from interphase.session.single import measure_paths, output_names, write_single


def write_scanned(path: Path, rng: np.random.Generator) -> Path:
    """Write a scanned image of LiF along [001]."""
    import hyperspy.api as hs

    y, x = np.indices((256, 256)) * 0.4
    lattice = sum(np.cos(2 * np.pi * axis / (4.0263 / 2)) for axis in (x, y))
    signal = hs.signals.Signal2D(rng.poisson(40 * (1 + 0.15 * lattice)).astype(np.float32))
    for axis in signal.axes_manager.signal_axes:
        axis.scale, axis.units = 0.04, "nm"
    signal.metadata.set_item("Acquisition_instrument.TEM.acquisition_mode", "STEM")
    signal.save(path)
    return path


def test_a_scanned_image_is_looked_at_alike_alone_and_in_a_session(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = write_scanned(tmp_path / "scan.hspy", rng)
    ((alone, _),) = measure_paths([path], phases="LiF,Li2O")
    session = run_session(tmp_path, phases="LiF,Li2O", workers=1)
    (within,) = session.files
    assert alone.acquisition is not None
    assert alone.acquisition.mode == "STEM"
    assert alone.phase_map.parameters["contrast"] == Contrast.DARK_FIELD
    assert within.phase_map.parameters["contrast"] == Contrast.DARK_FIELD
    assert within.sentence == alone.sentence
    assert [r.probability for r in within.phase_map.regions] == [
        r.probability for r in alone.phase_map.regions
    ]
    said = session.provenance["parameters"]
    assert said["identification"] == Options()
    assert said["identification_of_scanned_images"] == Options.for_scanned_image()

    # Who names the options decides, and what was found with others is not taken for it.
    named = run_session(
        tmp_path, phases="LiF,Li2O", workers=1, options=RunOptions(identification=Options())
    )
    assert named.measured == 1
    assert named.files[0].phase_map.parameters["contrast"] == Contrast.ELECTRON


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (1, 2000), (3, 2000)])
def test_an_image_of_one_row_or_pixel_is_unusable(
    tmp_path: Path, rng: np.random.Generator, write_mrc: Callable[..., Path], shape: tuple[int, int]
) -> None:
    path = write_mrc(tmp_path / "thin.mrc", rng.poisson(20.0, shape))
    ((result, pictures),) = measure_paths([path], phases="LiF", given={"pixel_size_a": 0.4})
    assert result.assessment is Assessment.UNUSABLE, result.sentence
    assert result.sentence.endswith(".")
    write_single(result, pictures, tmp_path / "out")
    assert (tmp_path / "out" / "thin.mrc.png").exists()


def test_what_is_no_file_is_named_as_what_it_is(tmp_path: Path) -> None:
    pipe, loop = tmp_path / "pipe.mrc", tmp_path / "loop.mrc"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    for path, said in (
        (pipe, "is a pipe, socket or device"),
        (loop, "is a link that leads to no file"),
        (Path(os.devnull), "is a pipe, socket or device"),
        (tmp_path / "absent.mrc", "does not exist"),
    ):
        with pytest.raises(ParameterError, match=f"{path} {said}: give"):
            measure_paths([path])


def test_names_of_outputs_differ_even_where_the_folders_are_alike() -> None:
    names = output_names(["a/s/x.mrc", "b/s/x.mrc", "c/x.mrc", "y.mrc"])
    assert names == ["s_x.mrc", "2_s_x.mrc", "c_x.mrc", "y.mrc"]


def write_pattern(path: Path, rng: np.random.Generator) -> Path:
    """Write a pattern of LiF along [001] as a TIFF file that states no unit."""
    import tifffile

    y, x = np.indices((192, 192)) - 96.0
    mean = 5 + 3e4 * np.exp(-(y**2 + x**2) / 4)
    for h, k in itertools.product((-2, 0, 2), repeat=2):
        if (h, k) != (0, 0):
            row, column = (index / 4.0263 / 0.01 for index in (h, k))
            mean += 500 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 4)
    tifffile.imwrite(path, rng.poisson(mean).astype(np.uint16))
    return path


def test_a_file_without_units_is_a_pattern_if_its_sampling_is_given_in_1_per_a(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    path = write_pattern(tmp_path / "sad.tif", rng)
    ((unknown, _),) = measure_paths([path], phases="LiF,Li2O")
    assert unknown.assessment is Assessment.UNCALIBRATED
    assert '`kind = "diffraction"`' in unknown.sentence
    given = {"reciprocal_pixel_size_per_a": 0.01}
    ((told, _),) = measure_paths([path], phases="LiF,Li2O", given=given)
    (tmp_path / "session.toml").write_text(
        '[files."sad*"]\nkind = "diffraction"\nreciprocal_pixel_size_per_a = 0.01\n'
    )
    ((said, _),) = measure_paths([path], phases="LiF,Li2O")
    for result in (told, said):
        assert result.kind == "diffraction"
        assert result.phase_map is not None
        assert result.phase_map.regions[0].phase == "LiF"

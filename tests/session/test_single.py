"""Files measured one by one, as the session measures them."""

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

"""Cut or altered anywhere, a file is read or refused in one sentence that names it."""

import time

import numpy as np
import pytest

from interphase.errors import FileReadError
from interphase.io import load, read
from interphase.io.mrc import HEADER_BYTES

CHEAP = (
    "image.mrc",
    "image.tif",
    "spectrum.msa",
    "pattern_1.ser",
    "scan.blo",
    "TS_07.mrc.mdoc",
    "exposure.xml",
)
REAL = (
    "diffraction/test_diffraction_pattern.dm3",
    "images/TVIPS_bin4.tif",
    "diffraction/128x128x5-diffraction_preview_1.ser",
    "diffraction/test1.blo",
    "images/HAADFscan.mrc",
    "eels/hl.msa",
    "cryo/frame_set_multiple.mdoc",
    "cryo/nav.nav",
)
SLOWEST_S = 10.0


def outcome(path):
    """Read a damaged file; anything but a record or a named refusal fails the test.

    The time is that of this process alone, so that a busy machine does not count.
    """
    started, refusal = time.process_time(), None
    try:
        loaded = read(path)
        if loaded.signal is not None and loaded.signal.data.nbytes < 2**28:
            np.asarray(loaded.signal.data)
    except FileReadError as error:
        refusal = str(error)
    assert time.process_time() - started < SLOWEST_S
    if refusal is None:
        return "read"
    assert path.name in refusal
    assert "\n" not in refusal
    return "refused"


def cuts(size, rng, count):
    """Lengths to cut a file to: its first bytes, anywhere, and its last byte missing."""
    anywhere = rng.integers(1, size, count // 2)
    early = 2 ** rng.uniform(0, np.log2(size), count - count // 2)
    return sorted({0, size - 1, *map(int, anywhere), *map(int, early)})


def altered(content, rng):
    """Return the content with one to sixteen bytes changed, most of them in the header."""
    changed = bytearray(content)
    for _ in range(int(rng.choice([1, 2, 4, 16]))):
        where = int(2 ** rng.uniform(0, np.log2(len(changed))))
        changed[min(where, len(changed) - 1)] = int(rng.choice([0, 127, 255, rng.integers(256)]))
    return bytes(changed)


def damage(path, rng, count):
    read(path)  # sound; also imports the reader, which is not to be timed
    content = path.read_bytes()
    said = []
    for length in cuts(len(content), rng, count):
        path.write_bytes(content[:length])
        said.append(outcome(path))
    for _ in range(count):
        path.write_bytes(altered(content, rng))
        said.append(outcome(path))
    return said


@pytest.mark.parametrize("name", CHEAP)
def test_a_damaged_file_is_read_or_refused(write, rng, name):
    assert "refused" in damage(write(name), rng, 20)


def test_a_damaged_hdf5_file_is_read_or_refused(write, rng):
    assert "refused" in damage(write("image.hspy"), rng, 4)


@pytest.mark.parametrize("name", REAL)
def test_a_damaged_real_file_is_read_or_refused(shared_data, tmp_path, rng, name):
    path = tmp_path / name.rsplit("/", 1)[1]
    path.write_bytes((shared_data / name).read_bytes())
    assert "refused" in damage(path, rng, 12)


@pytest.mark.parametrize(
    "name", ["image.mrc", "image.tif", "image.hspy", "spectrum.msa", "pattern_1.ser", "scan.blo"]
)
def test_the_last_byte_of_the_array_is_missed(write, name):
    path = write(name)
    content = path.read_bytes()
    short = {"spectrum.msa": 40, "pattern_1.ser": 20}.get(name, 1)
    if name == "image.tif":
        short = 64
    path.write_bytes(content[:-short])
    with pytest.raises(FileReadError, match=f"{name}"):
        load(path)


def test_a_size_field_is_not_believed_before_the_file_is_measured(write):
    path = write("image.mrc")
    content = bytearray(path.read_bytes())
    content[0:4] = (2**31 - 1).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(FileReadError, match=r"image\.mrc is truncated .* it claims .* and has"):
        load(path)


def test_an_extended_header_larger_than_the_file_is_refused(write):
    path = write("image.mrc")
    content = bytearray(path.read_bytes())
    content[92:96] = (2**31 - 1).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(FileReadError, match=r"image\.mrc .* claims 2147483647 bytes of extended"):
        load(path)


def test_a_file_that_is_empty_is_told_so(tmp_path):
    path = tmp_path / "empty.dm4"
    path.touch()
    with pytest.raises(FileReadError, match=r"empty\.dm4 is empty"):
        load(path)


def test_an_mrc_of_an_unknown_mode_is_told_so(write):
    path = write("image.mrc")
    content = bytearray(path.read_bytes())
    content[12] = 101
    path.write_bytes(content)
    with pytest.raises(FileReadError, match=r"image\.mrc has MRC mode 101"):
        load(path)
    assert len(content) > HEADER_BYTES

"""Does a file hold what its headers claim? Asked before any reader believes a size field.

A flipped bit in a size makes a reader allocate 100 GB or loop for minutes; a cut file makes some
readers fill up with zeros. ``CHECKS`` maps a suffix to a walk over the file's structure that reads
no array, raises :class:`~interphase.errors.FileReadError` where a claim does not fit into the
file, and returns the bytes that the arrays will take.
"""

import math
import mmap
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from interphase.errors import FileReadError
from interphase.io.hdf5_probe import probe

_LARGEST_COMPRESSION = 1100
"""No lossless codec of these formats expands more; deflate reaches 1032."""
_LARGEST_TEXT = 256 * 2**20
_PLANES_APART = 2
"""TIFF's PlanarConfiguration of a page whose samples are stored plane by plane."""
_MOST_LISTED = 2**24
"""Elements of an array that a reader turns into a list, one object each."""


def check_structure(path: Path) -> int:
    """Walk over a file's structure; see this module.

    Returns
    -------
    int
        Bytes that the file's arrays take in memory; 0 where the format needs no check.

    Raises
    ------
    FileReadError
        The file is empty, cannot be opened, or claims more than it holds.
    """
    try:
        size = path.stat().st_size
        if size == 0:
            raise FileReadError(f"{path.name} is empty: copy it again from the microscope")
        check = CHECKS.get(path.suffix.lower())
        return check(path) if check else 0
    except FileReadError:
        raise
    except OSError as error:
        raise FileReadError(f"{path.name} cannot be opened: {error.strerror or error}") from error
    # A walk over a corrupt structure ends in struct.error, IndexError, ValueError and the like.
    except Exception as error:
        raise FileReadError(
            f"{path.name} is truncated or corrupt: its structure cannot be followed ({error})"
        ) from error


def _refuse(path: Path, why: str) -> NoReturn:
    raise FileReadError(f"{path.name} is truncated or corrupt: {why}")


def stem_of_ser(path: Path) -> str:
    """Return the stem that a .ser file shares with its .emi file.

    >>> stem_of_ser(Path("scan_1.ser"))
    'scan'
    """
    return re.sub(r"_\d+$", "", path.stem)


def sers_of(emi: Path) -> list[Path]:
    """Return the .ser files that hold the arrays of an .emi file."""
    pattern = re.compile(re.escape(emi.stem) + r"_\d+\.ser", re.IGNORECASE)
    return sorted(path for path in emi.parent.iterdir() if pattern.fullmatch(path.name))


def check_emi(path: Path) -> int:
    """Require a whole .emi with its whole .ser files beside it."""
    if path.stat().st_size > _LARGEST_TEXT * 16:
        _refuse(path, "no .emi file is as large")
    content = path.read_bytes()
    if b"<ObjectInfo>" not in content:
        _refuse(path, "it holds no <ObjectInfo>")
    if b"<!ENTITY" in content or b"<!DOCTYPE" in content:
        _refuse(path, "its XML declares entities, which TIA never writes")
    found = sers_of(path)
    if not found:
        raise FileReadError(
            f"{path.name} describes arrays, but no {path.stem}_1.ser lies beside it: "
            "copy both from the microscope"
        )
    return sum(check_ser(ser) for ser in found)


def check_ser(path: Path) -> int:
    """Require header, dimensions and every element of a .ser file to lie inside it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(30)
        order, series, version = struct.unpack("<HHH", head[:6])
        data_id, _tag_id, _total, valid = struct.unpack("<IIII", head[6:22])
        wide = version > 528
        if order != 0x4949 or series != 0x0197 or data_id not in (0x4120, 0x4122):
            _refuse(path, "it has not the header of a .ser file")
        file.seek(22)
        layout = struct.Struct("<QI" if wide else "<II")
        offsets_at, dimensions = layout.unpack(file.read(layout.size))
        if dimensions > 8:
            _refuse(path, f"it claims {dimensions} dimensions")
        positions = 1
        for _ in range(dimensions):
            positions *= struct.unpack("<I", file.read(4))[0]
            file.seek(20, 1)
            for _text in range(2):
                length = struct.unpack("<I", file.read(4))[0]
                if file.tell() + length > size:
                    _refuse(path, "a text in its header is longer than the file")
                file.seek(length, 1)
        width = 8 if wide else 4
        if valid == 0:
            _refuse(path, "it holds no valid element")
        if offsets_at + 2 * valid * width > size:
            _refuse(path, f"it claims {valid} elements, more than it holds")
        if positions < valid or positions > size:
            _refuse(path, f"it claims {positions} positions for {valid} elements")
        file.seek(offsets_at)
        first = struct.unpack("<Q" if wide else "<I", file.read(width))[0]
        image = data_id == 0x4122
        file.seek(first + (40 if image else 20))
        kind = struct.unpack("<H", file.read(2))[0]
        lengths = struct.unpack("<II" if image else "<I", file.read(8 if image else 4))
        itemsize = {1: 1, 2: 2, 3: 4, 4: 1, 5: 2, 6: 4, 7: 4, 8: 8, 9: 8, 10: 16}.get(kind)
        if itemsize is None or 0 in lengths:
            _refuse(path, f"its elements have data type {kind} and size {lengths}")
        element = math.prod(lengths) * itemsize
        if first + valid * element > size:
            _refuse(path, f"{valid} elements of {element} bytes are more than its {size} bytes")
        return int(valid * element)


def check_blo(path: Path) -> int:
    """Require all the patterns that the header of a block file promises."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(38)
        if head[:6] != b"IMGBLO":
            _refuse(path, "it has not the header of a block file")
        first, second = struct.unpack("<II", head[8:16])
        side, _rotation, columns, rows = struct.unpack("<HHHH", head[20:28])
    frames: int = columns * rows
    if not (0 < first <= second <= size) or frames == 0 or side == 0:
        _refuse(path, f"its header claims {rows} × {columns} patterns of {side} pixels")
    if second + frames * (side * side + 6) > size:
        _refuse(path, f"{frames} patterns of {side} × {side} are more than its {size} bytes")
    return frames * int(side) ** 2


def check_tiff(path: Path) -> int:
    """Require every page's pixels to fit into the bytes of its strips or tiles."""
    import tifffile

    size = path.stat().st_size
    total = 0
    with tifffile.TiffFile(path) as tif:
        if not tif.pages:
            _refuse(path, "it holds no page")
        for page in tif.pages:
            page = page.aspage() if hasattr(page, "aspage") else page
            _refuse_pictures(path, page)
            stored = sum(int(count) for count in page.databytecounts)
            needed = math.prod(page.shape) * (page.dtype.itemsize if page.dtype else 1)
            ends = [o + c for o, c in zip(page.dataoffsets, page.databytecounts, strict=False)]
            if not ends or max(ends) > size or stored > size:
                _refuse(path, f"its pixels end at byte {max(ends, default=0)} of {size}")
            allowed = stored * (1 if page.compression == 1 else _LARGEST_COMPRESSION)
            if needed > allowed + 8:
                _refuse(path, f"its shape {page.shape} needs more than the {stored} bytes stored")
            total += needed
    return total


def _refuse_pictures(path: Path, page: Any) -> None:
    if page.bitspersample == 1:
        raise FileReadError(
            f"{path.name} has 1 bit per pixel, a mask or a drawing: expected numbers that a "
            "detector measured"
        )
    if page.samplesperpixel > 1 and page.planarconfig == _PLANES_APART:
        raise FileReadError(
            f"{path.name} holds pages of {page.samplesperpixel} planes each, such as a colour "
            "picture: expected one number per pixel; save a stack of four axes as .hspy"
        )


def check_msa(path: Path) -> int:
    """Require a text with a header and as many channels as it states."""
    if path.stat().st_size > _LARGEST_TEXT:
        _refuse(path, "no spectrum in text is as large")
    content = path.read_bytes()
    if b"\0" in content:
        _refuse(path, "it is binary where a text was expected")
    text = content.decode("latin-1")
    if not text.lstrip().upper().startswith("#FORMAT"):
        _refuse(path, "it does not begin with #FORMAT")
    counted = re.search(r"#NPOINTS[^:\n]*:\s*([0-9.eE+]+)", text)
    data = re.split(r"#SPECTRUM[^\n]*\n", text, maxsplit=1)
    if counted is None or len(data) < 2:
        _refuse(path, "its header ends before #SPECTRUM")
    columns = 2 if re.search(r"#DATATYPE[^:\n]*:\s*XY", text) else 1
    found = len(re.split(r"[\s,]+", data[1].split("#ENDOFDATA")[0].strip())) // columns
    if found != round(float(counted.group(1))):
        _refuse(path, f"it states {counted.group(1)} channels and holds {found}")
    return found * 8


def check_hdf5(path: Path) -> int:
    """Require a file that the HDF5 library survives, every data set stored in bytes enough."""
    claimed, why = probe(path)
    if why:
        _refuse(path, why)
    return claimed


def check_dm(path: Path) -> int:
    """Require every tag of a DigitalMicrograph file to lie inside it."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return _DMWalk(path, view).run()


class _DMWalk:
    """A walk over the tag tree of a DM3 or DM4 file that reads sizes only."""

    _SIZES: Mapping[int, int] = {
        2: 2,
        3: 4,
        4: 2,
        5: 4,
        6: 4,
        7: 8,
        8: 1,
        9: 1,
        10: 1,
        11: 8,
        12: 8,
    }
    _DEEPEST = 64

    def __init__(self, path: Path, view: mmap.mmap) -> None:
        self.path, self.view, self.at, self.size = path, view, 0, len(view)
        self.wide = False
        self.listed = 0
        self.data_bytes = 0

    def run(self) -> int:
        version = self._int32()
        if version not in (3, 4):
            _refuse(self.path, f"it claims version {version} of the DM format")
        self.wide = version == 4
        self._long()
        self._int32()
        self.at += 2
        self._tags(self._long(), name="root", depth=0)
        return self.data_bytes

    def _int32(self) -> int:
        value: int = struct.unpack_from(">i", self.view, self.at)[0]
        self.at += 4
        return value

    def _long(self) -> int:
        if not self.wide:
            return self._int32()
        value: int = struct.unpack_from(">q", self.view, self.at)[0]
        self.at += 8
        return value

    def _skip(self, length: int) -> None:
        if length < 0 or self.at + length > self.size:
            _refuse(self.path, f"a tag at byte {self.at} is longer than the file")
        self.at += length

    def _tags(self, count: int, *, name: str, depth: int) -> None:
        if count < 0 or count * 4 > self.size - self.at or depth > self._DEEPEST:
            _refuse(self.path, f"it claims {count} tags at byte {self.at}, level {depth}")
        for _ in range(count):
            kind = self.view[self.at]
            length = struct.unpack_from(">h", self.view, self.at + 1)[0]
            self.at += 3
            start = self.at
            self._skip(length)
            label = bytes(self.view[start : self.at]).decode("latin-1")
            if kind == 20:
                self.at += 2
                if self.wide:
                    self._long()
                self._tags(self._long(), name=label, depth=depth + 1)
            elif kind == 21:
                self._value(is_data=name == "ImageData" and label == "Data")
            else:
                _refuse(self.path, f"byte {start - 3} holds a tag of unknown kind {kind}")

    def _value(self, *, is_data: bool) -> None:
        self.at += 8 if self.wide else 0
        if self.view[self.at : self.at + 4] != b"%%%%":
            _refuse(self.path, f"the delimiter of a tag is missing at byte {self.at}")
        self.at += 4
        words, kind = self._long(), self._long()
        if words == 1:
            self._skip(self._size_of(kind))
        elif kind == 18:
            self._skip(self._long())
        elif kind == 15:
            self._skip(self._struct())
        elif kind == 20:
            self._array(is_data=is_data)
        else:
            _refuse(self.path, f"a tag has the unknown encoding {kind} at byte {self.at}")

    def _size_of(self, kind: int) -> int:
        if kind not in self._SIZES:
            _refuse(self.path, f"a value has the unknown type {kind} at byte {self.at}")
        return self._SIZES[kind]

    def _struct(self) -> int:
        self._long()
        fields = self._long()
        if not 0 < fields <= 4096:
            _refuse(self.path, f"a structure claims {fields} fields at byte {self.at}")
        total = 0
        for _ in range(fields):
            self._long()
            total += self._size_of(self._long())
        return total

    def _array(self, *, is_data: bool) -> None:
        kind = self._long()
        if kind == 15:
            each = self._struct()
        elif kind == 18:
            each = self._long()
        elif kind == 20:
            each = self._size_of(self._long()) * self._long()
        else:
            each = self._size_of(kind)
        count = self._long()
        if count < 0 or each <= 0:
            _refuse(self.path, f"an array claims {count} elements of {each} bytes")
        if is_data:
            self.data_bytes += count * each
        else:
            self.listed += count
            if self.listed > _MOST_LISTED:
                _refuse(self.path, f"its annotations claim {self.listed} numbers")
        self._skip(count * each)


CHECKS: Mapping[str, Callable[[Path], int]] = {
    ".dm3": check_dm,
    ".dm4": check_dm,
    ".emi": check_emi,
    ".ser": check_ser,
    ".blo": check_blo,
    ".tif": check_tiff,
    ".tiff": check_tiff,
    ".msa": check_msa,
    ".emd": check_hdf5,
    ".hspy": check_hdf5,
}
"""Suffix → its structure check; MRC files are checked where they are read."""

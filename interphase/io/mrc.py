"""MRC files: read here, so that no size in a header is believed before the file's own size."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from interphase.errors import FileReadError

_DTYPES = {0: "i1", 1: "i2", 2: "f4", 4: "c8", 6: "u2", 12: "f2"}
HEADER_BYTES = 1024


def read_mrc_signal(path: Path, *, lazy: bool) -> Any:
    """Read an MRC file as a HyperSpy signal, its FEI extended header as original metadata.

    The pixel size is that of the main header, in Å; a volume's sections are taken for frames.
    """
    import hyperspy.api as hs

    layout = read_layout(path)
    shape = layout["shape"]
    mapped = np.memmap(path, dtype=layout["dtype"], mode="r", offset=layout["offset"], shape=shape)
    data: Any = mapped
    if lazy:
        import dask.array

        from_array: Any = dask.array.from_array
        data = from_array(mapped, chunks=(1, *shape[1:]))
    else:
        data = np.array(mapped)
    if shape[0] == 1:
        data = data[0]
    names = ["frame", "y", "x"][-data.ndim :]
    axes = []
    for name, size in zip(names, data.shape, strict=True):
        axis = {"name": name, "size": size, "navigate": name == "frame"}
        if name != "frame" and layout["pixel_a"] is not None:
            axis |= {"scale": layout["pixel_a"][name], "units": "Å"}
        axes.append(axis)
    signal = hs.signals.Signal2D(data, axes=axes)
    signal = signal.as_lazy() if lazy and not signal._lazy else signal
    signal.metadata.General.title = path.stem
    signal.metadata.General.original_filename = path.name
    if layout["extended_header"]:
        signal.original_metadata.add_dictionary({"extended_header": layout["extended_header"]})
    return signal


def read_layout(path: Path) -> dict[str, Any]:
    """Read where an MRC file's array lies and what its headers say.

    Returns
    -------
    dict
        ``shape`` (F, M, N), ``dtype``, ``offset`` [byte], ``pixel_a`` (axis → Å, or ``None`` where
        the header gives none) and ``extended_header`` (FEI field → value of the first section).

    Raises
    ------
    FileReadError
        The header is not of an MRC file, or claims more than the file holds.
    """
    size = path.stat().st_size
    header, extended = _headers(path, size)
    shape = tuple(int(header[name]) for name in ("nz", "ny", "nx"))
    mode = int(header["mode"])
    if mode not in _DTYPES:
        raise FileReadError(
            f"{path.name} has MRC mode {mode}, which is not read: expected one of "
            + ", ".join(str(known) for known in _DTYPES)
        )
    dtype = np.dtype(_DTYPES[mode]).newbyteorder(header.dtype["nx"].byteorder)
    offset = HEADER_BYTES + int(header["nsymbt"])
    if min(shape) < 1 or int(header["nsymbt"]) < 0:
        raise FileReadError(f"{path.name} claims the shape {shape}: its header is corrupt")
    needed = offset + math.prod(shape) * dtype.itemsize
    if needed > size:
        raise FileReadError(
            f"{path.name} is truncated or its header corrupt: it claims {shape[0]} × {shape[1]} × "
            f"{shape[2]} pixels, {needed} bytes, and has {size}"
        )
    return {
        "shape": shape,
        "dtype": dtype,
        "offset": offset,
        "pixel_a": _pixel_size(header),
        "extended_header": extended,
    }


def _headers(path: Path, size: int) -> tuple[Any, dict[str, Any]]:
    """Read the main header, and the FEI header of the first section, in the file's byte order."""
    from mrcfile.dtypes import HEADER_DTYPE, get_ext_header_dtype

    with path.open("rb") as file:
        raw = file.read(HEADER_BYTES)
        if len(raw) < HEADER_BYTES:
            raise FileReadError(f"{path.name} is truncated: it ends within the MRC header")
        order = _byte_order(raw)
        header = np.frombuffer(raw, dtype=HEADER_DTYPE.newbyteorder(order))[0]
        length, kind = int(header["nsymbt"]), header["exttyp"].item()
        if not 0 <= length <= size - HEADER_BYTES:
            raise FileReadError(
                f"{path.name} is truncated or its header corrupt: it claims {length} bytes of "
                f"extended header and has {size}"
            )
        if kind not in (b"FEI1", b"FEI2") or length < 4:
            return header, {}
        section = get_ext_header_dtype(kind, order)
        first = file.read(min(length, section.itemsize))
    stride = int.from_bytes(first[:4], "little" if order == "<" else "big")
    if len(first) < section.itemsize or stride < section.itemsize:
        return header, {}
    fields = np.frombuffer(first, dtype=section)[0]
    plain = {name: fields[name].item() for name in section.names}
    decoded = {
        name: value.decode("latin-1") if isinstance(value, bytes) else value
        for name, value in plain.items()
    }
    return header, {"sections": min(length // stride, int(header["nz"])), **decoded}


def _byte_order(raw: bytes) -> str:
    """Return the byte order by the machine stamp, or by the mode where old files lack one."""
    stamp = raw[212]
    if stamp in (0x44, 0x11):
        return "<" if stamp == 0x44 else ">"
    return "<" if int.from_bytes(raw[12:16], "little") in _DTYPES else ">"


def _pixel_size(header: Any) -> dict[str, float] | None:
    cell, grid = header["cella"], {"x": header["mx"], "y": header["my"]}
    sizes = {axis: float(cell[axis]) / int(grid[axis]) for axis in grid if int(grid[axis]) > 0}
    if len(sizes) < 2 or not all(math.isfinite(s) and s > 0 for s in sizes.values()):
        return None
    return sizes

"""Arrays and axes: a file's signals, the principal one first, through HyperSpy."""

import logging
import math
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from interphase.errors import FileReadError
from interphase.io.checks import check_structure, stem_of_ser
from interphase.io.mrc import read_mrc_signal
from interphase.io.units import ev_per

Signal = Any
"""A HyperSpy signal; untyped because HyperSpy is not."""

LAZY_ABOVE_BYTES = 64 * 2**20
"""Files and arrays larger than this stay lazy unless told otherwise."""

_ONE_READER = threading.RLock()
"""Warning filters and log levels belong to the process, so one thread reads at a time."""

READERS: Mapping[str, str] = {
    ".dm3": "digitalmicrograph",
    ".dm4": "digitalmicrograph",
    ".emi": "tia",
    ".ser": "tia",
    ".emd": "emd",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".blo": "blockfile",
    ".hspy": "hspy",
    ".msa": "msa",
}
"""Suffix → RosettaSciIO plug-in; MRC files are read here, so that no size field is trusted."""
SUFFIXES = frozenset(READERS) | {".mrc", ".mrcs"}
"""Suffixes of files that hold arrays."""


def load(path: str | Path, *, lazy: bool | None = None) -> Signal:
    """Load the principal signal of a file.

    Where a file holds several signals, the principal one is, in this order: patterns of a scan,
    EELS spectrum image (core losses before low losses), movie, image or pattern, X-ray spectrum
    image, spectrum, line plot. :func:`load_all` returns the others too.

    Parameters
    ----------
    path
        The file.
    lazy
        Whether the array stays on disc; by default above 64 MB.

    Returns
    -------
    hyperspy.signals.BaseSignal
        The signal, its axes in their own units.

    Raises
    ------
    FileReadError
        The file is absent, truncated, corrupt or of an unknown kind.
    """
    return load_all(path, lazy=lazy)[0]


def load_all(path: str | Path, *, lazy: bool | None = None) -> list[Signal]:
    """Load every signal of a file, the principal one first; see :func:`load`."""
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise FileReadError(f"{path.name} is not a file: give the path of an existing file")
    if suffix not in SUFFIXES:
        raise FileReadError(
            f"{path.name} has the unknown suffix {suffix or '(none)'}: expected one of "
            + ", ".join(sorted(SUFFIXES))
        )
    try:
        with _quiet_readers():
            claimed = check_structure(path)
            if lazy is None:
                lazy = max(path.stat().st_size, claimed) > LAZY_ABOVE_BYTES
            signals = [_oriented(signal) for signal in _read(path, suffix, lazy=lazy)]
    except FileReadError:
        raise
    # A corrupt file makes the readers of many formats raise anything from struct.error to
    # RecursionError; this is the one place where all of it becomes one kind of error.
    except Exception as error:
        said = " ".join(str(error).split())[:160]
        raise FileReadError(
            f"{path.name} cannot be read: it is truncated or corrupt "
            f"({type(error).__name__}{': ' + said if said else ''})"
        ) from error
    signals = [signal for signal in signals if 0 not in signal.data.shape]
    if not signals:
        raise FileReadError(f"{path.name} holds no array: it is truncated or of another kind")
    for signal in signals:
        if signal.data.dtype.kind not in "biufc":
            raise FileReadError(
                f"{path.name} holds {signal.data.dtype} values, such as a colour picture: "
                "expected numbers that a detector measured"
            )
    signals = sorted(signals, key=_rank)
    if signals[0].axes_manager.signal_dimension not in (1, 2):
        shape = "×".join(str(size) for size in signals[0].data.shape)
        raise FileReadError(
            f"{path.name} holds numbers of shape {shape} that are neither images nor spectra: "
            "save it with one signal axis for spectra or two for images"
        )
    return signals


def _read(path: Path, suffix: str, *, lazy: bool) -> list[Signal]:
    if suffix in {".mrc", ".mrcs"}:
        return [read_mrc_signal(path, lazy=lazy)]
    if suffix == ".ser":
        return _read_ser(path, lazy=lazy)
    return _read_with_hyperspy(path, READERS[suffix], lazy=lazy)


def _read_with_hyperspy(path: Path, reader: str, *, lazy: bool) -> list[Signal]:
    import hyperspy.api as hs

    loaded = hs.load([str(path)], reader=reader, lazy=lazy)
    return loaded if isinstance(loaded, list) else [loaded]


def _oriented(signal: Signal) -> Signal:
    """Make spectra of images of which one axis is an energy, and images of maps of one number."""
    axes = signal.axes_manager
    if axes.signal_dimension == 0 and axes.navigation_dimension == 2:
        return signal.transpose(signal_axes=2)
    if signal.axes_manager.signal_dimension != 2:
        return signal
    energies = [axis for axis in signal.axes_manager._axes if ev_per(axis.units) is not None]
    return signal.transpose(signal_axes=energies) if len(energies) == 1 else signal


def _read_ser(path: Path, *, lazy: bool) -> list[Signal]:
    """Read a .ser file, through its .emi where that lies beside it."""
    emi = emi_of(path)
    if emi is not None:
        check_structure(emi)
        for signal in _read_with_hyperspy(emi, "tia", lazy=lazy):
            name = signal.metadata.get_item("General.original_filename", default="")
            if Path(str(name)).name == path.name:
                return [signal]
    return _read_with_hyperspy(path, "tia", lazy=lazy)


def emi_of(path: Path) -> Path | None:
    """Return the .emi file that describes the .ser file `path`, if it lies beside it."""
    emi = path.with_name(stem_of_ser(path) + ".emi")
    return emi if emi.is_file() else None


@contextmanager
def _quiet_readers() -> Iterator[None]:
    """Keep the readers' deprecation notes, unclosed files and log lines from the user.

    They speak to the readers' developers; what a microscopist must know is said by our own checks.
    """
    loggers = [logging.getLogger(name) for name in ("rsciio", "hyperspy", "exspy", "tifffile")]
    with _ONE_READER:
        before = [logger.level for logger in loggers]
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL + 1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)


def original_metadata(signal: Signal) -> dict[str, Any]:
    """Return a signal's original metadata as a plain dictionary."""
    tree: dict[str, Any] = signal.original_metadata.as_dictionary()
    return tree


def metadata(signal: Signal) -> dict[str, Any]:
    """Return a signal's metadata as a plain dictionary."""
    tree: dict[str, Any] = signal.metadata.as_dictionary()
    return tree


def title(signal: Signal) -> str:
    """Return a signal's title, or its shape where it has none."""
    name = str(signal.metadata.get_item("General.title", default="") or "").strip()
    return name or "×".join(str(size) for size in signal.data.shape)


def image_stack(signal: Signal) -> np.ndarray:
    """Return the array of an image, a movie or patterns, shape (..., M, N).

    A lazy array is returned as it is; the caller decides what to compute.
    """
    data: np.ndarray = signal.data
    return data


_ELEMENTS = frozenset(
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se "
    "Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb "
    "Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Th U".split()
)


def _rank(signal: Signal) -> tuple[int, float]:
    """Order signals from the principal one down; the file's own order breaks ties.

    Of several energy losses those without the zero-loss peak come first, by where they begin:
    dual EELS is recorded for their sake, and Velox stores them in no order.
    """
    dimension = signal.axes_manager.signal_dimension
    scanned = sum(size > 1 for size in signal.axes_manager.navigation_shape)
    xray = is_xray(signal)
    if dimension == 2:
        order = 0 if scanned >= 2 else 2 if scanned == 1 else 5 if is_element_map(signal) else 3
        return order, -int(np.prod(signal.data.shape))
    if dimension == 1:
        losses = energy_range_ev(signal)
        begins = 0.0 if losses is None else math.inf if losses[0] <= 0 <= losses[1] else losses[0]
        if scanned:
            return (4, 0) if xray else (1, begins)
        return (7, 0) if xray else (8, 0) if losses is None else (6, begins)
    return 9, 0


def energy_range_ev(signal: Signal) -> tuple[float, float] | None:
    """Return first and last energy [eV] of a signal of spectra, ``None`` where it is none."""
    if signal.axes_manager.signal_dimension != 1:
        return None
    axis = signal.axes_manager.signal_axes[0]
    factor = ev_per(axis.units)
    return None if factor is None else (float(axis.axis[0]) * factor, float(axis.axis[-1]) * factor)


def is_element_map(signal: Signal) -> bool:
    """Whether an image is a map of an element, by its title, such as Velox stores them."""
    return title(signal).split("-")[0] in _ELEMENTS


def is_xray(signal: Signal) -> bool:
    """Whether a signal is an X-ray spectrum: by its type, or an energy axis above 4 keV.

    No energy-loss spectrum reaches so far, and X-ray spectra of TIA carry no type.
    """
    kind = str(signal.metadata.get_item("Signal.signal_type", default=""))
    if kind.startswith("EDS"):
        return True
    if kind == "EELS" or signal.axes_manager.signal_dimension != 1:
        return False
    axis = signal.axes_manager.signal_axes[0]
    factor = {"eV": 1.0, "keV": 1e3}.get(str(axis.units))
    if factor is None:
        return False
    first = float(axis.axis[0]) * factor
    return bool(float(axis.axis[-1]) * factor > 4000 and first < 1000)

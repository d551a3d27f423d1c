"""Whether spectra can be looked at, and how large ones are looked at a block at a time."""

from collections.abc import Iterator
from numbers import Real
from typing import Any

import numpy as np

from interphase.errors import ParameterError

# Read noises below zero from which on a count is no count.
NEGATIVE = 6.0
# Energy losses beyond this are another unit or an axis of channel numbers [eV]. A working value.
MOST_EV = 2e4
# Bytes of double precision that a block of spectra may have.
BLOCK_BYTES = 2**26


def check_number(name: str, value: object, low: float, high: float, unit: str = "") -> float:
    """Return a value as a number, or raise where it is none or not from `low` to `high`."""
    if isinstance(value, bool) or not (isinstance(value, Real) and low <= float(value) <= high):
        raise ParameterError(
            f"{name} is {value!r}{unit and ' '}{unit}: expected a number from {low:g} to {high:g}"
        )
    return float(value)


def check_axis(energy_ev: np.ndarray, channels: int, *, least: int = 1) -> np.ndarray:
    """Return the energies of channels [eV], or raise where they do not rise, fit or mean eV."""
    energy = np.asarray(energy_ev, dtype=float)
    if energy.shape != (channels,):
        raise ParameterError(
            f"energy_ev has shape {energy.shape} and the spectra have {channels} channels: "
            "expected one energy for each, the spectrum axis last"
        )
    if channels < least:
        raise ParameterError(f"the spectra have {channels} channels: expected at least {least}")
    if not (np.isfinite(energy).all() and (np.diff(energy) > 0).all()):
        raise ParameterError("energy_ev does not rise throughout: expected finite energies [eV]")
    if channels > 1 and (energy[-1] > MOST_EV or energy[-1] - energy[0] < 1):
        raise ParameterError(
            f"energy_ev runs from {energy[0]:g} to {energy[-1]:g}: expected energy losses in eV; "
            "are these keV or channel numbers?"
        )
    return energy


def check_spectra(name: str, spectra: Any) -> Any:
    """Return spectra (..., E), an array or a Dask array, or raise where they are none."""
    if np.ma.isMaskedArray(spectra):
        spectra = np.ma.filled(spectra.astype(float), np.nan)
    data = spectra if hasattr(spectra, "dask") else np.asarray(spectra)
    if data.ndim < 1 or 0 in data.shape:
        raise ParameterError(
            f"{name} has shape {data.shape}: expected (..., channels), the spectrum axis last"
        )
    if data.dtype.kind not in "iuf":
        raise ParameterError(f"{name} is of type {data.dtype}: expected real numbers")
    return data


def usable(spectra: np.ndarray, read_noise: float) -> np.ndarray:
    """Return which spectra of counts (..., E) hold nothing that is no count, shape (...)."""
    with np.errstate(invalid="ignore"):
        good = np.isfinite(spectra) & (spectra >= -NEGATIVE * read_noise)
    return np.asarray(good.all(axis=-1))


def blocks(
    spectra: Any, *, most_bytes: int = BLOCK_BYTES, dtype: Any = float
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Yield spectra (..., E) in blocks, of double precision unless told, and where each lies.

    A Dask array is computed a chunk at a time; no more than a chunk and a block are in memory.

    Examples
    --------
    >>> [(where, block.shape) for where, block in blocks(np.zeros((4, 2)), most_bytes=48)]
    [((slice(0, 3, None),), (3, 2)), ((slice(3, 4, None),), (1, 2))]
    """
    lazy = hasattr(spectra, "dask")
    if not lazy:
        chunks: list[tuple[slice, ...]] = [tuple(slice(0, n) for n in spectra.shape[:-1])]
    else:
        ends = [np.concatenate([[0], np.cumsum(sizes)]) for sizes in spectra.chunks[:-1]]
        counts = [len(sizes) for sizes in spectra.chunks[:-1]]
        chunks = [
            tuple(slice(int(e[i]), int(e[i + 1])) for e, i in zip(ends, at, strict=True))
            for at in np.ndindex(*counts)
        ]
    for chunk in chunks:
        part = spectra[chunk].compute() if lazy else spectra[chunk]
        if part.ndim == 1:
            yield chunk, np.asarray(part, dtype=dtype)
            continue
        step = max(1, most_bytes // max(8 * part[0].size, 1))
        for start in range(0, len(part), step):
            rows = slice(chunk[0].start + start, chunk[0].start + min(start + step, len(part)))
            yield (rows, *chunk[1:]), np.asarray(part[start : start + step], dtype=dtype)

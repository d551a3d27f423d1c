"""The frames of a movie one after another, whether they are in memory or not."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from interphase.errors import ParameterError

# Kinds of array that hold real numbers: whole ones with and without a sign, and fractions.
_REAL = "iufb"


def movie_shape(frames: Any, *, least: int = 1) -> tuple[int, int, int]:
    """Return (F, M, N) of a movie, or raise where it is none.

    Parameters
    ----------
    frames
        An array of shape (F, M, N), of NumPy or Dask, or a sequence of arrays of shape (M, N).
    least
        Smallest number of frames.

    Raises
    ------
    ParameterError
        It has another shape, frames of different shapes, no real numbers, or too few frames.

    Examples
    --------
    >>> movie_shape(np.zeros((3, 8, 16)))
    (3, 8, 16)
    """
    shape = getattr(frames, "shape", None)
    if shape is None:
        if not isinstance(frames, Sequence) or isinstance(frames, str):
            raise ParameterError(
                f"frames is a {type(frames).__name__}: expected an array of shape (F, M, N) or a "
                "sequence of arrays of shape (M, N); they are read more than once, so make a list "
                "of what can be read only once"
            )
        shapes = {tuple(np.shape(frame)) for frame in frames}
        if len(shapes) > 1:
            raise ParameterError(
                f"frames have the shapes {sorted(shapes)}: expected one shape; give the frames of "
                "one camera and binning"
            )
        shape = (len(frames), *next(iter(shapes), ()))
    if len(shape) != 3 or min(shape) < 1:
        raise ParameterError(
            f"frames has the shape {tuple(shape)}: expected (frames, rows, columns)"
        )
    kind = np.dtype(frames[0].dtype if hasattr(frames[0], "dtype") else type(frames[0][0][0])).kind
    if kind not in _REAL:
        raise ParameterError(f"frames are of kind {kind!r}: expected real numbers")
    if shape[0] < least:
        raise ParameterError(
            f"frames holds {shape[0]} frame: expected at least {least}; a single image has nothing "
            "to be aligned with"
        )
    return int(shape[0]), int(shape[1]), int(shape[2])


def each_frame(frames: Any) -> Iterator[np.ndarray]:
    """Yield the frames in turn; of a Dask array one chunk is in memory at a time.

    >>> [frame.shape for frame in each_frame(np.zeros((2, 4, 4)))]
    [(4, 4), (4, 4)]
    """
    if hasattr(frames, "chunks") and hasattr(frames, "dask"):
        first = 0
        for length in frames.chunks[0]:
            yield from np.asarray(frames[first : first + length])
            first += length
    else:
        for frame in frames:
            yield np.asarray(frame)

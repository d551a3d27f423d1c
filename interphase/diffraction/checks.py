"""Whether an array can be looked at at all."""

from collections.abc import Sequence

import numpy as np

from interphase.errors import ParameterError
from interphase.phases import Phase


def check_array(image: np.ndarray, candidates: Sequence[Phase]) -> None:
    """Raise what is misuse: wrong axes, wrong kind of numbers, no candidates."""
    if image.ndim != 2 or 0 in image.shape:
        raise ParameterError(
            f"the array has {image.ndim} axes of lengths {image.shape}: expected (row, column); "
            "sum the frames of a movie first"
        )
    if not np.issubdtype(image.dtype, np.number) or np.iscomplexobj(image):
        raise ParameterError(f"the array is of type {image.dtype}: expected real numbers")
    if not candidates:
        raise ParameterError("no candidate phase is given: expected at least one")


def usable(image: np.ndarray, *, saturation_matters: bool = True) -> tuple[np.ndarray, str]:
    """Return the image as float32 without gaps, or the sentence that says why it cannot be used."""
    data = image.astype(np.float32)
    finite = np.isfinite(data)
    if finite.mean() < 0.99:
        return data, f"{100 * (1 - finite.mean()):.0f} % of the pixels are not finite numbers."
    if not finite.all():
        data[~finite] = np.median(data[finite])
    if data.min() == data.max():
        return data, f"Every pixel has the value {data.flat[0]:g}."
    if not saturation_matters:
        return data, ""
    values, counts = np.unique(data[:: max(1, data.shape[0] // 512)], return_counts=True)
    if counts[-1] > 0.2 * counts.sum() and len(values) > 2:
        return data, f"{100 * counts[-1] / counts.sum():.0f} % of the pixels are saturated."
    return data / np.float32(max(abs(float(data.max())), abs(float(data.min())))), ""

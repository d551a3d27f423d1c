"""Numbers that a caller gives: what they must be, and one way to say what they are."""

from collections.abc import Callable, Mapping

import numpy as np

from interphase.errors import ParameterError


def check_finite(**values: object) -> None:
    """Raise where a value, or one of an array of them, is no finite number.

    Examples
    --------
    >>> check_finite(distance_a=-3.0, drift_a=(0.0, 1.0))
    """
    _check(values, np.isfinite, "")


def check_positive(**values: object) -> None:
    """Raise where a value, or one of an array of them, is not a finite number above 0.

    Examples
    --------
    >>> check_positive(pixel_size_a=0.5, size_a=(20.0, 30.0))
    """
    _check(values, lambda numbers: numbers > 0, " > 0")


def check_not_negative(**values: object) -> None:
    """Raise where a value, or one of an array of them, is not a finite number from 0 on.

    Examples
    --------
    >>> check_not_negative(dose_e_per_a2=0.0)
    """
    _check(values, lambda numbers: numbers >= 0, " >= 0")


def check_count(least: int = 1, /, **values: object) -> None:
    """Raise where a value, or one of an array of them, is not a whole number, `least` or more.

    Examples
    --------
    >>> check_count(frames=4, shape=(20, 30))
    """
    for name, value in values.items():
        numbers = np.asarray(value)
        if numbers.dtype.kind not in "iu" or not (numbers >= least).all():
            raise ParameterError(
                f"{name} is {value!r}: expected {_kind('whole number', value)}, at least {least}"
            )


def _check(
    values: Mapping[str, object], fits: Callable[[np.ndarray], np.ndarray], bound: str
) -> None:
    for name, value in values.items():
        numbers = np.asarray(value)
        if numbers.dtype.kind not in "iuf" or not (np.isfinite(numbers) & fits(numbers)).all():
            raise ParameterError(
                f"{name} is {value!r}: expected {_kind('finite number', value)}{bound}"
            )


def _kind(what: str, value: object) -> str:
    return f"{what}s" if np.ndim(value) else f"a {what}"  # type: ignore[arg-type]

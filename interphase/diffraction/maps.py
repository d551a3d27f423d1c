"""A phase map as a table, and as a HyperSpy signal."""

from typing import TYPE_CHECKING, Any

import numpy as np

from interphase.diffraction.results import UNKNOWN, PhaseMap
from interphase.errors import ParameterError

if TYPE_CHECKING:
    from hyperspy.signals import Signal2D


def region_table(phase_map: PhaseMap) -> list[dict[str, Any]]:
    """Return one row per region, ready for a data frame or a CSV file.

    >>> from interphase.assessment import Assessment
    >>> empty = PhaseMap(assessment=Assessment.NO_PERIODICITY, sentence="", candidates=("LiF",))
    >>> region_table(empty)
    []
    """
    return [
        {
            "phase": region.phase,
            "probability": region.probability,
            "phase_with_prior": region.informed_phase,
            "probability_with_prior": region.informed.get(region.phase),
            "credible_set": " ".join(region.credible_set),
            "assessment": str(region.assessment),
            "centre_y_a": region.centre_a[0] if region.centre_a else None,
            "centre_x_a": region.centre_a[1] if region.centre_a else None,
            "area_a2": region.area_a2,
            "d_spacings_a": " ".join(f"{d:.4f}" for d in region.d_spacings_a),
            "zone_axis": region.zone_axis,
            "hkl": "; ".join(" ".join(map(str, hkl)) for _, hkl in region.matched),
            "scale_error": region.scale_error,
            "p_value": region.p_value,
        }
        for region in phase_map.regions
    ]


def probability_map(phase_map: PhaseMap, phase: str) -> np.ndarray:
    """Return the probability of one phase per window, shape (R, C), 0 where nothing was found.

    Parameters
    ----------
    phase_map
        Result of `identify_image`.
    phase
        A candidate's identifier, or ``unknown``.

    Raises
    ------
    ParameterError
        The phase was not among the candidates.
    """
    if phase not in (*phase_map.candidates, UNKNOWN):
        raise ParameterError(
            f"phase is {phase!r}: expected one of {', '.join((*phase_map.candidates, UNKNOWN))}"
        )
    per_region = [0.0, *(region.alternatives.get(phase, 0.0) for region in phase_map.regions)]
    return np.take(np.array(per_region), phase_map.labels)


def probability_signal(phase_map: PhaseMap, phase: str) -> "Signal2D":
    """Return `probability_map` as a HyperSpy signal with axes in Å from the image's first pixel.

    Use it to look at a map beside the image in HyperSpy; for numbers use `probability_map`.
    """
    from hyperspy.signals import Signal2D

    step = phase_map.step_a or 1.0
    axes = [
        {"name": name, "size": size, "scale": step, "offset": origin, "units": "Å"}
        for name, size, origin in zip(
            ("y", "x"), phase_map.labels.shape, phase_map.origin_a, strict=True
        )
    ]
    signal = Signal2D(probability_map(phase_map, phase), axes=axes)
    signal.metadata.General.title = f"Probability of {phase}"
    return signal

"""Phases from lattice fringes and diffraction spots, with probabilities.

Arrays in, results out. `identify_image` and `identify_pattern` are the two questions; the
records they return are in `interphase.diffraction.results`; `region_table` and
`probability_signal` put them into other programs' hands.
"""

from interphase.diffraction.image import identify_image
from interphase.diffraction.maps import probability_map, probability_signal, region_table
from interphase.diffraction.options import Evidence, Options, ScalePrior
from interphase.diffraction.pattern import identify_pattern
from interphase.diffraction.results import NONE, UNKNOWN, PhaseMap, Region, Spots

__all__ = [
    "NONE",
    "UNKNOWN",
    "Evidence",
    "Options",
    "PhaseMap",
    "Region",
    "ScalePrior",
    "Spots",
    "identify_image",
    "identify_pattern",
    "probability_map",
    "probability_signal",
    "region_table",
]

"""Phases from lattice fringes and diffraction spots, with probabilities.

Arrays in, results out. `identify_image`, `identify_pattern` and `identify_scan` are the questions;
the records they return are in `interphase.diffraction.results` and `interphase.diffraction.scan`;
`region_table` and `probability_signal` put them into other programs' hands.
"""

from interphase.diffraction.crystallites import (
    Contact,
    Crystallite,
    crystallite_table,
    find_contacts,
    measure_crystallites,
)
from interphase.diffraction.image import identify_image
from interphase.diffraction.maps import probability_map, probability_signal, region_table
from interphase.diffraction.options import Evidence, Options, ScalePrior
from interphase.diffraction.orientation_relations import (
    Relation,
    relate_crystallites,
    relation_table,
)
from interphase.diffraction.orientations import (
    Orientation,
    match_orientation,
    misorientation_deg,
)
from interphase.diffraction.pattern import identify_pattern
from interphase.diffraction.pattern_calibration import PatternCalibration, calibrate_pattern
from interphase.diffraction.results import NONE, UNKNOWN, PhaseMap, Region, Spots
from interphase.diffraction.scan import ScanMap, identify_scan
from interphase.diffraction.worth import Worth, calibration_table, what_it_is_worth

__all__ = [
    "NONE",
    "UNKNOWN",
    "Contact",
    "Crystallite",
    "Evidence",
    "Options",
    "Orientation",
    "PatternCalibration",
    "PhaseMap",
    "Region",
    "Relation",
    "ScalePrior",
    "ScanMap",
    "Spots",
    "Worth",
    "calibrate_pattern",
    "calibration_table",
    "crystallite_table",
    "find_contacts",
    "identify_image",
    "identify_pattern",
    "identify_scan",
    "match_orientation",
    "measure_crystallites",
    "misorientation_deg",
    "probability_map",
    "probability_signal",
    "region_table",
    "relate_crystallites",
    "relation_table",
    "what_it_is_worth",
]

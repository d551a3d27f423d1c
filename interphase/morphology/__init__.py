"""How an interphase is built: depth profiles, descriptors."""

from interphase.morphology.columns import Estimate
from interphase.morphology.crystallites import (
    Crystallites,
    clark_evans,
    crystallites_from_labels,
    mean_diameter,
    mean_direction,
)
from interphase.morphology.depth_profile import (
    Appearance,
    Band,
    DepthProfiles,
    depth_profiles,
    measure_slope,
    measure_width,
    order_of_appearance,
)
from interphase.morphology.descriptors import (
    Descriptors,
    correlation_length,
    measure_descriptors,
    variance_explained,
)
from interphase.morphology.interface import Interface, find_interface
from interphase.morphology.thickness import (
    InterphaseThickness,
    Roughness,
    measure_thickness_along,
    smear,
    tilted_thickness,
)

__all__ = [
    "Appearance",
    "Band",
    "Crystallites",
    "DepthProfiles",
    "Descriptors",
    "Estimate",
    "Interface",
    "InterphaseThickness",
    "Roughness",
    "clark_evans",
    "correlation_length",
    "crystallites_from_labels",
    "depth_profiles",
    "find_interface",
    "mean_diameter",
    "mean_direction",
    "measure_descriptors",
    "measure_slope",
    "measure_thickness_along",
    "measure_width",
    "order_of_appearance",
    "smear",
    "tilted_thickness",
    "variance_explained",
]

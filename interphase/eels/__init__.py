"""Electron energy-loss spectra at low dose: thickness, elements, lithium species."""

from interphase.eels.axis import AxisCheck, KnownEdge, SeenEdge, check_energy_axis
from interphase.eels.background import Background, plasmon_tail, power_law
from interphase.eels.band_gap import BandGap, find_band_gap
from interphase.eels.cross_sections import Edge, edge_cross_section, edge_onsets, edges_within
from interphase.eels.decomposition import (
    Decomposition,
    Factors,
    decompose,
    factorise,
    tracy_widom_probability,
)
from interphase.eels.deconvolution import Deconvolved, elastic_peak, fourier_log, fourier_ratio
from interphase.eels.defects import Defects, Fault, find_defects, find_fault
from interphase.eels.detector import DetectorNoise, estimate_detector
from interphase.eels.element_maps import PIXEL_VERDICTS, ElementMaps, FittedCurves
from interphase.eels.elements import ElementOptions, fit_elements
from interphase.eels.fingerprints import Feature, Fingerprint, FingerprintTable, fingerprint_table
from interphase.eels.low_loss import PlasmonMap, map_plasmon
from interphase.eels.mapping import ElementMap, align_map, bin_pixels, map_elements
from interphase.eels.onsets import (
    KNOWN_EDGES,
    USUAL_ELEMENTS,
    NetEdge,
    NetSum,
    OnsetCheck,
    check_on_known_edges,
    net_edge,
    rises,
    seen_edges,
    usual_elements,
)
from interphase.eels.profiles import (
    Gradient,
    Order,
    Profile,
    Steps,
    distance_along_line,
    distance_from_interface,
    measure_gradient,
    measure_profile,
    order_along,
    sum_steps,
)
from interphase.eels.references import ReferenceFit, fit_references
from interphase.eels.regions import SpectralRegions, find_regions
from interphase.eels.signals import Spectra, map_to_signal, spectra_from_signal, spectra_to_signal
from interphase.eels.species import SpeciesMap, identify_species
from interphase.eels.summed import SummedSpectrum
from interphase.eels.thickness import (
    MeanFreePath,
    Thickness,
    absolute_thickness,
    aligned_mean,
    find_valley,
    lithium_warning,
    mean_free_path,
    measure_thickness,
    plural_share,
)
from interphase.eels.transitions import Transition, fit_transition
from interphase.eels.zero_loss import ZeroLoss, align_dual, find_zero_loss, shift_spectra

__all__ = [
    "KNOWN_EDGES",
    "PIXEL_VERDICTS",
    "USUAL_ELEMENTS",
    "AxisCheck",
    "Background",
    "BandGap",
    "Decomposition",
    "Deconvolved",
    "Defects",
    "DetectorNoise",
    "Edge",
    "ElementMap",
    "ElementMaps",
    "ElementOptions",
    "Factors",
    "Fault",
    "Feature",
    "Fingerprint",
    "FingerprintTable",
    "FittedCurves",
    "Gradient",
    "KnownEdge",
    "MeanFreePath",
    "NetEdge",
    "NetSum",
    "OnsetCheck",
    "Order",
    "PlasmonMap",
    "Profile",
    "ReferenceFit",
    "SeenEdge",
    "SpeciesMap",
    "Spectra",
    "SpectralRegions",
    "Steps",
    "SummedSpectrum",
    "Thickness",
    "Transition",
    "ZeroLoss",
    "absolute_thickness",
    "align_dual",
    "align_map",
    "aligned_mean",
    "bin_pixels",
    "check_energy_axis",
    "check_on_known_edges",
    "decompose",
    "distance_along_line",
    "distance_from_interface",
    "edge_cross_section",
    "edge_onsets",
    "edges_within",
    "elastic_peak",
    "estimate_detector",
    "factorise",
    "find_band_gap",
    "find_defects",
    "find_fault",
    "find_regions",
    "find_valley",
    "find_zero_loss",
    "fingerprint_table",
    "fit_elements",
    "fit_references",
    "fit_transition",
    "fourier_log",
    "fourier_ratio",
    "identify_species",
    "lithium_warning",
    "map_elements",
    "map_plasmon",
    "map_to_signal",
    "mean_free_path",
    "measure_gradient",
    "measure_profile",
    "measure_thickness",
    "net_edge",
    "order_along",
    "plasmon_tail",
    "plural_share",
    "power_law",
    "rises",
    "seen_edges",
    "shift_spectra",
    "spectra_from_signal",
    "spectra_to_signal",
    "sum_steps",
    "tracy_widom_probability",
    "usual_elements",
]

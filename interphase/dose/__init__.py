"""The electron dose: what every place received, what it does to a phase, and how to weigh it."""

from interphase.dose.absorbed import charge_per_mass, mean_excitation_energy
from interphase.dose.alignment import Alignment, align_movie
from interphase.dose.budgets import OverBudget, PurposeShare
from interphase.dose.damage import (
    exponential_fading,
    half_dose,
    incubation_fading,
    mean_fading,
    sequential_decay,
)
from interphase.dose.dose_map import DoseMap, coverage
from interphase.dose.edges import follow_edge, follow_references
from interphase.dose.exposure import Exposure, Moment, Purpose, exposures_of
from interphase.dose.fading import FadingFit, estimate_fading
from interphase.dose.footprint import (
    ScanDose,
    area_um2,
    camera_rectangle,
    disc,
    displacement_um,
    dose_of_scan,
    onto_specimen,
)
from interphase.dose.ledger import Ledger
from interphase.dose.onset import Onset, estimate_onset
from interphase.dose.series import (
    Crystallinity,
    follow_crystallinity,
    follow_fringes,
    follow_pattern_spots,
    follow_rings,
)
from interphase.dose.signals import FadingSeries, Law
from interphase.dose.totals import DoseTotal
from interphase.dose.weighting import (
    OPTIMAL_EXPOSURE,
    DoseWeighting,
    aligned_sum,
    common_field,
    dose_weights,
    grant_grigorieff_dose,
)

__all__ = [
    "OPTIMAL_EXPOSURE",
    "Alignment",
    "Crystallinity",
    "DoseMap",
    "DoseTotal",
    "DoseWeighting",
    "Exposure",
    "FadingFit",
    "FadingSeries",
    "Law",
    "Ledger",
    "Moment",
    "Onset",
    "OverBudget",
    "Purpose",
    "PurposeShare",
    "ScanDose",
    "align_movie",
    "aligned_sum",
    "area_um2",
    "camera_rectangle",
    "charge_per_mass",
    "common_field",
    "coverage",
    "disc",
    "displacement_um",
    "dose_of_scan",
    "dose_weights",
    "estimate_fading",
    "estimate_onset",
    "exponential_fading",
    "exposures_of",
    "follow_crystallinity",
    "follow_edge",
    "follow_fringes",
    "follow_pattern_spots",
    "follow_references",
    "follow_rings",
    "grant_grigorieff_dose",
    "half_dose",
    "incubation_fading",
    "mean_excitation_energy",
    "mean_fading",
    "onto_specimen",
    "sequential_decay",
]

"""Candidate phases: which there are, how they diffract, and which cannot be told apart.

The table of the package is read without pymatgen; only a CIF, ``Phase.structure()`` and
elements that no phase of the table holds load it.

>>> [phase.identifier for phase in candidates("sodium-sei")][:3]
['Na', 'NaF', 'Na2O']
>>> reflections(load_phase("Li"), d_min_a=2.0).d_a.round(3)[:2].tolist()
[2.482, 2.482]
"""

from interphase.phases.ambiguity import (
    AmbiguousPair,
    CoincidentSpacing,
    ambiguous_pairs,
    coincident_spacings,
)
from interphase.phases.cif import phase_from_cif
from interphase.phases.damage import (
    DoseLevel,
    DoseVerdict,
    EnergyScaling,
    beam_origins,
    damage_facts,
    dose_at_energy,
    dose_level,
    dose_range,
    dose_verdict,
)
from interphase.phases.damage_table import DamageFact, damage_file, own_facts, record_damage
from interphase.phases.electrolytes import ElectrolytePrior, electrolyte_prior
from interphase.phases.kinematics import (
    Contrast,
    Families,
    Reflections,
    families,
    reflections,
    structure_factors,
)
from interphase.phases.rows import ambiguity_rows, phase_rows
from interphase.phases.sets import candidates, phase_sets
from interphase.phases.symmetry import point_group_rotations, zone_axes
from interphase.phases.table import Contraction, Phase, known_phases, load_phase

__all__ = [
    "AmbiguousPair",
    "CoincidentSpacing",
    "Contraction",
    "Contrast",
    "DamageFact",
    "DoseLevel",
    "DoseVerdict",
    "ElectrolytePrior",
    "EnergyScaling",
    "Families",
    "Phase",
    "Reflections",
    "ambiguity_rows",
    "ambiguous_pairs",
    "beam_origins",
    "candidates",
    "coincident_spacings",
    "damage_facts",
    "damage_file",
    "dose_at_energy",
    "dose_level",
    "dose_range",
    "dose_verdict",
    "electrolyte_prior",
    "families",
    "known_phases",
    "load_phase",
    "own_facts",
    "phase_from_cif",
    "phase_rows",
    "phase_sets",
    "point_group_rotations",
    "record_damage",
    "reflections",
    "structure_factors",
    "zone_axes",
]

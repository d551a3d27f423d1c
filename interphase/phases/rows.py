"""Phases and ambiguities as plain rows, for tables and JSON."""

from collections.abc import Sequence

from interphase.phases.ambiguity import AmbiguousPair
from interphase.phases.table import Phase


def phase_rows(phases: Sequence[Phase]) -> list[dict[str, object]]:
    """Return one row per phase: cell, temperature, density and provenance.

    >>> from interphase.phases import candidates
    >>> row = phase_rows(candidates("LiF"))[0]
    >>> row["a_a"], row["grade"]
    (4.0263, 'B')
    """
    names = ("a_a", "b_a", "c_a", "alpha_deg", "beta_deg", "gamma_deg")
    return [
        {
            "identifier": phase.identifier,
            "name": phase.name,
            "formula": phase.formula,
            "category": phase.category,
            "space_group": phase.space_group,
            **dict(zip(names, phase.lattice, strict=True)),
            "temperature_k": phase.temperature_k,
            "density_g_cm3": round(phase.density_g_cm3, 3),
            "grade": phase.grade,
            "site_grade": phase.site_grade,
            "source": phase.source,
            "note": phase.note,
        }
        for phase in phases
    ]


def ambiguity_rows(pairs: Sequence[AmbiguousPair]) -> list[dict[str, object]]:
    """Return one row per pair that diffraction cannot tell apart.

    >>> from interphase.phases import ambiguous_pairs, candidates
    >>> ambiguity_rows(ambiguous_pairs(candidates("Au, LiH"), tolerance=0.01))[0]["second"]
    'LiH'
    """
    return [
        {
            "first": pair.first,
            "second": pair.second,
            "scale_difference_percent": round(100 * pair.scale_difference, 3),
            "intensities_agree": pair.intensities_agree,
            "breaks": pair.breaks,
        }
        for pair in pairs
    ]

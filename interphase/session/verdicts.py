"""What a place had received, and what the beam may have made of the phases found there."""

from collections.abc import Sequence
from dataclasses import replace

from interphase.acquisition import Origin
from interphase.diffraction.results import NONE
from interphase.dose import DoseTotal
from interphase.phases import DamageFact, Phase, dose_verdict
from interphase.session.records import FileResult


def with_dose(
    result: FileResult,
    before: DoseTotal | None,
    *,
    candidates: Sequence[Phase],
    own: Sequence[DamageFact],
    complete: bool = False,
) -> FileResult:
    """Return a result with what its place had received, and what the beam may have done there.

    Parameters
    ----------
    result
        What was measured.
    before
        What the ledger says the place had received; ``None`` if it does not know the file.
    candidates
        The phases that may be named.
    own
        The user's own measurements of damage.
    complete
        Whether every exposure is known to be in the ledger.
    """
    acquisition = result.acquisition
    if acquisition is None:
        return result
    stated = acquisition.prior_dose_e_per_a2 or 0.0
    if before is not None and (complete or before.at_least_e_per_a2 > stated):
        # A file counts exposures that were thrown away, of which no ledger knows.
        least, most = max(before.at_least_e_per_a2, stated), before.at_most_e_per_a2
        acquisition = acquisition.with_values(
            Origin.LEDGER,
            _words(before, stated),
            prior_dose_e_per_a2=least,
            prior_dose_at_most_e_per_a2=max(least, most) if complete and most is not None else None,
        )
        result = replace(result, acquisition=acquisition)
    if result.phase_map is None:
        return result
    known: dict[str, Phase | None] = {phase.identifier: phase for phase in candidates}
    verdicts = {
        name: dose_verdict(known.get(name), acquisition, own=own)
        for name in {region.phase for region in result.phase_map.regions} - {NONE}
    }
    regions = tuple(
        replace(region, dose=verdicts.get(region.phase)) for region in result.phase_map.regions
    )
    return replace(result, phase_map=replace(result.phase_map, regions=regions))


def _words(before: DoseTotal, stated: float) -> str:
    """Say what a sum of the ledger is made of."""
    parts = [f"{before.exposures} earlier exposure{'' if before.exposures == 1 else 's'}"]
    if stated > before.at_least_e_per_a2 or (before.at_least_e_per_a2 and not before.exposures):
        parts = ["what the file states"]
    if before.possible:
        parts.append(f"{before.possible} more that may have hit the place")
    if before.unknown:
        parts.append(f"the dose of {before.unknown} unknown")
    return ", ".join(parts)

"""What went over a budget, when, and what the dose was spent on."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from interphase.dose.exposure import Purpose
from interphase.dose.rows import Rows
from interphase.dose.totals import certain_sum


@dataclass(frozen=True, slots=True, kw_only=True)
class PurposeShare:
    """What one purpose took of a session's electrons."""

    exposures: int
    """Number of its exposures."""
    unknown: int
    """How many of them have no known dose; with any, the numbers are lower bounds."""
    electrons: float
    """Electrons, of the exposures whose dose and area are known."""
    electron_share: float | None
    """Part of all known electrons of the session."""
    mean_e_per_a2: float | None
    """Mean dose it gave to what was recorded [e/Å²]; ``None`` where nothing was."""
    dose_share: float | None
    """Part of the known dose upon what was recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverBudget:
    """A place that received more than a phase survives."""

    place_um: tuple[float, float]
    """The place (x, y) in stage coordinates [µm]."""
    place_known: bool
    """Whether that is where it is; if not, only that it is the place of `keys` is certain."""
    phase: str
    """The phase."""
    dose_e_per_a2: float
    """What the place certainly received [e/Å²]."""
    budget_e_per_a2: float
    """What the phase survives [e/Å²]."""
    passed_by: str | None
    """Key of the exposure during which the budget was passed; ``None`` where their order is not
    known, or where a file states that it had been passed before."""
    passed_at: datetime | None
    """When it was passed; ``None`` if not known. In UTC where the times of the ledger
    have a zone."""
    keys: tuple[str, ...]
    """All exposures that certainly hit the place, or state what came before it, in the order of
    time."""
    sentence: str
    """The same in words."""


def passed(
    rows: Rows,
    part: np.ndarray,
    *,
    phase: str,
    budget: float,
    place_um: tuple[float, float],
    place_known: bool,
    zoned: bool,
) -> OverBudget:
    """Find when exposures that all hit a place passed a budget.

    Parameters
    ----------
    rows
        The exposures in the order of time, those without a time last.
    part
        The part of each that is over, shape (N,).
    phase, budget
        The phase and what it survives [e/Å²].
    place_um
        The place (x, y) [µm].
    place_known
        Whether it is known in stage coordinates.
    zoned
        Whether the times have a zone.
    """
    timed = np.isfinite(rows.start_s)
    dose = np.nan_to_num(rows.sure_dose) * part
    received = certain_sum(dose, rows.prior, timed)
    total, key, moment, said = 0.0, None, None, ""
    for n in np.flatnonzero(timed):
        before = max(total, float(rows.prior[n]))
        total = before + float(dose[n])
        if total <= budget:
            continue
        if before > budget:
            said = f", passed before {rows.key[n]}"
            break
        key = rows.key[n]
        lasted = np.nan_to_num(float(rows.duration_s[n]))
        share = (budget - before) / float(dose[n]) * float(part[n])
        moment = datetime(1970, 1, 1, tzinfo=UTC if zoned else None)
        said = f", passed in {key}"
        try:
            moment += timedelta(seconds=float(rows.start_s[n]) + share * lasted)
            said += f" at {moment:%Y-%m-%d %H:%M:%S}"
        except OverflowError:  # beyond the calendar: what is stated of time or duration is wrong
            moment = None
        break
    where = f"at ({place_um[0]:.3f}, {place_um[1]:.3f}) µm"
    return OverBudget(
        place_um=place_um,
        place_known=place_known,
        phase=phase,
        dose_e_per_a2=received,
        budget_e_per_a2=budget,
        passed_by=key,
        passed_at=moment,
        keys=tuple(np.array(rows.key, dtype=object)[~rows.gaps | (rows.prior > 0)]),
        sentence=(
            f"{received:.4g} e/Å² {where if place_known else f'in what {rows.key[-1]} exposed'}, "
            f"over the {budget:.4g} e/Å² of {phase}{said}."
        ),
    )


def shares(rows: Rows, part: np.ndarray) -> dict[Purpose, PurposeShare]:
    """Return what each purpose took, each exposure with the part of it that is over."""
    recorded, received = _received_by_recorded(rows, part)
    electrons = rows.electrons * part
    all_electrons, all_received = float(electrons.sum()), math.fsum(received.values())
    of = np.array(rows.purpose)
    found = {}
    for purpose in Purpose:
        its = of == purpose.value
        if not its.any():
            continue
        its_electrons, dose = float(electrons[its].sum()), received.get(purpose.value, 0.0)
        found[purpose] = PurposeShare(
            exposures=int(its.sum()),
            unknown=int((its & np.isnan(rows.dose)).sum()),
            electrons=its_electrons,
            electron_share=its_electrons / all_electrons if all_electrons else None,
            mean_e_per_a2=dose / recorded if recorded else None,
            dose_share=dose / all_received if all_received else None,
        )
    return found


def _received_by_recorded(rows: Rows, part: np.ndarray) -> tuple[int, dict[str, float]]:
    """Return how many exposures recorded, and by purpose the sum of their mean doses [e/Å²]."""
    from shapely import Polygon, STRtree, area

    others = {Purpose.SEARCH.value, Purpose.FOCUS.value}
    placed = np.array(
        [n for n, outline in enumerate(rows.footprint) if outline is not None], dtype=np.int64
    )
    recorded = np.array([n for n in placed if rows.purpose[n] not in others], dtype=np.int64)
    if not len(recorded):
        return 0, {}
    beams = np.array([Polygon(rows.footprint[n]) for n in placed], dtype=object)
    fields = np.array([Polygon(rows.viewed[n]) for n in recorded], dtype=object)
    field, beam = STRtree(beams).query(fields)
    a, b = recorded[field], placed[beam]
    # Only these are certain to overlap as they seem to.
    alike = (a == b) | (rows.uncertain[a] + rows.uncertain[b] == 0)
    alike |= (rows.doubt[a] == rows.doubt[b]) & (rows.doubt[a] != "")
    field, beam, b = field[alike], beam[alike], b[alike]
    covered = _common_areas(fields[field], beams[beam]) / area(fields)[field]
    given = np.nan_to_num(rows.dose[b]) * part[b] * covered
    purpose, index = np.unique(np.array(rows.purpose)[b], return_inverse=True)
    sums = np.bincount(index, weights=given, minlength=len(purpose))
    return len(fields), dict(zip(purpose.tolist(), sums.tolist(), strict=True))


def _common_areas(fields: np.ndarray, beams: np.ndarray) -> np.ndarray:
    """Return the area that each field has in common with its beam [µm²]."""
    import shapely

    shapely.prepare(beams)
    common: np.ndarray = shapely.area(fields)
    # Where the beam holds all of the field, which is quick to see, nothing needs to be cut.
    cut = ~shapely.contains_properly(beams, fields)
    common[cut] = shapely.area(shapely.intersection(fields[cut], beams[cut]))
    return common

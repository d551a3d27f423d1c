"""What the report says of the dose: map, time line, budgets, and what it was spent on."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from markupsafe import Markup

from interphase.dose import Exposure, Ledger, Purpose
from interphase.phases import DoseLevel, dose_range, known_phases
from interphase.plotting import DOSE_COLOURS
from interphase.report import svg
from interphase.report.words import instant, number, phase_name, with_names
from interphase.session import DoseAccount, PhaseBudget, dose_account, open_ledger
from interphase.session.records import SessionResult

PANELS = 4
"""Places that are drawn on their own beside the map of all."""
MOMENTS = 60
"""Points of the time line."""
PRE_EXPOSED = 400
"""Exposures of which what came before is looked up, so that a page is written in seconds."""
DECADES = 4
"""Range of the colours: what is less than the highest dose by more is drawn as the lowest."""
_TONES: Mapping[DoseLevel, str] = {
    DoseLevel.ABOVE: "bad",
    DoseLevel.WITHIN: "poor",
    DoseLevel.BELOW: "good",
    DoseLevel.UNKNOWN_DOSE: "fair",
    DoseLevel.NO_KNOWN_LIMIT: "quiet",
}
_WORDS: Mapping[DoseLevel, str] = {
    DoseLevel.ABOVE: "passed",
    DoseLevel.WITHIN: "may be passed",
    DoseLevel.BELOW: "not reached",
    DoseLevel.UNKNOWN_DOSE: "not known",
    DoseLevel.NO_KNOWN_LIMIT: "beyond what was looked at",
}


def dose_values(result: SessionResult) -> dict[str, Any]:
    """Return all that the dose section shows."""
    with open_ledger(result) as ledger:
        account = result.account or dose_account(ledger, candidates=())
        shots = account.exposures
        before: list[float | None] = [None] * len(shots)
        for n, shot in enumerate(shots[:PRE_EXPOSED]):
            before[n] = ledger.pre_exposure(shot.key).at_least_e_per_a2
        ends = {
            shot.key: _end(ledger, shot, earlier)
            for shot, earlier in zip(shots, before, strict=True)
        }
        drawn, panels = _maps(ledger, account, ends)
        line = _time_line(ledger, shots)
    places = {file.file: n for n, file in enumerate(result.files)}
    return {
        "sentence": account.sentence,
        "bound": account.bound,
        "map": drawn,
        "some_unknown": account.unknown > 0,
        "some_uncertain": account.unplaced > 0,
        "panels": panels,
        "line": line,
        "chart": _drawing(
            svg.doses(
                [shot.dose_e_per_a2 for shot in shots],
                [shot.key for shot in shots],
                before=before,
                kinds=[shot.purpose.value for shot in shots],
            )
        ),
        "purposes": [
            {
                "name": purpose.replace("_", " "),
                "kind": purpose.value,
                "exposures": share.exposures,
                "unknown": share.unknown,
                "electrons": number(share.electrons) if share.electrons else "–",
                "mean": number(share.mean_e_per_a2),
                "share": None if share.dose_share is None else 100 * share.dose_share,
            }
            for purpose, share in account.by_purpose.items()
        ],
        "highest": account.highest and number(account.highest.at_least_e_per_a2, digits=4),
        "budgets": [_budget(budget, account) for budget in account.budgets],
        "over": [
            {
                "phase": _name(over.phase),
                "dose": number(over.dose_e_per_a2, digits=4),
                "budget": number(over.budget_e_per_a2, digits=4),
                "place": "{:.3f}, {:.3f}".format(*over.place_um).replace("-", "−"),
                "by": over.passed_by,
                "id": _file_id(over.passed_by, shots, places),
                "at": instant(over.passed_at) if over.passed_at else "",
                "exposures": len(over.keys),
                "tone": next(
                    "bad" if (b.bracket_e_per_a2[1] or math.inf) <= over.dose_e_per_a2 else "poor"
                    for b in account.budgets
                    if b.phase == over.phase
                ),
            }
            for over in account.over_budget
        ],
        "doubts": account.doubts,
        "rows": [
            {
                "file": shot.key,
                "id": _file_id(shot.key, shots, places),
                "kind": shot.purpose.value,
                "purpose": shot.purpose.replace("_", " "),
                "time": instant(shot.time),
                "dose": None
                if shot.dose_e_per_a2 is None
                else number(shot.dose_e_per_a2, digits=4),
                "prior": "–" if earlier is None else number(earlier, digits=4),
                "source": shot.sources.get("dose_e_per_a2", "no source states it"),
            }
            for shot, earlier in zip(shots, before, strict=True)
        ],
    }


def _file_id(key: str | None, shots: Sequence[Exposure], places: Mapping[str, int]) -> str | None:
    """Return the card of the file an exposure is in, if it has one."""
    file = next((shot.file for shot in shots if shot.key == key), None)
    return f"file-{places[file]}" if file is not None and file in places else None


def _budget(budget: PhaseBudget, account: DoseAccount) -> dict[str, Any]:
    fact, highest = budget.fact, account.highest
    low, high = budget.bracket_e_per_a2
    full = high or low
    received = highest.at_least_e_per_a2 if highest else 0.0
    conditions = []
    if fact is not None:
        conditions = [fact.criterion]
        if fact.beam_energy_kev is not None:
            conditions.append(f"{fact.beam_energy_kev:g} keV")
        if fact.temperature_k is not None:
            conditions.append(f"{fact.temperature_k:g} K")
        conditions.append("your own measurement" if fact.own else f"grade {fact.grade}")
    return {
        "phase": _name(budget.phase),
        "survives": dose_range(budget.bracket_e_per_a2).removesuffix(" e/Å²"),
        "source": with_names(", ".join(conditions) or "given with the call", known_phases()),
        "title": fact.source if fact else "",
        "word": _WORDS[budget.level],
        "tone": _TONES[budget.level],
        "places": budget.places,
        "part": min(100.0, 100 * received / full) if full else 0.0,
        "mgy": None
        if budget.absorbed_dose_mgy is None
        else number(budget.absorbed_dose_mgy, digits=2),
    }


def _name(phase: str) -> str:
    return "interphase" if phase == "SEI" else phase_name(phase)


def _drawing(text: str) -> Markup:
    """Mark a drawing as one of ours, so that the template does not escape it."""
    return Markup(text)  # noqa: S704 - svg escapes every name it writes


def _maps(
    ledger: Ledger, account: DoseAccount, ends: Mapping[str, float]
) -> tuple[Markup | None, list[dict[str, Any]]]:
    """Return the map of all that has a place, and places of it on their own."""
    shots = [shot for shot in account.exposures if shot.footprint_um is not None]
    if not shots:
        return None, []
    highest = account.highest.at_least_e_per_a2 if account.highest else 0.0
    doses = [shot.dose_e_per_a2 for shot in shots if shot.dose_e_per_a2]
    top = max(highest, 1e-9)
    scale = (max(min(doses, default=top), top / 10**DECADES), top)
    groups = _groups(shots)
    sums = {id(group): max(ends[shot.key] for shot in group) for group in groups}
    groups.sort(key=lambda group: -sums[id(group)])
    lettered = groups[:PANELS] if len(groups) > 1 else []
    letters = [(chr(ord("A") + n), group) for n, group in enumerate(lettered)]
    everything = _square(shots, margin=0.06)
    width = everything[2] - everything[0]
    overview = svg.dose_map(
        # What is smaller than its mark would not be seen, and a large session has thousands.
        _outlines([s for s in shots if np.ptp(_corners(s), axis=0).max() > 0.015 * width]),
        bounds_um=everything,
        raster=_raster(ledger, everything, scale, side=400),
        scale=scale,
        side=560,
        marks=[
            (letter, _middle(group), _colour(sums[id(group)], scale)) for letter, group in letters
        ]
        + [
            ("", _middle(group), _colour(sums[id(group)], scale))
            for group in groups[len(lettered) :]
            if _size(group) < 0.05 * width
        ],
        axes=True,
    )
    panels = []
    for letter, group in letters:
        bounds = _square(group, margin=0.12)
        inside = [shot for shot in shots if _meets(shot, bounds)]
        placed = all(shot.position_uncertain_um == 0 for shot in group)
        sure = all(shot.dose_e_per_a2 is not None for shot in inside) and not account.unplaced
        panels.append(
            {
                "letter": letter,
                "drawing": _drawing(
                    svg.dose_map(
                        _outlines(inside),
                        bounds_um=bounds,
                        raster=_raster(ledger, bounds, scale, side=200),
                        scale=scale,
                        side=240,
                    )
                ),
                "dose": number(sums[id(group)], "e/Å²") if sums[id(group)] else "dose unknown",
                "bound": "" if sure or not sums[id(group)] else "≥\u202f",
                "place": ("at" if placed else "near")
                + " {:.2f}, {:.2f}\u202fµm".format(*_middle(group)).replace("-", "−"),
            }
        )
    return _drawing(overview), panels


def _outlines(shots: Sequence[Exposure]) -> list[svg.Footprint]:
    # The larger ones first, so that the smaller lie upon them and answer the pointer.
    ordered = sorted(shots, key=lambda shot: -float(np.prod(np.ptp(_corners(shot), axis=0))))
    return [
        svg.Footprint(
            corners_um=_corners(shot),
            recorded_um=None if shot.illuminated_um is None else shot.recorded_um,
            kind=shot.purpose.value,
            title=f"{shot.key}: "
            + ("dose unknown" if shot.dose_e_per_a2 is None else f"{shot.dose_e_per_a2:.4g} e/Å²"),
            unknown=shot.dose_e_per_a2 is None,
            uncertain=shot.position_uncertain_um > 0,
        )
        for shot in ordered
    ]


def _corners(shot: Exposure) -> np.ndarray:
    """Return what was illuminated, or all of what was recorded."""
    corners = shot.illuminated_um if shot.illuminated_um is not None else shot.recorded_um
    assert corners is not None
    return corners


def _groups(shots: Sequence[Exposure]) -> list[list[Exposure]]:
    """Return the exposures that overlap, by the boxes about them; searches join nothing."""
    apart = [shot for shot in shots if shot.purpose is not Purpose.SEARCH] or list(shots)
    import shapely
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    boxes = shapely.box(*np.array([np.concatenate(_box(shot)) for shot in apart]).T)
    one, other = shapely.STRtree(boxes).query(boxes)
    meet = coo_array((np.ones(len(one)), (one, other)), shape=(len(apart), len(apart)))
    _, label = connected_components(meet, directed=False)
    groups: list[list[Exposure]] = [[] for _ in range(label.max() + 1)]
    for shot, number_ in zip(apart, label, strict=True):
        groups[number_].append(shot)
    return groups


def _box(shot: Exposure) -> tuple[np.ndarray, np.ndarray]:
    corners = _corners(shot)
    return corners.min(axis=0), corners.max(axis=0)


def _end(ledger: Ledger, shot: Exposure, before: float | None) -> float:
    """Return what the worst place of an exposure had certainly received by its end."""
    if before is None:
        return 0.0 if shot.place_um is None else ledger.at(shot.place_um).at_least_e_per_a2
    return before + (shot.dose_e_per_a2 or 0.0)


def _middle(group: Sequence[Exposure]) -> tuple[float, float]:
    x0, y0, x1, y1 = _square(group, margin=0.0)
    return (x0 + x1) / 2, (y0 + y1) / 2


def _size(group: Sequence[Exposure]) -> float:
    x0, _, x1, _ = _square(group, margin=0.0)
    return x1 - x0


def _square(shots: Sequence[Exposure], *, margin: float) -> tuple[float, float, float, float]:
    """Return a square about some exposures [µm]."""
    low = np.min([_box(shot)[0] for shot in shots], axis=0)
    high = np.max([_box(shot)[1] for shot in shots], axis=0)
    middle, half = (low + high) / 2, float((high - low).max()) * (0.5 + margin)
    return (
        float(middle[0] - half),
        float(middle[1] - half),
        float(middle[0] + half),
        float(middle[1] + half),
    )


def _meets(shot: Exposure, bounds: tuple[float, float, float, float]) -> bool:
    low, high = _box(shot)
    return bool((low <= bounds[2:]).all() and (high >= bounds[:2]).all())


def _colour(dose: float, scale: tuple[float, float]) -> str | None:
    """Return the colour of a dose; ``None`` where nothing is known to have hit."""
    from matplotlib.colors import to_hex

    return to_hex(tuple(_rgba(np.array([dose]), scale)[0])) if dose > 0 else None


def _rgba(dose: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    low, high = scale
    colours: np.ndarray = colormaps[DOSE_COLOURS](
        LogNorm(low, high * (1 + 1e-9), clip=True)(np.maximum(dose, low)).data
    )
    return colours


def _raster(
    ledger: Ledger,
    bounds: tuple[float, float, float, float],
    scale: tuple[float, float],
    *,
    side: int,
) -> str:
    """Return the accumulated dose as a picture; where nothing is known to have hit, it is clear."""
    from PIL import Image

    dose = ledger.map(bounds, shape=(side, side)).dose_e_per_a2[::-1]
    colours = _rgba(dose, scale)
    colours[..., 3] = dose > 0.3 * scale[0]
    stream = io.BytesIO()
    Image.fromarray((255 * colours).astype(np.uint8)).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _time_line(ledger: Ledger, shots: Sequence[Exposure]) -> Markup | None:
    """Return the mean dose upon what was recorded against time, stacked by purpose."""
    moments = sorted(
        {
            moment
            for shot in shots
            if shot.time is not None
            for moment in (shot.time, shot.time + timedelta(seconds=shot.duration_s or 1.0))
        }
    )
    if len(moments) < 2:
        return None
    chosen = moments
    if len(moments) > MOMENTS:
        chosen = [moments[n] for n in np.linspace(0, len(moments) - 1, MOMENTS).round().astype(int)]
    sums: dict[str, list[float]] = {}
    for n, moment in enumerate(chosen):
        for purpose, share in ledger.by_purpose(until=moment).items():
            sums.setdefault(purpose.value, [0.0] * len(chosen))[n] = share.mean_e_per_a2 or 0.0
    sums = {name: values for name, values in sums.items() if any(values)}
    if not sums:
        return None
    seconds = [(moment - chosen[0]).total_seconds() for moment in chosen]
    by_order = seconds[-1] > 2 * 86400
    return _drawing(
        svg.stacked(
            [float(n) for n in range(len(chosen))] if by_order else seconds,
            sums,
            axis="in the order of time" if by_order else _clock(chosen[0]),
            marked={} if by_order else _clock_ticks(chosen[0], seconds[-1]),
        )
    )


def _clock(start: datetime) -> str:
    return f"time of day, {start:%Y-%m-%d}"


def _clock_ticks(start: datetime, span_s: float) -> dict[float, str]:
    """Return round times of day within a span, in seconds from its start."""
    steps = (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 43200)
    step = next((s for s in steps if span_s / s <= 8), 43200)
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    begun = (start - midnight).total_seconds()
    first = math.ceil(begun / step) * step
    form = "%H:%M:%S" if step < 60 else "%H:%M"
    return {
        at - begun: f"{midnight + timedelta(seconds=at):{form}}"
        for at in range(first, int(begun + span_s) + 1, step)
    }

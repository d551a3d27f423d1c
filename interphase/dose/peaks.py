"""The places that certainly received most: exact, without looking at every place."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from interphase.dose.footprint import contains
from interphase.dose.places import fullest, shrunk
from interphase.dose.rows import STAGE, Frame, Progress, Rows
from interphase.dose.totals import accumulated, certain_sum, elapsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The place of an exposure that received most."""

    place_um: tuple[float, float]
    dose_e_per_a2: float
    frame: Frame
    rows: Rows
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """An exposure, and the larger ones that overlap it."""

    region_um: np.ndarray
    outlines: list[np.ndarray]
    rows: Rows
    part: np.ndarray
    frame: Frame

    def worst(self, beat_e_per_a2: float) -> Worst | None:
        """Return the place within the region that received most, if that is more than `beat`."""
        over = Progress(least=self.part, most=self.part, begun=np.ones(len(self.part), dtype=bool))
        place, dose, complete = fullest_of(
            self.region_um,
            self.outlines,
            self.rows.sure_dose,
            self.rows,
            self.part,
            over,
            beat_e_per_a2,
        )
        if place is None:
            return None
        return Worst(
            place_um=place,
            dose_e_per_a2=dose,
            frame=self.frame,
            rows=self.rows.taken(np.flatnonzero(contains(self.outlines, place))),
            complete=complete,
        )


def fullest_of(
    region_um: np.ndarray,
    outlines_um: Sequence[np.ndarray | None],
    dose: np.ndarray,
    rows: Rows,
    part: np.ndarray,
    over: Progress,
    beat_e_per_a2: float = -1.0,
    *,
    possible: bool = False,
) -> tuple[tuple[float, float] | None, float, bool]:
    """Return the place of a region where exposures add up to most, as `fullest` does.

    Parameters
    ----------
    region_um
        Corners of the region [µm].
    outlines_um
        What each exposure covers [µm]; ``None`` where it does not count.
    dose
        Dose of each, NaN where not known [e/Å²].
    rows
        The exposures in the order of time.
    part
        The part of each that is over.
    over
        Which have begun, so that their prior doses are the past.
    beat_e_per_a2
        Dose that the place must exceed to be looked for [e/Å²].
    possible
        Whether the greatest sum that is possible counts; by default the one that is certain.
    """
    which = np.array([n for n, o in enumerate(outlines_um) if o is not None], dtype=np.int64)
    # The largest first: the search decides on them first.
    given = (np.nan_to_num(dose) * part)[which]
    which = which[np.argsort(-given, kind="stable")]
    back = np.argsort(which, kind="stable")  # the order of time again
    in_time = which[back]
    given = (np.nan_to_num(dose) * part)[in_time]
    prior = np.where(over.begun, rows.prior, 0.0)[in_time]
    timed = np.isfinite(rows.start_s)[in_time]
    series = rows.series[in_time] if possible else in_time

    def worth(inside: np.ndarray) -> float:
        held = inside[back]
        if not prior.any():
            return float(given[held].sum())
        if not possible:
            return certain_sum(given[held], prior[held], timed[held])
        return accumulated(given[held], prior[held], timed[held], series[held])[1]

    polygons = [outline for n in which if (outline := outlines_um[n]) is not None]
    return fullest(region_um, polygons, worth, beat=beat_e_per_a2)


def owners(rows: Rows, until: float | None) -> Iterator[tuple[float, Owner]]:
    """Yield each exposure with the larger ones upon it, the largest possible dose first.

    Of the exposures that hit the place of the largest dose, the smallest has all others among
    the larger ones that overlap it; so every place is within the reach of one owner.
    """
    part = elapsed(rows.start_s, rows.duration_s, until)[0]
    groups: dict[Frame, list[int]] = {}
    for n in range(len(rows)):
        if rows.footprint[n] is not None and part[n] > 0:
            groups.setdefault(_frame_of(rows, n), []).append(n)
    found: list[tuple[float, _Group, int]] = []
    for frame, members in groups.items():
        group = _Group.of(rows, part, members, frame)
        found += [(float(b), group, k) for k, b in enumerate(group.bound_e_per_a2) if b > 0]
    for bound, group, k in sorted(found, key=lambda entry: -entry[0]):
        yield bound, group.owner(k)


def comparable(worst: Worst, owner: Owner) -> bool:
    """Return whether two places are known against each other, or of one series of exposures."""
    if worst.frame == owner.frame:
        return True
    return not {*worst.rows.file}.isdisjoint({*owner.rows.file} - {None})


def _frame_of(rows: Rows, n: int) -> Frame:
    """Return the frame in which an exposure's place is known best."""
    if math.isfinite(rows.uncertain[n]):
        return STAGE
    doubt = str(rows.doubt[n])
    return Frame(id=None if doubt else int(rows.id[n]), uncertain_um=math.inf, doubt=doubt)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Exposures whose places are known against each other, and which larger ones lie on each."""

    rows: Rows
    part: np.ndarray
    frame: Frame
    outlines: list[np.ndarray]
    bound_e_per_a2: np.ndarray
    upon: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, rows: Rows, part: np.ndarray, members: Sequence[int], frame: Frame) -> "_Group":
        from shapely import Polygon, STRtree, area

        outlines, kept = [], []
        for n in members:
            outline = rows.footprint[n]
            if outline is not None and frame == STAGE:
                outline = shrunk(outline, float(rows.uncertain[n]))
            if outline is not None:
                outlines.append(outline)
                kept.append(n)
        rows, part = rows.taken(np.array(kept, dtype=np.int64)), part[kept]
        shapes = np.array([Polygon(outline) for outline in outlines], dtype=object)
        owner, other = STRtree(shapes).query(shapes)
        areas = area(shapes)
        larger = (areas[other] > areas[owner]) | ((areas[other] == areas[owner]) & (other >= owner))
        order = np.lexsort((other[larger], owner[larger]))  # upon each in the order of time
        owner, other = owner[larger][order], other[larger][order]
        prior = np.zeros(len(kept))
        np.maximum.at(prior, owner, rows.prior[other])
        dose = np.nan_to_num(rows.sure_dose) * part
        return cls(
            rows=rows,
            part=part,
            frame=frame,
            outlines=outlines,
            bound_e_per_a2=prior + np.bincount(owner, weights=dose[other], minlength=len(kept)),
            upon=other,
            starts=np.searchsorted(owner, np.arange(len(kept) + 1)),
        )

    def owner(self, k: int) -> Owner:
        """Return one exposure with the larger ones upon it."""
        upon = self.upon[self.starts[k] : self.starts[k + 1]]
        return Owner(
            region_um=self.outlines[k],
            outlines=[self.outlines[n] for n in upon],
            rows=self.rows.taken(upon),
            part=self.part[upon],
            frame=self.frame,
        )

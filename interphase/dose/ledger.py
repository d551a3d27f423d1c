"""The account of a session: which place received how many electrons, when, and for what."""

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from numbers import Real
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from interphase.dose.absorbed import charge_per_mass, mean_excitation_energy
from interphase.dose.budgets import OverBudget, PurposeShare, passed, shares
from interphase.dose.dose_map import DoseMap, check_raster, draw_map
from interphase.dose.exposure import Exposure, Moment, Purpose
from interphase.dose.footprint import area_um2, contains
from interphase.dose.peaks import Owner, Worst, comparable, fullest_of, owners
from interphase.dose.places import overlap_um2
from interphase.dose.rows import STAGE, Frame, Progress, Rows, hits, outlines, progress
from interphase.dose.storage import Storage
from interphase.dose.totals import DoseTotal, certain_sum, elapsed, total_of
from interphase.electron import absorbed_dose, collision_stopping_power
from interphase.errors import ParameterError

_NOT_ALL = "So many footprints overlap here that not every place was looked at."


class Ledger:
    """The dose ledger of a session.

    Open it with `Ledger.open` or `Ledger.in_memory`, and close it, or use it in a ``with``.
    Processes may write the same file at the same time; what :meth:`add` was given is in it wholly
    or not at all.

    Examples
    --------
    >>> from interphase.dose import Exposure, Ledger, camera_rectangle
    >>> field = camera_rectangle((4096, 4096), pixel_size_a=0.5)
    >>> shots = [
    ...     Exposure(key=name, purpose="record", illuminated_um=field + (0.1 * n, 0.0),
    ...              dose_e_per_a2=40.0)
    ...     for n, name in enumerate(["a.mrc", "b.mrc"])
    ... ]
    >>> with Ledger.in_memory() as ledger:
    ...     ledger.add(shots), ledger.add(shots), len(ledger)
    ...     ledger.at((0.05, 0.0)).sentence
    (2, 0, 2)
    '80 e/Å² from 2 exposures.'
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._kept: dict[str, tuple[tuple[int, int], Rows]] = {}

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False) -> Self:
        """Open the ledger in a file, which is made if it is not there.

        Parameters
        ----------
        path
            The file, such as ``dose.ledger``.
        read_only
            Whether nothing will be written; then the file must exist.

        Raises
        ------
        LedgerError
            The file is no ledger, is damaged, is of a newer version, or cannot be written.
        """
        return cls(Storage(Path(path), read_only=read_only))

    @classmethod
    def in_memory(cls) -> Self:
        """Return an empty ledger that is gone when it is closed."""
        return cls(Storage(None))

    def close(self) -> None:
        """Close the file; nothing more can be asked."""
        self._storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._storage.count()

    def add(self, exposures: Iterable[Exposure], *, replace: bool = False) -> int:
        """Write exposures, all or none.

        Parameters
        ----------
        exposures
            In any order. One that is there already, with the same key and content, changes nothing.
        replace
            Whether one with the same key and other content takes the place of the old one.

        Returns
        -------
        int
            How many keys are new.

        Raises
        ------
        ParameterError
            A key is there with other content, or times with and without a zone meet.
        LedgerError
            The disk is full, the file is read-only or damaged, or another process does not let go.
        """
        return self._storage.add(exposures, replace=replace)

    def rewrite(self, change: Callable[[list[Exposure]], Iterable[Exposure]]) -> None:
        """Put other exposures in the place of all, or none if that fails.

        Parameters
        ----------
        change
            Is given all exposures, in the order of time, and returns those that shall be there.
            No other process writes meanwhile.

        Raises
        ------
        ParameterError
            Two have the same key and other content, or times with and without a zone meet.
        LedgerError
            As for :meth:`add`.
        """
        self._storage.rewrite(change)

    def exposures(
        self, *, purpose: Purpose | str | None = None, until: datetime | None = None
    ) -> list[Exposure]:
        """Return exposures in the order of time, those without a time last.

        Parameters
        ----------
        purpose
            Those of one purpose alone.
        until
            Those that had begun by then alone; without a time, none is known to have.
        """
        conditions: list[str] = []
        values: list[str | float] = []
        if purpose is not None:
            if purpose not in tuple(Purpose):
                raise ParameterError(
                    f"purpose is {purpose!r}: expected one of {', '.join(Purpose)}"
                )
            conditions.append("purpose = ?")
            values.append(Purpose(purpose).value)
        moment = self._storage.moment(until)
        if moment is not None:
            conditions.append("start_s <= ?")
            values.append(moment)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        return self._storage.exposures(where, values)

    def at(self, place_um: tuple[float, float], *, until: datetime | None = None) -> DoseTotal:
        """Return what a place has received.

        Parameters
        ----------
        place_um
            The place (x, y) in stage coordinates [µm].
        until
            The moment; by default all exposures count. An exposure under way counts for the part
            that is over. One without a time may be before or after, and counts in
            `at_most_e_per_a2` alone, its stated prior dose aside.

        Returns
        -------
        DoseTotal
            What is certain, what is possible, and a sentence. A scan with gaps may have hit a
            place with what was under the probe, or not at all.
        """
        place = _checked_place(place_um)
        moment = self._storage.moment(until)
        return self._total(place, STAGE, self._near(place, STAGE), moment)

    def pre_exposure(self, key_or_file: str, *, moment: Moment | str = Moment.START) -> DoseTotal:
        """Return what the place of an exposure had received before it, or by its middle or end.

        Parameters
        ----------
        key_or_file
            Key of an exposure; or a file, of whose exposures the first is taken for ``start``, the
            last for ``end`` and the one in between for ``middle``.
        moment
            The moment of that exposure.

        Returns
        -------
        DoseTotal
            At the worst place within what was recorded, `place_um`; `at_most_e_per_a2` is that of
            the place where most is possible; `mean_e_per_a2` is the mean of what is certain.

        Raises
        ------
        ParameterError
            The ledger has no such exposure.

        Notes
        -----
        An exposure whose shift has no calibration, and so may be anywhere, is certain to have hit
        its own place, and that of exposures with the same shift.
        """
        moment = _checked_moment(moment)
        shot = self._find(key_or_file, moment)
        row = self._storage.rows("WHERE key = ?", (shot.key,))
        until = _moment_within(row, moment)
        frame = Frame(
            id=int(row.id[0]),
            uncertain_um=shot.position_uncertain_um,
            doubt=shot.uncalibrated_shift,
        )
        region = shot.viewed_um if shot.viewed_um is not None else shot.illuminated_um
        if region is None:
            place = shot.place_um or (0.0, 0.0)
            near = row if shot.place_um is None else self._near(place, frame, also=frame.id)
            total = self._total(place, frame, near, until, own=moment.fraction)
            return replace(total, mean_e_per_a2=total.at_least_e_per_a2, place_um=shot.place_um)
        near = self._around(region, frame)
        sure, may = outlines(near, frame)
        over = progress(near, until, frame, moment.fraction)
        found, _, complete = fullest_of(region, sure, near.sure_dose, near, over.least, over)
        place = found or shot.place_um or (0.0, 0.0)
        total = self._total(place, frame, near, until, own=moment.fraction)
        mean = self._mean(region, near, sure, over)
        sentence = total.sentence if complete else f"{total.sentence} {_NOT_ALL}"
        highest = total.at_most_e_per_a2
        if highest is not None:
            elsewhere = self._highest(region, may, frame, near, until, over, moment.fraction)
            highest = None if elsewhere is None else max(highest, elsewhere)
        if highest != total.at_most_e_per_a2:
            said = "is not known" if highest is None else f"is at most {highest:.4g} e/Å²"
            sentence = f"{sentence} Elsewhere in what was recorded it {said}."
        return replace(
            total, at_most_e_per_a2=highest, mean_e_per_a2=mean, place_um=place, sentence=sentence
        )

    def map(
        self,
        bounds_um: tuple[float, float, float, float] | None = None,
        *,
        shape: tuple[int, int] = (512, 512),
        until: datetime | None = None,
    ) -> DoseMap:
        """Return the dose of every pixel of a map, each the exact mean over its area.

        Parameters
        ----------
        bounds_um
            Left, bottom, right and top (x0, y0, x1, y1) in stage coordinates [µm]; by default all
            that was exposed at known places.
        shape
            Rows and columns.
        until
            The moment, as for :meth:`at`.
        """
        moment = self._storage.moment(until)
        if bounds_um is not None:
            check_raster(bounds_um, shape)
        rows = self._all() if bounds_um is None else self._storage.within(*bounds_um)
        others = self._kept_rows("WHERE everywhere") if bounds_um is not None else rows
        if bounds_um is None:
            shown = [
                outline
                for outline, r in zip(rows.footprint, rows.uncertain, strict=True)
                if outline is not None and np.isfinite(r)
            ]
            if not shown:
                raise ParameterError(
                    "no exposure of the ledger has a known place: give bounds_um, or the stage, "
                    "pixel sizes and calibrations that are missing"
                )
            corners = np.concatenate(shown)
            bounds_um = (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
        return draw_map(rows, others, bounds_um=bounds_um, shape=shape, until_s=moment)

    def maximum(
        self, *, until: datetime | None = None
    ) -> tuple[tuple[float, float], DoseTotal] | None:
        """Return the place that certainly received most, and what it received.

        The place is exact: no other can have received more. Where so many footprints overlap that
        the search has to be broken off, the sentence of the total says so.

        Returns
        -------
        place_um : tuple of float
            (x, y) in stage coordinates [µm]; of exposures with a shift that has no calibration, as
            if that were zero.
        total : DoseTotal
            ``None`` in place of both where no exposure has an area and a dose.
        """
        moment = self._storage.moment(until)
        best: Worst | None = None
        for bound, owner in owners(self._all(), moment):
            if best is not None and bound <= best.dose_e_per_a2:
                break
            worst = owner.worst(-1.0 if best is None else best.dose_e_per_a2)
            best = best if worst is None else worst
        if best is None:
            return None
        total = self._total(
            best.place_um, best.frame, self._near(best.place_um, best.frame), moment
        )
        doubts = "" if best.frame == STAGE else " Where that is on the stage is uncertain."
        doubts += "" if best.complete else f" {_NOT_ALL}"
        total = replace(total, sentence=f"{total.sentence}{doubts}")
        return best.place_um, total

    def by_purpose(self, *, until: datetime | None = None) -> dict[Purpose, PurposeShare]:
        """Return what each purpose took of the electrons, and of the dose of what was recorded.

        What was recorded are the areas of all exposures that are not for search or focus; the
        mean dose is that of these areas, each of which counts as one, whatever its size.
        """
        moment = self._storage.moment(until)
        rows = self._all()
        return shares(rows, elapsed(rows.start_s, rows.duration_s, moment)[0])

    def over_budget(
        self, budgets: Mapping[str, float], *, until: datetime | None = None
    ) -> list[OverBudget]:
        """Return the places that certainly received more than a phase survives.

        Parameters
        ----------
        budgets
            Phase → the dose it survives [e/Å²].
        until
            The moment, as for :meth:`at`.

        Returns
        -------
        list of OverBudget
            The worst place first; of exposures that overlap at a place over budget, one place
            stands for all.

        Raises
        ------
        ParameterError
            A budget is no finite number above 0.
        """
        for phase, budget in budgets.items():
            if not isinstance(budget, Real) or not 0 < budget < math.inf:
                raise ParameterError(
                    f"the budget of {phase} is {budget!r}: expected a finite number of e/Å² above 0"
                )
        if not budgets:
            return []
        moment = self._storage.moment(until)
        least = min(budgets.values())
        found: list[Worst] = []
        waiting: list[tuple[float, int, Worst, Owner]] = []

        def stood_for(owner: Owner) -> bool:
            places = [worst.place_um for worst in found if comparable(worst, owner)]
            return any(contains([owner.region_um], place)[0] for place in places)

        def settle(bound: float) -> None:
            """Take those that are worse than any that follows, the worst first."""
            while waiting and -waiting[0][0] >= bound:
                _, _, worst, owner = heapq.heappop(waiting)
                if not stood_for(owner):
                    found.append(worst)

        for number, (bound, owner) in enumerate(owners(self._all(), moment)):
            settle(bound)
            if bound <= least:
                break
            if not stood_for(owner) and (worst := owner.worst(least)) is not None:
                heapq.heappush(waiting, (-worst.dose_e_per_a2, number, worst, owner))
        settle(least)
        over = []
        for worst in found:
            rows = worst.rows
            part = elapsed(rows.start_s, rows.duration_s, moment)[0]
            for phase, budget in budgets.items():
                if worst.dose_e_per_a2 > budget:
                    over.append(
                        passed(
                            rows,
                            part,
                            phase=phase,
                            budget=budget,
                            place_um=worst.place_um,
                            place_known=worst.frame == STAGE,
                            zoned=bool(self._storage.zoned()),
                        )
                    )
        return over

    def absorbed_dose(
        self,
        place_um: tuple[float, float],
        *,
        composition: Mapping[str, float],
        mean_excitation_ev: float | None = None,
        until: datetime | None = None,
    ) -> tuple[float, int]:
        """Return the energy a place certainly absorbed, each exposure at its own beam energy.

        Parameters
        ----------
        place_um
            The place (x, y) in stage coordinates [µm].
        composition
            Element → atoms per formula of the material, such as ``{"Li": 2, "O": 1}``.
        mean_excitation_ev
            Its mean excitation energy [eV]; by default that of its elements, see
            `mean_excitation_energy`.
        until
            The moment, as for :meth:`at`.

        Returns
        -------
        absorbed_dose_mgy : float
            [MGy], of the exposures whose dose and beam energy are known.
        left_out : int
            Exposures that hit, of which one of the two is not known, scans with gaps included; and
            one for all that files state to have come before besides.
        """
        place = _checked_place(place_um)
        near = self._near(place, STAGE)
        over = progress(near, self._storage.moment(until), STAGE, None)
        part, inside = over.least, hits(place, STAGE, near)[0]
        sure = inside & (part > 0)
        given = (np.nan_to_num(near.sure_dose) * part)[inside]
        prior = np.where(over.begun, near.prior, 0.0)[inside]
        stated = certain_sum(given, prior, np.isfinite(near.start_s)[inside])
        besides = int(stated > math.fsum(given) * (1 + 1e-9))
        known = sure & ~near.gaps & np.isfinite(near.dose) & np.isfinite(near.energy)
        if not known.any():
            return 0.0, int(sure.sum()) + besides
        if mean_excitation_ev is None:
            mean_excitation_ev = mean_excitation_energy(composition)
        power = collision_stopping_power(
            near.energy[known],
            charge_per_mass_mol_g=charge_per_mass(composition),
            mean_excitation_ev=mean_excitation_ev,
        )
        each = [
            absorbed_dose(float(dose), stopping_power_mev_cm2_g=float(stopping))
            for dose, stopping in zip((near.dose * part)[known], np.atleast_1d(power), strict=True)
        ]
        return math.fsum(each), int((sure & ~known).sum()) + besides

    def _find(self, key_or_file: str, moment: Moment) -> Exposure:
        if isinstance(key_or_file, Path):
            key_or_file = key_or_file.as_posix()
        if not isinstance(key_or_file, str):
            raise ParameterError(f"key_or_file is {key_or_file!r}: expected the name of one")
        found = self._storage.exposures("WHERE key = ?", (key_or_file,))
        if not found:
            # What flies back is no exposure that was recorded.
            found = [
                shot
                for shot in self._storage.exposures("WHERE file = ?", (key_or_file,))
                if not shot.key.endswith(" flyback")
            ]
        if not found:
            raise ParameterError(
                f"{key_or_file!r} is neither a key nor a file of the ledger, which has "
                f"{len(self)} exposures: exposures() lists them"
            )
        last = len(found) - 1
        return found[{Moment.START: 0, Moment.MIDDLE: last // 2, Moment.END: last}[moment]]

    def _kept_rows(self, condition: str) -> Rows:
        """Return rows as read before, unless somebody wrote since."""
        version = self._storage.version()
        kept = self._kept.get(condition)
        if kept is None or kept[0] != version:
            kept = (version, self._storage.rows(condition))
            self._kept[condition] = kept
        return kept[1]

    def _all(self) -> Rows:
        return self._kept_rows("")

    def _near(self, place: tuple[float, float], frame: Frame, *, also: int | None = None) -> Rows:
        spare = frame.uncertain_um if math.isfinite(frame.uncertain_um) else 0.0
        x, y = place
        if also is None:
            return self._storage.within(x - spare, y - spare, x + spare, y + spare)
        return self._storage.rows(
            "WHERE id = ? OR id IN "
            "(SELECT id FROM place WHERE x1 >= ? AND x0 <= ? AND y1 >= ? AND y0 <= ?)",
            (also, x - spare, x + spare, y - spare, y + spare),
        )

    def _around(self, region: np.ndarray, frame: Frame) -> Rows:
        spare = frame.uncertain_um if math.isfinite(frame.uncertain_um) else 0.0
        low, high = region.min(axis=0) - spare, region.max(axis=0) + spare
        return self._storage.within(*low.tolist(), *high.tolist())

    def _total(
        self,
        place: tuple[float, float],
        frame: Frame,
        near: Rows,
        until: float | None,
        own: float | None = None,
    ) -> DoseTotal:
        """Add up what hit a place, `near` holding at least all that certainly did."""
        sure, may = hits(place, frame, near)
        far, apart = self._anywhere(frame, near)
        rows, more = near, (0.0, 0, 0)
        if far.prior[apart].any():  # what came before them has its place in the order of time
            rows = near.joined(far.taken(np.flatnonzero(apart)))
            order = np.argsort(rows.start_s, kind="stable")  # NaN comes last
            others = len(rows) - len(near)
            rows = rows.taken(order)
            sure = np.concatenate([sure, np.zeros(others, dtype=bool)])[order]
            may = np.concatenate([may, np.ones(others, dtype=bool)])[order]
        elif apart.any():
            part = progress(far, until, frame, own).most * apart
            unknown = np.isnan(far.most_dose) & (part > 0)
            more = (
                float(np.nansum(far.most_dose * part)),
                int((part > 0).sum()),
                int(unknown.sum()),
            )
        over = progress(rows, until, frame, own)
        total = total_of(
            dose=rows.dose,
            most_dose=rows.most_dose,
            prior=rows.prior,
            begun=over.begun,
            timed=np.isfinite(rows.start_s),
            least=over.least,
            most=over.most,
            sure=sure,
            may=may,
            gaps=rows.gaps,
            series=rows.series,
            more=more,
        )
        return replace(total, place_um=place)

    def _anywhere(self, frame: Frame, near: Rows) -> tuple[Rows, np.ndarray]:
        """Return exposures, and which of them may have hit any place and are not in `near`."""
        far = self._all() if math.isinf(frame.uncertain_um) else self._kept_rows("WHERE everywhere")
        apart = ~np.isin(far.id, near.id)
        if math.isinf(frame.uncertain_um) and frame.doubt:
            # What is displaced alike, and is not near, is elsewhere.
            apart &= (far.doubt != frame.doubt) | ~far.lit & np.isinf(far.reach)
        return far, apart

    def _highest(
        self,
        region: np.ndarray,
        may: Sequence[np.ndarray | None],
        frame: Frame,
        near: Rows,
        until: float | None,
        over: Progress,
        own: float,
    ) -> float | None:
        """Return the most that any place of a region may have received, ``None`` if not known."""
        touched = np.zeros(len(near), dtype=bool)
        outlined = [n for n, outline in enumerate(may) if outline is not None]
        if outlined:
            touched[outlined] = overlap_um2([may[n] for n in outlined], region) > 0  # type: ignore[misc]
        if (touched & np.isnan(near.dose) & (over.most > 0)).any():
            return None
        place, _, _ = fullest_of(region, may, near.most_dose, near, over.most, over, possible=True)
        if place is None:
            return 0.0
        return self._total(place, frame, near, until, own=own).at_most_e_per_a2

    def _mean(
        self,
        region: np.ndarray,
        near: Rows,
        sure: Sequence[np.ndarray | None],
        over: Progress,
    ) -> float:
        shared = np.zeros(len(near))
        hit = [n for n, outline in enumerate(sure) if outline is not None]
        if hit:
            shared[hit] = overlap_um2([sure[n] for n in hit], region)  # type: ignore[misc]
        shared = np.minimum(shared / area_um2(region), 1.0)
        return certain_sum(
            np.nan_to_num(near.dose) * over.least * shared,
            np.where(over.begun, near.prior * shared, 0.0),
            np.isfinite(near.start_s),
        )


def _checked_place(place_um: tuple[float, float]) -> tuple[float, float]:
    try:
        place = np.asarray(place_um, dtype=float)
    except (TypeError, ValueError):
        place = np.zeros(0)
    if place.shape != (2,) or not np.isfinite(place).all():
        raise ParameterError(f"place_um is {place_um!r}: expected (x, y) of the stage in µm")
    return float(place[0]), float(place[1])


def _checked_moment(moment: Moment | str) -> Moment:
    if moment not in tuple(Moment):
        raise ParameterError(f"moment is {moment!r}: expected one of {', '.join(Moment)}")
    return Moment(moment)


def _moment_within(row: Rows, moment: Moment) -> float | None:
    start, duration = float(row.start_s[0]), float(row.duration_s[0])
    if math.isnan(start):
        return None
    return start if math.isnan(duration) else start + moment.fraction * duration

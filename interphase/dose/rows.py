"""Exposures as columns of numbers, and what is certain of where they hit."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from interphase.dose.footprint import contains, disc
from interphase.dose.places import grown, shrunk
from interphase.dose.totals import elapsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What the sums need of many exposures, in the order of time; NaN is what is not known."""

    id: np.ndarray
    key: list[str]
    file: list[str | None]
    purpose: list[str]
    doubt: np.ndarray
    start_s: np.ndarray
    duration_s: np.ndarray
    dose: np.ndarray
    most_dose: np.ndarray
    prior: np.ndarray
    energy: np.ndarray
    electrons: np.ndarray
    place: np.ndarray
    uncertain: np.ndarray
    reach: np.ndarray
    everywhere: np.ndarray
    lit: np.ndarray
    footprint: list[np.ndarray | None]
    viewed: list[np.ndarray | None]

    def __len__(self) -> int:
        return len(self.key)

    @property
    def gaps(self) -> np.ndarray:
        """Which are scans with gaps, shape (N,): a place within may have got nothing, or more."""
        return np.asarray(self.most_dose > self.dose)

    @property
    def sure_dose(self) -> np.ndarray:
        """The least that any place within the footprint got, NaN where not known [e/Å²]."""
        return np.where(self.gaps, 0.0, self.dose)

    @property
    def series(self) -> np.ndarray:
        """Number of the series that each belongs to, shape (N,): that of its file and purpose.

        A file states as prior dose at least what came before in the same series. One without a
        time or a file is a series of its own.
        """
        numbers: dict[Any, int] = {}
        each = zip(self.file, self.purpose, np.isfinite(self.start_s).tolist(), strict=True)
        return np.array(
            [
                numbers.setdefault((file, purpose) if timed and file is not None else n, n)
                for n, (file, purpose, timed) in enumerate(each)
            ],
            dtype=np.int64,
        )

    def taken(self, which: np.ndarray) -> Self:
        """Return some of the rows, by their numbers."""
        return self._with(
            lambda values: [values[n] for n in which] if isinstance(values, list) else values[which]
        )

    def joined(self, others: Self) -> Self:
        """Return these rows and others behind them."""
        made: dict[str, Any] = {}
        for name in self.__slots__:
            first, second = getattr(self, name), getattr(others, name)
            together = isinstance(first, list)
            made[name] = first + second if together else np.concatenate([first, second])
        return type(self)(**made)

    def _with(self, change: Callable[[Any], Any]) -> Self:
        return type(self)(**{name: change(getattr(self, name)) for name in self.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Of which exposure a place is looked at: what is displaced as it is, is certain beside it."""

    id: int | None = None
    uncertain_um: float = 0.0
    doubt: str = ""


STAGE = Frame()
"""The stage itself, against which places are looked at by their coordinates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far exposures were at a moment, each of shape (N,)."""

    least: np.ndarray
    """Part of each that is certainly over."""
    most: np.ndarray
    """Part of each that may be over."""
    begun: np.ndarray
    """Whether it has certainly begun, so that its stated prior dose is the past."""


def progress(rows: Rows, until_s: float | None, frame: Frame, own: float | None) -> Progress:
    """Return how far exposures were at a moment.

    Parameters
    ----------
    rows
        The exposures.
    until_s
        The moment [s]; ``None`` for the end of all or, with `own`, for one that is not known.
    frame
        The exposure that is looked at, if any.
    own
        The part of that exposure that is over; ``None`` where none is looked at.
    """
    least, most = elapsed(rows.start_s, rows.duration_s, until_s)
    begun = np.ones(len(rows), dtype=bool)
    if until_s is not None:
        begun = np.asarray(rows.start_s <= until_s)
    if own is not None:
        itself = rows.id == frame.id
        if until_s is None:
            least, begun = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
        least[itself] = most[itself] = own
        begun |= itself
    return Progress(least=least, most=most, begun=begun)


def hits(place: tuple[float, float], frame: Frame, near: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return which of some exposures certainly hit a place, and which may have."""
    own = near.id == (-1 if frame.id is None else frame.id)
    radius = _relative(near, frame)
    outlined = [n for n, outline in enumerate(near.footprint) if outline is not None]
    inside = np.zeros(len(near), dtype=bool)
    inside[outlined] = contains([near.footprint[n] for n in outlined], place)  # type: ignore[misc]
    sure, may = inside & (radius == 0), inside.copy()
    for n in outlined:
        if 0 < radius[n] < math.inf:
            distance = _distance(near.footprint[n], place)  # type: ignore[arg-type]
            sure[n] = inside[n] and distance >= radius[n]
            may[n] = inside[n] or distance <= radius[n]
    apart = np.hypot(*(near.place - place).T)
    with np.errstate(invalid="ignore"):
        reached = ~near.lit & ~(apart > near.reach + radius)
    may |= reached | np.isinf(radius)
    return sure | own, may | own


def outlines(near: Rows, frame: Frame) -> tuple[list[np.ndarray | None], list[np.ndarray | None]]:
    """Return what each exposure certainly covers, and what it may cover, beside a frame."""
    sure: list[np.ndarray | None] = []
    may: list[np.ndarray | None] = []
    for n, spare in enumerate(_relative(near, frame).tolist()):
        outline = near.footprint[n]
        vague = outline is None or math.isinf(spare)
        sure.append(None if vague or outline is None else shrunk(outline, spare))
        may.append(reached(near, n, spare))
    return sure, may


def reached(rows: Rows, n: int, spare_um: float) -> np.ndarray | None:
    """Return what an exposure may have hit; ``None`` where that is nowhere or without bounds.

    Parameters
    ----------
    rows, n
        The exposure.
    spare_um
        How far its place is uncertain [µm].
    """
    outline = rows.footprint[n]
    if rows.lit[n]:
        bounded = outline is not None and math.isfinite(spare_um)
        return grown(outline, spare_um) if bounded and outline is not None else None
    radius = float(rows.reach[n]) + spare_um
    if not math.isfinite(radius) or np.isnan(rows.place[n]).any():
        return None
    # A polygon of a disc's area dips below its edge by 0.1 %.
    around: np.ndarray = disc(max(2.01 * radius, 1e-9)) + rows.place[n]
    return around


def _relative(near: Rows, frame: Frame) -> np.ndarray:
    """Return how far each exposure may be displaced against a frame [µm]."""
    radius: np.ndarray = near.uncertain + frame.uncertain_um
    alike = near.id == (-1 if frame.id is None else frame.id)
    if frame.doubt:
        alike |= np.asarray(near.doubt == frame.doubt, dtype=bool)
    radius[alike] = 0.0
    return radius


def _distance(outline: np.ndarray, place: tuple[float, float]) -> float:
    """Return the distance of a place from an outline [µm]."""
    start = outline - place
    edge = np.roll(start, -1, axis=0) - start
    along = np.clip(-(start * edge).sum(axis=1) / (edge**2).sum(axis=1), 0.0, 1.0)
    return float(np.hypot(*(start + along[:, None] * edge).T).min())

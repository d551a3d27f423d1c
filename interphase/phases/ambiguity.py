"""Which phases diffraction cannot tell apart, and which spacings are shared."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np

from interphase.errors import ParameterError
from interphase.phases.kinematics import families, reflections
from interphase.phases.table import Phase, check_phase

_STRONG = 0.3
_WEAK = 0.05
_D_MIN_A = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AmbiguousPair:
    """Two phases with the same lattice but for a scale that a measurement cannot exclude."""

    first: str
    """Identifier."""
    second: str
    """Identifier."""
    scale_difference: float
    """Fraction by which lengths of `second` exceed those of `first`."""
    shape_difference: float
    """Largest fraction by which ratios of their shortest lattice vectors differ."""
    intensities_agree: bool
    """Whether every strong reflection of each is at least visible in the other."""
    breaks: str
    """What can still tell them apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoincidentSpacing:
    """Two strong reflections of different phases with nearly the same spacing."""

    first: str
    """Identifier."""
    first_hkl: tuple[int, int, int]
    """Reflection of `first`."""
    first_d_a: float
    """Its spacing [Å]."""
    second: str
    """Identifier."""
    second_hkl: tuple[int, int, int]
    """Reflection of `second`."""
    second_d_a: float
    """Its spacing [Å]."""
    difference: float
    """Fraction by which the second spacing exceeds the first."""


def ambiguous_pairs(
    phases: Sequence[Phase], *, tolerance: float, shape_tolerance: float = 0.005
) -> tuple[AmbiguousPair, ...]:
    """Return the pairs of phases that no angle and no ratio of spacings can tell apart.

    Two phases are such a pair if their primitive lattices coincide, within `shape_tolerance`,
    once one is scaled by at most `tolerance`. A lattice that is a multiple of another one
    (a superstructure) is not considered the same.

    Parameters
    ----------
    phases
        Candidates.
    tolerance
        Fraction by which the scale of a measurement may be wrong.
    shape_tolerance
        Fraction by which ratios of lengths can be measured.

    Returns
    -------
    tuple of AmbiguousPair
        Smallest scale difference first.

    Notes
    -----
    Lattices are compared by the lengths of their seven Voronoi-relevant vectors (Delaunay
    reduction), see [1]_.

    References
    ----------
    .. [1] L. C. Andrews, H. J. Bernstein and G. A. Pelletier, Acta Cryst. A 36, 248 (1980)

    Examples
    --------
    >>> from interphase.phases import candidates
    >>> pair = ambiguous_pairs(candidates("Li2O, LiF, LiH"), tolerance=0.02)[0]
    >>> pair.first, pair.second, round(pair.scale_difference, 4), pair.intensities_agree
    ('LiF', 'LiH', 0.0142, True)
    """
    for phase in phases:
        check_phase(phase)
    if not 0 <= tolerance < 1:
        raise ParameterError(f"tolerance is {tolerance!r}: expected a fraction from 0 to below 1")
    pairs = []
    for first, second in combinations(phases, 2):
        lengths, others = (_voronoi_lengths(phase) for phase in (first, second))
        scale = np.prod(others / lengths) ** (1 / 7)
        shape = float(np.max(np.abs(others / lengths / scale - 1)))
        difference = float(scale - 1)
        # The difference counts from either phase: which one is the standard is not known.
        if shape > shape_tolerance or min(abs(difference), abs(1 / scale - 1)) > tolerance:
            continue
        contrasts = [*_contrasts(first, second, scale), *_contrasts(second, first, 1 / scale)]
        pairs.append(
            AmbiguousPair(
                first=first.identifier,
                second=second.identifier,
                scale_difference=difference,
                shape_difference=shape,
                intensities_agree=not contrasts,
                breaks=_breaks(difference, contrasts),
            )
        )
    return tuple(sorted(pairs, key=lambda pair: abs(pair.scale_difference)))


def coincident_spacings(
    phases: Sequence[Phase],
    *,
    tolerance: float,
    d_range_a: tuple[float, float] = (1.7, 5.0),
    relative_min: float = 0.15,
) -> tuple[CoincidentSpacing, ...]:
    """Return pairs of strong reflections of different phases with nearly the same spacing.

    Parameters
    ----------
    phases
        Candidates.
    tolerance
        Largest difference as a fraction of the smaller spacing.
    d_range_a
        Shortest and longest spacing considered [Å].
    relative_min
        Ring intensity below which a family is left out, over the phase's strongest down to
        1 Å.

    Returns
    -------
    tuple of CoincidentSpacing
        Closest first.

    Examples
    --------
    >>> from interphase.phases import candidates
    >>> pair = coincident_spacings(candidates("Li2O, ice-Ih"), tolerance=0.01)[0]
    >>> pair.first_hkl, pair.second_hkl, round(100 * pair.difference, 2)
    ((1, 1, 1), (1, 0, 2), 0.18)
    """
    shortest, longest = d_range_a
    strong = []
    for phase in phases:
        rings = families(reflections(phase, d_min_a=_D_MIN_A))
        kept = (rings.relative >= relative_min) & (rings.d_a >= shortest) & (rings.d_a <= longest)
        strong.append((phase.identifier, rings.d_a[kept], rings.hkl[kept]))
    found = []
    for (first, d, hkl), (second, other_d, other_hkl) in combinations(strong, 2):
        difference = other_d / d[:, np.newaxis] - 1
        smaller = np.minimum(other_d, d[:, np.newaxis])
        close = np.abs(other_d - d[:, np.newaxis]) <= tolerance * smaller
        found += [
            CoincidentSpacing(
                first=first,
                first_hkl=_indices(hkl[i]),
                first_d_a=float(d[i]),
                second=second,
                second_hkl=_indices(other_hkl[j]),
                second_d_a=float(other_d[j]),
                difference=float(difference[i, j]),
            )
            for i, j in np.argwhere(close)
        ]
    return tuple(sorted(found, key=lambda pair: abs(pair.difference)))


def _indices(hkl: np.ndarray) -> tuple[int, int, int]:
    h, k, l = hkl.tolist()  # noqa: E741  the field's letters
    return h, k, l


@lru_cache(maxsize=256)
def _voronoi_lengths(phase: Phase) -> np.ndarray:
    """Lengths of the seven vectors that bound the primitive lattice's Voronoi cell [Å], (7,)."""
    spots = reflections(phase, d_min_a=min(_D_MIN_A, min(phase.lattice[:3]) / 3))
    primitive = _integer_basis(spots.hkl) @ phase.reciprocal_vectors
    v = _delaunay(np.linalg.inv(primitive).T)
    seven = np.vstack([v, v[0] + v[1], v[0] + v[2], v[0] + v[3]])
    lengths: np.ndarray = np.sort(np.linalg.norm(seven, axis=1))
    return lengths


def _integer_basis(vectors: np.ndarray) -> np.ndarray:
    """Three integer rows that generate the same lattice as all `vectors`, shape (3, 3)."""
    rows = np.array(vectors, dtype=np.int64)
    basis = []
    for column in range(3):
        while True:
            rows = np.unique(rows[np.any(rows != 0, axis=1)], axis=0)
            size = np.abs(rows[:, column])
            if np.count_nonzero(size) <= 1:
                break
            pivot = rows[np.argmin(np.where(size > 0, size, size.max() + 1))]
            quotient = rows[:, column] // pivot[column]
            reduced = rows - quotient[:, np.newaxis] * pivot
            rows = np.vstack([reduced, pivot])
        with_column = rows[:, column] != 0
        basis.append(rows[with_column][0])
        rows = rows[~with_column]
    return np.array(basis)


def _delaunay(basis: np.ndarray) -> np.ndarray:
    """Obtuse superbase of a lattice: four vectors that sum to zero, shape (4, 3)."""
    v = np.vstack([basis, -basis.sum(axis=0)])
    while True:
        products = v @ v.T
        i, j = max(combinations(range(4), 2), key=lambda ij: products[ij])
        if products[i, j] <= 1e-9 * np.trace(products):
            return v
        k, m = (n for n in range(4) if n not in (i, j))
        v[k], v[m] = v[k] + v[i], v[m] + v[i]
        v[i] = -v[i]


def _contrasts(strong_in: Phase, weak_in: Phase, scale: float) -> list[str]:
    """Reflections strong in one phase and nearly absent in the other, in words."""
    ours = families(reflections(strong_in, d_min_a=1.2))
    theirs = reflections(weak_in, d_min_a=1.2 * scale * 0.98)
    found = []
    ours_per_spot = ours.intensity / ours.multiplicity
    for hkl, d, spot in zip(ours.hkl, ours.d_a, ours_per_spot / ours_per_spot.max(), strict=True):
        same = np.abs(theirs.d_a / (d * scale) - 1) < 0.01
        if spot >= _STRONG and not np.any(theirs.relative[same] >= _WEAK):
            found.append(
                f"({' '.join(map(str, hkl))}) is strong in {strong_in.identifier} "
                f"and weak in {weak_in.identifier}"
            )
    return found


def _breaks(difference: float, contrasts: list[str]) -> str:
    scale = f"a scale known to better than {100 * abs(difference) / 2:.2g} %"
    if contrasts:
        return f"only intensities differ: {contrasts[0]}; otherwise {scale} or a spectrum"
    return f"no angle, ratio of spacings or absence: only {scale} or a spectrum"

"""Crystallites of an interphase: how large, how far apart, and which way they lie."""

from dataclasses import dataclass

import numpy as np

from interphase.errors import ParameterError
from interphase.morphology.columns import Estimate, smooth_depth
from interphase.morphology.depth_profile import REPLICATES

# Draws of what there would be by chance; the least probability is one over one more.
_CHANCE = 199
# Crystallites from which on a mean size, a nearest neighbour or a direction is told.
_LEAST = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crystallites:
    """Where crystallites are, and how large."""

    centre_a: np.ndarray
    """Centres (y, x) from the first pixel [Å], shape (C, 2)."""
    area_a2: np.ndarray
    """Areas as seen [Å²], shape (C,)."""
    phase: np.ndarray
    """Index of the phase of each, shape (C,)."""
    at_edge: np.ndarray
    """Whether the image cuts it, shape (C,) of bool."""
    angle_deg: np.ndarray | None = None
    """Direction of a lattice vector that all have, from columns towards rows [degrees], NaN where
    it is not known, shape (C,)."""

    def __post_init__(self) -> None:
        many = len(self.area_a2)
        shapes = {
            "centre_a": (np.shape(self.centre_a), (many, 2)),
            "phase": (np.shape(self.phase), (many,)),
            "at_edge": (np.shape(self.at_edge), (many,)),
        }
        if self.angle_deg is not None:
            shapes["angle_deg"] = (np.shape(self.angle_deg), (many,))
        for name, (got, wanted) in shapes.items():
            if got != wanted:
                raise ParameterError(
                    f"{name} of {many} crystallites has shape {got}: expected {wanted}"
                )
        if not (np.asarray(self.area_a2) > 0).all():
            raise ParameterError(
                f"area_a2 goes down to {np.min(self.area_a2):g} Å²: expected areas above 0"
            )

    @property
    def diameter_a(self) -> np.ndarray:
        """Diameters of discs of the same area [Å], shape (C,)."""
        return np.asarray(2 * np.sqrt(np.asarray(self.area_a2, dtype=float) / np.pi))

    def of_phase(self, phase: int) -> "Crystallites":
        """Return those of one phase."""
        there = np.asarray(self.phase) == phase
        return Crystallites(
            centre_a=self.centre_a[there],
            area_a2=self.area_a2[there],
            phase=self.phase[there],
            at_edge=self.at_edge[there],
            angle_deg=None if self.angle_deg is None else self.angle_deg[there],
        )


def crystallites_from_labels(
    labels: np.ndarray, *, inside: np.ndarray, pixel_size_a: float, smallest_a: float = 0.0
) -> Crystallites:
    """Return the connected places of each phase.

    Crystallites of one phase that touch, or lie above each other, are one place: where regions are
    known apart, give these instead.

    Parameters
    ----------
    labels
        Phase of each pixel, shape (M, N).
    inside
        The interphase, shape (M, N) of bool.
    pixel_size_a
        Size of a pixel [Å].
    smallest_a
        Equivalent diameter below which a place is none [Å].

    Returns
    -------
    Crystallites
        Without directions.

    Examples
    --------
    >>> labels = np.array([[0, 0, -1, 1], [0, 0, -1, -1]])
    >>> inside = np.ones((2, 4), dtype=bool)
    >>> crystallites_from_labels(labels, inside=inside, pixel_size_a=2.0).area_a2.tolist()
    [16.0, 4.0]
    """
    from scipy.ndimage import center_of_mass, label

    frame = np.ones(np.shape(labels), dtype=bool)
    frame[1:-1, 1:-1] = False
    centres, areas, phases, edges = [], [], [], []
    for phase in np.unique(labels[inside & (labels >= 0)]):
        there, many = label(inside & (labels == phase))
        centres.append(
            np.reshape(center_of_mass(there > 0, there, np.arange(1, many + 1)), (-1, 2))
        )
        areas.append(np.bincount(there.ravel(), minlength=many + 1)[1:])
        edges.append(np.isin(np.arange(1, many + 1), there[frame]))
        phases.append(np.full(many, phase))
    if not areas:
        return Crystallites(
            centre_a=np.zeros((0, 2)),
            area_a2=np.zeros(0),
            phase=np.zeros(0, dtype=int),
            at_edge=np.zeros(0, dtype=bool),
        )
    area = np.concatenate(areas) * pixel_size_a**2
    kept = 2 * np.sqrt(area / np.pi) >= smallest_a
    return Crystallites(
        centre_a=np.concatenate(centres)[kept] * pixel_size_a,
        area_a2=area[kept],
        phase=np.concatenate(phases)[kept],
        at_edge=np.concatenate(edges)[kept],
    )


def mean_diameter(
    crystallites: Crystallites,
    *,
    length_a: float,
    rng: np.random.Generator,
    replicates: int = REPLICATES,
) -> Estimate:
    r"""Return the mean diameter of crystallites by volume, as line widths in diffraction weigh it.

    Parameters
    ----------
    crystallites
        The crystallites.
    length_a
        Length of interphase in view [Å].
    rng
        Source of randomness.
    replicates
        Number of draws of the distribution.

    Returns
    -------
    Estimate
        Mean by volume [Å] of a log-normal distribution of the equivalent diameters.

    Notes
    -----
    :math:`D_V = \sum D^4 / \sum D^3 = \exp(\mu + 7\sigma^2/2)` for spheres whose logarithms have
    mean μ and variance σ² [1]_; a sum over a few crystallites would miss the large ones that weigh
    most. The interval draws μ and σ² from their pivots [2]_. Crystallites that the image cuts have
    no known size; large ones are cut more often, which weights :math:`L / (L - D)` of the others
    make up for.

    References
    ----------
    .. [1] J. I. Langford, D. Louër, P. Scardi, J. Appl. Cryst. 33, 964 (2000),
           doi:10.1107/S002188980000460X
    .. [2] K. Krishnamoorthy, T. Mathew, J. Stat. Plan. Inference 115, 103 (2003),
           doi:10.1016/S0378-3758(02)00153-2

    Examples
    --------
    >>> ones = Crystallites(
    ...     centre_a=np.zeros((9, 2)), area_a2=np.full(9, 100 * np.pi), phase=np.zeros(9, int),
    ...     at_edge=np.zeros(9, bool),
    ... )
    >>> round(mean_diameter(ones, length_a=900.0, rng=np.random.default_rng(1)).value, 6)
    20.0
    """
    d = crystallites.diameter_a
    d = d[~np.asarray(crystallites.at_edge) & (d < length_a)]
    n = len(d)
    if n < _LEAST:
        return Estimate.missing(
            f"{n} whole crystallites in view: at least {_LEAST} tell a mean size", number=n
        )
    weight = length_a / (length_a - d)
    centre = np.average(np.log(d), weights=weight)
    variance = np.average((np.log(d) - centre) ** 2, weights=weight) * n / (n - 1)
    drawn = variance * (n - 1) / rng.chisquare(n - 1, replicates)
    means = centre + rng.standard_normal(replicates) * np.sqrt(drawn / n)
    low, high = np.exp(np.quantile(means + 3.5 * drawn, [0.025, 0.975]))
    return Estimate(
        value=float(np.exp(centre + 3.5 * variance)), low=float(low), high=float(high), number=n
    )


def clark_evans(
    centre_a: np.ndarray,
    *,
    inside: np.ndarray,
    pixel_size_a: float,
    rng: np.random.Generator,
    simulations: int = _CHANCE,
) -> Estimate:
    r"""Return how far nearest neighbours are apart, over places at random in the same mask.

    Parameters
    ----------
    centre_a
        Centres (y, x) from the first pixel [Å], shape (C, 2).
    inside
        The interphase, shape (M, N) of bool.
    pixel_size_a
        Size of a pixel [Å].
    rng
        Source of randomness.
    simulations
        Number of sets of places at random.

    Returns
    -------
    Estimate
        1 for complete spatial randomness, below for clusters, 2.15 at most (hexagons); the p-value
        is of both sides.

    Notes
    -----
    :math:`R = \bar r / \bar r_0` [1]_, with :math:`\bar r_0` and its spread from as many places at
    random in the mask, so that its edges need no correction [2]_. The interval takes the spread of
    the distances seen, times what neighbours that share a distance make of it at random. Centres of
    what cannot overlap are more regular than places at random.

    References
    ----------
    .. [1] P. J. Clark, F. C. Evans, Ecology 35, 445 (1954), doi:10.2307/1931034
    .. [2] J. Besag, P. J. Diggle, Appl. Stat. 26, 327 (1977), doi:10.2307/2346974

    Examples
    --------
    >>> grid = np.indices((6, 6)).reshape(2, -1).T * 10.0 + 5
    >>> field = np.ones((60, 60), dtype=bool)
    >>> clark_evans(
    ...     grid, inside=field, pixel_size_a=1.0, rng=np.random.default_rng(1)
    ... ).value > 1.7
    True
    """
    from scipy.spatial import cKDTree
    from scipy.stats import t as student

    centres = np.asarray(centre_a, dtype=float)
    n = len(centres)
    if n < _LEAST:
        return Estimate.missing(
            f"{n} crystallites in view: at least {_LEAST} have neighbours to speak of", number=n
        )

    def nearest(points: np.ndarray) -> np.ndarray:
        return np.asarray(cKDTree(points).query(points, k=2)[0][:, 1])

    pixels = np.argwhere(inside)
    drawn = pixels[rng.integers(len(pixels), size=(simulations, n))]
    places = (drawn + rng.uniform(-0.5, 0.5, drawn.shape)) * pixel_size_a
    chance = np.array([nearest(set_) for set_ in places])
    seen = nearest(centres)
    means = chance.mean(axis=1)
    expected = float(means.mean())
    shared = means.std(ddof=1) / (chance.std(axis=1, ddof=1).mean() / np.sqrt(n))
    value = float(seen.mean() / expected)
    half = student.ppf(0.975, n - 1) * shared * seen.std(ddof=1) / np.sqrt(n) / expected
    side = min((means <= seen.mean()).sum(), (means >= seen.mean()).sum())
    return Estimate(
        value=value,
        low=max(value - half, 0.0),
        high=value + half,
        number=n,
        p_value=float(min(1.0, 2 * (side + 1) / (simulations + 1))),
    )


def mean_direction(
    angle_deg: np.ndarray, *, rng: np.random.Generator, fold: int = 2
) -> tuple[Estimate, float]:
    r"""Return how much directions agree, and on which.

    Parameters
    ----------
    angle_deg
        Directions [degrees], shape (C,).
    rng
        Source of randomness.
    fold
        Directions that mean the same in a full turn: 2 for fringes, 4 for a square lattice.

    Returns
    -------
    length, direction
        Resultant length ρ, 0 at random to 1 in parallel, with the p-value of Rayleigh's test; mean
        direction [degrees], within ±180/fold.

    Notes
    -----
    Of the angles times `fold`, :math:`\hat\rho^2 = (n \bar R^2 - 1) / (n - 1)`, whose mean is that
    of the directions' distribution. The probability of a resultant as long as :math:`R = n\bar R`
    at random is :math:`\exp[\sqrt{1 + 4n + 4(n^2 - R^2)} - (1 + 2n)]` [1]_. The interval holds the
    ρ of the von Mises distributions :math:`\rho = I_1(\kappa) / I_0(\kappa)` whose samples have a
    resultant as long and as short as this more often than 1 in 40.

    References
    ----------
    .. [1] J. H. Zar, Biostatistical Analysis (1999), ch. 27; K. V. Mardia, P. E. Jupp, Directional
           Statistics (2000), doi:10.1002/9780470316979

    Examples
    --------
    >>> same = np.array([10.0, 190.0, 10.0, -170.0, 10.0])
    >>> length, direction = mean_direction(same, rng=np.random.default_rng(1))
    >>> round(length.value, 6), round(direction, 6)
    (1.0, 10.0)
    """
    if fold < 1:
        raise ParameterError(f"fold is {fold!r}: expected an integer of at least 1")
    angle = np.asarray(angle_deg, dtype=float)
    unit = np.exp(1j * np.deg2rad(fold * angle[np.isfinite(angle)]))
    n = len(unit)
    if n < _LEAST:
        return (
            Estimate.missing(
                f"{n} crystallites with a known direction: at least {_LEAST} tell a texture",
                number=n,
            ),
            np.nan,
        )
    mean = unit.mean()
    seen = float(min(abs(mean), 1.0))
    value = float(np.sqrt(max((n * seen**2 - 1) / (n - 1), 0.0)))
    p_value = float(np.exp(np.sqrt(1 + 4 * n + 4 * n**2 * (1 - seen**2)) - (1 + 2 * n)))
    low, high = _concentration_interval(seen, n, rng)
    length = Estimate(value=value, low=low, high=high, number=n, p_value=min(p_value, 1.0))
    return length, float(np.rad2deg(np.angle(mean)) / fold)


def _concentration_interval(
    seen: float, n: int, rng: np.random.Generator, *, draws: int = 300
) -> tuple[float, float]:
    """Return the mean lengths ρ of von Mises distributions that make a resultant as seen."""
    from scipy.special import ive

    kappa = np.concatenate([[0.0], np.geomspace(0.05, 1000, 40)])
    rho = ive(1, kappa) / ive(0, kappa)
    angles = rng.vonmises(0.0, kappa[:, None, None], (len(kappa), draws, n))
    lengths = abs(np.exp(1j * angles).mean(axis=-1))
    short, long = np.maximum.accumulate(np.quantile(lengths, [0.025, 0.975], axis=1), axis=1)
    low = 0.0 if seen <= long[0] else float(np.interp(seen, long, rho))
    high = 1.0 if seen >= short[-1] else float(np.interp(seen, short, rho))
    return low, high


def texture(
    crystallites: Crystallites,
    depth_a: np.ndarray,
    pixel_size_a: float,
    fold: int,
    rng: np.random.Generator,
) -> tuple[Estimate, float]:
    """Return how much lattice vectors agree on a direction to the normal."""
    if crystallites.angle_deg is None:
        return Estimate.missing("no directions of crystallites were given"), np.nan
    down, right = np.gradient(smooth_depth(depth_a))
    at = np.rint(crystallites.centre_a / pixel_size_a).astype(int)
    at = np.clip(at, 0, np.array(np.shape(depth_a)) - 1)
    normal = np.rad2deg(np.arctan2(down[tuple(at.T)], right[tuple(at.T)]))
    return mean_direction(crystallites.angle_deg - normal, rng=rng, fold=fold)

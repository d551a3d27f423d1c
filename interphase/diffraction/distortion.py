"""Centre and ellipticity of a pattern, from the shape of its rings."""

from dataclasses import dataclass, replace

import numpy as np

from interphase.diffraction.rings import SECTORS, Frame

# Repetitions until centre and shape stand still.
ROUNDS = 6
# Sectors that miss the fit by more than this many standard deviations hold spots, not the ring.
OUTLIER = 4.0
# Rings that lie nearer to a neighbour than so many standard deviations are not used.
ALONE = 6.0
# Fewer sectors than this share with light in them do not fix a shape.
LEAST_LIT = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Where rings are centred and how they are stretched, with covariances."""

    frame: Frame
    """Centre and stretch."""
    radius: np.ndarray
    """Mean radius of each ring [pixels], or one scale times what was given, shape (P,)."""
    scale: float
    """Factor to the radii that were given."""
    covariance: np.ndarray
    """Of (row, column, c, s, logarithm of scale) [pixels, 1], shape (5, 5)."""
    chi2: float
    """Mean squared misfit of the sectors over their variance."""


def fit_shape(
    pattern: np.ndarray,
    frame: Frame,
    shadow: np.ndarray,
    radius: np.ndarray,
    width: float,
    *,
    rigid: bool,
    with_stretch: bool = True,
) -> Shape | None:
    """Return centre and stretch that make all rings round, ``None`` if they do not fix them.

    Parameters
    ----------
    pattern
        Counts, ndarray of shape (M, N).
    frame
        Where to start: good to a few widths of the rings.
    shadow
        Pixels behind the beam stop, shape (M, N).
    radius
        Radii of the rings [pixels], shape (P,).
    width
        Standard deviation of their profile [pixels].
    rigid
        Whether the ratios of the radii are right, as those of a standard: then one scale is
        fitted, else the radius of each ring.
    with_stretch
        Whether to fit the stretch too, or the centre alone.

    Notes
    -----
    In every sector of every ring the pixels are fitted by a line, a Gaussian and its derivative;
    the ratio of the last two is how far the ring is off. Sectors are weighted by what they know.
    Standard errors come from the scatter of the pixels, or of the sectors if that is larger.
    """
    if len(radius) == 0:
        return None
    scale = 1.0
    shape: Shape | None = None
    for _ in range(ROUNDS):
        now = radius * scale if rigid else radius
        seen = _sectors(pattern, frame, shadow, now, width)
        if seen is None or seen.lit < LEAST_LIT:
            return None
        x = seen.basis(now, rigid=rigid)
        fixed = np.ones(x.shape[1], dtype=bool)
        fixed[2:4] = with_stretch
        solution, covariance, chi2 = _regress(
            seen.moment, x[:, fixed] * seen.height[:, None], seen.variance
        )
        step, spread = np.zeros(x.shape[1]), np.zeros((x.shape[1], x.shape[1]))
        step[fixed] = solution
        spread[np.ix_(fixed, fixed)] = covariance
        step[:2] = np.clip(step[:2], -2 * width, 2 * width)
        c, s = frame.stretch
        frame = replace(
            frame,
            centre=(float(frame.centre[0] + step[0]), float(frame.centre[1] + step[1])),
            stretch=(
                float(np.clip(c + step[2], -0.2, 0.2)),
                float(np.clip(s + step[3], -0.2, 0.2)),
            ),
        )
        if rigid:
            scale *= float(np.exp(np.clip(step[4], -0.02, 0.02)))
        else:
            radius = radius + np.clip(step[4:], -width, width)
        shape = Shape(
            frame=frame,
            radius=radius * scale if rigid else radius,
            scale=scale,
            covariance=spread[:5, :5],
            chi2=chi2,
        )
        if np.abs(step[:2]).max() < 1e-3 and np.abs(step[2:4]).max() < 1e-5:
            break
    return shape


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sectors:
    """What each sector of each ring knows of the ring's place."""

    ring: np.ndarray
    azimuth: np.ndarray
    height: np.ndarray
    """Height of the ring, drawn towards the mean of its ring."""
    moment: np.ndarray
    """Height times how far the ring lies further out [counts x pixels]."""
    variance: np.ndarray
    lit: float
    """Share of the azimuth in which rings are seen well."""

    def basis(self, radius: np.ndarray, *, rigid: bool) -> np.ndarray:
        """Return shifts [pixels] by unit (row, column, c, s) and scale or radii, (N, 4 + ...)."""
        r = radius[self.ring]
        columns = [
            np.sin(self.azimuth),
            np.cos(self.azimuth),
            r * np.cos(2 * self.azimuth),
            r * np.sin(2 * self.azimuth),
        ]
        columns += [r] if rigid else [1.0 * (self.ring == n) for n in range(len(radius))]
        return np.stack(columns, axis=1)


def _sectors(
    pattern: np.ndarray, frame: Frame, shadow: np.ndarray, radius: np.ndarray, width: float
) -> _Sectors | None:
    rho, phi = frame.polar(pattern.shape)
    sectors = SECTORS[0]
    sector = ((phi / (2 * np.pi) + 0.5) * sectors).astype(int).clip(0, sectors - 1)
    parts: list[tuple[np.ndarray, ...]] = []
    for number, r in enumerate(radius):
        near = (abs(rho - r) < 3.5 * width + 1) & ~shadow
        off, place, values = (rho[near] - r), sector[near], pattern[near].astype(float)
        if len(off) < 4 * sectors:
            continue
        peak = np.exp(-0.5 * (off / width) ** 2)
        columns = np.stack([np.ones_like(off), off / width, peak, off / width**2 * peak], axis=1)
        normal = _per_sector(columns[:, :, None] * columns[:, None, :], place, sectors)
        right = _per_sector(columns * values[:, None], place, sectors)
        count = np.bincount(place, minlength=sectors)
        azimuth = np.bincount(place, phi[near], sectors) / np.maximum(count, 1)
        good = (count >= 12) & (np.linalg.cond(normal + 1e-12 * np.eye(4)) < 1e8)
        if good.sum() < 4:
            continue
        inverse = np.linalg.inv(normal[good])
        solution = np.einsum("sab,sb->sa", inverse, right[good])
        square = np.bincount(place, values**2, sectors)[good]
        left = square - np.einsum("sa,sa->s", solution, right[good])
        noise = max(left.sum() / max((count[good] - 4).sum(), 1), 1e-12)
        own, own_variance = solution[:, 2], noise * inverse[:, 2, 2]
        mean = np.average(own, weights=1 / own_variance)
        if mean <= 0:
            continue
        excess = max(float(np.var(own) - own_variance.mean()), 0.0)
        height = (own * excess + mean * own_variance) / (excess + own_variance)
        parts.append(
            (
                np.full(good.sum(), number),
                azimuth[good],
                np.maximum(height, 0),
                solution[:, 3],
                noise * inverse[:, 3, 3],
            )
        )
    if not parts:
        return None
    ring, azimuth, height, moment, variance = (np.concatenate(x) for x in zip(*parts, strict=True))
    lit = np.bincount(
        (azimuth / (2 * np.pi) * sectors + sectors / 2).astype(int).clip(0, sectors - 1),
        height**2 / variance,
        sectors,
    )
    return _Sectors(
        ring=ring,
        azimuth=azimuth,
        height=height,
        moment=moment,
        variance=variance,
        lit=float(np.mean(lit > 0.1 * np.median(lit[lit > 0]))) if (lit > 0).any() else 0.0,
    )


def _per_sector(values: np.ndarray, place: np.ndarray, sectors: int) -> np.ndarray:
    flat = values.reshape(len(values), -1)
    sums = [np.bincount(place, column, sectors) for column in flat.T]
    return np.stack(sums, axis=1).reshape(sectors, *values.shape[1:])


def _regress(
    y: np.ndarray, x: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the weighted least-squares solution, its covariance and chi², outliers left out."""
    kept = np.ones(len(y), dtype=bool)
    for _ in range(3):
        weight = kept / variance
        normal = (x * weight[:, None]).T @ x
        # Columns that nothing fixes, such as a ring without light, stay where they are.
        size = np.sqrt(np.maximum(np.diag(normal), 1e-300))
        inverse = np.linalg.pinv(normal / np.outer(size, size), hermitian=True) / np.outer(
            size, size
        )
        solution = inverse @ (x.T @ (weight * y))
        pull = (y - x @ solution) / np.sqrt(variance)
        spare = max(int(kept.sum()) - x.shape[1], 1)
        chi2 = float((pull[kept] ** 2).sum() / spare)
        kept = abs(pull) < OUTLIER * max(1.0, np.sqrt(chi2))
    return solution, inverse * max(chi2, 1.0), chi2


def alone(radius: np.ndarray, width: float, others: np.ndarray | None = None) -> np.ndarray:
    """Return which rings have no neighbour whose foot reaches theirs, bool, shape (P,).

    >>> alone(np.array([50.0, 56.0, 100.0]), 1.5)
    array([False, False,  True])
    """
    others = radius if others is None else others
    distance = abs(radius[:, None] - others)
    return np.asarray((np.where(distance < 1e-6, np.inf, distance) > ALONE * width).all(axis=1))

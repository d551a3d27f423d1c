"""Two boundaries through a grid of cells, by the likelihood of what the cells look like.

Rows of cells follow the electrode's surface, columns the depth. First layers with straight
boundaries are fitted: each layer has one normal distribution, their number follows from the
Bayesian information criterion. The first layer is the electrode, the last the outside and what is
between is the interphase, whatever it is made of. Then both boundaries may run freely from row to
row, as hidden Markov chains whose roughness is learnt: a linear discriminant of the cells on both
sides is the evidence, and the forward-backward algorithm gives where the boundary is and how sure
that is.

A chain is preferred to active contours and to random walkers because its uncertainty is exact under
its model, has no weight to be set by hand, and is drawn from with whole lines.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

# Most layers that are told apart, the electrode and the outside among them.
MOST_LAYERS = 6
# Lines drawn from what the cells allow.
DRAWS = 60
# Times that boundaries and statistics are fitted to each other.
ROUNDS = 6
# Added to the variances of the logarithms.
SMALL = 1e-3
# A layer of no more columns of cells than this joins its neighbours if no more than three of them
# are unlike both: the median cell further off than all but one in a thousand, with a variance of
# the logarithms for what the blur of the statistics does to them. Working values.
TRANSITION, JOINED, ALIKE, BLURRED = 8, 3, 1e-3, 0.1
# Cells on either side of a boundary that tell where it is.
REACH = 12.0
# Cells that a layer extends over at least: a boundary that runs askew and the blur of the
# statistics make no layer of their own.
THINNEST = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layers:
    """Layers with straight boundaries."""

    edges: tuple[int, ...]
    """Index of the first cell of each layer, and the number of cells."""
    gain: float
    """How much more likely the cells are than in one layer, logarithm less the criterion's
    penalty."""
    independence: float
    """Share of the cells that are independent."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Boundaries:
    """Where the boundaries of the interphase are in each row, in cells from the first's edge."""

    surface: np.ndarray
    """Mean place of the inner boundary, shape (R,)."""
    outer: np.ndarray
    """Mean place of the outer boundary, shape (R,)."""
    surface_draws: np.ndarray
    """Inner boundaries that the cells allow, shape (B, R)."""
    outer_draws: np.ndarray
    """Outer boundaries that the cells allow, shape (B, R)."""

    def moved(self, cells: np.ndarray) -> "Boundaries":
        """Return the boundaries moved by some cells in each row, shape (R,)."""
        return Boundaries(
            surface=self.surface + cells,
            outer=self.outer + cells,
            surface_draws=self.surface_draws + cells,
            outer_draws=self.outer_draws + cells,
        )


def fit_layers(cells: np.ndarray, valid: np.ndarray, *, most: int = MOST_LAYERS) -> Layers:
    """Fit layers with straight boundaries to cells.

    Parameters
    ----------
    cells
        Statistics, shape (R, D, F).
    valid
        Which cells count, shape (R, D).
    most
        Largest number of layers.

    Returns
    -------
    Layers
        Those of the number that the information criterion prefers.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> cells = rng.standard_normal((12, 30, 2)) + 3 * (np.arange(30) > 11)[None, :, None]
    >>> fit_layers(cells, np.ones((12, 30), bool)).edges
    (0, 12, 30)
    """
    _, depth, features = cells.shape
    weight = valid.astype(float)
    number = np.concatenate([[0], np.cumsum(weight.sum(axis=0))])
    shifted = cells - np.average(cells.reshape(-1, features), axis=0)
    first = np.einsum("rd,rdf->df", weight, shifted)
    second = np.einsum("rd,rdf,rdg->dfg", weight, shifted, shifted)
    first = np.concatenate([np.zeros((1, features)), np.cumsum(first, axis=0)])
    second = np.concatenate([np.zeros((1, features, features)), np.cumsum(second, axis=0)])
    fit = np.full((depth + 1, depth + 1), -np.inf)
    for a in range(depth):
        b = np.arange(a + THINNEST, depth + 1)
        n = number[b] - number[a]
        b, n = b[n > 2 * features], n[n > 2 * features]
        if not len(b):
            continue
        mean = (first[b] - first[a]) / n[:, None]
        cov = (second[b] - second[a]) / n[:, None, None] - mean[:, :, None] * mean[:, None, :]
        cov = cov + SMALL * np.eye(features)
        fit[a, b] = -0.5 * n * np.linalg.slogdet(cov)[1]
    best, back = [fit[0]], []
    for _ in range(1, most):
        total = best[-1][:, None] + fit
        back.append(total.argmax(axis=0))
        best.append(total.max(axis=0))
    choices = []
    for layers in range(1, most + 1):
        edges = [depth]
        for step in reversed(back[: layers - 1]):
            edges.append(int(step[edges[-1]]))
        choices.append((*sorted({0, *edges}),))
    # A crystallite spans many cells and may be a layer of its own; the layer of the least texture
    # shows how far the cells depend on each other by themselves.
    finest = max((c for c, b in zip(choices, best, strict=True) if np.isfinite(b[-1])), key=len)
    shares = independence(cells, valid, finest)
    share = float(shares.max())
    parameters = features * (features + 3) / 2 + 1
    penalty = 0.5 * parameters * np.log(max(share * weight.sum(), 2.0))
    scores = [share * b[-1] - penalty * len(c) for b, c in zip(best, choices, strict=True)]
    chosen = int(np.nanargmax(scores))
    return Layers(
        edges=_without_transitions(cells, valid, choices[chosen]),
        gain=float(scores[chosen] - scores[0]),
        independence=share,
    )


def _without_transitions(
    cells: np.ndarray, valid: np.ndarray, edges: tuple[int, ...]
) -> tuple[int, ...]:
    """Return layers without those that but join their neighbours.

    A boundary that is smeared, rough or blurred makes one such: nearly all of its columns of cells
    look like those of one or the other neighbour.
    """
    from scipy.stats import chi2

    features = cells.shape[-1]
    for i in range(1, len(edges) - 2):
        start, end = edges[i : i + 2]
        if end - start > TRANSITION:
            continue
        off = []
        for a, b in (edges[i - 1 : i + 1], edges[i + 1 : i + 3]):
            part = cells[:, a:b][valid[:, a:b]]
            scale = np.linalg.inv(np.cov(part.T) + BLURRED * np.eye(features))
            away = cells[:, start:end] - part.mean(axis=0)
            off.append(np.median(np.einsum("rdf,fg,rdg->rd", away, scale, away), axis=0))
        strange = np.minimum(*off) > chi2.isf(ALIKE, features)
        if strange.sum() <= JOINED:
            place = start + int((off[0] < off[1]).sum())
            return _without_transitions(cells, valid, (*edges[:i], place, *edges[i + 2 :]))
    return edges


def independence(cells: np.ndarray, valid: np.ndarray, edges: tuple[int, ...]) -> np.ndarray:
    """Return the share of the cells of each layer that are independent, by how they correlate.

    >>> rng = np.random.default_rng(0)
    >>> noise = rng.standard_normal((40, 60, 3))
    >>> twice = np.concatenate([noise, np.repeat(noise[:, ::2], 2, axis=1)], axis=1)
    >>> independence(twice, np.ones((40, 120), bool), (0, 60, 120)).round(1).tolist()
    [1.0, 0.5]
    """
    shares = []
    for a, b in pairwise(edges):
        part, counts = cells[:, a:b], valid[:, a:b]
        if counts.sum() < 2:
            shares.append(1.0)
            continue
        left = (part - part[counts].mean(axis=0)) / np.sqrt(part[counts].var(axis=0) + SMALL)
        left = np.where(counts[..., None], left, 0.0)
        share = 1.0
        for axis in (0, 1):
            total, size = 1.0, left.shape[axis]
            for lag in range(1, min(8, size // 2)):
                ahead, behind = (
                    np.take(left, range(*ends), axis) for ends in ((lag, size), (0, size - lag))
                )
                rho = float((ahead * behind).mean())
                if rho < max(0.02, 1 / np.sqrt(counts.sum())):
                    break
                total += 2 * rho
            share /= total
        shares.append(share)
    return np.array(shares)


def follow(
    cells: np.ndarray,
    valid: np.ndarray,
    layers: Layers,
    *,
    known_surface: bool,
    has_outside: bool,
    systematic: float,
    rng: np.random.Generator,
) -> Boundaries:
    """Let the boundaries of layers run freely from row to row.

    Parameters
    ----------
    cells, valid
        As for `fit_layers`.
    layers
        Where to start.
    known_surface
        Whether the first cell is at the electrode's surface; else the first layer is the electrode.
    has_outside
        Whether the last layer is the outside; else the interphase ends with the frame.
    systematic
        Standard error of each boundary as a whole beyond that [cells].
    rng
        Draws lines and resamples the rows whose statistics they rest on.

    Returns
    -------
    Boundaries
        Places in cells; where one of them is not looked for, 0 or the number of cells.
    """
    rows, depth, _ = cells.shape
    edges = layers.edges
    looked_for = (not known_surface, has_outside)
    start = (0 if known_surface else edges[1], edges[-2] if has_outside else depth)
    lines = [np.full(rows, float(edge)) for edge in start]
    rough = [1.0, 1.0]
    draws = []
    for turn in range(ROUNDS + DRAWS):
        drawing = turn >= ROUNDS
        # The statistics of a drawn line rest on resampled rows.
        use = np.asarray(rng.integers(0, rows, rows) if drawing else np.arange(rows))
        new = list(lines)
        for i in np.flatnonzero(looked_for):
            band = _band(lines, int(i), depth)
            score = _discriminant(cells, valid & band, lines[i], use) * layers.independence
            total = np.pad(np.cumsum(score, axis=1), ((0, 0), (1, 0)))
            # A boundary may lie at either edge of each cell of its band.
            open_ = np.pad(band, ((0, 0), (1, 0))) | np.pad(band, ((0, 0), (0, 1)))
            total = np.where(open_, total, -np.inf)
            new[i], spread = _chain(total, rough[i], rng if drawing else None)
            if not drawing:
                rough[i] = spread
        if drawing:
            draws.append(new)
        else:
            lines = new
    # A boundary is anywhere between the middles of the two cells beside it.
    within = rng.uniform(-0.5, 0.5, (DRAWS, 2, rows))
    within += systematic * rng.standard_normal((DRAWS, 2, 1))
    drawn = np.array(draws) + within * np.reshape(looked_for, (1, 2, 1))
    return Boundaries(
        surface=lines[0], outer=lines[1], surface_draws=drawn[:, 0], outer_draws=drawn[:, 1]
    )


def _band(lines: list[np.ndarray], which: int, depth: int) -> np.ndarray:
    """Return the cells around a boundary that tell where it is, shape (R, D)."""
    place = np.arange(depth)[None, :] + 0.5
    low, high = lines[which] - REACH, lines[which] + REACH
    # No further than to the middle of the interphase.
    middle = (lines[0] + lines[1]) / 2
    if which == 0:
        high = np.minimum(high, np.maximum(middle, lines[0] + 2))
    else:
        low = np.maximum(low, np.minimum(middle, lines[1] - 2))
    return np.asarray((place > low[:, None]) & (place < high[:, None]))


def _discriminant(
    cells: np.ndarray, valid: np.ndarray, line: np.ndarray, use: np.ndarray
) -> np.ndarray:
    """Return by how much more cells look like those before a line than like those behind it.

    Both sides have one covariance: the score is linear, and cells in which both are mixed do not
    go to the side that varies more.
    """
    features = cells.shape[-1]
    place = np.arange(cells.shape[1])[None, :] + 0.5 - line[:, None]
    sides = [valid & (place < -1), valid & (place > 1)]
    some = [cells[use][side[use]] for side in sides]
    if min(len(part) for part in some) < 2:
        return np.zeros(valid.shape)
    means = [part.mean(axis=0) for part in some]
    left = np.concatenate([part - mean for part, mean in zip(some, means, strict=True)])
    cov = left.T @ left / len(left) + SMALL * np.eye(features)
    weight = np.linalg.solve(cov, means[0] - means[1])
    return np.where(valid, (cells - (means[0] + means[1]) / 2) @ weight, 0.0)


def _chain(
    total: np.ndarray, rough: float, rng: np.random.Generator | None
) -> tuple[np.ndarray, float]:
    """Return the mean line, or one that is drawn, and the rms step from row to row.

    `total` is the log likelihood of the boundary at each place of each row, shape (R, D + 1).
    """
    rows, places = total.shape
    at = np.arange(places, dtype=float)
    step = np.exp(-0.5 * np.square((at[:, None] - at[None, :]) / max(rough, 0.3)))
    step /= step.sum(axis=1, keepdims=True)
    like = np.exp(total - total.max(axis=1, keepdims=True))
    forward = np.empty_like(like)
    forward[0] = like[0] / like[0].sum()
    for r in range(1, rows):
        forward[r] = (forward[r - 1] @ step) * like[r] + 1e-300
        forward[r] /= forward[r].sum()
    if rng is not None:
        line = np.empty(rows)
        weight = forward[-1]
        for r in range(rows - 1, -1, -1):
            if r < rows - 1:
                weight = forward[r] * step[:, int(line[r + 1])]
                weight = weight / max(weight.sum(), 1e-300)
            line[r] = min(int(np.searchsorted(np.cumsum(weight), rng.random())), places - 1)
        return line, rough
    backward, mean, squared = np.ones(places), np.empty(rows), 0.0
    for r in range(rows - 1, -1, -1):
        post = forward[r] * backward
        mean[r] = at @ post / post.sum()
        if r:
            ahead = like[r] * backward
            pair = forward[r - 1][:, None] * step * ahead[None, :]
            pair /= max(pair.sum(), 1e-300)
            squared += float((pair * np.square(at[:, None] - at[None, :])).sum())
            backward = step @ ahead
            backward /= max(backward.sum(), 1e-300)
    return mean, float(np.sqrt(squared / max(rows - 1, 1)))

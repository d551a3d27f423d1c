"""Where the interphase is: electrode, interphase and outside, and the depth of every pixel."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal, get_args

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction.checks import check_image, check_number, usable
from interphase.errors import ParameterError
from interphase.morphology.boundaries import Boundaries, Layers, fit_layers, follow
from interphase.morphology.contours import (
    arc_length,
    is_closed,
    mask_contours,
    nearest,
    normals,
    resampled,
    signed_distance,
)
from interphase.morphology.local_statistics import (
    BRIGHTNESS,
    FIRST_FRINGE,
    SCALES_A,
    STRUCTURE,
    WINDOW_A,
    cell_statistics,
    lattice_spots,
    scale_unit,
)

Side = Literal["left", "right", "top", "bottom"]
"""A side of the image."""

# Depth of a cell [Å], and how many squares of that side make a cell along the interface.
CELL_A, SQUARES = 4.0, 3
# Most cells from the electrode to the other side.
DEEPEST = 150
# Fewest cells along and across in which layers are told.
LEAST_ROWS, LEAST_DEEP = 5, 10
# The outside has less than this share of the interphase's texture over noise.
EMPTIER = 0.85
# Powers above this quantile count as if they were there: a crystallite is no boundary.
HIGHEST = 0.98
# Standard error of a whole boundary beyond what its likelihood says, in cells of 4 Å. A working
# value: the surface was off by 3.1 Å rms in the twelve images it was set on. Of 24 surfaces found
# in others, five were off by 15 to 70 Å, each in an image that is assessed as ambiguous.
SYSTEMATIC = 0.9
# Cells of the outside beyond this many standard deviations are of something else, and their largest
# share that is none. Working values.
STRANGE, MOST_STRANGE = 4.0, 0.05
# Share of the interphase that looks like the outside from which on that is told, and from which on
# being empty no longer marks the outside. Working values.
SOME_HOLES, MOST_HOLES = 0.1, 0.25
# Cells along and across that are looked at together for that.
HOLE = (3, 5)
# Cells next to a boundary hold its fringes.
RIM = 3
# One direction of layers is preferred over the other if it explains this many times more.
CLEARER = 1.5
# Parts of a mask that are smaller than this share of the image are no electrode.
SPECK = 1e-3
# Standard deviation of a place that is only known to lie in one pixel.
_PIXEL = 1 / np.sqrt(12)


def _no_map() -> np.ndarray:
    return np.zeros((0, 0), dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Interface:
    """Electrode, interphase and outside of an image, and what lies how deep."""

    assessment: Assessment
    """``ok``: electrode, interphase and outside were told apart. ``ambiguous``: the sentence says
    between what. ``no_periodicity``, ``too_coarse``, ``uncalibrated``, ``unusable``: nothing is."""
    sentence: str
    """The verdict in words."""
    how: str
    """How the electrode was found: ``mask``, ``lattice of the electrode``, ``left edge by the
    user``, ``left edge by local statistics`` ...; empty where it was not."""
    pixel_size_a: float | None
    """Size of a pixel [Å]."""
    electrode: np.ndarray = field(default_factory=_no_map)
    """Where the electrode is, bool, shape (M, N); (0, 0) where it was not found."""
    interphase: np.ndarray = field(default_factory=_no_map)
    """Where the interphase is, bool, shape (M, N)."""
    outside: np.ndarray = field(default_factory=_no_map)
    """Where vacuum, electrolyte or film is, bool, shape (M, N)."""
    depth_a: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """Distance from the electrode's surface, below 0 inside [Å], shape (M, N)."""
    surface: tuple[np.ndarray, ...] = ()
    """The electrode's surface: points (y, x) [Å] from the first pixel's centre, (n, 2) each."""
    outer: tuple[np.ndarray, ...] = ()
    """Where the interphase ends, like `surface` and one for each; of no points where it does not
    end in view, open where it leaves the view."""
    surface_draws_a: tuple[np.ndarray, ...] = ()
    """Displacements of each surface outwards that the image allows [Å], shape (B, n)."""
    outer_draws_a: tuple[np.ndarray, ...] = ()
    """Displacements of each outer contour outwards that the image allows [Å], shape (B, n)."""
    surface_error_a: float = np.nan
    """Standard error of a place on the surface, by the segmentation [Å]."""
    outer_error_a: float = np.nan
    """Standard error of a place on the outer contour, by the segmentation [Å]."""
    warnings: tuple[str, ...] = ()
    """Doubts, one sentence each."""

    def __post_init__(self) -> None:
        shapes = {a.shape for a in (self.electrode, self.interphase, self.outside, self.depth_a)}
        if len(shapes) != 1:
            raise ParameterError(f"the maps of an interface have shapes {shapes}: expected one")
        if (
            not len(self.surface)
            == len(self.outer)
            == len(self.surface_draws_a)
            == len(self.outer_draws_a)
        ):
            raise ParameterError("an interface has as many outer contours and draws as surfaces")


def find_interface(
    image: np.ndarray,
    *,
    pixel_size_a: float | None,
    electrode: Side | Literal["auto"] | np.ndarray = "auto",
    phases: np.ndarray | None = None,
    rng: np.random.Generator,
) -> Interface:
    """Find electrode, interphase and outside in an image of an interface seen edge-on.

    Answers where the interphase begins and ends and how sure that is. Not for plan-view images, nor
    for particles one upon the other: what overlaps in projection has no depth.

    Parameters
    ----------
    image
        Counts or any units that are proportional to them, shape (M, N).
    pixel_size_a
        Size of a pixel [Å]; without it (``None``) the answer is ``uncalibrated``.
    electrode
        The side of the image at which the electrode is, all along; where it is, a map of bool of
        shape (M, N), for particles, dendrites and several electrodes; or ``auto``.
    phases
        Where the electrode's own lattice was found, shape (M, N): bool, or 0 where it was not. With
        ``auto`` it is taken for the electrode.
    rng
        Draws the lines that the image allows.

    Returns
    -------
    Interface
        The maps and contours. Which side the electrode is on, and whether there is an interphase
        and an outside, is never guessed: the assessment says what cannot be told.

    Raises
    ------
    ParameterError
        An array is no image, or the electrode is neither a side nor a map.

    Notes
    -----
    Cells of a few Å are described by logarithms of brightness, texture at four scales and power of
    the lattice fringes that the strips along both edges show. Cells of one material are normally
    distributed; how many layers there are and where is told by likelihood and the Bayesian
    information criterion, where between rows by a hidden Markov chain [1]_. Three things are known:
    the electrode is the first layer, the outside is the last and has the least texture.

    References
    ----------
    .. [1] L. R. Rabiner, Proc. IEEE 77, 257 (1989), doi:10.1109/5.18626

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = np.arange(320) / 2
    >>> fringes = 0.4 * np.cos(2 * np.pi * x / 2.5) * (x < 50)
    >>> glass = rng.normal(0, 0.6, (240, 320)) * ((x > 50) & (x < 110))
    >>> counts = rng.poisson(40 * np.maximum(1 + fringes + glass, 0))
    >>> found = find_interface(counts, pixel_size_a=0.5, electrode="left", rng=rng)
    >>> found.assessment, bool(abs(found.surface[0][:, 1].mean() - 50) < 4)
    (<Assessment.OK: 'ok'>, True)
    """
    data = check_image(image)
    mask = _mask_of(electrode, phases, data.shape)
    if pixel_size_a is None:
        return _nothing(
            Assessment.UNCALIBRATED, "The pixel size is missing: give `pixel_size_a` in Å.", None
        )
    check_number("pixel_size_a", pixel_size_a, 1e-3, 1e4, "Å")
    data, fault = usable(data)
    if fault:
        return _nothing(Assessment.UNUSABLE, fault, pixel_size_a)
    data = data.astype(float) - min(float(data.min()), 0.0)
    data /= data.mean()
    size = max(CELL_A * scale_unit(pixel_size_a), 4 * pixel_size_a)
    least = min(n * pixel_size_a / size for n in data.shape)
    if least < max(LEAST_ROWS, LEAST_DEEP):
        return _nothing(
            Assessment.UNUSABLE,
            f"The image has {data.shape[0]} × {data.shape[1]} pixels: too few to tell an electrode "
            "from what is upon it.",
            pixel_size_a,
        )
    if mask is not None:
        how = "mask" if isinstance(electrode, np.ndarray) else "lattice of the electrode"
        return _upon_mask(data, mask, pixel_size_a=pixel_size_a, how=how, rng=rng)
    if isinstance(electrode, str) and electrode != "auto":
        side: Side | None = electrode
        how = f"{side} edge by the user"
    else:
        side, doubt = _find_side(data, pixel_size_a=pixel_size_a)
        how = f"{side} edge by local statistics"
    if side is None:
        return _nothing(Assessment.AMBIGUOUS, doubt, pixel_size_a)
    found = _from_side(data, side, pixel_size_a=pixel_size_a, how=how, rng=rng)
    if electrode is side or found.assessment is Assessment.OK:
        return found
    # A side that nothing else confirms would be a guess.
    doubt = f"Cannot tell which side is the electrode: {side} has a lattice, but: {found.sentence}"
    return _nothing(Assessment.AMBIGUOUS, doubt, pixel_size_a)


def _nothing(assessment: Assessment, sentence: str, pixel_size_a: float | None) -> Interface:
    return Interface(assessment=assessment, sentence=sentence, how="", pixel_size_a=pixel_size_a)


def _mask_of(electrode: object, phases: object, shape: tuple[int, ...]) -> np.ndarray | None:
    """Return where the caller says that the electrode is, or None where a side or nothing is."""
    if isinstance(electrode, np.ndarray):
        if phases is not None:
            raise ParameterError("electrode is a map and phases is given, too: give one of them")
        name, mask = "electrode", electrode
        if mask.dtype != bool:
            raise ParameterError(f"electrode is of type {mask.dtype}: expected a map of bool")
    elif electrode not in ("auto", *get_args(Side)):
        raise ParameterError(
            f"electrode is {electrode!r}: expected 'auto', {', '.join(map(repr, get_args(Side)))} "
            "or a map of bool"
        )
    elif phases is None:
        return None
    elif electrode != "auto":
        raise ParameterError(
            f"electrode is {electrode!r} and phases is given, too: phases takes effect with 'auto'"
        )
    else:
        name, mask = "phases", np.asarray(phases) != 0
    if mask.shape != shape or mask.all() or not mask.any():
        raise ParameterError(
            f"{name} has shape {mask.shape} and holds {int(mask.sum())} pixels: expected shape "
            f"{shape} and pixels of both kinds"
        )
    return mask


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Grid:
    """Cells that follow a line: where they are, and what they look like."""

    along: np.ndarray
    """Place of each row along the line [Å], shape (R,)."""
    base: np.ndarray
    """Points (y, x) of the line at each row [Å], shape (R, 2)."""
    normal: np.ndarray
    """Directions into which depth is counted, shape (R, 2)."""
    step_a: float
    """Depth of a cell [Å]."""
    cells: np.ndarray
    """Statistics, shape (R, D, F)."""
    valid: np.ndarray
    """Which cells count, shape (R, D)."""

    def points(self, cells: np.ndarray) -> np.ndarray:
        """Return places (y, x) at depths given in cells, one for each row [Å]."""
        return np.asarray(self.base + (cells * self.step_a)[:, None] * self.normal)

    def texture(self, start: int, end: int) -> float:
        """Return the mean logarithm of texture over brightness of some columns of cells."""
        over = self.cells[:, start:end, STRUCTURE] - self.cells[:, start:end, BRIGHTNESS]
        return float(over[self.valid[:, start:end]].mean())


def _side_grid(image: np.ndarray, side: Side, *, pixel_size_a: float) -> _Grid:
    """Return cells from one side of the image to the other."""
    pixel, (rows, columns) = pixel_size_a, image.shape
    upright = side in ("left", "right")
    length, depth = (rows, columns) if upright else (columns, rows)
    size = max(CELL_A * scale_unit(pixel), 4 * pixel, depth * pixel / DEEPEST)
    count = max(round(length * pixel / (SQUARES * size)), 1)
    along = (np.arange(count) + 0.5) * length * pixel / count - pixel / 2
    far = side in ("right", "bottom")
    edge = (depth - 0.5) * pixel if far else -0.5 * pixel
    inwards = -1.0 if far else 1.0
    flat = np.full(count, edge)
    base = np.stack([along, flat] if upright else [flat, along], axis=1)
    normal = np.tile([0.0, inwards] if upright else [inwards, 0.0], (count, 1))
    strip = max(min(int(WINDOW_A * scale_unit(pixel) / pixel), depth // 4), 1)
    turned = image if upright else image.T
    strips = [turned[:, :strip], turned[:, -strip:]]
    spots = [
        lattice_spots(part if upright else part.T, pixel_size_a=pixel)[0]
        for part in (strips[::-1] if far else strips)
    ]
    tangent = np.tile([1.0, 0.0] if upright else [0.0, 1.0], (count, 1))
    deep = int(depth * pixel / size)
    centres = _centres(base, normal, tangent, deep, size)
    cells = cell_statistics(
        image,
        centres,
        size_a=size,
        pixel_size_a=pixel,
        spots_per_a=[s for s in spots if len(s)],
    )
    return _Grid(
        along=along,
        base=base,
        normal=normal,
        step_a=size,
        cells=cells,
        valid=_off_the_frame(centres[:, :, SQUARES // 2], image.shape, pixel),
    )


def _off_the_frame(points: np.ndarray, shape: tuple[int, ...], pixel_size_a: float) -> np.ndarray:
    """Return which points (y, x) are further from the frame than what it does to the filters."""
    rim = SCALES_A[-1] * scale_unit(pixel_size_a)
    limit = (np.array(shape) - 1) * pixel_size_a
    return np.asarray(((points > rim) & (points < limit - rim)).all(axis=-1))


def _centres(
    base: np.ndarray, normal: np.ndarray, tangent: np.ndarray, deep: int, size: float
) -> np.ndarray:
    """Return the middles of the squares of each cell (R, D, K, 2) [Å]."""
    aside = (np.arange(SQUARES) - (SQUARES - 1) / 2) * size
    below = (np.arange(deep) + 0.5) * size
    return np.asarray(
        base[:, None, None]
        + below[None, :, None, None] * normal[:, None, None]
        + aside[None, None, :, None] * tangent[:, None, None]
    )


def _find_side(image: np.ndarray, *, pixel_size_a: float) -> tuple[Side | None, str]:
    """Return the side at which the electrode is, or None and why that cannot be told."""
    found = []
    for near, far in (("left", "right"), ("top", "bottom")):
        grid = _side_grid(image, near, pixel_size_a=pixel_size_a)  # type: ignore[arg-type]
        found.append((fit_layers(grid.cells, grid.valid), grid, (near, far)))
    found.sort(key=lambda one: -one[0].gain)
    (layers, grid, sides), (other, *_) = found
    if len(layers.edges) == 2:
        return None, (
            "No interphase in view: the image looks the same all over, as far as its electrons "
            "tell."
        )
    if layers.gain < CLEARER * other.gain:
        return None, (
            "Cannot tell which way the interface runs: the image changes as much from left to "
            "right as from top to bottom. Give the electrode as a map."
        )
    edges = layers.edges
    texture = [grid.texture(a, b) for a, b in pairwise(edges)]
    turned = image if sides[0] == "left" else image.T
    first, last = (
        int(max(cells, 0) * grid.step_a / pixel_size_a)
        for cells in (edges[1] - RIM, edges[-2] + RIM)
    )
    lattice = [
        len(lattice_spots(part, pixel_size_a=pixel_size_a)[0]) > 0
        for part in (turned[:, :first], turned[:, last:])
    ]
    empty = [texture[i] < max(texture) + np.log(EMPTIER) for i in (0, -1)]
    for i in (0, 1):
        # A large crystal at one side and nothing at the other.
        if lattice[i] and not lattice[1 - i] and empty[1 - i]:
            return sides[i], ""  # type: ignore[return-value]
    return None, (
        f"Cannot tell which side is the electrode: {sides[0]} or {sides[1]}. "
        + (
            "Both show a lattice."
            if all(lattice)
            else "Neither shows a lattice all along."
            if not any(lattice)
            else "A lattice is at one, but the other is not empty."
        )
        + " Give the side."
    )


_NO_SURFACE = (
    "No surface of the electrode in view: the image looks the same all over, as far as its "
    "electrons tell."
)
_NO_INTERPHASE = (
    "No interphase in view: the electrode borders on what has no texture, unless what is taken for "
    "the electrode is an interphase that looks like it."
)
_NO_END = (
    "No end of the interphase in view: either it goes on beyond the frame, or it is too thin to be "
    "told and what is seen is the outside."
)
_CRYSTAL_OUTSIDE = (
    "What is taken for the outside shows a lattice: the interphase goes on, or fringes are "
    "displaced by the lenses."
)
_NOT_EMPTY = (
    "What is taken for the outside has as much texture as the interphase: it is vitreous "
    "electrolyte or film, or a further layer of an interphase that the frame cuts."
)


def _verdict(
    grid: _Grid, layers: Layers, *, known_surface: bool
) -> tuple[bool, bool, Assessment, str]:
    """Return whether there is an interphase, whether it ends in view, and the verdict."""
    texture = np.array([grid.texture(a, b) for a, b in pairwise(layers.edges)])
    here = texture if known_surface else texture[1:]
    if len(here) == 0:
        return False, False, Assessment.AMBIGUOUS, _NO_SURFACE
    if len(here) == 1:
        if not known_surface and here[0] < texture[0] + np.log(EMPTIER):
            return False, True, Assessment.AMBIGUOUS, _NO_INTERPHASE
        return True, False, Assessment.AMBIGUOUS, _NO_END
    if here[-1] > here[:-1].max() + np.log(EMPTIER):
        return True, True, Assessment.AMBIGUOUS, _NOT_EMPTY
    return True, True, Assessment.OK, "Electrode, interphase and outside were told apart."


def _from_side(
    image: np.ndarray,
    side: Side,
    *,
    pixel_size_a: float,
    how: str,
    rng: np.random.Generator,
) -> Interface:
    """Return the interface of an electrode along one side of the image."""
    grid = _side_grid(image, side, pixel_size_a=pixel_size_a)
    layers = fit_layers(grid.cells, grid.valid)
    between, ends, assessment, sentence = _verdict(grid, layers, known_surface=False)
    if not (between or ends):
        return _nothing(assessment, sentence, pixel_size_a)
    # Once more along the surface as it runs: layers follow it, not the side.
    first = follow(
        _linear(grid.cells),
        grid.valid,
        layers,
        known_surface=False,
        has_outside=False,
        systematic=SYSTEMATIC,
        rng=rng,
    )
    shift = np.rint(first.surface - first.surface.mean()).astype(int)
    level = _levelled(grid, shift)
    layers = fit_layers(level.cells, level.valid)
    between, ends, assessment, sentence = _verdict(level, layers, known_surface=False)
    if not (between or ends):
        return _nothing(assessment, sentence, pixel_size_a)
    lines = follow(
        _linear(level.cells),
        level.valid,
        layers,
        known_surface=False,
        has_outside=between and ends,
        systematic=SYSTEMATIC,
        rng=rng,
    ).moved(shift)
    assessment, sentence, doubts = _doubts(
        level, lines.moved(-shift), assessment, sentence, ends=between and ends
    )
    if assessment is Assessment.OK and between:
        turned = np.rot90(image, {"left": 0, "top": 1, "right": 2, "bottom": 3}[side])
        start = int((lines.outer.max() + RIM) * grid.step_a / pixel_size_a)
        if len(lattice_spots(turned[:, start:], pixel_size_a=pixel_size_a, all_along=0.0)[0]):
            assessment, sentence = Assessment.AMBIGUOUS, _CRYSTAL_OUTSIDE
    row, column = np.indices(image.shape) * pixel_size_a
    upright = side in ("left", "right")
    along, across = (row, column) if upright else (column, row)
    depth = np.abs(across - grid.base[0, 1 if upright else 0])
    place = _extended(grid.along, image.shape[0 if upright else 1], pixel_size_a)

    def inside(cells: np.ndarray) -> np.ndarray:
        """Return which pixels are nearer to the side than a line."""
        reach = np.interp(along.ravel(), place, _beyond(cells, grid.along, place))
        return np.asarray(depth < reach.reshape(depth.shape) * grid.step_a)

    electrode = inside(lines.surface)
    outside = (
        ~inside(lines.outer) & ~electrode
        if between and ends
        else ~electrode
        if not between
        else np.zeros_like(electrode)
    )
    surface = _line(grid, lines.surface, place)
    outer = _line(grid, lines.outer, place) if between and ends else np.zeros((0, 2))
    return _assembled(
        electrode,
        outside,
        [surface],
        [outer],
        [_padded(lines.surface_draws, lines.surface) * grid.step_a],
        [
            _padded(lines.outer_draws, lines.outer) * grid.step_a
            if between and ends
            else np.zeros((len(lines.outer_draws), 0))
        ],
        pixel_size_a=pixel_size_a,
        how=how,
        assessment=assessment,
        sentence=sentence,
        doubts=doubts,
    )


def _doubts(
    grid: _Grid, lines: Boundaries, assessment: Assessment, sentence: str, *, ends: bool
) -> tuple[Assessment, str, tuple[str, ...]]:
    """Return the verdict after a look at what the outside and the interphase hold."""
    if not ends:
        return assessment, sentence, ()
    from scipy.ndimage import uniform_filter

    place = np.arange(grid.cells.shape[1])[None, :] + 0.5
    outside = grid.valid & (place > lines.outer[:, None] + RIM)
    between = (
        grid.valid & (place > lines.surface[:, None] + RIM) & (place < lines.outer[:, None] - RIM)
    )
    texture = grid.cells[..., STRUCTURE] - grid.cells[..., BRIGHTNESS]
    if assessment is not Assessment.OK or not outside.any():
        return assessment, sentence, ()
    off = [_deviation(v, outside) for v in (texture, grid.cells[..., BRIGHTNESS])]
    strange = float(np.mean(((off[0] > STRANGE) | (np.abs(off[1]) > STRANGE))[outside]))
    if strange > MOST_STRANGE:
        assessment, sentence = (
            Assessment.AMBIGUOUS,
            (
                f"Not all of what is taken for the outside is empty: {100 * strange:.0f} % of it "
                "differs, as the edge of a crystal without fringes or a particle does."
            ),
        )
    # A single cell has too few electrons to look empty.
    wide = _deviation(uniform_filter(texture, HOLE), outside)
    holes = float(np.mean(wide[between] < 2)) if between.any() else 0.0
    if holes <= SOME_HOLES:
        return assessment, sentence, ()
    doubt = (
        f"{100 * holes:.0f} % of the interphase looks as empty as the outside: holes, or crystals "
        "whose fringes are not seen."
    )
    if holes > MOST_HOLES:
        return Assessment.AMBIGUOUS, f"Where the interphase ends is not sure. {doubt}", ()
    return assessment, sentence, (doubt,)


def _deviation(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return how many standard deviations values are above what is usual in some cells."""
    middle = np.median(values[where])
    spread = np.median(np.abs(values[where] - middle)) / 0.6745
    return np.asarray((values - middle) / max(float(spread), 1e-9))


def _linear(cells: np.ndarray) -> np.ndarray:
    """Return what adds up where two materials are mixed in projection, without the highest.

    Of glasses that are the powers, of fringes the amplitudes: half way is their middle. On the
    logarithmic scale it lies nearly at the end of the material with less.
    """
    off = cells - np.median(cells, axis=(0, 1))
    off[..., FIRST_FRINGE:] /= 2
    linear = np.exp(off)
    return np.asarray(np.minimum(linear, np.quantile(linear, HIGHEST, axis=(0, 1))))


def _levelled(grid: _Grid, shift: np.ndarray) -> _Grid:
    """Return cells with each row moved towards its first by some cells."""
    rows, deep, _ = grid.cells.shape
    wanted = np.arange(deep)[None, :] + shift[:, None]
    inside = (wanted >= 0) & (wanted < deep)
    cells = grid.cells[np.arange(rows)[:, None], np.clip(wanted, 0, deep - 1)]
    return replace(grid, cells=cells, valid=grid.valid & inside)


def _extended(along: np.ndarray, pixels: int, pixel_size_a: float) -> np.ndarray:
    """Return the places of rows with the edges of the image before and after them [Å]."""
    return np.concatenate([[-pixel_size_a / 2], along, [(pixels - 0.5) * pixel_size_a]])


def _beyond(values: np.ndarray, along: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return values at the rows, gone on with straight to the edges."""
    ends = [
        values[a] + (values[a] - values[b]) * (place[e] - along[a]) / (along[a] - along[b])
        for a, b, e in ((0, 1, 0), (-1, -2, -1))
    ]
    return np.concatenate([[ends[0]], values, [ends[1]]])


def _line(grid: _Grid, cells: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return the points (y, x) of a boundary from edge to edge of the image [Å]."""
    points = grid.points(cells)
    return np.stack([_beyond(points[:, i], grid.along, place) for i in (0, 1)], axis=1)


def _padded(draws: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return how far drawn lines are off the mean one, the end rows standing for the edges."""
    return np.pad(draws - mean, ((0, 0), (1, 1)), mode="edge")


def _upon_mask(
    image: np.ndarray,
    mask: np.ndarray,
    *,
    pixel_size_a: float,
    how: str,
    rng: np.random.Generator,
) -> Interface:
    """Return the interface of electrodes whose place is known."""
    from scipy.ndimage import binary_fill_holes, label

    doubts: list[str] = []
    parts, _ = label(mask)
    sizes = np.bincount(parts.ravel())
    kept = np.flatnonzero(sizes >= SPECK * mask.size)
    electrode = np.isin(parts, kept[kept > 0])
    filled = binary_fill_holes(electrode)
    if (filled & ~electrode).any():
        doubts.append("Holes in the electrode were taken for electrode.")
    if (mask & ~electrode).any():
        doubts.append("Specks of the electrode were left out.")
    electrode = filled
    surfaces = mask_contours(electrode, pixel_size_a=pixel_size_a)
    if not surfaces:
        return _nothing(
            Assessment.UNUSABLE, "The electrode's map has no surface in the image.", pixel_size_a
        )
    depth = signed_distance(electrode, surfaces, pixel_size_a=pixel_size_a)
    grids: list[_Grid | None] = []
    lines: list[Boundaries | None] = []
    verdicts: list[tuple[Assessment, str]] = []
    for line in surfaces:
        grid = _contour_grid(image, depth, line, pixel_size_a=pixel_size_a)
        if grid is None:
            lines.append(None)
            grids.append(None)
            continue
        layers = fit_layers(grid.cells, grid.valid)
        _, ends, assessment, sentence = _verdict(grid, layers, known_surface=True)
        found = follow(
            _linear(grid.cells),
            grid.valid,
            layers,
            known_surface=True,
            has_outside=ends,
            systematic=SYSTEMATIC,
            rng=rng,
        )
        grids.append(grid)
        lines.append(found if ends else None)
        assessment, sentence, more = _doubts(grid, found, assessment, sentence, ends=ends)
        verdicts.append((assessment, sentence))
        doubts += more
    if not verdicts:
        return _nothing(
            Assessment.UNUSABLE,
            "Too little of what is beside the electrode is in the image.",
            pixel_size_a,
        )
    points = np.indices(image.shape).reshape(2, -1).T * pixel_size_a
    _, which, along = nearest(points, surfaces)
    reach = np.full(len(points), np.inf)
    kept_surfaces, outers, surface_draws, outer_draws = [], [], [], []
    for i, (line, grid, ends_at) in enumerate(zip(surfaces, grids, lines, strict=True)):
        if grid is None:
            continue
        kept_surfaces.append(grid.base)
        surface_draws.append(_pixel_draws(grid, ends_at, pixel_size_a, rng))
        if ends_at is None:
            outers.append(np.zeros((0, 2)))
            outer_draws.append(np.zeros((surface_draws[-1].shape[0], 0)))
            continue
        mine = which == i
        period = arc_length(line)[-1] if is_closed(line) else None
        reach[mine] = np.interp(along[mine], grid.along, ends_at.outer, period=period) * grid.step_a
        outer, off = grid.points(ends_at.outer), (ends_at.outer_draws - ends_at.outer) * grid.step_a
        if is_closed(line):
            outer, off = np.concatenate([outer, outer[:1]]), np.pad(off, ((0, 0), (0, 1)), "wrap")
            kept_surfaces[-1] = np.concatenate([grid.base, grid.base[:1]])
            surface_draws[-1] = np.pad(surface_draws[-1], ((0, 0), (0, 1)), "wrap")
        outers.append(outer)
        outer_draws.append(off)
    outside = ~electrode & (depth.ravel() > reach).reshape(depth.shape)
    worst = next((v for v in verdicts if v[0] is not Assessment.OK), verdicts[0])
    return _assembled(
        electrode,
        outside,
        kept_surfaces,
        outers,
        surface_draws,
        outer_draws,
        pixel_size_a=pixel_size_a,
        how=how,
        assessment=worst[0],
        sentence=worst[1],
        doubts=tuple(doubts),
        depth=depth,
    )


def _pixel_draws(
    grid: _Grid, found: Boundaries | None, pixel_size_a: float, rng: np.random.Generator
) -> np.ndarray:
    """Return by how much a surface that was given may be off, for its pixels [Å]."""
    count = 1 if found is None else len(found.outer_draws)
    return rng.uniform(-0.5, 0.5, (count, len(grid.base))) * pixel_size_a


def _contour_grid(
    image: np.ndarray, depth: np.ndarray, line: np.ndarray, *, pixel_size_a: float
) -> _Grid | None:
    """Return the cells upon a contour, or None where there are too few."""
    from scipy.ndimage import map_coordinates

    size = max(CELL_A * scale_unit(pixel_size_a), 4 * pixel_size_a, float(depth.max()) / DEEPEST)
    along, base = resampled(line, SQUARES * size)
    if len(along) < LEAST_ROWS:
        return None
    normal = normals(base, closed=is_closed(line), smooth=1.0)

    def depth_at(points: np.ndarray) -> np.ndarray:
        at = np.moveaxis(points, -1, 0) / pixel_size_a
        return np.asarray(map_coordinates(depth, at, order=1, mode="nearest"))

    ahead = depth_at(base + 2 * pixel_size_a * normal)
    if np.median(ahead) < 0:
        normal = -normal
    tangent = np.stack([-normal[:, 1], normal[:, 0]], axis=1)
    deep = int(depth.max() / size)
    if deep < LEAST_DEEP:
        return None
    centres = _centres(base, normal, tangent, deep, size)
    middle = centres[:, :, SQUARES // 2]
    valid = _off_the_frame(middle, image.shape, pixel_size_a)
    # Beyond the middle between two surfaces the depth counts from the other one.
    wanted = (np.arange(deep) + 0.5) * size
    valid &= np.abs(depth_at(middle) - wanted) < np.maximum(size, 0.2 * wanted)
    valid = np.logical_and.accumulate(valid, axis=1)
    if valid.sum() < LEAST_ROWS * LEAST_DEEP:
        return None
    last = int(np.flatnonzero(valid.any(axis=0)).max()) + 1
    cells = cell_statistics(
        image, centres[:, :last], size_a=size, pixel_size_a=pixel_size_a, spots_per_a=[]
    )
    return _Grid(
        along=along, base=base, normal=normal, step_a=size, cells=cells, valid=valid[:, :last]
    )


def _assembled(
    electrode: np.ndarray,
    outside: np.ndarray,
    surface: list[np.ndarray],
    outer: list[np.ndarray],
    surface_draws: list[np.ndarray],
    outer_draws: list[np.ndarray],
    *,
    pixel_size_a: float,
    how: str,
    assessment: Assessment,
    sentence: str,
    doubts: tuple[str, ...] = (),
    depth: np.ndarray | None = None,
) -> Interface:
    """Return the record of what was found."""
    if depth is None:
        depth = signed_distance(electrode, surface, pixel_size_a=pixel_size_a)
    interphase = ~electrode & ~outside
    ends = [line for line in outer if len(line)]
    limit = (np.array(electrode.shape) - 0.5) * pixel_size_a
    gone = [((line < -pixel_size_a) | (line > limit)).any(axis=1) for line in ends]
    if gone and (share := float(np.concatenate(gone).mean())) > 0:
        doubts += (f"The frame cuts the interphase over {100 * share:.0f} % of the surface.",)
    return Interface(
        assessment=assessment,
        sentence=sentence,
        how=how,
        pixel_size_a=pixel_size_a,
        electrode=electrode,
        interphase=interphase,
        outside=outside,
        depth_a=depth,
        surface=tuple(surface),
        outer=tuple(outer),
        surface_draws_a=tuple(surface_draws),
        outer_draws_a=tuple(outer_draws),
        surface_error_a=_error(surface_draws),
        outer_error_a=_error(outer_draws),
        warnings=doubts,
    )


def _error(draws: list[np.ndarray]) -> float:
    """Return the rms displacement of drawn lines [Å], NaN where there are none."""
    every = np.concatenate([d.ravel() for d in draws])
    return float(np.sqrt(np.mean(every**2))) if every.size else float("nan")

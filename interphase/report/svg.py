"""Vector graphics that lie over the pictures or stand alone; text in, text out.

They take their colours from the page's style sheet, so they follow light and dark, and stay
sharp on a projector. Names are escaped here; the page trusts what these functions return.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from interphase.plotting import DOSE_COLOURS, length_label, scale_bar_length


def ticks(low: float, high: float, *, about: int = 5) -> list[float]:
    """Return round numbers (steps of 1, 2 or 5 × 10ⁿ) between two limits.

    >>> ticks(0, 103)
    [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    """
    if not high > low:
        return [low]
    raw = (high - low) / about
    decade = 10.0 ** math.floor(math.log10(raw))
    step = next(m * decade for m in (1, 2, 5, 10) if m * decade >= raw * 0.8)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def outlines(
    labels: np.ndarray, region: int, *, smooth_px: float = 0.0
) -> list[list[tuple[float, float]]]:
    """Return the outlines of one region as closed polygons (x, y) in pixels.

    Parameters
    ----------
    labels
        ndarray of shape (M, N): index of the region + 1 per pixel.
    region
        Index of the region.
    smooth_px
        Radius to which corners are rounded [pixels]: half the distance of the windows, whose
        corners mean nothing.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.measure import approximate_polygon, find_contours

    margin = 1 + math.ceil(3 * smooth_px)
    mask = np.pad((labels == region + 1).astype(np.float32), margin)
    if smooth_px > 0:
        mask = gaussian_filter(mask, smooth_px)
    lines: list[np.ndarray] = find_contours(mask, 0.5)  # type: ignore[no-untyped-call]
    simpler = [approximate_polygon(line, 0.3) for line in lines]  # type: ignore[no-untyped-call]
    return [[(float(x) - margin, float(y) - margin) for y, x in line] for line in simpler]


def path(polygons: Sequence[Sequence[tuple[float, float]]]) -> str:
    """Return closed polygons as the ``d`` of a path."""
    return " ".join(
        "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in polygon) + "Z" for polygon in polygons
    )


def scale_bar(shape: tuple[int, ...], pixel_size_a: float) -> str:
    """Return a scale bar for a picture.

    Parameters
    ----------
    shape
        Shape (M, N) of the picture.
    pixel_size_a
        Its sampling [Å].
    """
    rows, columns = shape[:2]
    length_a = scale_bar_length(columns * pixel_size_a)
    width = length_a / pixel_size_a
    x, y, thick = 0.04 * columns, 0.95 * rows, 0.012 * columns
    return (
        f'<g class="bar"><rect x="{x:.1f}" y="{y - thick:.1f}" width="{width:.1f}" '
        f'height="{thick:.1f}"/><text x="{x:.1f}" y="{y - 2.2 * thick:.1f}" '
        f'font-size="{columns / 24:.1f}">{length_label(length_a)}</text></g>'
    )


def overlay(
    shape: tuple[int, ...],
    *,
    labels: np.ndarray | None,
    names: Sequence[str],
    colours: Sequence[str],
    dashed: Sequence[bool],
    pixel_size_a: float | None,
    smooth_px: float = 0.0,
) -> str:
    """Return what lies over an image: outlines, names, scale bar.

    Parameters
    ----------
    shape
        Shape (M, N) of the picture.
    labels
        Index of the region + 1 per pixel of the picture, or ``None``.
    names, colours, dashed
        Name and colour of each region, and whether its outline is broken (not certain).
    pixel_size_a
        Sampling of the picture [Å]; ``None`` draws no bar.
    smooth_px
        Radius to which corners of outlines are rounded [pixels].
    """
    rows, columns = shape[:2]
    parts = []
    size = columns / 26
    for index, (name, colour) in enumerate(zip(names, colours, strict=True)):
        lines = outlines(labels, index, smooth_px=smooth_px) if labels is not None else []
        if labels is None or not lines:
            continue
        d = path(lines)
        pattern = f' stroke-dasharray="{size / 2:.1f} {size / 3:.1f}"' if dashed[index] else ""
        y, x = (float(axis.mean()) for axis in np.nonzero(labels == index + 1))
        # Names stay within the picture.
        x = min(max(x, 2.2 * size), columns - 2.2 * size)
        y = min(max(y, size), rows - size)
        parts.append(
            f'<g class="region" data-region="{index + 1}" style="--c:{colour}">'
            f'<path class="halo" d="{d}"/><path class="line" d="{d}"{pattern}/>'
            f'<text x="{x:.1f}" y="{y + size / 3:.1f}" font-size="{size:.1f}" '
            f'text-anchor="middle">{escape(name)}</text></g>'
        )
    bar = scale_bar(shape, pixel_size_a) if pixel_size_a is not None else ""
    return (
        f'<svg viewBox="-0.5 -0.5 {columns} {rows}" aria-hidden="true">{"".join(parts)}{bar}</svg>'
    )


def rings(
    shape: tuple[int, ...],
    *,
    centre: tuple[float, float],
    pixel_size_per_a: float,
    spots: Mapping[int, np.ndarray],
    colours: Sequence[str],
    radius: float | None = None,
) -> str:
    """Return rings about the spots of a power spectrum or pattern, and a scale bar in 1/Å.

    Parameters
    ----------
    shape
        Shape (M, N) of the picture.
    centre
        (row, column) of zero frequency [pixels].
    pixel_size_per_a
        Sampling of the picture [1/Å].
    spots
        Index of a region → positions (ky, kx) [1/Å], shape (S, 2).
    colours
        Colour of each region.
    radius
        Radius of a ring [pixels].
    """
    rows, columns = shape[:2]
    radius = columns / 45 if radius is None else radius
    parts = []
    for region, positions in spots.items():
        circles = []
        for ky, kx in np.concatenate([positions, -positions]) / pixel_size_per_a:
            row, column = centre[0] + ky, centre[1] + kx
            if 0 <= row < rows and 0 <= column < columns:
                circles.append(f'<circle cx="{column:.1f}" cy="{row:.1f}" r="{radius:.1f}"/>')
        parts.append(
            f'<g class="rings" data-region="{region + 1}" style="--c:{colours[region]}">'
            f"{''.join(circles)}</g>"
        )
    length = scale_bar_length(columns * pixel_size_per_a)
    x, y, thick = 0.04 * columns, 0.95 * rows, 0.012 * columns
    bar = (
        f'<g class="bar"><rect x="{x:.1f}" y="{y - thick:.1f}" '
        f'width="{length / pixel_size_per_a:.1f}" height="{thick:.1f}"/>'
        f'<text x="{x:.1f}" y="{y - 2.2 * thick:.1f}" font-size="{columns / 20:.1f}">'
        f"{length:g} 1/Å</text></g>"
    )
    return (
        f'<svg viewBox="-0.5 -0.5 {columns} {rows}" aria-hidden="true">{"".join(parts)}{bar}</svg>'
    )


def spectrum(energy_ev: np.ndarray, counts: np.ndarray, *, axis: str) -> str:
    """Return a plot of a spectrum.

    Parameters
    ----------
    energy_ev
        Axis, ndarray of shape (E,).
    counts
        Intensity, ndarray of shape (E,).
    axis
        Name of the axis with its unit.
    """
    width, height, left, right, top, bottom = 640, 250, 66, 12, 12, 40
    finite = np.isfinite(counts) & np.isfinite(energy_ev)
    energy, values = energy_ev[finite], counts[finite]
    if len(energy) < 2:
        return ""
    x0, x1 = float(energy.min()), float(energy.max())
    y0, y1 = min(0.0, float(values.min())), float(values.max())
    if not (x1 > x0 and y1 > y0):
        return ""
    inner_x, inner_y = width - left - right, height - top - bottom

    def px(x: float) -> float:
        return left + (x - x0) / (x1 - x0) * inner_x

    def py(y: float) -> float:
        return top + inner_y - (y - y0) / (y1 - y0) * inner_y

    grid = "".join(
        f'<line class="grid" x1="{left}" x2="{width - right}" y1="{py(t):.1f}" y2="{py(t):.1f}"/>'
        f'<text x="{left - 8}" y="{py(t) + 4:.1f}" text-anchor="end">{_short(t)}</text>'
        for t in ticks(y0, y1, about=4)
    )
    marks = "".join(
        f'<line class="axis" x1="{px(t):.1f}" x2="{px(t):.1f}" y1="{top + inner_y}" '
        f'y2="{top + inner_y + 4}"/>'
        f'<text x="{px(t):.1f}" y="{top + inner_y + 17}" text-anchor="middle">{_short(t)}</text>'
        for t in ticks(x0, x1, about=7)
    )
    points = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in zip(energy, values, strict=True))
    return (
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="img">{grid}'
        f'<line class="axis" x1="{left}" x2="{width - right}" y1="{top + inner_y}" '
        f'y2="{top + inner_y}"/>{marks}<polyline points="{points}"/>'
        f'<text x="{left + inner_x / 2}" y="{height - 6}" text-anchor="middle">'
        f"{escape(axis)}</text></svg>"
    )


def doses(
    values: Sequence[float | None],
    names: Sequence[str],
    *,
    before: Sequence[float | None] | None = None,
    kinds: Sequence[str] | None = None,
) -> str:
    """Return a chart of doses in order; where a dose is unknown, a question mark, never a zero.

    Parameters
    ----------
    values
        Dose of each exposure [e/Å²] or ``None``.
    names
        Name of each exposure, shown on hover.
    before
        What its place had received before [e/Å²], upon which its own dose stands.
    kinds
        Purpose of each, which chooses its colour.
    """
    stands_on = [value or 0.0 for value in before or [0.0] * len(values)]
    kinds = [""] * len(values) if kinds is None else kinds
    width, height, left, right, top, bottom = 960, 230, 56, 8, 16, 34
    inner_x, inner_y = width - left - right, height - top - bottom
    tops = [(own or 0.0) + earlier for own, earlier in zip(values, stands_on, strict=True)]
    highest = max(tops, default=0.0) or 1.0
    y1 = highest * 1.05
    base = top + inner_y
    slot = inner_x / max(len(values), 1)
    thick = min(slot * 0.72, 46)
    grid = "".join(
        f'<line class="grid" x1="{left}" x2="{width - right}" '
        f'y1="{base - t / y1 * inner_y:.1f}" y2="{base - t / y1 * inner_y:.1f}"/>'
        f'<text x="{left - 8}" y="{base - t / y1 * inner_y + 4:.1f}" text-anchor="end">'
        f"{_short(t)}</text>"
        for t in ticks(0, y1, about=4)
    )
    bars = []
    for index, (value, name) in enumerate(zip(values, names, strict=True)):
        x = left + (index + 0.5) * slot
        earlier = stands_on[index]
        stood = earlier / y1 * inner_y
        said = "unknown" if value is None else f"{value:.4g} e/Å²"
        title = f"<title>{escape(name)}: {said}"
        title += f", upon {earlier:.4g} e/Å²</title>" if earlier else "</title>"
        if earlier:
            bars.append(
                f'<rect class="before" x="{x - thick / 2:.2f}" y="{base - stood:.1f}" '
                f'width="{thick:.2f}" height="{stood:.1f}">{title}</rect>'
            )
        if value is None:
            foot = base - stood
            bars.append(
                f'<g class="unknown"><rect x="{x - thick / 2:.2f}" y="{foot - 22:.1f}" '
                f'width="{thick:.2f}" height="22" rx="1.5"/>{title}'
                + (
                    f'<text x="{x:.1f}" y="{foot - 7:.1f}" text-anchor="middle">?</text>'
                    if thick > 7
                    else ""
                )
                + "</g>"
            )
        else:
            tall = max(value / y1 * inner_y, 1.0)
            bars.append(
                f'<rect class="dose {escape(kinds[index])}" x="{x - thick / 2:.2f}" '
                f'y="{base - stood - tall:.1f}" width="{thick:.2f}" height="{tall:.1f}" '
                f'rx="1.5">{title}</rect>'
            )
    return (
        f'<svg class="plot doses" viewBox="0 0 {width} {height}" role="img">{grid}'
        f'<line class="axis" x1="{left}" x2="{width - right}" y1="{base}" y2="{base}"/>'
        f"{''.join(bars)}"
        f'<text x="{left + inner_x / 2:.0f}" y="{height - 8}" text-anchor="middle">'
        "exposures in the order they were made</text>"
        f'<text class="label" x="{left}" y="10">dose (e/Å²)</text></svg>'
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Footprint:
    """The outline of an exposure on a map."""

    corners_um: np.ndarray
    """What it is known to have covered, or where it would be without its shifts, (V, 2) [µm]."""
    recorded_um: np.ndarray | None
    """What of it was recorded, if that is another outline."""
    kind: str
    """Its purpose, which chooses its colour."""
    title: str
    """What is shown on hover."""
    unknown: bool
    """Whether its dose is not known: hatched."""
    uncertain: bool
    """Whether it may lie elsewhere: broken."""


def dose_map(
    footprints: Sequence[Footprint],
    *,
    bounds_um: tuple[float, float, float, float],
    raster: str,
    scale: tuple[float, float],
    side: int,
    marks: Sequence[tuple[str, tuple[float, float], str | None]] = (),
    axes: bool = False,
) -> str:
    """Return a map of exposures in stage coordinates.

    Parameters
    ----------
    footprints
        Their outlines, the larger ones first.
    bounds_um
        Left, bottom, right and top of the map (x0, y0, x1, y1) [µm].
    raster
        The accumulated dose within the same bounds, as a data URI.
    scale
        Doses of the first and the last colour [e/Å²].
    side
        Side of the map [pixels].
    marks
        Letter, place (x, y) [µm] and colour of what is too small to be seen; without a colour its
        dose is unknown.
    axes
        Whether coordinates and the key of the colours stand beside the map.
    """
    x0, _, x1, y1 = bounds_um
    left, top = (58, 8) if axes else (0, 0)
    unit = side / (x1 - x0)

    def px(x: float) -> float:
        return left + (x - x0) * unit

    def py(y: float) -> float:
        return top + (y1 - y) * unit

    shapes = []
    for shape in footprints:
        classes = ["exposure", escape(shape.kind)]
        classes += ["unknown"] if shape.unknown else []
        classes += ["uncertain"] if shape.uncertain else []
        inner = ""
        if shape.recorded_um is not None:
            d = _outline(shape.recorded_um, px, py)
            inner = f'<path class="halo" d="{d}"/><path class="camera" d="{d}"/>'
        shapes.append(
            f'<g class="{" ".join(classes)}"><title>{escape(shape.title)}</title>'
            f'<path d="{_outline(shape.corners_um, px, py)}"/>{inner}</g>'
        )
    clip = f"clip-{side}-{abs(hash(bounds_um)):x}"
    parts = [
        f'<clipPath id="{clip}"><rect x="{left}" y="{top}" width="{side}" height="{side}"/>'
        f'</clipPath><rect class="ground" x="{left}" y="{top}" width="{side}" height="{side}"/>'
        f'<g clip-path="url(#{clip})"><image href="{raster}" x="{left}" y="{top}" '
        f'width="{side}" height="{side}" preserveAspectRatio="none"/>{"".join(shapes)}</g>'
    ]
    parts += [_mark(letter, px(x), py(y), colour) for letter, (x, y), colour in marks]
    length_um = scale_bar_length(x1 - x0)
    parts.append(
        f'<g class="scale"><rect x="{left + 10}" y="{top + side - 14}" '
        f'width="{length_um * unit:.1f}" height="4"/><text x="{left + 10}" '
        f'y="{top + side - 19}">{length_label(length_um * 1e4)}</text></g>'
    )
    width, height = side, side
    if axes:
        parts += _map_axes(bounds_um, px, py, side=side, left=left, top=top)
        parts.append(_dose_key(scale, x=left + side + 26, y=top, height=side))
        width, height = left + side + 110, top + side + 40
    return f'<svg class="plot map" viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'


def _outline(
    corners: np.ndarray, px: Callable[[float], float], py: Callable[[float], float]
) -> str:
    return path([[(px(float(x)), py(float(y))) for x, y in corners]])


def _mark(letter: str, x: float, y: float, colour: str | None) -> str:
    filled = "" if colour is None else f' style="fill:{colour}"'
    known = "mark" if colour else "mark unknown"
    # Letters of places that lie side by side stand above and below.
    away = -11 if (ord(letter or "A") - ord("A")) % 2 == 0 else 21
    text = f'<text x="{x:.1f}" y="{y + away:.1f}">{escape(letter)}</text>' if letter else ""
    return f'<g class="{known}"><circle cx="{x:.1f}" cy="{y:.1f}" r="6"{filled}/>{text}</g>'


def _map_axes(
    bounds_um: tuple[float, float, float, float],
    px: Callable[[float], float],
    py: Callable[[float], float],
    *,
    side: int,
    left: int,
    top: int,
) -> list[str]:
    x0, y0, x1, y1 = bounds_um
    base = top + side
    return [
        *(
            f'<line class="axis" x1="{px(t):.1f}" x2="{px(t):.1f}" y1="{base}" y2="{base + 4}"/>'
            f'<text x="{px(t):.1f}" y="{base + 17}" text-anchor="middle">{_short(t)}</text>'
            for t in ticks(x0, x1)
        ),
        *(
            f'<line class="axis" x1="{left - 4}" x2="{left}" y1="{py(t):.1f}" y2="{py(t):.1f}"/>'
            f'<text x="{left - 8}" y="{py(t) + 4:.1f}" text-anchor="end">{_short(t)}</text>'
            for t in ticks(y0, y1)
        ),
        f'<text x="{left + side / 2}" y="{base + 34}" text-anchor="middle">stage x (µm)</text>',
        f'<text transform="rotate(-90)" x="{-top - side / 2}" y="11" text-anchor="middle">'
        "stage y (µm)</text>",
    ]


def _dose_key(scale: tuple[float, float], *, x: float, y: float, height: float) -> str:
    """Return the key of the colours of a dose map, on a logarithmic scale."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    low, high = (math.log10(value) for value in scale)
    if not high > low:
        low = high - 1.0
    steps = 24
    blocks = "".join(
        f'<rect x="{x}" y="{y + 18 + (height - 18) * (1 - (n + 1) / steps):.2f}" width="14" '
        f'height="{(height - 18) / steps + 0.5:.2f}" '
        f'fill="{to_hex(colormaps[DOSE_COLOURS]((n + 0.5) / steps))}"/>'
        for n in range(steps)
    )
    values = [m * 10.0**k for k in range(math.floor(low), math.ceil(high) + 1) for m in (1, 3)]
    marks = "".join(
        f'<text x="{x + 20}" y="{at + 4:.1f}">{_short(float(f"{value:.3g}"))}</text>'
        for value in values
        if low - 1e-9 <= math.log10(value) <= high + 1e-9
        for at in [y + 18 + (height - 18) * (1 - (math.log10(value) - low) / (high - low))]
    )
    return f'<text class="label" x="{x}" y="{y + 9}">dose (e/Å²)</text>{blocks}{marks}'


def stacked(
    x: Sequence[float],
    sums: Mapping[str, Sequence[float]],
    *,
    axis: str,
    marked: Mapping[float, str],
) -> str:
    """Return sums that grow, stacked upon each other.

    Parameters
    ----------
    x
        Where they are given.
    sums
        Purpose → dose up to there [e/Å²].
    axis
        What x is.
    marked
        Place on the axis → what is written there.
    """
    width, height, left, right, top, bottom = 960, 230, 56, 120, 16, 38
    inner_x, inner_y = width - left - right, height - top - bottom
    table = np.array(list(sums.values()), dtype=float)
    levels = np.vstack([np.zeros(len(x)), np.cumsum(table, axis=0)])
    y1 = float(levels.max()) * 1.05
    base = top + inner_y

    def px(value: float) -> float:
        return left + (value - x[0]) / ((x[-1] - x[0]) or 1.0) * inner_x

    def py(value: float) -> float:
        return base - value / y1 * inner_y

    grid = "".join(
        f'<line class="grid" x1="{left}" x2="{width - right}" y1="{py(t):.1f}" y2="{py(t):.1f}"/>'
        f'<text x="{left - 8}" y="{py(t) + 4:.1f}" text-anchor="end">{_short(t)}</text>'
        for t in ticks(0, y1, about=4)
    )
    areas, taken = [], math.inf
    for name, low, high in zip(sums, levels[:-1], levels[1:], strict=True):
        there = [(px(a), py(b)) for a, b in zip(x, high, strict=True)]
        back = [(px(a), py(b)) for a, b in zip(reversed(x), low[::-1], strict=True)]
        at = min(py(float(low[-1] + high[-1]) / 2) + 4, taken - 14)
        taken = at
        areas.append(
            f'<path class="area {escape(name)}" d="{path([there + back])}"/>'
            f'<text class="name {escape(name)}" x="{width - right + 8}" y="{at:.1f}">'
            f"{escape(name.replace('_', ' '))} {_short(float(f'{high[-1] - low[-1]:.3g}'))}</text>"
        )
    marks = "".join(
        f'<line class="axis" x1="{px(at):.1f}" x2="{px(at):.1f}" y1="{base}" y2="{base + 4}"/>'
        f'<text x="{px(at):.1f}" y="{base + 17}" text-anchor="middle">{escape(text)}</text>'
        for at, text in marked.items()
    )
    return (
        f'<svg class="plot stacked" viewBox="0 0 {width} {height}" role="img">{grid}'
        f'{"".join(areas)}<line class="axis" x1="{left}" x2="{width - right}" y1="{base}" '
        f'y2="{base}"/>{marks}<text x="{left + inner_x / 2:.0f}" y="{height - 4}" '
        f'text-anchor="middle">{escape(axis)}</text>'
        f'<text class="label" x="{left}" y="10">mean dose upon what was recorded (e/Å²)</text>'
        "</svg>"
    )


def _short(value: float) -> str:
    """Write a tick: no superfluous digits, large numbers with a power of ten."""
    if value != 0 and (abs(value) >= 1e5 or abs(value) < 1e-3):
        mantissa, exponent = f"{value:.3g}".split("e") if "e" in f"{value:.3g}" else (None, None)
        if mantissa is None:
            return f"{value / 1000:g}k" if abs(value) < 1e6 else f"{value / 1e6:g}M"
        return f"{mantissa}e{int(str(exponent))}"
    return f"{value:.6g}"

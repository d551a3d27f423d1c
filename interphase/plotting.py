"""Small figures: an ``ax`` goes in, the same ``ax`` comes out.

Nothing here touches matplotlib's global state: make the axes with :func:`new_figure`, or with
``matplotlib.pyplot`` in a notebook. matplotlib itself is imported when a figure is asked for.

Examples
--------
>>> import numpy as np
>>> figure, ax = new_figure(width_in=3, height_in=3)
>>> ax = plot_image(ax, np.zeros((64, 64)), pixel_size_a=0.5)
>>> ax = plot_regions(ax, np.eye(64, dtype=int), ["Li2O"])
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interphase.errors import ParameterError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2")
"""Colours that people with any common colour vision tell apart (Okabe and Ito 2008), the ones
that read best on a grey image first."""
UNKNOWN_COLOUR = "#FFFFFF"
"""Outline of regions that are crystalline but none of the candidates."""

DOSE_COLOURS = "YlOrRd"
"""Matplotlib's name of the colours of a dose: from pale for little to dark for much."""


def phase_colours(phases: Iterable[str]) -> dict[str, str]:
    """Give each phase a colour, the same wherever the same phases are listed.

    Parameters
    ----------
    phases
        Identifiers, the most important first. Beyond seven the colours repeat: label what is
        drawn, too. ``unknown`` is white.

    >>> phase_colours(["Li2O", "unknown", "LiF"])
    {'Li2O': '#E69F00', 'unknown': '#FFFFFF', 'LiF': '#56B4E9'}
    """
    colours: dict[str, str] = {}
    for phase in dict.fromkeys(phases):
        taken = sum(colour != UNKNOWN_COLOUR for colour in colours.values())
        colours[phase] = UNKNOWN_COLOUR if phase == "unknown" else PALETTE[taken % len(PALETTE)]
    return colours


def scale_bar_length(width: float) -> float:
    """Return the round length (1, 2 or 5 × 10ⁿ) nearest below a third of `width`.

    Parameters
    ----------
    width
        Width of the picture, in the unit of the answer.

    >>> [scale_bar_length(w) for w in (400, 1023.0, 7.9)]
    [100.0, 200.0, 2.0]
    """
    if not 0 < width < math.inf:
        raise ParameterError(f"width is {width!r}: expected a finite length > 0")
    decade = 10.0 ** math.floor(math.log10(width / 3))
    return float(max(m * decade for m in (1, 2, 5) if m * decade <= width / 3 * (1 + 1e-9)))


def length_label(length_a: float) -> str:
    """Write a length as people read it: nm from 10 Å, µm from 1 µm.

    Parameters
    ----------
    length_a
        Length [Å].

    >>> [length_label(a) for a in (5, 20, 500, 2e4)]
    ['5 Å', '2 nm', '50 nm', '2 µm']
    """
    for unit, size in (("µm", 1e4), ("nm", 10.0)):
        if length_a >= size:
            return f"{length_a / size:g} {unit}"
    return f"{length_a:g} Å"


def new_figure(*, width_in: float = 5.0, height_in: float = 5.0) -> tuple[Figure, Axes]:
    """Return a figure with one axes, drawn off screen and held by no global state.

    Parameters
    ----------
    width_in, height_in
        Size [inch].
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def grey_levels(
    image: np.ndarray, *, percentiles: tuple[float, float] = (0.5, 99.5)
) -> tuple[float, float]:
    """Return the values to show as black and white: percentiles of the finite pixels.

    Parameters
    ----------
    image
        ndarray of any shape.
    percentiles
        Share of pixels [%] below black and below white.

    >>> grey_levels(np.arange(101.0), percentiles=(0, 50))
    (0.0, 50.0)
    """
    finite = image[np.isfinite(image)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(finite, percentiles)
    return float(low), float(high) if high > low else float(low) + 1.0


def plot_image(
    ax: Axes,
    image: np.ndarray,
    *,
    pixel_size_a: float | None = None,
    percentiles: tuple[float, float] = (0.5, 99.5),
) -> Axes:
    """Show an image in grey with a scale bar.

    Parameters
    ----------
    ax
        Axes to draw on.
    image
        ndarray of shape (M, N).
    pixel_size_a
        Sampling [Å]; ``None`` draws no scale bar rather than a wrong one.
    percentiles
        Share of pixels [%] shown black and white at most.
    """
    low, high = grey_levels(image, percentiles=percentiles)
    ax.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    ax.set_axis_off()
    if pixel_size_a is not None:
        add_scale_bar(ax, image.shape, pixel_size_a=pixel_size_a)
    return ax


def add_scale_bar(ax: Axes, shape: tuple[int, ...], *, pixel_size_a: float) -> Axes:
    """Draw a scale bar of round length into the lower left of an image.

    Parameters
    ----------
    ax
        Axes whose data coordinates are the image's pixels.
    shape
        Shape (M, N) of the image.
    pixel_size_a
        Sampling [Å].
    """
    import matplotlib.patheffects as effects

    rows, columns = shape[:2]
    length_a = scale_bar_length(columns * pixel_size_a)
    left, bottom, thickness = 0.04 * columns, 0.95 * rows, 0.012 * rows
    outline: list[Any] = [effects.withStroke(linewidth=2, foreground="black")]
    ax.bar(
        left,
        thickness,
        width=length_a / pixel_size_a,
        bottom=bottom - thickness,
        align="edge",
        color="white",
        edgecolor="black",
        linewidth=0.6,
        gid="scale bar",
    )
    ax.text(
        left,
        bottom - 2.2 * thickness,
        length_label(length_a),
        color="white",
        va="bottom",
        path_effects=outline,
    )
    return ax


def plot_regions(
    ax: Axes,
    labels: np.ndarray,
    phases: Sequence[str],
    *,
    colours: Mapping[str, str] | None = None,
) -> Axes:
    """Outline the regions of a phase map and name them.

    Parameters
    ----------
    ax
        Axes that show the image, in pixels.
    labels
        ndarray of shape (M, N): index of the region + 1 per pixel, 0 where there is none.
    phases
        Phase of each region.
    colours
        Colour per phase; :func:`phase_colours` of `phases` unless given.
    """
    import matplotlib.patheffects as effects

    if labels.size and labels.max() > len(phases):
        raise ParameterError(
            f"labels go up to {int(labels.max())} but {len(phases)} phases were given: "
            "give one phase per region"
        )
    colours = phase_colours(phases) if colours is None else colours
    outline: list[Any] = [effects.withStroke(linewidth=2, foreground="black")]
    for index, phase in enumerate(phases, start=1):
        mask = labels == index
        if not mask.any():
            continue
        colour = colours.get(phase, UNKNOWN_COLOUR)
        ax.contour(mask, levels=[0.5], colors=[colour], linewidths=1.4)
        row, column = (float(axis.mean()) for axis in np.nonzero(mask))
        ax.text(column, row, phase, color=colour, ha="center", va="center", path_effects=outline)
    return ax


def plot_composition(
    ax: Axes,
    fractions: Mapping[str, np.ndarray],
    *,
    pixel_size_a: float | None = None,
    colours: Mapping[str, str] | None = None,
) -> Axes:
    """Show what a specimen consists of: each pixel has the mixed colours of its materials.

    Parameters
    ----------
    ax
        Axes to draw on.
    fractions
        Material → share of the specimen in every pixel, from 0 to 1, each of shape (M, N). What
        is missing to 1 is black, as vacuum is.
    pixel_size_a
        Sampling [Å]; ``None`` draws no scale bar.
    colours
        Colour per material; :func:`phase_colours` of the materials unless given. Materials that
        appear are listed in a legend.

    Raises
    ------
    ParameterError
        There is no material, or their maps differ in shape.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    shapes = {share.shape for share in fractions.values()}
    if len(shapes) != 1:
        raise ParameterError(
            f"fractions have the shapes {sorted(shapes)}: give at least one material, and maps of "
            "one shape"
        )
    colours = phase_colours(fractions) if colours is None else colours
    (shape,) = shapes
    mixed = np.zeros((*shape, 3))
    for material, share in fractions.items():
        mixed += share[..., None] * np.array(to_rgb(colours[material]))
    ax.imshow(np.clip(mixed, 0, 1), interpolation="nearest")
    ax.set_axis_off()
    seen = [material for material, share in fractions.items() if share.max(initial=0) > 0.02]
    ax.legend(
        handles=[Patch(color=colours[material], label=material) for material in seen],
        loc="upper right",
        fontsize="x-small",
        framealpha=0.6,
        handlelength=1.0,
    )
    if pixel_size_a is not None:
        add_scale_bar(ax, shape, pixel_size_a=pixel_size_a)
    return ax


def plot_power_spectrum(
    ax: Axes,
    power: np.ndarray,
    *,
    reciprocal_pixel_size_per_a: float,
    spots_per_a: Mapping[str, np.ndarray] | None = None,
    colours: Mapping[str, str] | None = None,
) -> Axes:
    """Show a power spectrum or diffraction pattern with the spots that were used.

    Parameters
    ----------
    ax
        Axes to draw on.
    power
        ndarray of shape (M, N), zero frequency at (M // 2, N // 2); shown as its logarithm.
    reciprocal_pixel_size_per_a
        Sampling [1/Å].
    spots_per_a
        Phase → positions (ky, kx) [1/Å], shape (S, 2); both spots of each pair are ringed.
    colours
        Colour per phase; :func:`phase_colours` of the phases unless given.
    """
    spots_per_a = {} if spots_per_a is None else spots_per_a
    colours = phase_colours(spots_per_a) if colours is None else colours
    rows, columns = power.shape
    step = reciprocal_pixel_size_per_a
    edges = (
        (-(columns // 2) - 0.5) * step,
        (columns - columns // 2 - 0.5) * step,
        (rows - rows // 2 - 0.5) * step,
        (-(rows // 2) - 0.5) * step,
    )
    positive = power[power > 0]
    floor = float(positive.min()) if positive.size else 1.0
    shown = np.log(np.maximum(power, floor))
    low, high = grey_levels(shown, percentiles=(1.0, 99.8))
    ax.imshow(shown, cmap="gray", vmin=low, vmax=high, extent=edges, interpolation="nearest")
    for phase, positions in spots_per_a.items():
        pairs = np.concatenate([positions, -positions])
        ax.scatter(
            pairs[:, 1],
            pairs[:, 0],
            s=60,
            facecolors="none",
            edgecolors=colours.get(phase, UNKNOWN_COLOUR),
            label=phase,
        )
    ax.set_xlabel("spatial frequency (1/Å)")
    ax.set_ylabel("spatial frequency (1/Å)")
    if spots_per_a:
        ax.legend(loc="upper right", framealpha=0.8)
    return ax


def plot_spectrum(
    ax: Axes, energy_loss_ev: np.ndarray, counts: np.ndarray, *, label: str | None = None
) -> Axes:
    """Plot an energy-loss spectrum.

    Parameters
    ----------
    ax
        Axes to draw on.
    energy_loss_ev
        Axis of the spectrum [eV], ndarray of shape (E,).
    counts
        Intensity per channel in the detector's unit, ndarray of shape (E,).
    label
        Name in a legend.
    """
    if energy_loss_ev.shape != counts.shape:
        raise ParameterError(
            f"the energy axis has shape {energy_loss_ev.shape} and the spectrum {counts.shape}: "
            "give one energy per channel"
        )
    ax.plot(energy_loss_ev, counts, linewidth=1.0, label=label)
    ax.set_xlabel("energy loss (eV)")
    ax.set_ylabel("intensity (detector units)")
    ax.margins(x=0)
    return ax


def plot_map(
    ax: Axes,
    values: np.ndarray,
    *,
    label: str,
    pixel_size_a: float | None = None,
    shown: np.ndarray | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str = "viridis",
) -> Axes:
    """Show a map of a quantity with its scale; what is not known is white, what is not shown grey.

    Parameters
    ----------
    ax
        Axes to draw on.
    values
        ndarray of shape (M, N); NaN where there is no answer.
    label
        Quantity and unit, at the scale.
    pixel_size_a
        Distance of the places [Å]; ``None`` draws no scale bar.
    shown
        Where values are more than noise, shape (M, N); everywhere unless given.
    limits
        Values at the ends of the scale; from 0, or the least, to the largest unless given.
    cmap
        Name of a colour map.
    """
    known = np.isfinite(values)
    drawn = known if shown is None else known & shown
    if limits is None:
        top = float(np.percentile(values[drawn], 99)) if drawn.any() else 1.0
        limits = (min(0.0, float(values[drawn].min())) if drawn.any() else 0.0, top)
    below = np.full((*values.shape, 4), 1.0)
    below[known & ~drawn] = (0.82, 0.82, 0.82, 1.0)
    ax.imshow(below, interpolation="nearest")
    picture = ax.imshow(
        np.ma.masked_array(values, ~drawn),
        cmap=cmap,
        vmin=limits[0],
        vmax=limits[1] if limits[1] > limits[0] else limits[0] + 1,
        interpolation="nearest",
    )
    ax.set_xticks([])
    ax.set_yticks([])
    bar = ax.figure.colorbar(picture, cax=ax.inset_axes((1.03, 0, 0.05, 1)))
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    if pixel_size_a is not None:
        add_scale_bar(ax, values.shape, pixel_size_a=pixel_size_a)
    return ax


def plot_fit(
    ax: Axes,
    below: Axes,
    energy_loss_ev: np.ndarray,
    *,
    recorded: np.ndarray,
    fitted: np.ndarray,
    background: np.ndarray,
    residual: np.ndarray,
    near_edge: np.ndarray | None = None,
) -> Axes:
    """Plot a spectrum with its fit and background, and what is left in units of the noise.

    Parameters
    ----------
    ax, below
        Axes of the spectrum and of the residual.
    energy_loss_ev
        Axis [eV], shape (E,).
    recorded, fitted, background
        Electrons per channel, shape (E,); NaN where there is no fit.
    residual
        Recorded less fitted, over the standard error, shape (E,).
    near_edge
        Channels in which the fit is of the sum of the counts alone, and which are shaded, (E,).
    """
    ax.plot(energy_loss_ev, recorded, color="#7A7A7A", linewidth=0.7, label="recorded")
    ax.plot(energy_loss_ev, fitted, color="#D55E00", linewidth=1.2, label="fit")
    ax.plot(energy_loss_ev, background, color="#0072B2", linewidth=1.0, ls="--", label="background")
    ax.set_ylabel("electrons", fontsize=8)
    ax.margins(x=0)
    ax.legend(frameon=False, fontsize=7)
    below.plot(energy_loss_ev, residual, color="#7A7A7A", linewidth=0.6)
    below.axhline(0, color="#D55E00", linewidth=0.8)
    most = float(np.nanpercentile(np.abs(residual), 99)) if np.isfinite(residual).any() else 4.0
    below.set_ylim(-max(most, 4.0), max(most, 4.0))
    below.set_ylabel("residual (σ)", fontsize=8)
    below.set_xlabel("energy loss (eV)", fontsize=8)
    for one in (ax, below):
        one.tick_params(labelsize=7)
        if near_edge is not None:
            one.fill_between(
                energy_loss_ev, 0, 1, where=near_edge, color="#F0E442", alpha=0.18, linewidth=0,
                transform=one.get_xaxis_transform(),
            )  # fmt: skip
    return ax


def plot_doses(ax: Axes, names: Sequence[str], doses_e_per_a2: Sequence[float | None]) -> Axes:
    """Draw the dose of each exposure in order; unknown doses are open question marks.

    Parameters
    ----------
    ax
        Axes to draw on.
    names
        Name of each exposure.
    doses_e_per_a2
        Dose of each exposure [e/Å²]; ``None`` where no source states it. It is never drawn as
        zero.
    """
    if len(names) != len(doses_e_per_a2):
        raise ParameterError(
            f"{len(names)} names and {len(doses_e_per_a2)} doses were given: give one per exposure"
        )
    places = np.arange(len(names))
    doses = np.array([np.nan if dose is None else dose for dose in doses_e_per_a2], dtype=float)
    known = np.isfinite(doses)
    ax.bar(places[known], doses[known], color="#56B4E9", width=0.7)
    for place in places[~known]:
        ax.annotate("?", (place, 0), ha="center", va="bottom", color="#D55E00", gid="unknown dose")
    ax.set_xticks(places, names, rotation=45, ha="right")
    ax.set_ylabel("dose (e/Å²)")
    ax.set_ylim(bottom=0)
    return ax


def plot_dose_map(
    ax: Axes, dose_e_per_a2: np.ndarray, *, bounds_um: tuple[float, float, float, float]
) -> Axes:
    """Show the accumulated dose in stage coordinates, on a logarithmic scale of colours.

    Parameters
    ----------
    ax
        Axes to draw on.
    dose_e_per_a2
        ndarray of shape (M, N), row 0 at the least y [e/Å²]; where it is 0 nothing is drawn.
    bounds_um
        Left, bottom, right and top (x0, y0, x1, y1) [µm].
    """
    from matplotlib.colors import LogNorm

    x0, y0, x1, y1 = bounds_um
    # Sums of areas leave rounding where nothing fell.
    nothing = dose_e_per_a2 <= 1e-9 * dose_e_per_a2.max(initial=0.0)
    known = dose_e_per_a2[~nothing]
    shown = ax.imshow(
        np.ma.masked_where(nothing, dose_e_per_a2),
        origin="lower",
        extent=(x0, x1, y0, y1),
        norm=LogNorm(max(known.min(), known.max() / 1e4), known.max()) if known.size else None,
        cmap=DOSE_COLOURS,
        interpolation="nearest",
    )
    ax.set_xlabel("stage x (µm)")
    ax.set_ylabel("stage y (µm)")
    ax.figure.colorbar(shown, ax=ax, label="dose (e/Å²)", shrink=0.8)
    return ax

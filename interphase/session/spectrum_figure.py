"""One figure of all that a spectrum image shows."""

from typing import TYPE_CHECKING, Any

import numpy as np

from interphase import plotting
from interphase.session.spectrum_maps import SpectrumMaps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_REGIONS = 4
"""Regions whose spectra are drawn, the largest ones."""
_COLUMNS = 4
_WIDTH_IN, _SPECTRUM_IN = 2.9, 2.5
"""Width of a map with its scale, and height of a spectrum [inch]."""
_MOST_IN = 4.0
"""Largest height of a map [inch]."""
REGION_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
"""Colours of regions, safe for colour-blind readers."""


def draw_maps(maps: SpectrumMaps, *, title: str = "") -> "Figure":
    """Return a figure: where the map is, its regions, thickness, elements, species and spectra.

    Squares in which an element is not above noise are grey; where nothing can be said they are
    white. The scale bars need `SpectrumMaps.scan_step_a`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = _panels(maps)
    rows = -(-len(panels) // _COLUMNS)
    spectra = _spectra(maps)
    heights = [*([_row_in(maps) * rows] if rows else []), *([_SPECTRUM_IN] * len(spectra))]
    figure = Figure(figsize=(_WIDTH_IN * _COLUMNS, sum(heights) + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    parts = list(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
    if rows:
        grid = parts.pop(0).subplots(rows, _COLUMNS, squeeze=False).ravel()
        for ax, draw in zip(grid, panels, strict=False):
            draw(ax)
        for ax in grid[len(panels) :]:
            ax.set_axis_off()
    for part, (name, words, colour) in zip(parts, spectra, strict=True):
        _draw_spectrum(part, maps, name, words, colour)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def _row_in(maps: SpectrumMaps) -> float:
    """Return the height of a row of maps with their titles [inch]."""
    images = [maps.counts, None if maps.survey is None else maps.survey.image]
    tall = max(image.shape[0] / image.shape[1] for image in images if image is not None)
    return float(min(0.75 * _WIDTH_IN * tall, _MOST_IN) + 0.65)


def _draw_spectrum(part: Any, maps: SpectrumMaps, name: str, words: str, colour: str) -> None:
    curves = maps.curves.get(name)
    if curves is None:
        top = part.subplots()
        plotting.plot_spectrum(top, maps.energy_ev, maps.summed)
        if maps.energy_ev[0] < 0 < maps.summed.max():
            # Beside the zero-loss peak nothing else would be seen.
            top.set_yscale("log")
            top.set_ylim(bottom=max(float(np.median(np.abs(maps.summed))) / 30, 0.5))
    else:
        top, below = part.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        plotting.plot_fit(
            top,
            below,
            curves.energy_ev,
            recorded=curves.recorded,
            fitted=curves.fitted,
            background=curves.background,
            residual=curves.residual,
            near_edge=curves.near_edge,
        )
    top.set_title(words, fontsize=9, loc="left", color=colour)


def _panels(maps: SpectrumMaps) -> list[Any]:
    """Return what draws each panel of the maps."""
    step = maps.scan_step_a

    def survey(ax: Any) -> None:
        from matplotlib.patches import Rectangle

        assert maps.survey is not None
        plotting.plot_image(ax, maps.survey.image, pixel_size_a=maps.survey.pixel_size_a)
        if maps.survey.area_px is not None:
            top, left, bottom, right = maps.survey.area_px
            ax.add_patch(
                Rectangle(
                    (left - 0.5, top - 0.5),
                    right - left,
                    bottom - top,
                    fill=False,
                    ec="#F0E442",
                    lw=1.5,
                )
            )
        ax.set_title("survey image, area mapped", fontsize=8)

    def counts(ax: Any) -> None:
        from matplotlib.colors import ListedColormap

        assert maps.counts is not None
        assert maps.regions is not None
        plotting.plot_image(ax, maps.counts, pixel_size_a=step)
        number = min(maps.regions.number, len(REGION_COLOURS))
        for k in range(number if number > 1 else 0):
            own = maps.regions.labels == k
            ax.imshow(np.ma.masked_array(own, ~own), cmap=ListedColormap([REGION_COLOURS[k]]),
                      alpha=0.35, interpolation="nearest")  # fmt: skip
            rows, columns = np.nonzero(own)
            # The pixel of the region next to its middle, since the middle may lie outside.
            at = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
            ax.text(columns[at], rows[at], str(k + 1), color="white", ha="center", va="center")
        said = "one region" if number == 1 else f"{maps.regions.number} regions"
        ax.set_title(f"counts of all channels, {said}", fontsize=8)

    def thickness(ax: Any) -> None:
        assert maps.thickness is not None
        plotting.plot_map(ax, maps.thickness, label="t/λ", pixel_size_a=step)
        error = np.nanmedian(maps.thickness_error) if maps.thickness_error is not None else np.nan
        ax.set_title(f"thickness, ± {error:.2g} per pixel", fontsize=8)

    def element(one: Any) -> Any:
        def draw(ax: Any) -> None:
            with np.errstate(invalid="ignore"):
                above = one.areal_density_per_nm2 > one.detection_limit_per_nm2
            doubtful = above & ~one.detected
            plotting.plot_map(
                ax,
                np.where(doubtful, np.nan, one.areal_density_per_nm2),
                label="atoms per nm²",
                pixel_size_a=None if step is None else step * one.binning,
                shown=one.detected,
            )
            squares = f"{one.binning} × {one.binning} px, " if one.binning > 1 else ""
            doubt = "" if one.resolved else "\nthe electrons do not suffice for a map"
            doubt += "\nwhite: in doubt, or no answer" if doubtful.any() else ""
            doubt += f"\nor {' or '.join(one.contested).replace('_', ' ')}" if one.contested else ""
            ax.set_title(
                f"{one.element}: {squares}limit {_plain(one.typical_limit_per_nm2)} /nm²{doubt}",
                fontsize=8,
            )

        return draw

    def species(name: str, probability: np.ndarray) -> Any:
        def draw(ax: Any) -> None:
            plotting.plot_map(
                ax,
                probability,
                label="probability",
                pixel_size_a=None if step is None else step * maps.species_binning,
                limits=(0.0, 1.0),
                cmap="cividis",
            )
            ax.set_title(f"{name.replace('_', ' ')}; white: cannot tell", fontsize=8)

        return draw

    return [
        *([survey] if maps.survey is not None else []),
        *([counts] if maps.counts is not None else []),
        *([thickness] if maps.thickness is not None else []),
        *map(element, maps.elements.values()),
        *(species(name, values) for name, values in maps.species.items()),
    ]


def _plain(value: float) -> str:
    """Return two digits of a number without a power of ten.

    >>> _plain(318.7), _plain(0.0432)
    ('320', '0.043')
    """
    return f"{float(f'{value:.2g}'):g}"


def _spectra(maps: SpectrumMaps) -> list[tuple[str, str, str]]:
    """Return which spectra are drawn: the name of their fit, words and a colour."""
    regions = maps.regions
    if regions is None or regions.number < 2:
        return [("sum", "spectrum" if maps.counts is None else "sum of all spectra", "black")]
    return [
        (f"region {k + 1}", f"region {k + 1}, {regions.pixels[k]} spectra", REGION_COLOURS[k])
        for k in range(min(regions.number, MOST_REGIONS))
        if f"region {k + 1}" in maps.curves
    ] or [("sum", "sum of all spectra", "black")]

"""Draw the README's pictures, and write what its example prints into it.

The first picture and the example come from one image of the demonstration session, simulated and
identified here; the second shows the images that are kept of the reference set::

    python docs/make_figures.py
"""

import contextlib
import io
import os
import re
import tempfile
from pathlib import Path

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image

import interphase
from interphase import plotting
from interphase.acquisition import Acquisition, Kind
from interphase.diffraction import PhaseMap
from interphase.report import words
from interphase.session import draw_maps, measure_spectrum_image
from interphase.simulation import (
    DEMO_EXPOSURES,
    DemoTruth,
    EnergyAxis,
    Spectrometer,
    Structure,
    load_truth,
    record_spectra,
    spectrum_image,
    to_eels_signal,
    write_demo_session,
)

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BACKGROUND = "#101418"
TEXT = "#F2F2F2"
REST = "#7A828A"
LEAST_SHOWN = 0.04
KEPT = ROOT / "simulations" / "interphase_reference" / "images"
MATERIALS = {
    "Li": "#8C96A0",
    "Li2O": "#E69F00",
    "LiF": "#56B4E9",
    "Li2CO3": "#009E73",
    "LiOH": "#CC79A7",
    "LEDC": "#3B3355",
    "LiPxOyFz": "#34405E",
    "polymer": "#3A4A3F",
    "electrolyte": "#1F2E3A",
}
"""Colours of what was put in: crystals bright, glasses dark."""


def example_of(readme: str) -> str:
    """Return the README's Python example."""
    found = re.search(r"<!-- example -->\n```python\n(.*?)```", readme, flags=re.DOTALL)
    if found is None:
        raise ValueError("README.md has no Python block marked <!-- example -->")
    return found.group(1)


def write_example_output(output: str) -> None:
    """Put what the example printed under it in the README."""
    readme = README.read_text(encoding="utf-8")
    block = f"<!-- example output -->\n```text\n{output}```"
    pattern = r"<!-- example output -->\n```text\n.*?```"
    README.write_text(re.sub(pattern, lambda _: block, readme, flags=re.DOTALL), encoding="utf-8")


def formula(phase: str) -> str:
    """Return an identifier with its numbers lowered: Li₂CO₃."""
    return phase.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def draw_places(ax: Axes, image: np.ndarray, phase_map: PhaseMap, truth: DemoTruth) -> list[str]:
    """Circle and number the places found, mark what was put in; return the colours."""
    pixel = float(phase_map.pixel_size_a or 1)
    phases = [region.phase for region in phase_map.regions]
    named = plotting.phase_colours(phase for phase in phases if phase != "unknown")
    colours = [named.get(phase, "#FFFFFF") for phase in phases]
    plotting.plot_image(ax, image, pixel_size_a=pixel)
    outline = [effects.withStroke(linewidth=3, foreground="black")]
    for number, (region, colour) in enumerate(zip(phase_map.regions, colours, strict=True), 1):
        if region.centre_a is None or region.area_a2 is None:
            continue
        y, x = np.array(region.centre_a) / pixel
        radius = np.sqrt(region.area_a2 / np.pi) / pixel
        ax.add_patch(Circle((x, y), radius, fill=False, color=colour, linewidth=2))
        # Numbers of places that lie on each other are written side by side.
        angle = np.radians(-90 + 60 * ((number + 1) % 3 - 1))
        ax.text(
            x + (radius + 14) * np.cos(angle),
            y + (radius + 14) * np.sin(angle),
            f"{number}",
            color=colour,
            fontsize=14,
            fontweight="bold",
            ha="center",
            va="center",
            path_effects=outline,
        )
    for crystallite in truth.files[0].crystallites:
        y, x = (centre / pixel for centre in crystallite.centre_a[:2])
        ax.plot(x, y, "+", color="white", markersize=9, path_effects=outline)
        name = formula(crystallite.phase)
        ax.text(x, y + 30, name, color="white", ha="center", va="center", path_effects=outline)
    electrode = f"{formula(truth.files[0].electrode)}\nelectrode"
    ax.text(54, 350, electrode, color="white", ha="center", va="center", path_effects=outline)
    # Circles and numbers that reach over the edge do not make the picture smaller.
    ax.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))
    return colours


def draw_probabilities(ax: Axes, phase_map: PhaseMap, colours: list[str]) -> None:
    """Draw what each place may be as a bar of probabilities."""
    for row, (region, colour) in enumerate(zip(phase_map.regions, colours, strict=True)):
        left = 0.0
        ranked = sorted(region.alternatives.items(), key=lambda item: -item[1])
        shown = [item for item in ranked if item[1] >= LEAST_SHOWN]
        for place, (phase, probability) in enumerate(shown):
            ax.barh(
                row,
                probability,
                left=left,
                height=0.56,
                color=colour if place == 0 else REST,
                alpha=1.0 if place == 0 else 0.85 - 0.12 * min(place, 4),
                edgecolor=BACKGROUND,
                linewidth=1.5,
            )
            word = "none of these" if phase == "unknown" else formula(phase)
            if probability > 0.03 * len(word):
                ax.text(
                    left + probability / 2,
                    row,
                    f"{word}  {words.probability(probability)}" if probability > 0.3 else word,
                    ha="center",
                    va="center",
                    color="black" if place == 0 else TEXT,
                    fontsize=10,
                )
            left += probability
        spacings = ", ".join(f"{d:.2f}" for d in region.d_spacings_a[:3])
        zone = " [{} {} {}]".format(*region.zone_axis) if region.zone_axis else ""
        ax.text(0, row - 0.34, f"{spacings} Å{zone}", color=REST, fontsize=9, va="bottom")
        ax.text(-0.03, row, f"{row + 1}", color=colour, fontsize=13, fontweight="bold", ha="right")
    ax.set_xlim(0, 1)
    ax.set_ylim(len(phase_map.regions) - 0.45, -0.65)
    ax.set_axis_off()


def save(figure: Figure, path: Path, *, dpi: int, facecolor: str) -> None:
    """Write a figure with few colours, as a small file."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=dpi, facecolor=facecolor)
    Image.open(drawn).convert("RGB").quantize(colors=255, method=Image.Quantize.MEDIANCUT).save(
        path, optimize=True
    )


def draw(path: Path, image: np.ndarray, phase_map: PhaseMap, truth: DemoTruth) -> None:
    """Draw the README's picture."""
    dose = truth.files[0].dose_e_per_a2
    figure = Figure(figsize=(12, 3.9), facecolor=BACKGROUND)
    boxes = ((0.005, 0.02, 0.32, 0.86), (0.335, 0.02, 0.32, 0.86), (0.695, 0.02, 0.295, 0.87))
    raw, found, bars = (figure.add_axes(box) for box in boxes)
    plotting.plot_image(raw, image, pixel_size_a=phase_map.pixel_size_a)
    colours = draw_places(found, image, phase_map, truth)
    draw_probabilities(bars, phase_map, colours)
    titles = (f"what the camera saw, {dose:g} e/Å²", "what was found (+ put in)", "what it may be")
    for box, title in zip(boxes, titles, strict=True):
        figure.text(box[0] + 0.002, 0.925, title, color=TEXT, fontsize=13)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=120, facecolor=BACKGROUND)
    # Noise does not compress: a palette halves the file.
    Image.open(drawn).convert("RGB").quantize(colors=96, method=Image.Quantize.MEDIANCUT).save(
        path, optimize=True
    )


def draw_interphases(path: Path) -> None:
    """Draw images of the reference set above what was put into them."""
    files = [KEPT / f"{structure}.hspy" for structure in Structure]
    figure = Figure(figsize=(12, 6.4), facecolor=BACKGROUND)
    for column, file in enumerate(files):
        truth = load_truth(file).truth
        image, pixel = interphase.load(file).data, truth.pixel_size_a
        maps = {name: truth.projected_fraction(name) for name in truth.projected_thickness_a}
        # As wide as high, the electrode at the left whatever edge it was drawn at.
        turns = electrode_edge(maps[truth.electrode])
        side = min(image.shape)
        cut = (slice(0, side), slice(0, side))
        image = np.rot90(image, turns)[cut]
        maps = {name: np.rot90(share, turns)[cut] for name, share in maps.items()}
        upper = figure.add_axes((0.005 + 0.249 * column, 0.475, 0.243, 0.455))
        lower = figure.add_axes((0.005 + 0.249 * column, 0.01, 0.243, 0.455))
        plotting.plot_image(upper, image, pixel_size_a=pixel)
        plotting.plot_composition(lower, maps, colours={**dict.fromkeys(maps, REST), **MATERIALS})
        title = f"{file.stem.replace('_', ' ')}, foil {truth.foil_thickness_a / 10:.0f} nm"
        figure.text(0.008 + 0.249 * column, 0.945, title, color=TEXT, fontsize=13)
    save(figure, path, dpi=110, facecolor=BACKGROUND)


def draw_spectra(path: Path) -> None:
    """Simulate low losses of a film of known materials, measure and draw them."""
    rng = np.random.default_rng(5)
    row, column = np.mgrid[:40, :64]
    thick = np.clip(200.0 + 2 * (column - 30), 0, None)
    crystal = (row - 20) ** 2 + (column - 34) ** 2 < 25
    places = {
        "Li2O": (column >= 12) & (column < 26),
        "Li2CO3": (column >= 26) & (column < 42) & ~crystal,
        "LiF": crystal,
        "polymer": (column >= 42) & (column < 56),
    }
    optics = Spectrometer(
        beam_energy_kev=300,
        collection_semi_angle_mrad=20,
        convergence_semi_angle_mrad=10,
        resolution_fwhm_ev=0.8,
    )
    axis = EnergyAxis(first_ev=-20, dispersion_ev=0.25, channels=700)
    share = spectrum_image(
        {name: np.where(where, thick, 0.0) for name, where in places.items()},
        axis=axis,
        spectrometer=optics,
        energy_shift_ev=rng.normal(0, 0.3, row.shape),
    )
    counts = record_spectra(share, electrons_per_pixel=1000 * 20.0**2 * 0.05, rng=rng)
    signal = to_eels_signal(counts, axis=axis, spectrometer=optics, pixel_size_a=20.0)
    acquisition = Acquisition(
        kind=Kind.SPECTRUM_IMAGE,
        shape=counts.shape,
        scan_step_a=20.0,
        beam_energy_kev=300.0,
        semi_convergence_angle_mrad=10.0,
        collection_angle_mrad=20.0,
    )
    # This film is known to hold nothing whose edge could be taken for lithium's.
    result, maps = measure_spectrum_image(signal, acquisition, rivals=())
    if maps is None:
        raise TypeError(f"the film of the README is no longer measured: {result.sentence}")
    save(draw_maps(maps), path, dpi=100, facecolor="white")


def electrode_edge(share: np.ndarray) -> int:
    """Return the quarter turns that bring the electrode to the left."""
    edges = [share[:, 0], share[0], share[:, -1], share[-1]]
    return int(np.argmax([edge.mean() for edge in edges]))


def main() -> None:
    """Run the example in an empty folder, keep what it prints, draw what it found."""
    code = example_of(README.read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "README.md", "exec"), names)  # noqa: S102 (it is our own README)
        write_example_output(printed.getvalue())
        # The same seed gives the same session again, this time with its truth.
        truth = write_demo_session(Path("again"), exposures=DEMO_EXPOSURES[:1])
        image = interphase.load(Path("again") / truth.files[0].name).data
        os.chdir(ROOT)
    phase_map = names["found"]
    if not isinstance(phase_map, PhaseMap):
        raise TypeError("the README's example no longer names its phase map `found`")
    draw(ROOT / "docs" / "img" / "phases_of_an_image.png", image, phase_map, truth)
    draw_interphases(ROOT / "docs" / "img" / "interphases.png")
    draw_spectra(ROOT / "docs" / "img" / "spectra.png")


if __name__ == "__main__":
    main()

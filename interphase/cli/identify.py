"""``interphase identify``: phases in images and diffraction patterns."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interphase.cli.common import (
    NOT_ASSESSED,
    OK,
    console,
    literal,
    print_json,
    progress_bar,
    result_json,
    styled,
)
from interphase.errors import ParameterError

if TYPE_CHECKING:
    from rich.console import Console

    from interphase.diffraction import Region
    from interphase.session.records import FileResult

LARGEST_PIXEL_A = 1e7
"""A pixel of 1 mm: no electron micrograph is coarser [Å]."""


def identify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Images or patterns.")],
    phases: Annotated[
        str | None,
        typer.Option(
            help="Candidates: a set, or phases and CIFs split by commas; else what session.toml "
            "names, else lithium-sei."
        ),
    ] = None,
    pixel_size: Annotated[
        float | None, typer.Option(metavar="Å", help="Sampling of the images [Å].")
    ] = None,
    reciprocal_pixel_size: Annotated[
        float | None,
        typer.Option(
            metavar="1/Å",
            help="Sampling of the patterns [1/Å]; files without any unit are taken for patterns.",
        ),
    ] = None,
    beam_energy: Annotated[
        float | None, typer.Option(metavar="keV", help="Beam energy [keV].")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for a figure and a JSON file per input.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per file.")] = False,
) -> int:
    """Find the phases in images and diffraction patterns, with probabilities."""
    from interphase.session.records import FileResult
    from interphase.session.single import measure_paths, output_names, write_single

    if beam_energy is not None and not 1 <= beam_energy <= 3000:
        raise ParameterError(
            f"--beam-energy is {beam_energy:.15g} keV: expected 1 to 3000; did you give volts?"
        )
    if pixel_size is not None and not 0 < pixel_size <= LARGEST_PIXEL_A:
        raise ParameterError(
            f"--pixel-size is {pixel_size:.15g} Å: expected more than 0 and at most "
            f"{LARGEST_PIXEL_A:.0e}; it is the side of one pixel in ångström"
        )
    given = {
        "pixel_size_a": pixel_size,
        "reciprocal_pixel_size_per_a": reciprocal_pixel_size,
        "beam_energy_kev": beam_energy,
    }
    with progress_bar("Identifying", hidden=json) as advance:

        def progress(done: int, total: int, result: FileResult | None) -> None:
            advance(done, total, result.file if result else "")

        measured = measure_paths(files, phases=phases, given=given, progress=progress)
    names = output_names([result.file for result, _ in measured])
    for (result, pictures), name in zip(measured, names, strict=True):
        if out is not None:
            write_single(result, pictures, out, name=name)
        if json:
            print_json(result_json(result))
        else:
            _print(console(), result)
    well = all(result.assessment.answered for result, _ in measured)
    return OK if well else NOT_ASSESSED


def _print(screen: "Console", result: "FileResult") -> None:
    from rich.table import Table

    from interphase.report.words import dose_verdict_words, probability

    screen.print(f"[bold]{literal(result.file)}[/]  {styled(result.assessment)}")
    screen.print(f"  {literal(result.sentence)}")
    for warning in result.warnings:
        screen.print(f"  [yellow]warning:[/] {literal(warning)}")
    regions = result.phase_map.regions if result.phase_map else ()
    if regions:
        table = Table(box=None, pad_edge=True, header_style="bold")
        informed = any(region.informed for region in regions)
        columns = ["phase", "probability", "or", "dose", "centre (y, x) Å", "d (Å)", "zone axis"]
        for column in [*columns[:3], *(["with prior"] if informed else []), *columns[3:], "p"]:
            table.add_column(column)
        for region in regions:
            others = [
                f"{phase} {probability(value)}"
                for phase, value in sorted(region.alternatives.items(), key=lambda item: -item[1])
                if phase != region.phase and value >= 0.01
            ]
            table.add_row(
                literal(region.phase),
                probability(region.probability),
                ", ".join(others[:3]),
                *([_with_prior(region)] if informed else []),
                dose_verdict_words(region.dose)[0] if region.dose else "",
                "{:.0f}, {:.0f}".format(*region.centre_a) if region.centre_a else "",
                ", ".join(f"{d:.2f}" for d in region.d_spacings_a[:4]),
                "\\[{} {} {}]".format(*region.zone_axis) if region.zone_axis else "",
                f"{region.p_value:.1g}" if region.p_value else "< 1e-300",
            )
        screen.print(table)
    if result.prior:
        screen.print(f"  [dim]{literal(result.prior)}[/]")
    for sentence in dict.fromkeys(r.dose.sentence for r in regions if r.dose):
        screen.print(f"  [dim]{literal(sentence)}[/]")
    screen.print()


def _with_prior(region: "Region") -> str:
    from interphase.report.words import probability

    phase = region.informed_phase
    return f"{literal(phase)} {probability(region.informed[phase])}" if phase else ""

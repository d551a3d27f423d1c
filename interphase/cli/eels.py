"""``interphase eels``: thickness, elements and species from energy-loss spectra."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interphase.cli.common import NOT_ASSESSED, OK, console, literal, print_json, styled

if TYPE_CHECKING:
    from rich.console import Console

    from interphase.session.spectra import EelsResult


def eels(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Spectra or spectrum images.")
    ],
    elements: Annotated[
        str | None,
        typer.Option(
            metavar="Li,C,..",
            help="Symbols split by commas; else Li, C, O, F and elements whose edges are seen.",
        ),
    ] = None,
    rivals: Annotated[
        str | None,
        typer.Option(
            metavar="Mn,Al,..",
            help="Elements the specimen can hold whose edges are taken for Li K; all common ones "
            "unless given, none if empty.",
        ),
    ] = None,
    low_loss: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Low losses recorded with the spectra.")
    ] = None,
    exposure_ratio: Annotated[
        float | None,
        typer.Option(help="Exposure of the spectra over that of the low losses."),
    ] = None,
    beam_energy: Annotated[
        float | None, typer.Option(metavar="keV", help="Beam energy in keV.")
    ] = None,
    convergence: Annotated[
        float | None, typer.Option(metavar="mrad", help="Semi-angle of convergence in mrad.")
    ] = None,
    collection: Annotated[
        float | None, typer.Option(metavar="mrad", help="Semi-angle of collection in mrad.")
    ] = None,
    binning: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Side of the squares of maps; as the electrons allow unless given.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for figures, maps and a JSON file per input.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per file.")] = False,
) -> int:
    """Measure thickness, elements and lithium species in energy-loss spectra."""
    from interphase.session.single import output_names
    from interphase.session.spectra import (
        SpectraOptions,
        measure_spectrum_files,
        write_spectra,
    )

    options = SpectraOptions(
        elements=_symbols(elements),
        rivals=_symbols(rivals),
        low_loss=low_loss,
        exposure_ratio=exposure_ratio,
        binning=binning,
        given={
            "beam_energy_kev": beam_energy,
            "semi_convergence_angle_mrad": convergence,
            "collection_angle_mrad": collection,
        },
    )
    well = True
    names = output_names([str(path) for path in dict.fromkeys(files)])
    measured = measure_spectrum_files(files, options=options)
    for (result, maps), name in zip(measured, names, strict=True):
        well = well and result.assessment.answered
        if out is not None:
            write_spectra(result, maps, out, name=name)
        if json:
            print_json(_json(result))
        else:
            _print(console(), result)
    return OK if well else NOT_ASSESSED


def _symbols(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _json(result: "EelsResult") -> dict[str, Any]:
    return {
        "file": result.file,
        "assessment": result.assessment,
        "sentence": result.sentence,
        "spectra": result.spectra,
        "relative_thickness": result.relative_thickness,
        "energy_shift_ev": result.energy_shift_ev,
        "energy_shift_error_ev": result.energy_shift_error_ev,
        "elements": result.elements,
        "ratios_to": result.ratios_to,
        "species": result.species,
        "cross_sections": result.cross_sections,
        "regions": result.regions,
        "maps": result.maps,
        "missing": result.missing,
        "notes": result.notes,
    }


def _print(screen: "Console", result: "EelsResult") -> None:
    from rich.table import Table

    screen.print(f"[bold]{literal(result.file)}[/]  {styled(result.assessment)}")
    screen.print(f"  {literal(result.sentence)}")
    if result.elements:
        table = Table(box=None, pad_edge=True, header_style="bold")
        ratio = f"per {result.ratios_to}" if result.ratios_to else "ratio"
        for column in ("element", "detected", "1/nm²", "±", "detection limit", ratio, "±", "or"):
            table.add_column(column)
        for element, amount in result.elements.items():
            table.add_row(
                element,
                "yes" if amount.detected else "no",
                _figure(amount.areal_density_per_nm2),
                _figure(amount.standard_error),
                _figure(amount.detection_limit_per_nm2),
                _figure(amount.ratio),
                _figure(amount.ratio_error),
                ", ".join(edge.replace("_", " ") for edge in amount.instead),
            )
        screen.print(table)
    possible = {name: p for name, p in result.species.items() if p >= 0.1}
    for name, p in sorted(possible.items(), key=lambda item: -item[1]):
        screen.print(f"  {literal(name)} {p:.2f}")
    for note in result.notes:
        screen.print(f"  [dim]{literal(note)}[/]")
    screen.print()


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"

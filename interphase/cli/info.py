"""``interphase info``: what a file holds, what is missing and how to give it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interphase.cli.common import NOT_ASSESSED, OK, console, literal, print_json

if TYPE_CHECKING:
    from rich.console import Console


def info(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files to look into.")],
    write_session: Annotated[
        bool,
        typer.Option(
            "--write-session",
            help="Write a commented session.toml beside the files, for what no header holds.",
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per file.")] = False,
) -> int:
    """Say what files hold: axes, calibration, microscope, dose, what is missing.

    Folders among the files are skipped, and the exit status is then 1.
    """
    from interphase.session.single import describe_paths, write_session_files

    folders = [path for path in files if path.is_dir()]
    # A call that names nothing but folders is wrong: describe_paths says so.
    wanted = [path for path in files if path not in folders] or files
    well = not folders
    read = []
    for acquisition, described in describe_paths(wanted):
        if acquisition is None:
            well = False
        else:
            read.append((Path(described["file"]), acquisition))
        if json:
            print_json(described)
        else:
            _print(console(), described)
    for folder in folders:
        typer.echo(f"interphase: skipped {folder}, which is a folder", err=True)
    if write_session:
        for path in write_session_files(read):
            typer.echo(f"wrote {path}", err=True)
    return OK if well else NOT_ASSESSED


_SHOWN = (
    ("pixel_size_a", "pixel size", "Å"),
    ("reciprocal_pixel_size_per_a", "pattern sampling", "1/Å"),
    ("scan_step_a", "scan step", "Å"),
    ("dispersion_ev", "dispersion", "eV"),
    ("beam_energy_kev", "beam energy", "keV"),
    ("dose_e_per_a2", "dose", "e/Å²"),
    ("prior_dose_e_per_a2", "dose before", "e/Å²"),
    ("dose_rate_e_per_a2_s", "dose rate", "e/Å²/s"),
    ("exposure_time_s", "exposure", "s"),
    ("dwell_time_s", "dwell time", "s"),
    ("frames", "frames", ""),
    ("beam_current_pa", "beam current", "pA"),
    ("defocus_a", "defocus", "Å"),
    ("temperature_k", "temperature", "K"),
    ("time", "time", ""),
    ("microscope", "microscope", ""),
    ("detector", "detector", ""),
)


def _print(screen: "Console", described: Mapping[str, Any]) -> None:
    from rich.table import Table

    if described.get("assessment") == "failed":
        screen.print(f"[bold]{literal(described['file'])}[/]  [red]cannot be read[/]")
        screen.print(f"  {literal(described['sentence'])}\n")
        return
    shape = " × ".join(map(str, described["shape"]))
    screen.print(f"[bold]{literal(described['file'])}[/]  {described['kind']}  {shape}")
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    table.add_column(style="dim", overflow="fold")
    for name, words, unit in _SHOWN:
        value = described.get(name)
        if value is not None:
            text = f"{value:.5g} {unit}" if isinstance(value, float) else f"{value} {unit}"
            table.add_row(words, literal(text), literal(described["sources"].get(name, "")))
    for name, remedy in described["missing"].items():
        table.add_row(name, "[yellow]unknown[/]", literal(remedy))
    screen.print(table)
    for warning in described["warnings"]:
        screen.print(f"  [yellow]warning:[/] {literal(warning)}")
    screen.print()

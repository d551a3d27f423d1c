"""``interphase demo``: the whole job on a small simulated session."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interphase.cli.common import OK, console, literal, print_json, progress_bar
from interphase.errors import ParameterError

if TYPE_CHECKING:
    from interphase.diffraction.results import Region


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for the simulated session and its results.")
    ] = Path("interphase-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulation.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per file.")] = False,
) -> int:
    """Simulate a small session, measure it, and show what was found beside what was put in."""
    from interphase.report import write_report
    from interphase.session import run_session
    from interphase.session.records import FileResult
    from interphase.simulation import write_demo_session

    session = out / "simulated-session"
    if session.exists() and not (session / "truth.json").is_file():
        raise ParameterError(
            f"{session} exists and is no demo session: give another folder with --out"
        )
    typer.echo(f"Simulating a session in {session} (about a minute)", err=True)
    truth = write_demo_session(session, seed=seed)
    with progress_bar("Measuring", hidden=json) as advance:

        def progress(done: int, total: int, result: FileResult | None) -> None:
            advance(done, total, result.file if result else "")

        result = run_session(session, out=out / "results", progress=progress)
        report = write_report(result, result.out / "report.html")
    found = {file.file: file for file in result.files}
    rows = []
    for file in truth.files:
        phase_map = found[file.name].phase_map
        regions = phase_map.regions if phase_map else ()
        best: dict[str, float] = {}
        for region in regions:
            best[region.phase] = max(region.probability, best.get(region.phase, 0.0))
        rows.append((file, found[file.name], best))
    if json:
        for file, measured, best in rows:
            print_json(
                {
                    "file": file.name,
                    "kind": file.kind,
                    "dose_e_per_a2": file.dose_e_per_a2,
                    "structure": file.structure,
                    "electrode": file.electrode,
                    "put_in": file.phases,
                    "found": best,
                    "assessment": measured.assessment,
                    "sentence": measured.sentence,
                    "report": str(report),
                }
            )
        return OK

    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("file", "kind", "dose (e/Å²)", "interphase", "put in", "found"):
        table.add_column(column, overflow="fold")
    for file, measured, _ in rows:
        phase_map = measured.phase_map
        names = _names(phase_map.regions if phase_map else ())
        table.add_row(
            file.name,
            file.kind,
            f"{file.dose_e_per_a2:g}",
            f"{file.structure.replace('_', ' ')} on {file.electrode}",
            ", ".join(file.phases) or "nothing crystalline",
            names or str(measured.assessment).replace("_", " "),
        )
    screen = console()
    screen.print(table)
    screen.print(
        "\nThe percentage is the probability in the surest of such places; what fits three phases "
        "or more is unclear. The electrode is in view, too."
    )
    screen.print(f"Report: {literal(report)}", soft_wrap=True)
    return OK


def _names(regions: "Iterable[Region]") -> str:
    """Return what was found in a few words: a phase, or two that are not told apart."""
    from interphase.report.words import UNCERTAIN, probability

    surest: dict[str, float] = {}
    unclear = 0
    for region in regions:
        phases = sorted(region.credible_set)
        if len(phases) > 2:
            unclear += 1
            continue
        name = " or ".join(UNCERTAIN.get(phase, phase) for phase in phases)
        value = sum(region.alternatives[phase] for phase in phases)
        surest[name] = max(value, surest.get(name, 0.0))
    names = [f"{name} {probability(value)}" for name, value in surest.items()]
    return ", ".join(names + ([f"{unclear} unclear"] if unclear else []))

"""``interphase simulate``: runs a study of ``simulations/``."""

from typing import TYPE_CHECKING, Annotated

import typer

from interphase.cli.common import NOT_ASSESSED, OK, console, literal, print_json, progress_bar

if TYPE_CHECKING:
    from interphase.simulation import StudyResult


def simulate(
    study: Annotated[str, typer.Argument(help="Folder of a study, or its name in ./simulations.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="The short form, which runs but proves nothing.")
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Result folder [default: STUDY/results/full or quick]."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Cases at a time [default: one per core].")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Dask scheduler to use, such as tcp://host:8786.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object at the end.")] = False,
) -> int:
    """Run a study and compare its tables with the expected ones.

    A run that was stopped goes on where it was when it is called again, and a study of which more
    is asked keeps what it has.
    """
    from interphase.simulation import load_study, run_study

    asked = load_study(study, quick=quick)
    with progress_bar("Cases", hidden=json) as advance:
        result = run_study(asked, out=out, workers=workers, scheduler=scheduler, progress=advance)
    if json:
        print_json(
            {
                "study": asked.name,
                "question": asked.question,
                "quick": asked.quick,
                "out": str(result.out),
                "cases": result.cases,
                "done": result.done,
                "measured": result.measured,
                "stale": result.stale,
                "failed": len(result.failed),
                "errors": result.failed,
                "tables": {name: str(path) for name, path in result.tables.items()},
                "differences": result.differences,
                "seconds": round(result.seconds, 3),
            }
        )
    else:
        screen = console()
        screen.print(literal(asked.question), style="bold")
        kept = result.done - result.measured
        screen.print(f"{result.measured} cases measured, {kept} kept from before.")
        if result.stale:
            screen.print(f"{result.stale} of them were there, but made in another way than now.")
        for name, error in result.failed.items():
            screen.print(f"[red]{literal(name)}[/] failed: {literal(error)}", soft_wrap=True)
        if result.failed:
            verb, them = ("is", "it") if len(result.failed) == 1 else ("are", "them")
            screen.print(
                f"{len(result.failed)} of {result.cases} cases {verb} missing from the tables; "
                f"run again to try {them} again."
            )
        for name, path in result.tables.items():
            screen.print(f"Table: {literal(path)}{_compared(result, name)}", soft_wrap=True)
    return NOT_ASSESSED if result.failed else OK


def _compared(result: "StudyResult", table: str) -> str:
    from interphase.simulation.study_tables import expected_name

    if table not in result.differences:
        return ""
    expected, different = expected_name(table), result.differences[table]
    return f": {different} cells differ from {expected}" if different else f": as {expected}"

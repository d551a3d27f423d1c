"""``interphase run``: the whole job for a session's folder."""

from pathlib import Path
from typing import Annotated

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


def run(
    session: Annotated[Path, typer.Argument(help="Folder of a session's files.")],
    out: Annotated[
        Path | None, typer.Option(help="Result folder [default: SESSION/interphase-results].")
    ] = None,
    phases: Annotated[
        str | None, typer.Option(help="Candidates: a set, or phases and CIFs split by commas.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Files measured at a time [default: one per core].")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Dask scheduler to use, such as tcp://host:8786.")
    ] = None,
    time_limit: Annotated[
        float, typer.Option(min=1, help="Time after which a file is given up [s].")
    ] = 900.0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per file.")] = False,
) -> int:
    """Measure a whole session and write report.html.

    A run that was stopped goes on where it was when it is called again.
    """
    from interphase.report import write_report
    from interphase.session import RunOptions, run_session
    from interphase.session.records import FileResult

    with progress_bar("Measuring", hidden=json) as advance:

        def progress(done: int, total: int, result: FileResult | None) -> None:
            advance(done, total, result.file if result else "")

        result = run_session(
            session,
            out=out,
            phases=phases,
            workers=workers,
            scheduler=scheduler,
            progress=progress,
            options=RunOptions(time_limit_s=time_limit),
        )
        report = write_report(result, result.out / "report.html")
    if json:
        for file in result.files:
            print_json(result_json(file))
    else:
        from rich.table import Table

        from interphase.session import session_sentence

        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("file", "kind", "assessment", "verdict"):
            table.add_column(column, overflow="fold")
        for file in result.files:
            table.add_row(
                literal(file.file),
                str(file.kind or ""),
                styled(file.assessment),
                literal(file.sentence),
            )
        screen = console()
        screen.print(table)
        screen.print()
        screen.print(literal(session_sentence(result.files)), style="bold")
        if result.account is not None:
            screen.print(literal(f"{result.account.sentence} {result.account.bound}"))
        kept = sum(1 for file in result.files if file.key) - result.measured
        screen.print(f"{result.measured} measured, {kept} kept from before.")
        screen.print(f"Report: {literal(report)}", soft_wrap=True)
    return OK if result.assessed else NOT_ASSESSED

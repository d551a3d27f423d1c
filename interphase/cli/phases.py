"""``interphase phases``: the candidates, where they come from, and which look alike."""

from typing import Annotated

import typer

from interphase.cli.common import OK, console, literal, print_json


def phases(
    set_name: Annotated[
        str, typer.Option("--set", help="A set, or phases and CIFs split by commas.")
    ] = "lithium-sei",
    ambiguous: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=50,
            metavar="PCT",
            help="List pairs that no diffraction tells apart if the scale is known to PCT %.",
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object per phase or pair.")
    ] = False,
) -> int:
    """List the candidate phases with their sources, or the pairs that cannot be told apart."""
    from interphase.phases import (
        ambiguity_rows,
        ambiguous_pairs,
        candidates,
        phase_rows,
        phase_sets,
    )

    found = candidates(set_name)
    if ambiguous is None:
        rows = phase_rows(found)
    else:
        rows = ambiguity_rows(ambiguous_pairs(found, tolerance=ambiguous / 100))
    if json:
        for row in rows:
            print_json(row)
        return OK

    from rich.table import Table

    screen = console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    if ambiguous is None:
        for column in ("phase", "name", "space group", "a, b, c (Å)", "K", "grade", "source"):
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(
                literal(row["identifier"]),
                literal(row["name"]),
                str(row["space_group"]),
                ", ".join(f"{row[edge]:.4g}" for edge in ("a_a", "b_a", "c_a")),
                f"{row['temperature_k']:g}" if row["temperature_k"] is not None else "?",
                str(row["grade"]),
                literal(row["source"]),
            )
        screen.print(table)
        screen.print(f"\nSets: {', '.join(phase_sets())}")
    elif not rows:
        screen.print(
            f"Geometry tells all {len(found)} phases apart if the scale is known to "
            f"{ambiguous:g} %.",
            highlight=False,
        )
    else:
        for column in ("phase", "looks like", "scale differs by", "what tells them apart"):
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(
                str(row["first"]),
                str(row["second"]),
                f"{row['scale_difference_percent']:.2f} %",
                str(row["breaks"]),
            )
        screen.print(table)
    return OK

"""``interphase phases``: the candidates, where they come from, and which look alike."""

from typing import TYPE_CHECKING, Annotated

import typer

from interphase.cli.common import OK, console, literal, print_json
from interphase.cli.damage import print_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from interphase.phases import Phase


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
        beam_origins,
        candidates,
        damage_facts,
        phase_rows,
        phase_sets,
    )

    found = candidates(set_name)
    if ambiguous is None:
        rows = phase_rows(found)
    else:
        rows = ambiguity_rows(ambiguous_pairs(found, tolerance=ambiguous / 100))
    if json:
        if ambiguous is None:
            rows = [
                {
                    **row,
                    "damage": damage_facts(phase),
                    "made_by_beam_from": [fact.phase for fact in beam_origins(phase)],
                }
                for row, phase in zip(rows, found, strict=True)
            ]
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
        _print_damage(screen, found)
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


def _print_damage(screen: "Console", phases: "Sequence[Phase]") -> None:
    """Print what the beam is known to do to these phases, and out of what it makes them."""
    from interphase.phases import beam_origins, damage_facts

    facts = [fact for phase in phases for fact in (*damage_facts(phase), *beam_origins(phase))]
    if not facts:
        return
    screen.print("\n[bold]What the beam is known to do[/]")
    print_facts(screen, facts)
    screen.print("Of phases that are not listed here no critical dose could be sourced.")

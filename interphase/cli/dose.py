"""``interphase dose``: the session's dose ledger, and which places passed which budget."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interphase.cli.common import NOT_ASSESSED, OK, console, literal, print_json
from interphase.errors import ParameterError

if TYPE_CHECKING:
    from interphase.dose import DoseTotal
    from interphase.session import DoseAccount


def dose(
    session: Annotated[Path, typer.Argument(help="Folder of a session's files.")],
    out: Annotated[
        Path | None, typer.Option(help="Result folder [default: SESSION/interphase-results].")
    ] = None,
    phases: Annotated[
        str | None, typer.Option(help="Candidates: a set, or phases and CIFs split by commas.")
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(metavar="PHASE=e/Å²", help="A dose of your own for a phase; repeatable."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="X,Y", help="What this place received; stage, in µm.")
    ] = None,
    before: Annotated[
        str | None, typer.Option(metavar="FILE", help="What the place of a file had received.")
    ] = None,
    map_file: Annotated[
        Path | None,
        typer.Option("--map", metavar="FILE", help="Draw the map: .png, .svg, .pdf, or .csv."),
    ] = None,
    add: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Exposures noted by hand: purpose,time,x_um,y_um,diameter_um,dose_e_per_a2,...",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Fill the dose ledger from a session's files and say what every place received.

    Nothing is measured. Exposures noted by hand are kept in ledger.sqlite in SESSION.
    """
    from interphase.session import ask_ledger, run_account, write_dose_map

    place = None if at is None else _place(at)
    ledger, account = run_account(
        session, out=out, phases=phases, budgets=_budgets(budget or []), notes=add
    )
    answers = ask_ledger(ledger, place_um=place, file=_in_session(before, session))
    if map_file is not None:
        write_dose_map(ledger, map_file)
    if json:
        print_json(_as_json(session, ledger, account, answers))
    else:
        words = {"at": f"At {at} µm", "before": f"Before {before}"}
        _print(account, {words[name]: total for name, total in answers.items()}, ledger)
        if map_file is not None:
            console().print(f"Map: {literal(map_file)}", soft_wrap=True)
    return NOT_ASSESSED if account.doubts else OK


def _budgets(stated: Sequence[str]) -> dict[str, float]:
    """Return the budgets of the call."""
    from interphase.phases import known_phases

    names = {name.lower(): name for name in (*known_phases(), "SEI")}
    found = {}
    for word in stated:
        phase, _, number = (part.strip() for part in word.partition("="))
        try:
            dose = float(number)
        except ValueError:
            phase = ""
        if not phase:
            raise ParameterError(f"--budget is {word!r}: expected one such as Li2CO3=400")
        found[names.get(phase.lower(), phase)] = dose
    return found


def _in_session(file: str | None, session: Path) -> str | None:
    """Return a file that is given by its path as the ledger names it."""
    if file and (path := Path(file)).exists() and path.resolve().is_relative_to(session.resolve()):
        return path.resolve().relative_to(session.resolve()).as_posix()
    return file


def _place(at: str) -> tuple[float, float]:
    try:
        x, y = map(float, at.split(","))
    except ValueError:
        raise ParameterError(f"--at is {at!r}: expected x,y in µm, such as -112.4,48.1") from None
    return x, y


def _as_json(
    session: Path, ledger: Path, account: "DoseAccount", answers: dict[str, "DoseTotal"]
) -> dict[str, Any]:
    highest = account.highest
    return {
        "session": str(session),
        "exposures": len(account.exposures),
        "unknown_exposures": account.unknown,
        "max_dose_e_per_a2": highest.at_least_e_per_a2 if highest else None,
        "dose_by_purpose": account.by_purpose,
        "over_budget": [
            {
                "place_um": over.place_um,
                "phase": over.phase,
                "dose_e_per_a2": over.dose_e_per_a2,
                "budget_e_per_a2": over.budget_e_per_a2,
                "passed_by": over.passed_by,
                "passed_at": over.passed_at,
                "sentence": over.sentence,
            }
            for over in account.over_budget
        ],
        "budgets": [
            {
                "phase": budget.phase,
                "between_e_per_a2": budget.bracket_e_per_a2,
                "level": budget.level,
                "places": budget.places,
                "source": budget.fact.source if budget.fact else "--budget",
            }
            for budget in account.budgets
        ],
        "max": highest,
        **answers,
        "doubts": account.doubts,
        "ledger": str(ledger),
        "sentence": " ".join(filter(None, (account.sentence, account.bound))),
    }


def _print(account: "DoseAccount", answers: dict[str, "DoseTotal"], ledger: Path) -> None:
    from interphase.phases import DoseLevel, dose_range

    screen = console()
    screen.print(literal(account.sentence), style="bold")
    if account.bound:
        screen.print(literal(account.bound), style="yellow")
    if account.highest is not None and account.highest.place_um is not None:
        x, y = account.highest.place_um
        screen.print(f"Most, at ({x:.3f}, {y:.3f}) µm: {literal(account.highest.sentence)}")
    for words, total in answers.items():
        screen.print(literal(f"{words}: {total.sentence}"))
    if account.by_purpose:
        table = _table("purpose", "exposures", "unknown dose", "electrons", "dose", "share")
        for purpose, share in account.by_purpose.items():
            table.add_row(
                purpose.replace("_", " "),
                str(share.exposures),
                str(share.unknown) if share.unknown else "",
                f"{share.electrons:.3g}",
                "?" if share.mean_e_per_a2 is None else f"{share.mean_e_per_a2:.4g}",
                "?" if share.dose_share is None else f"{share.dose_share:.0%}",
            )
        least = ", at least" if account.bound else ""
        screen.print(f"\nMean dose upon what was recorded (e/Å²){least}, by purpose")
        screen.print(table)
    if account.budgets:
        tones = {DoseLevel.ABOVE: "red", DoseLevel.WITHIN: "yellow"}
        table = _table("phase", "survives", "highest dose", "places over", "known from")
        for budget in account.budgets:
            tone = tones.get(budget.level, "default")
            fact = budget.fact
            table.add_row(
                literal(budget.phase),
                dose_range(budget.bracket_e_per_a2),
                f"[{tone}]{budget.level.value.replace('_', ' ')}[/]",
                f"[{tone}]{budget.places or ''}[/]",
                literal(f"{fact.criterion}, grade {fact.grade}" if fact else "--budget"),
            )
        screen.print("\nBudgets")
        screen.print(table)
    for over in account.over_budget:
        screen.print(f"[red]over[/] {literal(over.sentence)}")
    for doubt in account.doubts:
        screen.print(f"[yellow]doubt[/] {literal(doubt)}")
    screen.print(f"\nLedger: {literal(ledger)}", soft_wrap=True)


def _table(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

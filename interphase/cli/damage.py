"""``interphase damage``: what is known of the beam's damage, and what was measured of it here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interphase.cli.common import OK, console, literal, print_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from interphase.phases import DamageFact


def damage(
    phase: Annotated[
        str | None, typer.Argument(help="A phase of the table, SEI, or a CIF; else all.")
    ] = None,
    critical_dose: Annotated[
        float | None,
        typer.Option(
            metavar="e/Å²",
            help="Record this critical dose of PHASE, without --low also the dose it survives.",
        ),
    ] = None,
    low: Annotated[
        float | None, typer.Option(metavar="e/Å²", help="No change was seen below.")
    ] = None,
    high: Annotated[
        float | None, typer.Option(metavar="e/Å²", help="The change is seen from here on.")
    ] = None,
    criterion: Annotated[
        str | None, typer.Option(help="How the change was seen, such as '111 spots to 1/e'.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Where it was measured: grid, date.")] = None,
    process: Annotated[str, typer.Option(help="What happens.")] = "change under the beam",
    product: Annotated[
        str | None, typer.Option(help="The phase that the beam makes of it.")
    ] = None,
    beam_energy: Annotated[float | None, typer.Option(metavar="keV")] = None,
    temperature: Annotated[float | None, typer.Option(metavar="K")] = None,
    dose_rate: Annotated[float | None, typer.Option(metavar="e/Å²/s")] = None,
    session: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Heed, and write to, damage.toml beside its session.toml."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per phase.")] = False,
) -> int:
    """List what the beam does to the phases and at which dose, or record a dose of your own."""
    from interphase.phases import (
        beam_origins,
        candidates,
        damage_facts,
        damage_file,
        known_phases,
        own_facts,
    )

    measured = {
        "value_e_per_a2": critical_dose,
        "low_e_per_a2": low,
        "high_e_per_a2": high,
        "beam_energy_kev": beam_energy,
        "temperature_k": temperature,
        "dose_rate_e_per_a2_s": dose_rate,
    }
    words = {"criterion": criterion, "source": source, "product": product}
    if any(value is not None for value in (*measured.values(), *words.values())):
        fact = _stated(phase, process, words, measured)
        return _record(fact, session, json=json)

    own = own_facts(session)
    if phase is not None:
        known = {"SEI", *(fact.phase for fact in own)}
        asked = [phase] if phase in known else list(candidates(phase))
    else:
        asked = list(dict.fromkeys((*known_phases(), "SEI", *(fact.phase for fact in own))))
    names = [one if isinstance(one, str) else one.identifier for one in asked]
    found = [(damage_facts(one, own=own), beam_origins(one, own=own)) for one in asked]
    if json:
        for name, (facts, origins) in zip(names, found, strict=True):
            if phase is not None or facts or origins:
                made = [origin.phase for origin in origins]
                print_json({"phase": name, "damage": facts, "made_by_beam_from": made})
        return OK
    screen = console()
    print_facts(screen, (fact for facts, origins in found for fact in (*facts, *origins)))
    screen.print("Of phases that are not listed here no critical dose could be sourced.")
    screen.print(f"Your own measurements: {len(own)}, in {literal(_where(session, damage_file()))}")
    return OK


def _stated(
    phase: str | None,
    process: str,
    words: dict[str, str | None],
    measured: dict[str, float | None],
) -> "DamageFact":
    """Return the measurement that the call states, if it states one."""
    from interphase.errors import ParameterError
    from interphase.phases import DamageFact, candidates

    needed = {"PHASE": phase, "--criterion": words["criterion"], "--source": words["source"]}
    if absent := [name for name, value in needed.items() if not value]:
        raise ParameterError(f"to record a critical dose give {', '.join(absent)} as well")
    named = [name for name in (phase, words["product"]) if name and name != "SEI"]
    for name in named:
        if len(candidates(name)) != 1:
            raise ParameterError(f"{name!r} is a set: record one phase at a time")
    product = words.pop("product")
    return DamageFact(
        phase="SEI" if phase == "SEI" else candidates(str(phase))[0].identifier,
        product=None if product is None else candidates(product)[0].identifier,
        process=process,
        grade="own",
        **words,  # type: ignore[arg-type]
        **measured,  # type: ignore[arg-type]
    )


def _record(fact: "DamageFact", session: Path | None, *, json: bool) -> int:
    from interphase.errors import ParameterError
    from interphase.phases import dose_range, record_damage

    if session is not None and not session.is_dir():
        raise ParameterError(
            f"--session is {session}, which is no folder: name the one that holds the session.toml"
        )
    path = record_damage(fact, None if session is None else session / "damage.toml")
    if json:
        print_json({"phase": fact.phase, "recorded": fact, "file": str(path)})
        return OK
    console().print(
        f"{literal(fact.phase)}: {dose_range(fact.bracket_e_per_a2)} recorded in {literal(path)}."
    )
    return OK


def _where(session: Path | None, own: Path | None) -> str:
    files = [own] if session is None else [session / "damage.toml", own]
    return (
        " and ".join(str(file) for file in files if file) or "no file (INTERPHASE_DAMAGE is empty)"
    )


def print_facts(screen: "Console", facts: "Iterable[DamageFact]") -> None:
    """Print what the beam does, at which dose, and who says so; each fact once."""
    from rich.table import Table

    from interphase.phases import dose_range

    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ("phase", "what happens", "dose", "seen by", "keV", "K", "e/Å²/s", "grade", "source")
    for column in columns:
        table.add_column(column, overflow="fold")
    for fact in dict.fromkeys(facts):
        measured = (fact.beam_energy_kev, fact.temperature_k, fact.dose_rate_e_per_a2_s)
        table.add_row(
            literal(fact.phase),
            literal(fact.process + (f" to {fact.product}" if fact.product else "")),
            dose_range(fact.bracket_e_per_a2) or literal(fact.missing),
            literal(fact.criterion),
            *("?" if value is None else f"{value:g}" for value in measured),
            f"[bold]{fact.grade}[/]" if fact.own else fact.grade,
            literal(fact.source),
        )
    screen.print(table)

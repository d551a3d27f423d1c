"""What the verbs share: how errors end, how results are printed."""

import functools
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from interphase.errors import InterphaseError

if TYPE_CHECKING:
    from rich.console import Console

    from interphase.phases import DoseVerdict
    from interphase.session.records import FileResult

OK, NOT_ASSESSED, WRONG_CALL, INTERRUPTED = 0, 1, 2, 130

_debug = False


def set_debug(debug: bool) -> None:
    """Show tracebacks and log messages from now on, or do not."""
    global _debug
    _debug = debug
    if debug:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
        logging.getLogger("interphase").setLevel(logging.DEBUG)


def version(show: bool) -> None:
    """Print the version and leave, if asked."""
    if show:
        import interphase

        typer.echo(f"interphase {interphase.__version__}")
        raise typer.Exit


def guarded(verb: Callable[..., int]) -> Callable[..., None]:
    """Return a verb that ends with its exit status and says errors in one sentence."""

    @functools.wraps(verb)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            status = verb(*args, **kwargs)
        except InterphaseError as error:
            _say(str(error))
            raise typer.Exit(WRONG_CALL) from error
        except KeyboardInterrupt as error:
            _say("interrupted; what is finished is kept, run again to go on")
            raise typer.Exit(INTERRUPTED) from error
        except BrokenPipeError as error:
            # The reader of our output has left, as `head` does: not an error worth words.
            sys.stderr.close()
            raise typer.Exit(NOT_ASSESSED) from error
        except typer.Exit:
            raise
        except Exception as error:  # a fault of this program: said in a sentence all the same
            _say(f"{type(error).__name__}: {error} (run with `interphase --debug` to see where)")
            raise typer.Exit(NOT_ASSESSED) from error
        raise typer.Exit(status)

    # Typer reads the annotations of what it is given; the wrapper returns nothing to print.
    call.__annotations__ = {**verb.__annotations__, "return": None}
    return call


def _say(sentence: str) -> None:
    if _debug:
        traceback.print_exc()
    typer.echo(f"interphase: {sentence}", err=True)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one object on one line of standard output; what is not a number becomes null."""
    from interphase.files import to_plain

    typer.echo(json.dumps(to_plain(value), allow_nan=False, ensure_ascii=False))


def result_json(result: "FileResult") -> dict[str, Any]:
    """Return what ``identify --json`` says of a file."""
    acquisition, phase_map = result.acquisition, result.phase_map
    return {
        "file": result.file,
        "kind": result.kind,
        "pixel_size_a": acquisition.pixel_size_a if acquisition else None,
        "dose_e_per_a2": acquisition.dose_e_per_a2 if acquisition else None,
        "assessment": result.assessment,
        "sentence": result.sentence,
        "area_fraction": phase_map.area_fraction if phase_map else {},
        "prior": result.prior or None,
        "regions": [
            {
                "phase": region.phase,
                "probability": region.probability,
                "alternatives": region.alternatives,
                "informed": region.informed,
                "credible_set": region.credible_set,
                "assessment": region.assessment,
                "centre_a": region.centre_a,
                "area_a2": region.area_a2,
                "d_spacings_a": region.d_spacings_a,
                "zone_axis": region.zone_axis,
                "scale_error": region.scale_error,
                "p_value": region.p_value,
                "sentence": region.sentence,
                "dose": _dose_json(region.dose) if region.dose else None,
            }
            for region in (phase_map.regions if phase_map else ())
        ],
        "warnings": result.warnings,
    }


def _dose_json(verdict: "DoseVerdict") -> dict[str, Any]:
    return {
        "received_before_e_per_a2": verdict.received_before_e_per_a2,
        "received_after_e_per_a2": verdict.received_after_e_per_a2,
        "at_least_e_per_a2": verdict.at_least_e_per_a2,
        "level": verdict.level,
        "critical_e_per_a2": verdict.limit.bracket_e_per_a2 if verdict.limit else None,
        "critical": verdict.limit,
        "made_by_beam": {
            "level": verdict.made_level,
            "between_e_per_a2": verdict.made_bracket_e_per_a2,
            "facts": verdict.made_from,
        }
        if verdict.made_from
        else None,
        "sentence": verdict.sentence,
    }


STYLES = {
    "ok": "green",
    "ambiguous": "yellow",
    "unknown_phase": "yellow",
    "no_periodicity": "default",
    "not_assessed": "dim",
    "failed": "red",
}
"""Colour of an assessment in a terminal; magenta where none is listed."""


def literal(text: object) -> str:
    """Return text that the console shows as it is, brackets of file names included."""
    from rich.markup import escape

    return escape(str(text))


def styled(assessment: str) -> str:
    """Return an assessment with its colour."""
    style = STYLES.get(assessment, "magenta")
    return f"[{style}]{assessment.replace('_', ' ')}[/]"


def console() -> "Console":
    """Return a console for people; output that goes into a file or pipe is not squeezed."""
    from rich.console import Console

    screen = Console(highlight=False)
    return screen if screen.is_terminal else Console(highlight=False, width=200)


@contextmanager
def progress_bar(words: str, *, hidden: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar on standard error; the callable takes done, total and what was done last."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    screen = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[last]}"),
        console=screen,
        transient=True,
        disable=hidden or not screen.is_terminal,
    ) as bar:
        job = bar.add_task(words, total=None, last="")

        def advance(done: int, total: int, last: str) -> None:
            bar.update(job, completed=done, total=total, last=last)

        yield advance

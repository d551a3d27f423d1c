"""The command line: each verb parses, calls and prints; nothing is computed here."""

import typer

from interphase.cli.common import guarded, set_debug, version
from interphase.cli.damage import damage
from interphase.cli.demo import demo
from interphase.cli.dose import dose
from interphase.cli.eels import eels
from interphase.cli.identify import identify
from interphase.cli.info import info
from interphase.cli.phases import phases
from interphase.cli.run import run
from interphase.cli.simulate import simulate

app = typer.Typer(
    name="interphase",
    help="Low-dose electron microscopy of battery interphases: dose, phases, and how sure one "
    "can be.",
    epilog="Exit status: 0 all is well, 1 some files could not be assessed, 2 the call is wrong.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks and what is logged."),
    show_version: bool = typer.Option(
        False, "--version", help="Show the version and leave.", callback=version, is_eager=True
    ),
) -> None:
    del show_version
    set_debug(debug)


for verb in (demo, info, phases, damage, identify, eels, dose, run, simulate):
    app.command()(guarded(verb))


def main() -> None:
    """Run the command line."""
    app()

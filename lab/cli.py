"""The command line of a clone, `python -m lab`: what `./scripts/drill`, `bench`, `simulate` and others run."""

import click

from ops.commands.subcommands import CommandLine

_COMMANDS = {
    "bench": "Measure the system, on deployments and databases of their own.",
    "drill": "Break things on a private deployment, with real processes and real kill -9.",
    "simulate": "Run the services on a virtual clock, and break them at every step.",
    "reference": "Write the library's reference from its docstrings.",
    "render": "Write what derives from the list of services: docker/, and lists in other files.",
}


@click.group(
    cls=CommandLine,
    package="lab.commands",
    listed=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def main() -> None:
    """Prove and measure what `orders` runs, from a clone of the project.

    Neither the wheel nor the image has this.
    """

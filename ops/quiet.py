"""Logs of what a command uses: its standard output is an answer, whose every line a program may parse."""

import logging
import sys
from functools import partial

import click
import structlog


def quiet() -> None:
    """Have only warnings logged, and to standard error, until the command that runs has ended."""
    click.get_current_context().call_on_close(partial(structlog.configure, **structlog.get_config()))
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )

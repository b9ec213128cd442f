"""The command line of the library: `halfmessage drill`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from halfmessage.drill.report import line, page, summary
from halfmessage.drill.run import Drill
from halfmessage.errors import HalfMessageError

HELD, BROKEN, MISUSED = 0, 1, 2


def main(words: Sequence[str] | None = None) -> int:
    """Run a drill and print it. Return 0 where all held, 1 where something did not, 2 where it could not be run."""
    parser = argparse.ArgumentParser(prog="halfmessage", description="Transactional messages for any Python service.")
    commands = parser.add_subparsers(required=True)
    drill = commands.add_parser("drill", help="kill a service at every step of its transactions, and say what held")
    drill.add_argument("--app", type=Path, required=True, help="the file with its TransactionalMessages")
    drill.add_argument("--scenario", type=Path, help="the file with act and check; drill.py beside the app")
    earlier = "the file of the version that is deployed now: it acts, and --app comes back in its place"
    drill.add_argument("--upgrade-from", type=Path, metavar="FILE", help=earlier)
    drill.add_argument("--only", default="", metavar="TEXT", help="those steps that have this in their names")
    drill.add_argument("--html", type=Path, help="write a page, too")
    drill.add_argument("--patience", type=float, default=20.0, help="seconds until all must be quiet (20)")
    asked = parser.parse_args(words)
    scenario = asked.scenario or asked.app.with_name("drill.py")
    results = []
    try:
        made = Drill(asked.app, scenario, patience=asked.patience, earlier=asked.upgrade_from)
        for result in made.run(asked.only):
            print(line(result), flush=True)  # noqa: T201 - a command line prints
            results.append(result)
    except HalfMessageError as error:
        print(error.detail, file=sys.stderr)  # noqa: T201
        return MISUSED
    if not results:
        print(f"No step has {asked.only!r} in its name.", file=sys.stderr)  # noqa: T201
        return MISUSED
    print(summary(results, made.untouched))  # noqa: T201
    if asked.html is not None:
        asked.html.write_text(page(asked.app.name, results, made.untouched), encoding="utf-8")
    return BROKEN if any(result.broken for result in results) else HELD


if __name__ == "__main__":
    sys.exit(main())

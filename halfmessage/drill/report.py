"""What a drill tells: a line for each step, and a page."""

from collections.abc import Sequence
from html import escape

from halfmessage.drill.run import SEE_LOG, Result

_LAST = 5  # lines of a log that are printed
_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.4rem;border-top:1px solid}
.broken{font-weight:bold}pre{white-space:pre-wrap}"""


def line(result: Result) -> str:
    """Return what is printed of a step."""
    said = f"{'BROKEN' if result.broken else 'held':7}{result.step.act}: {result.step.name}"
    meaning = f"  ({result.step.meaning})" if result.step.meaning else ""
    last = [f"log: {each}" for each in result.log.splitlines()[-_LAST:]] if SEE_LOG in " ".join(result.broken) else []
    return "\n".join([said + meaning, *(f"         {each}" for each in (*result.broken, *last))])


def summary(results: Sequence[Result], untouched: Sequence[str] = ()) -> str:
    """Return the last line. `untouched`: consumers that nothing came to."""
    held = sum(not result.broken for result in results)
    missing = f" No act came to: {', '.join(untouched)}." if untouched else ""
    return f"{held} of {len(results)} steps held.{missing}"


def page(app: str, results: Sequence[Result], untouched: Sequence[str] = ()) -> str:
    """Return a page of HTML that stands alone: what was done at each step, what held, what the processes said."""
    rows = "".join(_row(result) for result in results)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Drill of {escape(app)}</title>'
        f"<style>{_STYLE}</style><h1>Drill of {escape(app)}</h1><p>{escape(summary(results, untouched))}</p>"
        "<table><thead><tr><th>Step<th>Moment<th>What held<th>Log</thead>"
        f"<tbody>{rows}</table></html>\n"
    )


def _row(result: Result) -> str:
    said = "<br>".join(escape(each) for each in result.broken) or "held"
    log = f"<details><summary>log</summary><pre>{escape(result.log)}</pre></details>"
    kind = ' class="broken"' if result.broken else ""
    step = result.step
    return f"<tr{kind}><td>{escape(f'{step.act}: {step.name}')}<td>{escape(step.meaning)}<td>{said}<td>{log}"

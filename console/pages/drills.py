"""Try to break it: a fault at a step, chosen and watched; and the reports of those that were played.

Never in production: there the console refuses to start with what this needs, and has no such page.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

from console.pages.asking import asked_of
from console.pages.site import HTML, Form, Raw, Result, See, Shown, Site, one
from console.pages.viewer import Viewer
from console.service.actions import Actions, Outcome, SentBefore
from console.service.breaking import named, steps
from console.service.drills import KEPT, LONGEST, SHOWN, Drill, Drills
from halfmessage.errors import Conflict, HalfMessageError

_LOCKED_UP: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; sandbox"
    )
}
"""Of a report: a page made elsewhere, with its style in it. It may neither run nor load anything, nor is it of ours."""


def install(site: Site, drills: Drills, actions: Actions) -> None:
    """Add the pages."""

    @site.page("/drills", menu="Drills")
    def show(viewer: Viewer) -> Result:  # noqa: ARG001 - what every view is given
        context = {
            "steps": steps(),
            "drills": drills.all(),
            "running": drills.running(),
            "form_id": actions.form_id(),
            "longest": LONGEST,
            "kept": KEPT,
        }
        return Shown("drills.html", context)

    @site.page("/drills/<id:drill_id>")
    def show_one(viewer: Viewer, drill_id: int) -> Result:  # noqa: ARG001
        context = {
            "drill": drills.one(drill_id),
            "events": drills.events(drill_id),
            "story": drills.story(drill_id),
            "shown": SHOWN,
            "longest": LONGEST,
        }
        return Shown("drill.html", context)

    @site.page("/drills/<id:drill_id>/report.html")
    def report(viewer: Viewer, drill_id: int) -> Result:  # noqa: ARG001
        return Raw(drills.page(drill_id), HTML, _LOCKED_UP)

    @site.page("/drills/<id:drill_id>/story.html")
    def save(viewer: Viewer, drill_id: int) -> Result:  # noqa: ARG001
        kept = {"Content-Disposition": f'attachment; filename="drill-{drill_id}.html"'}
        return Raw(drills.story_file(drill_id), HTML, {**_LOCKED_UP, **kept})

    @site.form("/drills/start")
    def start(viewer: Viewer, form: Form) -> Result:
        _, fault = named(one(form, "drill"))
        asked = asked_of(viewer, form, "drill", fault.drill, needs_why=False)
        try:
            action_id = actions.begin(asked)[fault.drill]
        except SentBefore:
            return See("/drills")
        try:
            drills.start(action_id, fault.drill, asked.who, ended=partial(_end, actions))
        except HalfMessageError as error:
            actions.end(action_id, Outcome.REFUSED, error.detail)
            if isinstance(error, Conflict):
                return See("/drills")
            raise
        return See(f"/drills/{action_id}")


def _end(actions: Actions, drill: Drill) -> None:
    """Write down how a drill ended, which its page tells in full."""
    if drill.result is None:
        actions.end(drill.drill_id, Outcome.UNKNOWN, drill.failure)
    else:
        actions.end(drill.drill_id, Outcome.DONE, f"The drill {drill.result['verdict']}.")

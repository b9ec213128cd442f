"""The comparison of all books: what it found when it was last run, run again, and repaired."""

from collections.abc import Sequence
from functools import partial

from common.errors import Malformed
from console.pages.asking import asked_of
from console.pages.site import Form, Result, See, Shown, Site, one
from console.pages.viewer import Viewer
from console.service.actions import Actions, Outcome, SentBefore
from console.service.reconciling import LONGEST, Reconciling, Run
from halfmessage.errors import HalfMessageError

_SHOWN = 200  # findings of a page; the others are counted
_EVERYTHING = "everything"


def install(site: Site, reconciling: Reconciling, actions: Actions, participants: Sequence[str]) -> None:
    """Add the pages; `participants`: those of this deployment."""

    @site.page("/reconcile", menu="Reconcile")
    def show(viewer: Viewer) -> Result:  # noqa: ARG001 - what every view is given
        running, last = reconciling.now()
        context = {
            "is_possible": reconciling.is_possible,
            "running": running,
            "last": last,
            "standings": reconciling.standings(participants),
            "shown": _SHOWN,
            "longest": LONGEST,
            "done": actions.of(_EVERYTHING),
            "form_ids": (actions.form_id(), actions.form_id()),
        }
        return Shown("reconcile.html", context)

    @site.form("/reconcile/run")
    def run(viewer: Viewer, form: Form) -> Result:
        repairs = one(form, "what") == "repair"
        if repairs and one(form, "sure") != "yes":
            raise Malformed("Confirm that everything is to be swept now. Nothing was done.")
        asked = asked_of(viewer, form, "repair" if repairs else "compare", _EVERYTHING, needs_why=repairs)
        try:
            action_id = actions.begin(asked)[_EVERYTHING]
        except SentBefore:
            return See("/reconcile")
        try:
            reconciling.start(asked.who, repairs=repairs, ended=partial(_end, actions, action_id))
        except HalfMessageError as error:
            actions.end(action_id, Outcome.REFUSED, error.detail)
        return See("/reconcile")


def _end(actions: Actions, action_id: int, run: Run) -> None:
    """Write down how a run ended, which the page tells in full."""
    actions.end(action_id, Outcome.UNKNOWN if run.failure else Outcome.DONE, run.failure or _told(run))


def _told(run: Run) -> str:
    if run.report is None or run.report.is_clean:
        return "Everything agrees."
    counts = (f"{number} {gravity}" for gravity, number in run.report.told["counts"].items() if number)
    return f"Found: {', '.join(counts)}."

"""Dead letters and parked half messages: what lies still, what would be done to it, and what was done."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from common.errors import Malformed
from console.pages.asking import asked_of
from console.pages.site import Form, Result, See, Shown, Site, one
from console.pages.viewer import Viewer
from console.service.actions import Actions, SentBefore
from console.service.letters import LIES, MOST, Letters, Way
from console.service.searching import Search
from console.service.trying import told_as, tried
from halfmessage.errors import NotFound

_CURSORS: Final = {Way.RESEND: "dead", Way.RESUME: "parked"}


def install(site: Site, search: Search, actions: Actions, letters: Letters) -> None:
    """Add the pages."""

    @site.page("/dead", query=tuple(_CURSORS.values()), menu="Dead letters")
    def show_dead(viewer: Viewer, query: Mapping[str, str]) -> Result:  # noqa: ARG001 - what every view is given
        lists = {}
        for way, name in _CURSORS.items():
            asked = {"state": LIES[way].value} | ({"cursor": query[name]} if name in query else {})
            lists[way.value] = told_as("page", tried(partial(search.page, asked)))
        return Shown("dead.html", {"lists": lists, "done": letters.told(actions.recent(set(Way))), "most": MOST})

    @site.form("/dead/plan")
    def plan(viewer: Viewer, form: Form) -> Result:  # noqa: ARG001
        way = _way(form)
        steps = letters.plan_all(way) if one(form, "all") else letters.plan(way, _chosen(form))
        return Shown("dead_plan.html", {"way": way.value, "steps": steps, "form_id": actions.form_id(), "most": MOST})

    @site.form("/dead/send")
    def send(viewer: Viewer, form: Form) -> Result:
        way = _way(form)
        asked = asked_of(viewer, form, way.value, *_chosen(form))
        with suppress(SentBefore):  # a viewer who clicked twice sees what was done once
            letters.send_on(way, asked)
        return See(f"/dead/sent/{asked.batch}")

    @site.page("/dead/sent")
    def show_recent(viewer: Viewer) -> Result:  # noqa: ARG001
        """Show what was done alone: it is polled, and to list what lies still costs a search of all that does."""
        return Shown("dead_sent.html", {"done": letters.told(actions.recent(set(Way))), "counts": {}})

    @site.page("/dead/sent/<id:batch>")
    def show_sent(viewer: Viewer, batch: int) -> Result:  # noqa: ARG001
        done = actions.of_batch(batch, MOST)
        if not done:
            raise NotFound("Nothing was sent on with this form: it is too long ago, or never was.")
        counts = Counter(action.outcome.value for action in done)
        return Shown("dead_sent.html", {"done": letters.told(done), "counts": counts})


def _way(form: Form) -> Way:
    try:
        return Way(one(form, "way"))
    except ValueError:
        raise Malformed("Messages are sent on by resend or resume.") from None


def _chosen(form: Form) -> list[str]:
    found = list(dict.fromkeys(form.get("id", ())))
    if not 1 <= len(found) <= MOST:
        raise Malformed(f"Choose 1 to {MOST} messages. Nothing was done.")
    if any(len(each) > 64 or not each.isalnum() for each in found):  # noqa: PLR2004 - as long as any broker's id
        raise Malformed("These are no ids of messages. Nothing was done.")
    return found

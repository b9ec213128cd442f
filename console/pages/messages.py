"""Messages: a list that is searched and turned page by page, and each by itself."""

from collections.abc import Mapping
from typing import Final

from common.registry import SUBSCRIPTIONS, TOPICS
from console.pages.site import Result, Shown, Site
from console.pages.viewer import Viewer
from console.service.actions import Actions
from console.service.bodies import body_of
from console.service.letters import LIES, Letters, Way
from console.service.looking import Silent
from console.service.searching import FIELDS, Search
from console.service.trying import told_as, tried
from halfmessage.mq.port import State

_GROUPS: Final = sorted({group for _, group in SUBSCRIPTIONS})


def install(site: Site, search: Search, actions: Actions, letters: Letters, *, tells_all: bool) -> None:
    """Add the pages; `tells_all`: the broker lists delayed messages, and tells acknowledgements and checks."""

    @site.page("/messages", query=(*FIELDS, "cursor"), menu="Messages")
    def show_messages(viewer: Viewer, query: Mapping[str, str]) -> Result:  # noqa: ARG001 - what every view is given
        found = tried(lambda: search.page(query))
        asked = {name: query.get(name, "") for name in FIELDS}
        choices = {"topic": sorted(TOPICS), "group": _GROUPS, "state": [state.value for state in State]}
        return Shown(
            "messages.html", {**told_as("page", found), "asked": asked, "choices": choices, "tells_all": tells_all}
        )

    @site.page("/messages/<word:message_id>")
    def show_message(viewer: Viewer, message_id: str) -> Result:  # noqa: ARG001
        found = tried(lambda: search.one(message_id))
        done = letters.told(actions.of(message_id))
        if isinstance(found, Silent):
            return Shown("message.html", {"message_id": message_id, "view": None, "why": found.why, "done": done})
        context = {
            "message_id": message_id,
            "view": found,
            "body": body_of(found.message.body),
            "order_ids": [key for key in found.message.keys if key.isascii() and key.isdecimal()],
            "way": next((way.value for way in Way if LIES[way] is found.state), None),
            "done": done,
            "tells_all": tells_all,
        }
        return Shown("message.html", context)

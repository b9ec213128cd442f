"""Transactions: those that are open, and all that the broker still has, each with its steps and tries."""

from collections.abc import Mapping

from console.pages.asking import asked_of
from console.pages.site import Form, Result, See, Shown, Site
from console.pages.viewer import Viewer
from console.service.actions import Actions
from console.service.doing import Doing
from console.service.transactions import OF, Transactions
from console.service.trying import told_as, tried

_SWEPT = "transactions"


def install(site: Site, transactions: Transactions, actions: Actions, *, tells_all: bool) -> None:
    """Add the page; `tells_all`: the broker tells check-backs, and when the next one is."""
    doing = Doing(actions)

    @site.page("/transactions", query=("of", "cursor"), menu="Transactions")
    def show(viewer: Viewer, query: Mapping[str, str]) -> Result:
        of, cursor = query.get("of", "orders"), query.get("cursor")
        context = {
            "undecided": told_as("page", tried(lambda: transactions.undecided(viewer.token))),
            "recent": told_as("page", tried(lambda: transactions.recent(viewer.token, of, cursor))),
            "of": of,
            "kinds": tuple(OF),
            "is_first": cursor is None,
            "tells_all": tells_all,
            "form_id": actions.form_id(),
            "done": actions.of(_SWEPT),
        }
        return Shown("transactions.html", context)

    @site.form("/transactions/sweep")
    def sweep(viewer: Viewer, form: Form) -> Result:
        asked = asked_of(viewer, form, "sweep", _SWEPT, needs_why=False)
        doing.once(asked, lambda _: transactions.sweep(viewer.token))
        return See("/transactions")

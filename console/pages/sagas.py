"""Returns: those that have not ended, each with its steps; retried, given up, a step skipped."""

from collections.abc import Mapping
from typing import Final

from common.errors import Malformed
from console.clients.services import Services
from console.pages.asking import asked_of
from console.pages.site import Form, Result, See, Shown, Site, one
from console.pages.viewer import Viewer
from console.service.actions import Actions
from console.service.doing import Doing
from console.service.trying import told_as, tried
from halfmessage.saga.model import RunState

_STATES: Final = tuple(state.value for state in RunState)
_PAGE: Final = 50
_LONGEST_STEP: Final = 27  # characters of a step's name: it is written down with the word before it, in 32


def install(site: Site, services: Services, actions: Actions) -> None:
    """Add the pages."""
    _install_pages(site, services, actions)
    doing = Doing(actions)

    @site.form("/sagas/<id:run_id>/retry")
    def retry(viewer: Viewer, run_id: int, form: Form) -> Result:
        asked = asked_of(viewer, form, "retry", _thing(run_id), needs_why=False)
        doing.once(asked, lambda _: services.post("order", f"/admin/sagas/{run_id}/retry", viewer.token))
        return See(f"/sagas/{run_id}")

    @site.form("/sagas/<id:run_id>/give-up")
    def give_up(viewer: Viewer, run_id: int, form: Form) -> Result:
        asked = asked_of(viewer, form, "give up", _thing(run_id))
        body = {"why": asked.why}
        doing.once(asked, lambda _: services.post("order", f"/admin/sagas/{run_id}/give-up", viewer.token, body))
        return See(f"/sagas/{run_id}")

    @site.form("/sagas/<id:run_id>/skip")
    def skip(viewer: Viewer, run_id: int, form: Form) -> Result:
        step = one(form, "step")
        if len(step) > _LONGEST_STEP:
            raise Malformed("This is no step of a return. Nothing was done.")
        asked = asked_of(viewer, form, f"skip {step}", _thing(run_id))
        body = {"step": step, "why": asked.why}
        doing.once(asked, lambda _: services.post("order", f"/admin/sagas/{run_id}/skip", viewer.token, body))
        return See(f"/sagas/{run_id}")


def _install_pages(site: Site, services: Services, actions: Actions) -> None:
    @site.page("/sagas", query=("state", "cursor"), menu="Returns")
    def show_sagas(viewer: Viewer, query: Mapping[str, str]) -> Result:
        state, cursor = query.get("state"), query.get("cursor")
        if state not in {None, *_STATES}:
            raise Malformed(f"state is one of {', '.join(_STATES)}.")
        found = tried(
            lambda: services.get("order", "/admin/sagas", viewer.token, limit=_PAGE, state=state, cursor=cursor)
        )
        context = {"state": state, "states": _STATES, "is_first": cursor is None, **told_as("page", found)}
        return Shown("sagas.html", context)

    @site.page("/sagas/<id:run_id>")
    def show_saga(viewer: Viewer, run_id: int) -> Result:
        found = tried(lambda: services.get("order", f"/admin/sagas/{run_id}", viewer.token))
        context = {
            "run_id": run_id,
            **told_as("run", found),
            "done": actions.of(_thing(run_id)),
            "form_id": actions.form_id,
        }
        return Shown("saga.html", context)


def _thing(run_id: int) -> str:
    return f"return {run_id}"

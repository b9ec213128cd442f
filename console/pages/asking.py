"""What every form asks for that has something done: by whom, with what, and why, once for each form."""

from common.errors import Malformed
from common.schema import parse_id
from console.pages.site import Form, one
from console.pages.viewer import Viewer
from console.service.actions import Asked
from console.service.doing import why_of


def asked_of(viewer: Viewer, form: Form, action: str, *what: str, needs_why: bool = True) -> Asked:
    """Return what a form of `viewer` asks for: an action with each of `what`. Raise `Malformed`."""
    why = why_of(one(form, "why"), required=needs_why)
    return Asked(_id_of(form), viewer.identity.user_id, action, what, why)


def _id_of(form: Form) -> int:
    """Return the id that a form of ours carries. Raise `Malformed`."""
    form_id = parse_id(one(form, "form_id"))
    if form_id is None:
        raise Malformed("This form has no id: open it anew.")
    return form_id

"""What every form asks for that has something done: by whom, with what, and why, once for each form."""

from common.errors import Malformed
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
    text = one(form, "form_id")
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):  # noqa: PLR2004 - digits of a 64-bit integer
        raise Malformed("This form has no id: open it anew.")
    return int(text)

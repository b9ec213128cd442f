"""Where the console is: at the root of its own port, or below a path of the gateway, which takes it away before."""

import re
from typing import Final

from flask import Request, has_request_context

from common.web.requests import current_request

GATEWAY: Final = "/console"
"""The one path that a gateway may put before ours (`gateway.caddy`), as its header X-Forwarded-Prefix says."""
_ADDRESS: Final = re.compile(r'((?: href| action| src| data-hx-get| data-url)=")(/(?!/))')


def prefix(request: Request) -> str:
    """Return what comes before our paths where the viewer sees them; nothing that is not `GATEWAY` is believed."""
    return GATEWAY if request.headers.get("X-Forwarded-Prefix") == GATEWAY else ""


def placed(html: str) -> str:
    """Return a page with the addresses in its elements as the viewer's browser needs them.

    Whatever is put into a template is escaped: no text of a page has the quotes of an element.
    """
    before = prefix(current_request()) if has_request_context() else ""
    return _ADDRESS.sub(rf"\1{before}\2", html) if before else html

"""The parts of OpenAPI documents that are the same for every service."""

from typing import Any

Json = dict[str, Any]

RESPONSE_HEADERS: dict[str, Json] = {
    "X-Request-Id": {
        "description": "names this request in our logs: the one that was sent, if it is sane, or a new one",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
    "Retry-After": {"description": "seconds", "required": True, "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"required": True, "schema": {"type": "string", "const": "Bearer"}},
    "Allow": {"description": "the methods that there are", "required": True, "schema": {"type": "string"}},
    "Location": {"description": "where the new thing is", "required": True, "schema": {"type": "string"}},
    "Preference-Applied": {"required": True, "schema": {"type": "string", "const": "respond-async"}},
    "Idempotency-Replayed": {
        "description": "true: this is the answer that the first request with the same key got",
        "schema": {"type": "string", "const": "true"},
    },
}
HEADERS_BY_STATUS = {
    201: "Location",
    401: "WWW-Authenticate",
    405: "Allow",
    429: "Retry-After",
    503: "Retry-After",
}
IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "makes sending the same request again harmless: the first answer comes again; the same "
    "several times with commas between is a header that came twice, and refused",
    "schema": {"type": "string", "pattern": r"^[!-~]{1,255}$"},
}
PREFER: Json = {
    "name": "Prefer",
    "in": "header",
    "description": "respond-async (RFC 7240): take it in now, do it soon, and answer 202 with where its state is told; "
    "other preferences are ignored",
    "schema": {"type": "string", "examples": ["respond-async"]},
}
PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "what is invalid: where (RFC 6901; in the body, or the parameter's name), and why",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "message": {"type": "string"}},
                "required": ["pointer", "message"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
}

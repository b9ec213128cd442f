"""Bugs in the console's pages of messages, of what is sent on, and of the books that are compared."""

from collections.abc import Callable
from dataclasses import replace

from markupsafe import Markup

from console.service.bodies import Body
from lab.drill.mutants.mutant import Assign, Mutant, edited

_PAGES = "tests/unit/test_console_messages.py::"
_LETTERS = "tests/unit/test_console_letters.py::"


def _as_markup(body_of: Callable[[bytes], Body]) -> Callable[[bytes], Body]:
    """Return a `body_of` whose bodies are taken for HTML of ours."""

    def trusting(octets: bytes) -> Body:
        body = body_of(octets)
        return replace(body, text=Markup(body.text))  # noqa: S704  # nosec B704 - that is the bug

    return trusting


MUTANTS = (
    edited(
        "dry-run-resends",
        "who only looks at what would be done has done it",
        _PAGES + "test_the_dry_run_resends_nothing",
        (
            "console.service.letters:Letters._step",
            "found = console.find(message_id=message_id, limit=1)",
            "found = console.find(message_id=message_id, limit=1)\n    _done(console, way, message_id)",
        ),
    ),
    edited(
        "reason-not-recorded",
        "a message was resent, and no record tells why",
        _PAGES + "test_a_dead_letter_is_resent_with_a_reason_that_is_shown",
        ("console.service.actions:Actions.begin", '"why": asked.why,', '"why": "",'),
    ),
    Mutant(
        "body-is-markup",
        "who sends a message runs a script in the administrator's browser",
        _PAGES + "test_a_body_full_of_markup_stays_text",
        (Assign("console.pages.messages:body_of", _as_markup),),
    ),
    edited(
        "form-has-no-memory",
        "a double click resends twice",
        _LETTERS + "test_a_form_that_is_sent_twice_resends_once",
        ("console.service.actions:Actions.begin", '"batch": asked.batch,', '"batch": None,'),
    ),
    edited(
        "lost-answer-told-as-nothing",
        "a restock whose answer was lost counts as refused, and is done again under another key",
        "tests/unit/test_console_actions.py::test_a_form_that_is_sent_twice_is_done_once",
        ("console.service.doing:_outcome", "return Outcome.UNKNOWN, _LOST", "return Outcome.REFUSED, _LOST"),
    ),
    edited(
        "not-compared-is-green",
        "a participant that was not looked at is told to hold",
        "tests/unit/test_console_reconciling.py::test_a_participant_is_green_or_red_with_when_it_was_looked_at",
        ("console.service.reconciling:_standing", "if not is_known:", "if False:"),
    ),
    edited(
        "cut-findings-are-green",
        "of more findings than are told, the participant's own may be among the others",
        "tests/unit/test_console_reconciling.py::test_findings_that_were_cut_make_no_participant_green",
        ("console.service.reconciling:_standing", "bool(found) or not report.is_cut", "True"),
    ),
)

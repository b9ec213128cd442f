"""Bugs in the console's doors and pages: who gets in, what proves a form, and what a silent source is shown as."""

from lab.drill.mutants.mutant import edited

_LOGIN = "tests/unit/test_console_login.py::"
_ORDERS = "tests/unit/test_console_orders.py::"
_OVERVIEW = "tests/unit/test_console_overview.py::"
_DRILLS = "tests/unit/test_console_drills.py::"

MUTANTS = (
    edited(
        "form-without-proof",
        "another site's form pays, cancels and sweeps in the name of who is logged in",
        _LOGIN + "test_a_form_without_proof_is_refused",
        (
            "console.pages.viewer:Sessions.is_ours",
            "return hmac.compare_digest(",
            "return True or hmac.compare_digest(",
        ),
    ),
    edited(
        "cookie-for-scripts",
        "a script that gets into a page takes the token with it",
        _LOGIN + "test_the_cookie",
        ("console.pages.viewer:_cookie", "httponly=True", "httponly=False"),
    ),
    edited(
        "token-in-an-address",
        "tokens stay in histories and logs",
        _LOGIN + "test_a_token_in_an_address_is_refused",
        ("console.pages.guard:_refuse_token_in_address", "_JWT.search(", "not ("),
    ),
    edited(
        "pages-for-all",
        "who may see their own orders alone sees the overview, and finds all users'",
        _LOGIN + "test_a_user_finds_no_page_of_admins",
        ("console.pages.site:Site._viewer", "if not viewer.may(scopes):", "if False:"),
    ),
    edited(
        "all-orders-for-users",
        "a user's list of orders asks for all users'",
        _ORDERS + "test_a_user_asks_for_their_own_orders_with_their_own_token",
        ("console.pages.orders:_install_lists", "if viewer.is_admin", "if True"),
    ),
    edited(
        "names-as-markup",
        "what an admin called their goods is run by who looks at the order",
        _ORDERS + "test_hostile_names_stay_text",
        ("console.pages.rendering:Templates.__init__", "autoescape=True", "autoescape=False"),
    ),
    edited(
        "silence-as-zero",
        "a broker that is down has no dead letters",
        _OVERVIEW + "test_the_page_says_what_is_not_known",
        ("console.pages.overview:_known", "return None if", "return 0 if"),
    ),
    edited(
        "silent-order-as-idle",
        "an order service that is down places no orders per second",
        _OVERVIEW + "test_an_instance_that_is_silent_is_not_counted_as_zero",
        ("console.service.overview:Overview._point", "rates if known else None", "rates"),
    ),
    edited(
        "failed-though-done",
        "an action whose answer was lost is said to have changed nothing",
        _ORDERS + "test_an_action_without_an_answer_is_not_said_to_have_failed",
        ("console.pages.orders:_install_actions", "unknown = isinstance(error, PeerUnavailable)", "unknown = False"),
    ),
    edited(
        "drills-in-production",
        "an administrator breaks things through the console of a system in production",
        "tests/unit/test_config.py::test_what_contradicts_itself_is_told_in_one_line",
        ("common.consistency:_production", "if settings.console_drills:", "if False:"),
    ),
    edited(
        "any-word-is-a-drill",
        "what a form sends is an argument of a command",
        _DRILLS + "test_what_is_no_drill_is_refused",
        ("console.service.breaking:named", "if found is None:", "if False:"),
    ),
    edited(
        "two-drills-at-once",
        "two consoles each break something, and both are slower than their limits",
        _DRILLS + "test_one_drill_at_a_time_whichever_console_started_it",
        ("console.service.drills:Drills._begin", "pass_fds=(lock,)", "pass_fds=()"),
    ),
    edited(
        "report-with-our-rights",
        "a page that was made elsewhere runs as one of ours",
        _DRILLS + "test_a_fault_is_chosen_watched_and_judged",
        ("console.pages.drills:install", "HTML, _LOCKED_UP", "HTML"),
    ),
    edited(
        "silent-record-is-none",
        "an order service that is down makes every transaction look undecided",
        "tests/unit/test_console_transactions.py::test_what_does_not_answer_is_not_known",
        (
            "console.service.transactions:_transaction",
            "records if isinstance(records, Silent)",
            "None if isinstance(records, Silent)",
        ),
    ),
)

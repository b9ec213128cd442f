"""Bugs in the adapters of providers, and in the sandbox's books: signatures, keys, amounts, and refunds."""

from lab.drill.mutants.mutant import edited

_PROVIDERS = "tests/contract/providers/"
_ON_SANDBOX = _PROVIDERS + "test_sandbox.py::TestSandbox::"
_ON_STRIPE = _PROVIDERS + "test_stripe.py::"
_ON_WECHAT = _PROVIDERS + "test_wechat.py::"
_BOOKS = "tests/unit/test_sandbox.py::"

MUTANTS = (
    edited(
        "callback-of-any-key",
        "any client that knows the format tells pay that money was taken",
        _ON_SANDBOX + "test_a_callback_of_a_foreign_key_is_refused",
        (
            "pay.providers.sandbox:SandboxProvider.read",
            "hmac.compare_digest(agreed",
            "hmac.compare_digest(given or agreed",
        ),
    ),
    edited(
        "callback-of-any-age",
        "a callback that an eavesdropper wrote down is taken again, for ever",
        _ON_SANDBOX + "test_an_old_callback_is_refused",
        ("pay.providers.sandbox:SandboxProvider.read", "> self._tolerance", "> 10**9"),
    ),
    edited(
        "yen-as-cents",
        "Stripe is asked for the hundredth part of krónur",
        _ON_STRIPE + "test_amounts_at_the_border",
        ("pay.providers.stripe_amounts:_steps", "currency in _TWO_THOUGH_ISO_HAS_NONE", "False"),
    ),
    edited(
        "fils-rounded",
        "an amount that Stripe does not have is rounded",
        _ON_STRIPE + "test_amounts_that_stripe_does_not_have",
        ("pay.providers.stripe_amounts:to_stripe", "    if rest:", "    if False:"),
    ),
    edited(
        "money-of-another-shop",
        "money of another shop of the same account is taken for ours that came late, and sent back",
        _ON_STRIPE + "test_sessions_of_others_mean_nothing",
        ("pay.providers.stripe:_of_session", "    if payment_id is None:", "    if False:"),
    ),
    edited(
        "stripe-unpaid-session-pays",
        "a session that is complete counts as paid, though its money is still under way",
        _ON_STRIPE + "test_what_events_mean",
        ("pay.providers.stripe:_of_session", 'session["payment_status"] == "paid"', 'session["status"] == "complete"'),
    ),
    edited(
        "stripe-refund-as-first-told",
        "a refund that failed after it was begun counts as pending, as its key was answered first",
        _ON_STRIPE + "test_a_refund_that_came_to_nothing_later_is_told",
        ("pay.providers.stripe:StripeProvider.refund", "self._client.v1.refunds.retrieve(refund.id)", "refund"),
    ),
    edited(
        "stripe-refund-without-its-key",
        "a refund whose answer was lost is done again",
        _ON_STRIPE + "TestStripe::test_a_refund_is_done_once_for_each_key",
        ("pay.providers.stripe:StripeProvider.refund", 'f"refund-{key}"', '__import__("uuid").uuid4().hex'),
    ),
    edited(
        "wechat-notification-of-any-age",
        "the library does not look at a notification's age",
        _ON_WECHAT + "TestWechat::test_an_old_callback_is_refused",
        ("pay.providers.wechat_client:WechatClient.told", "> self._tolerance", "> 10**9"),
    ),
    edited(
        "wechat-asks-for-certificates-of-strangers",
        "each forged notification has us ask WeChat Pay for certificates",
        _ON_WECHAT + "test_a_notification_of_a_key_that_is_not_known_asks_for_nothing",
        ("pay.providers.wechat_client:WechatClient.told", "not self._knows(", "not str("),
    ),
    edited(
        "wechat-abnormal-refund-done",
        "a refund that has to be done by hand counts as done",
        _ON_WECHAT + "test_where_a_refund_stands",
        (
            "pay.providers.wechat:WechatProvider.refund",
            '_REFUNDS.get(answer["status"], RefundState.PENDING)',
            "RefundState.DONE",
        ),
    ),
    edited(
        "sandbox-sends-back-twice",
        "a second key sends the same money back again",
        _BOOKS + "test_a_charge_goes_back_once",
        ("sandbox.service.refunding:_decide", "charge.refund_id not in {None, refund.refund_id}", "False"),
        ("sandbox.service.books:Books.claim", "return holder == refund.refund_id", "return True"),
    ),
    edited(
        "sandbox-forgets-callbacks-it-began",
        "what a killed sandbox was sending is never sent",
        _BOOKS + "test_a_callback_of_a_sandbox_that_was_killed_is_sent_by_the_next",
        ("sandbox.service.telling:Telling.claim", '"due_at": now + CLAIMED_FOR', '"state": "sent"'),
    ),
    edited(
        "sandbox-pays-what-was-declined",
        "who presses twice pays a session that was declined or paid",
        _BOOKS + "test_a_person_pays_declines_or_waits_once",
        ("sandbox.service.asking:Asking._while_open", "row.state == SessionState.OPEN and ", ""),
    ),
    edited(
        "sandbox-page-in-a-frame",
        "another site shows the page in a frame, and has people press what they do not see",
        "tests/unit/test_sandbox_http.py::test_the_page_can_be_neither_framed_nor_scripted",
        ("sandbox.page:install", "headers=_HEADERS)", "headers={})"),
    ),
    edited(
        "play-money-in-production",
        "customers pay through the sandbox where a real provider is configured",
        "tests/unit/test_config.py::test_what_contradicts_itself_is_told_in_one_line",
        ("common.consistency:_production", "registry.SANDBOX in providers", "False"),
    ),
    edited(
        "stripe-refund-that-waits-is-done",
        "a refund that waits for the customer counts as done",
        _ON_STRIPE + "test_a_charge_that_was_refunded_otherwise",
        ("pay.providers.stripe:StripeProvider._refunded_already", "RefundState.PENDING if waits else", ""),
    ),
)

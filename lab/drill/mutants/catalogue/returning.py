"""Bugs in returns of orders."""

from lab.drill.mutants.mutant import edited

_TEST = "tests/unit/test_order_returning.py::"
_MOVE = "order.service.returning:Returning._move"
_VOID, _REFUND = "order.service.return_saga:_tell", "order.service.return_saga:_refund"

MUTANTS = (
    edited(
        "return-moves-what-is-not-paid",
        "two requests at once: the second moves the order again, and fails at the key of the first one's run",
        _TEST + "test_again_is_the_first",
        (
            _MOVE,
            "(orders.c.order_id == order_id) & (orders.c.status == Status.PAID.value)",
            "orders.c.order_id == order_id",
        ),
    ),
    edited(
        "return-keeps-what-is-to-be-confirmed",
        "a participant that let go is asked for ever to confirm the payment",
        _TEST + "test_no_participant_has_to_hear_of_the_payment_any_more",
        (_MOVE, "self._settlements.forget_paid(connection, order_id)", "pass"),
    ),
    edited(
        "return-at-any-time",
        "an order is returned years after it was paid",
        _TEST + "test_refused",
        ("order.service.returning:Returning._begin", "now_ms() - order.paid_at > self._within", "False"),
    ),
    edited(
        "return-of-any-order",
        "a user sees the return of another's order",
        _TEST + "test_begun_with_the_orders_move",
        ("order.service.returning:Returning.of", "owner=owner", "owner=None"),
    ),
    edited(
        "refund-done-once-pay-was-told",
        "a return is done, and the money is not back",
        _TEST + "test_lets_go_of_everything_once",
        (_REFUND, "if payment.status is not PaymentStatus.REFUNDED:", "if False:"),
    ),
    edited(
        "refund-done-where-pay-forgot-the-money",
        "a return is done after pay was restored, and the provider still has the money",
        _TEST + "test_money_that_pay_has_forgotten",
        (_REFUND, "if order.paid_through is not None:", "if False:"),
    ),
    edited(
        "return-believes-any-answer",
        "a step is done though the participant has not let go",
        _TEST + "test_a_participant_that_does_not_let_go",
        (_VOID, 'if states.get(order.order_id) != "released":', "if False:"),
    ),
    edited(
        "sweep-takes-returned-orders-for-standing",
        "what a returned order holds is held for ever where its return was given up",
        _TEST + "test_the_sweep_voids_what_a_returned_order_holds",
        (
            "order.model:Status.stands",
            "return self in {Status.CREATED, Status.PAID}",
            "return self is not Status.CLOSED",
        ),
    ),
    edited(
        "repair-reserves-for-returned-orders",
        "an order that is returned while the repair reserves for it holds that for ever",
        _TEST + "test_an_order_that_is_returned_while_it_is_repaired",
        ("order.service.auditing:Audit._let_go", "if gone:", "if False:"),
    ),
    edited(
        "return-forgets-earlier-definitions",
        "returns from before a participant was added stand still",
        _TEST + "test_added_participants_have_steps_of_their_own",
        (
            "order.service.return_saga:return_sagas",
            "[(*_STEPS, *added), _STEPS] if added else [_STEPS]",
            "[(*_STEPS, *added)]",
        ),
    ),
)

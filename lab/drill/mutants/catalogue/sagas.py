"""Bugs in the engine of sagas, and in the barrier of its participants."""

from lab.drill.mutants.mutant import edited

_ENGINE = "tests/contract/saga/test_engine.py::"
_BARRIER = "tests/contract/saga/test_barrier.py::"
_OPERATING = "tests/contract/saga/test_operating.py::"
_TURNED = "halfmessage.saga.plan:turned"

MUTANTS = (
    edited(
        "saga-undoes-what-is-recorded-alone",
        "a step whose answer was lost stands for ever in a run that is undone",
        _ENGINE + "test_so_many_failures_turn_it_back[sqlite]",
        (_TURNED, "never = row.state is StepState.WAITING and", "never = row.state is StepState.WAITING or"),
    ),
    edited(
        "saga-undoes-local-steps-that-never-were",
        "a local step that was rolled back is compensated all the same",
        _ENGINE + "test_a_local_step_is_one_transaction_with_the_log[sqlite]",
        (_TURNED, "isinstance(step, Local) and row.state not in _FORWARD", "False"),
    ),
    edited(
        "saga-records-not-fenced",
        "an instance that was overtaken writes its old view over the log",
        _ENGINE + "test_a_lost_claim_stops_the_instance[sqlite]",
        ("halfmessage.saga.log:Log._write_run", "if not connection.execute(", "if None is connection.execute("),
    ),
    edited(
        "saga-operator-does-not-fence",
        "an operator gives a run up, and the instance at work ends it as done",
        _ENGINE + "test_a_lost_claim_stops_the_instance[sqlite]",
        ("halfmessage.saga.operating:Sagas._changed", "epoch=run.epoch + 1", "epoch=run.epoch"),
    ),
    edited(
        "saga-refused-is-failed",
        "what would be refused again is tried again and again",
        _ENGINE + "test_refused[sqlite]",
        ("halfmessage.saga.plan:after", 'answer.kind == "refused"', 'answer.kind == "never"'),
    ),
    edited(
        "saga-compensation-refused-ends-it",
        "a compensation that is refused counts as done",
        _ENGINE + "test_a_compensation_is_tried_until_it_succeeds[sqlite]",
        ("halfmessage.saga.plan:after", 'if answer.kind == "done":', 'if answer.kind in {"done", "refused"}:'),
    ),
    edited(
        "saga-undone-in-the-order-of-doing",
        "what others build on is taken away from under them",
        _ENGINE + "test_refused[sqlite]",
        ("halfmessage.saga.plan:_to_undo", "saga.needed_by[step]", "saga.needs[step]"),
    ),
    edited(
        "saga-turns-back-past-a-refund",
        "a run whose money is sent back already is undone around it",
        _ENGINE + "test_forward_only_past_what_cannot_be_undone[sqlite]",
        ("halfmessage.saga.plan:may_turn", "step.undo is None and", "False and"),
    ),
    edited(
        "saga-runs-old-logs",
        "a changed definition goes on with runs that were started under another one",
        _ENGINE + "test_a_changed_definition_never_runs_an_old_log[sqlite]",
        ("halfmessage.saga.definition:Saga._hash", "[self.name, self.version, shape]", "[self.name]"),
    ),
    edited(
        "saga-late-answer-taken-for-its-compensation",
        "a step that is done while its run turns back counts as undone",
        _ENGINE + "test_a_branch_that_is_under_way_is_undone_too[sqlite]",
        ("halfmessage.saga.driver:Driver._note", "if direction is not self._direction:", "if False:"),
    ),
    edited(
        "barrier-forgets-null-compensations",
        "a step that comes after its compensation is done",
        _BARRIER + "test_suspension[sqlite]",
        (
            "halfmessage.saga.barrier:Barrier.undo",
            "self._write(connection, step_key, _State.UNDONE)\n            return",
            "return",
        ),
    ),
    edited(
        "barrier-undoes-twice",
        "a compensation that comes again has its effect again",
        _BARRIER + "test_repetition[sqlite]",
        ("halfmessage.saga.barrier:Barrier.undo", "if state is _State.DONE:", "if state is not _State.REFUSED:"),
    ),
    edited(
        "barrier-forgets-refusals",
        "a step that was refused, and is undone, is done when its call comes again",
        _BARRIER + "test_a_refusal_is_kept[sqlite]",
        (
            "halfmessage.saga.barrier:Barrier._refuse",
            "self._write(connection, step_key, _State.REFUSED,",
            "(lambda *_: 0)(0,",
        ),
    ),
    edited(
        "saga-skipped-step-not-undone",
        "a step that an operator skipped, and that had arrived, stands in a run that is undone",
        _OPERATING + "test_what_was_skipped_is_undone_all_the_same[sqlite]",
        (_TURNED, "or step.undo is None", "or step.undo is None or row.state is StepState.SKIPPED"),
    ),
    edited(
        "saga-redirect-is-done",
        "an answer that is neither done nor refused counts as done",
        "tests/unit/test_saga_rest.py::test_failed[302]",
        ("halfmessage.saga.rest:Rest.__call__", "status < 300", "status < 400"),
    ),
)

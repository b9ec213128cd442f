"""How the properties of these tests are run: see `tests/conftest.py`."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test


def test_a_property_that_fails_says_at_once_with_what() -> None:
    """Run again to see that it fails again, and not hundreds of times to find something smaller."""
    runs: list[bool] = []

    @settings(derandomize=True)
    @given(st.lists(st.integers(0, 100)))
    def fails(numbers: list[int]) -> None:
        runs.append(sum(numbers) < 50)
        assert runs[-1]

    with pytest.raises(AssertionError) as failure:
        fails()
    _says_its_example(failure.value, runs)


def test_a_sequence_of_steps_that_fails_says_so_at_once() -> None:
    """The same for a state machine."""
    runs: list[bool] = []

    class Counter(RuleBasedStateMachine):
        count = 0

        @rule(more=st.integers(0, 100))
        def add(self, more: int) -> None:
            self.count += more
            runs.append(self.count < 300)
            assert runs[-1]

    steps = settings(derandomize=True, max_examples=40, stateful_step_count=20, suppress_health_check=list(HealthCheck))
    with pytest.raises(AssertionError) as failure:
        run_state_machine_as_test(Counter, settings=steps)
    _says_its_example(failure.value, runs, steps=20)


def _says_its_example(failure: AssertionError, runs: list[bool], *, steps: int = 1) -> None:
    notes = "\n".join(failure.__notes__)
    assert "Failing test case" in notes
    assert "reproduce_failure" in notes
    assert len(runs) - runs.index(False) <= 3 * steps


def test_no_example_fails_for_being_slow() -> None:
    """A machine may be busy; each test has a time limit as a whole."""
    assert settings.default is not None
    assert settings.default.deadline is None

"""What must hold of every model, and of the flaws planted in it; `conftest.py` asks it of each scenario and flaw."""

from typing import Any, ClassVar

from tests.model.exploring import Model, Mutant, Scenario

_STATES = 300  # at least; a model that explores fewer lost what could happen


class ModelSuite:
    """One model. Its scenarios, and the flaws that each must be caught, are the model's own."""

    model: ClassVar[Model[Any]]

    def test_consistent(self, scenario: Scenario[Any]) -> None:
        """Whatever happens, in whatever order: no promise is broken, and in the end all agrees."""
        result = self.model.explore(scenario)
        assert result.why is None, " > ".join(result.trail)
        assert result.states > _STATES
        assert result.finals

    def test_flaw_is_caught(self, mutant: Mutant) -> None:
        """A planted flaw breaks a promise, and the model says how to get there."""
        result = self.model.explore_mutant(mutant)
        assert result.why is not None
        assert result.trail

    def test_flaw_alone_is_caught(self, guarded: Mutant) -> None:
        """Where a flaw shows only without the second line of defence, taking that away alone breaks nothing."""
        result = self.model.explore_mutant(guarded, healthy=True)
        assert result.why is None, " > ".join(result.trail)

"""Each promise has tests that are marked with it, on every layer, and README's table tells them."""

from pathlib import Path

from tests.promises import PROMISES, proofs, written

_LAYERS = ("tests/model/", "tests/drills/")  # every interleaving in a model, and real processes killed


def test_every_promise_is_proved() -> None:
    """By the model and by drills at least; a mark of a promise that is none is an error of its own."""
    for number, paths in proofs().items():
        for layer in _LAYERS:
            assert any(path.startswith(layer) for path in paths), (number, layer)


def test_readme_tells_them() -> None:
    """`python -m tests.promises` writes its table."""
    readme = Path(__file__).parents[2] / "README.md"
    text = readme.read_text(encoding="utf-8")
    assert written(text) == text
    assert all(f"**{number}**" in text for number in PROMISES)

"""Through whom orders can be paid in this deployment, by the names that the services know them by."""

from collections.abc import Sequence
from importlib import import_module

from common.config import Settings


def names_of(settings: Settings) -> Sequence[str]:
    """Return the names of the providers of `ORDERS_PROVIDERS`, in its order; none where there is no pay service.

    Ours are called by their words. A provider of somebody else's, `package.module:Class`, has its name on its class;
    one that is not installed beside the console, or has none there, can't be offered.
    """
    if "pay" not in settings.participant_names:
        return ()
    found = (_name_of(word) for word in settings.provider_names)
    return [name for name in found if name]


def _name_of(word: str) -> str:
    module, colon, name = word.partition(":")
    if not colon:
        return word
    try:
        return str(getattr(getattr(import_module(module), name), "name", ""))
    except (ImportError, AttributeError):
        return ""

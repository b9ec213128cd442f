"""What a drill needs of a service: a file `drill.py` beside its app, or `--scenario FILE`.

::

    from app import Base, Mail, Order, app, engine  # your own


    def prepare() -> None:                # once, in an empty database that has the library's tables
        Base.metadata.create_all(engine)


    def act(key: int) -> None:            # or several, act_pay, act_refund: each is drilled by itself
        app.test_client().post(f"/orders/{key}/pay")


    def check(key: int) -> None:          # once all is quiet: assert what must hold
        ...

The process that acts also consumes. What `act` raises at a step is no fault: a client's request may fail. All must hold
even so. Where nothing fails, it is one, and so is a request of Flask's that ends in an exception: catch there what you
expect.

`check(key, answer)` is given what `act` returned, JSON: None where no answer came, or `act` raised. So it sees a
service that says 201 and did nothing. A run of a saga may always turn back, by its deadline or an operator's word: that
must hold as well, whatever `act` asked for. What your service calls over REST is started in this file, on a thread.
"""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from inspect import getattr_static, signature
from pathlib import Path
from types import ModuleType

from halfmessage.errors import Misconfigured
from halfmessage.transactional import TransactionalMessages


@dataclass(frozen=True, slots=True)
class Scenario:
    """A service, and what is done with it."""

    tx: TransactionalMessages
    prepare: Callable[[], object]
    acts: dict[str, Callable[[int], object]]
    check: Callable[..., object]

    @property
    def takes_answers(self) -> bool:
        """Whether `check` has a second argument."""
        return len(signature(self.check).parameters) > 1

    def checked(self, key: int, answer: object) -> object:
        """Call `check`."""
        return self.check(key, answer) if self.takes_answers else self.check(key)


def load(app: Path, scenario: Path) -> Scenario:
    """Import both files, the app under its own name. Raise `Misconfigured` for what is missing."""
    sys.path.insert(0, str(app.parent))
    service = _imported(app)
    told = _imported(scenario)
    acts = {name: act for name, act in vars(told).items() if name.split("_")[0] == "act" and callable(act)}
    check = getattr(told, "check", None)
    if not acts or not callable(check):
        raise Misconfigured(f"{scenario} has no act(key) or no check(key); see `halfmessage.drill.scenario`.")
    return Scenario(_tx_of(service), getattr(told, "prepare", lambda: None), acts, check)


def _imported(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise Misconfigured(f"{file} is no file of Python.")
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _tx_of(service: ModuleType) -> TransactionalMessages:
    """Return the service's own: a variable, or that of its app; of `create_app` where there is one."""
    values = list(vars(service).values())
    if callable(create := getattr(service, "create_app", None)):
        values.append(create())
    # As they are: a proxy that a service imports, Flask's `request` say, stands for nothing outside of a request
    extensions = [getattr_static(value, "extensions", None) for value in values if not isinstance(value, type)]
    values += [each.get("halfmessage") for each in extensions if isinstance(each, dict)]
    found = {id(value): value for value in values if isinstance(value, TransactionalMessages)}
    if len(found) != 1:
        raise Misconfigured(f"{service.__file__} has {len(found)} TransactionalMessages, and a drill is about one.")
    return next(iter(found.values()))

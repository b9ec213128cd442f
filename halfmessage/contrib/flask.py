"""A Flask extension: `TransactionalMessages` for apps, and `flask tx`. Needs the extra `flask`.

::

    tx = TransactionalMessages()                    # or with the app, at once


    def create_app() -> Flask:
        app = Flask(__name__)
        tx.init_app(app, engine, name="shop", broker="embedded:///broker.db")
        return app

The extension keeps nothing for an app but in `app.extensions`; the process that consumes is `flask tx work`.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar
from weakref import WeakSet

from flask import Flask, current_app, has_app_context
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from halfmessage import transactional
from halfmessage.contrib.flask_commands import group
from halfmessage.errors import Misconfigured
from halfmessage.saga.barrier import Barrier
from halfmessage.saga.definition import Saga
from halfmessage.saga.engine import Engine as SagaEngine
from halfmessage.saga.operating import Sagas
from halfmessage.transactional import Options, OutgoingMessage
from halfmessage.transactional.incoming import Handler, Subscription

H = TypeVar("H", bound=Handler)

NAME: Final = "halfmessage"
"""In `app.extensions`."""
_NO_NAMES: Final = frozenset({"app", "main", "__main__", "wsgi"})


class TransactionalMessages:
    """The same `message` and `consumer` as `halfmessage.transactional.TransactionalMessages`, for the current app."""

    def __init__(self, app: Flask | None = None, engine: Engine | None = None, **settings: Any) -> None:
        """Take an app and all that `init_app` takes, or nothing, and have `init_app` called later."""
        self._declared: list[Subscription] = []
        self._sagas: list[Saga] = []
        self._made: WeakSet[transactional.TransactionalMessages] = WeakSet()
        self._app = app
        if app is not None:
            if engine is None:
                raise Misconfigured("An app needs an engine beside it.")
            self.init_app(app, engine, **settings)

    def init_app(
        self,
        app: Flask,
        engine: Engine,
        *,
        broker: str,
        name: str | None = None,
        sends: Iterable[str] = (),
        options: Options | None = None,
        sessions: Callable[[], Session] | None = None,
    ) -> None:
        """Fit it to an app, which may be one of several. Nothing is opened, and no thread begins, before it is needed.

        `name` is the service's, by default the app's, which must tell it from others on the same broker. For the rest
        see `halfmessage.transactional.TransactionalMessages`. Handlers run in a context of the app. Raise
        `Misconfigured`.
        """
        if name is None and app.name in _NO_NAMES:
            raise Misconfigured(f"Every service may call its app {app.name!r}: say name=, which no other service has.")
        made = transactional.TransactionalMessages(
            name or app.name.rpartition(".")[2],
            engine,
            broker=broker,
            sends=sends,
            options=options,
            sessions=sessions,
            around=app.app_context,
        )
        for subscription in self._declared:
            made.subscribe(subscription)
        for saga in self._sagas:
            made.saga(saga)
        self._made.add(made)
        app.extensions[NAME] = made
        app.cli.add_command(group)

    def message(
        self, topic: str, *, key: str | int, body: Any = OutgoingMessage.UNSET
    ) -> AbstractContextManager[OutgoingMessage]:
        """See `halfmessage.transactional.TransactionalMessages.message`."""
        return self.current.message(topic, key=key, body=body)

    def consumer(self, topic: str, *, group: str, once_per: str | None = None) -> Callable[[H], H]:
        """See `halfmessage.transactional.TransactionalMessages.consumer`; of each app, also of later ones."""

        def declare(handler: H) -> H:
            subscription = Subscription(topic, group, once_per, handler)
            for made in self._made:
                made.subscribe(subscription)
            self._declared.append(subscription)
            return handler

        return declare

    def saga(self, saga: Saga) -> Saga:
        """See `halfmessage.transactional.TransactionalMessages.saga`; of each app, also of later ones."""
        for made in self._made:
            made.saga(saga)
        self._sagas.append(saga)
        return saga

    def begin_saga(self, session: Session, saga: str, *, key: str | int, value: Any = None) -> int:
        """See `halfmessage.transactional.TransactionalMessages.begin_saga`."""
        return self.current.begin_saga(session, saga, key=key, value=value)

    @property
    def saga_engine(self) -> SagaEngine:
        """See `halfmessage.transactional.TransactionalMessages.saga_engine`."""
        return self.current.saga_engine

    @property
    def sagas(self) -> Sagas:
        """See `halfmessage.transactional.TransactionalMessages.sagas`."""
        return self.current.sagas

    @property
    def barrier(self) -> Barrier:
        """See `halfmessage.transactional.TransactionalMessages.barrier`."""
        return self.current.barrier

    @property
    def current(self) -> transactional.TransactionalMessages:
        """What belongs to the current app, else to the one that the extension was made with. Raise `Misconfigured`."""
        app = current_app._get_current_object() if has_app_context() else self._app  # type: ignore[attr-defined] # noqa: SLF001 - what a proxy stands for
        if app is None or NAME not in app.extensions:
            raise Misconfigured("There is no app here that `init_app` was called with.")
        found: transactional.TransactionalMessages = app.extensions[NAME]
        return found

"""Users of a deployment, in its user service's database: what administrators do by command line."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from common import schema_version
from common.config import Settings
from common.db import Database
from halfmessage.clock import rfc3339
from halfmessage.errors import NotFound
from halfmessage.ids import LeasedIds
from ops.deployment import Deployment
from user.app import accounts_of
from user.model import log_ins, users
from user.service.keys import SigningKey, SigningKeys
from user.service.sessions import Sessions


@dataclass(frozen=True, slots=True)
class UserLine:
    """A user, as a list has them."""

    user_id: str
    name: str
    is_admin: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class LogInLine:
    """A log-in, or a try, as a list has them."""

    at: str
    name: str
    user_id: str | None
    address: str
    outcome: str


class Users:
    """The users of one deployment."""

    def __init__(self, database: Database, settings: Settings) -> None:
        """Take the database of the user service, and its settings."""
        self._database, self._settings = database, settings

    def newest(self, limit: int) -> list[UserLine]:
        """Return the newest users."""
        with self._database.read() as connection:
            rows = connection.execute(select(users).order_by(users.c.user_id.desc()).limit(limit)).all()
        return [UserLine(str(row.user_id), row.name, row.is_admin, rfc3339(row.created_at)) for row in rows]

    def log_ins(self, limit: int) -> list[LogInLine]:
        """Return the newest log-ins, and tries."""
        with self._database.read() as connection:
            rows = connection.execute(select(log_ins).order_by(log_ins.c.log_in_id.desc()).limit(limit)).all()
        return [
            LogInLine(rfc3339(row.at), row.name, row.user_id and str(row.user_id), row.address, row.outcome)
            for row in rows
        ]

    def has(self, name: str) -> bool:
        """Return whether there is a user of this name."""
        with self._database.read() as connection:
            return connection.execute(select(users.c.user_id).where(users.c.name == name)).first() is not None

    def add_admin(self, name: str, password: str) -> UserLine:
        """Add a user who may do all. Raise as `Accounts.register` does."""
        ids = LeasedIds(self._database, "orders users")
        ids.start()
        try:
            accounts = accounts_of(self._settings, self._database, ids).accounts
            made = accounts.register(name, password, is_admin=True)
        finally:
            ids.close()
        return UserLine(str(made.user_id), made.name, made.is_admin, rfc3339(made.created_at))

    def set_admin(self, name: str, *, is_admin: bool) -> None:
        """Make a user an admin, or none any more: with the next token; what was one, logs in anew. Raise `NotFound`."""

        def work(connection: Connection) -> bool:
            user_id = connection.scalar(select(users.c.user_id).where(users.c.name == name))
            if user_id is None:
                return False
            connection.execute(update(users).where(users.c.user_id == user_id).values(is_admin=is_admin))
            if not is_admin:
                Sessions.end_of_user(connection, user_id)
            return True

        if not self._database.transact(work):
            raise NotFound(f"There is no user {name!r}.")

    def rotate_keys(self) -> SigningKey:
        """Make a signing key that will take the place of the one that signs now."""
        return SigningKeys(self._database, self._settings.access_token_lifetime).rotate()


@contextmanager
def opened(deployment: Deployment) -> Iterator[Users]:
    """Open the users of a deployment, running or not. Raise `NoDeployment` or `OrdersError`."""
    settings = deployment.settings("user")
    with closing(Database(deployment.database_url("user"))) as database:
        schema_version.require("user", database)
        yield Users(database, settings)

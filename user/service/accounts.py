"""Users: registered, logged in, changed, deleted."""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection, delete, insert, select, update

from common.db import Database
from halfmessage.clock import now_ms
from halfmessage.errors import DuplicateRow, NotFound, Overloaded
from halfmessage.ids import IdSource
from user.model import BreachedPassword, NameTaken, NotTheirPassword, WrongPassword, log_ins, users
from user.service.attempts import Attempts, Claim
from user.service.audit import Audit, Outcome
from user.service.breached import Breached
from user.service.hashing import Hashing
from user.service.sessions import Sessions, Tokens

_C = users.c

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class User:
    """A user; times in ms since the epoch."""

    user_id: int
    name: str
    password_hash: str = field(repr=False)
    is_admin: bool
    created_at: int
    password_changed_at: int


@dataclass(frozen=True, slots=True)
class Parts:
    """What accounts are made of."""

    ids: IdSource
    hashing: Hashing
    breached: Breached
    attempts: Attempts
    audit: Audit
    sessions: Sessions


class Accounts:
    """The users of one database."""

    def __init__(self, database: Database, parts: Parts, *, clock: Callable[[], int] = now_ms) -> None:
        """Take the database, and the parts; `clock` in ms since the epoch."""
        self._database, self._parts, self._clock = database, parts, clock

    def register(self, name: str, password: str, *, is_admin: bool = False) -> User:
        """Add a user. Raise `NameTaken`, `BreachedPassword`, `Unavailable` (not added) or `OutcomeUnknown`."""
        if self._of_name(name) is not None:
            raise NameTaken
        self._refuse_known(name, password)
        now = self._clock()
        made = User(self._parts.ids.next(), name, self._parts.hashing.hash(password), is_admin, now, now)
        row = {column: getattr(made, column) for column in users.c.keys()}  # noqa: SIM118 - not a mapping
        try:
            self._database.transact(lambda connection: connection.execute(insert(users).values(row)))
        except DuplicateRow as error:
            raise NameTaken from error
        return made

    def log_in(self, name: str, password: str, address: str) -> Tokens:
        """Return tokens. Raise `WrongPassword` (of no user, too), `LogInDelayed`, `Unavailable` or `OutcomeUnknown`.

        The same is done for a name that is no user's, with the same questions, so it takes as long.
        """
        user = self._of_name(name)
        claim = self._check(user, name, password, address)
        if user is None or claim is None:
            raise WrongPassword
        renewed = self._renewed(user, password)

        def work(connection: Connection) -> Tokens | None:
            # The row is locked: a change of the password waits, and then ends this log-in too, or it is seen here. On
            # MySQL and MariaDB the hash read without a lock may be one that is just being replaced.
            now = self._get(connection, user.user_id, lock=True)
            if now is None or now.password_hash != user.password_hash:  # changed, or deleted, meanwhile
                return None
            if renewed is not None:
                changed = update(users).where(_C.user_id == user.user_id).values(password_hash=renewed)
                connection.execute(changed)
            Attempts.forgive(connection, claim)
            self._parts.audit.note(connection, user.user_id, name, address, Outcome.OK)
            return self._parts.sessions.begin(connection, user.user_id, is_admin=now.is_admin)

        tokens = self._database.transact(work)
        if tokens is None:
            raise WrongPassword
        return tokens

    def place(self, name: str, address: str) -> str:
        """Return where tries to log in under a name from an address count; of no user, after the same questions.

        From where the user has logged in before they count by themselves, all others together. Raise `Unavailable`.
        """
        return self._place(self._of_name(name), address)

    def get(self, user_id: int) -> User:
        """Return a user. Raise `NotFound` or `Unavailable`."""
        with self._database.read() as connection:
            found = self._get(connection, user_id)
        if found is None:
            raise NotFound("There is no such user.")
        return found

    def change_password(
        self, user_id: int, password: str, new_password: str, address: str, session_id: int | None
    ) -> User:
        """Change a password, and end all other log-ins. Raise as `log_in` and `register` do, or `NotTheirPassword`."""
        user = self.get(user_id)
        claim = self._checked(user, password, address)
        try:
            self._refuse_known(user.name, new_password)
            hashed = self._parts.hashing.hash(new_password)
        except (BreachedPassword, Overloaded):  # the try was counted before, and its password was right
            self._parts.attempts.take_back(claim)
            raise

        def work(connection: Connection) -> bool:
            which = (_C.user_id == user_id, _C.password_hash == user.password_hash)
            values = {"password_hash": hashed, "password_changed_at": self._clock()}
            if not connection.execute(update(users).where(*which).values(**values)).rowcount:
                return False
            Sessions.end_of_user(connection, user_id, but=session_id)
            Attempts.forgive(connection, claim)
            return True

        if not self._database.transact(work):
            raise NotTheirPassword
        return self.get(user_id)

    def remove(self, user_id: int, password: str, address: str) -> None:
        """Delete a user, their log-ins, and what is kept of these. Orders stay. Raise as `change_password` does.

        What is kept may be many rows: they go first, so that the transaction which deletes the user is a short one.
        """
        user = self.get(user_id)
        claim = self._checked(user, password, address)
        self._parts.audit.forget(user_id)

        def work(connection: Connection) -> bool:
            which = (_C.user_id == user_id, _C.password_hash == user.password_hash)
            if not connection.execute(delete(users).where(*which)).rowcount:
                return False
            Sessions.end_of_user(connection, user_id)
            Attempts.forgive(connection, claim)
            connection.execute(delete(log_ins).where(log_ins.c.user_id == user_id))
            return True

        if not self._database.transact(work):
            raise NotTheirPassword

    def _checked(self, user: User, password: str, address: str) -> Claim:
        claim = self._check(user, user.name, password, address)
        if claim is None:
            raise NotTheirPassword
        return claim

    def _check(self, user: User | None, name: str, password: str, address: str) -> Claim | None:
        """Return the try that was counted for a right password; None for a wrong one, which is written down."""
        user_id = None if user is None else user.user_id
        claim = self._parts.attempts.claim(name, self._place(user, address))
        try:
            is_right = self._parts.hashing.verify(None if user is None else user.password_hash, password)
        except Overloaded:
            self._parts.attempts.take_back(claim)
            raise
        if is_right:
            return claim
        self._database.transact(lambda c: self._parts.audit.note(c, user_id, name, address, Outcome.WRONG))
        return None

    def _place(self, user: User | None, address: str) -> str:
        return address if self._parts.audit.knows(None if user is None else user.user_id, address) else ""

    def _renewed(self, user: User, password: str) -> str | None:
        """Return a hash by today's parameters, where the user's is by others and there is room to make one."""
        if not self._parts.hashing.is_outdated(user.password_hash):
            return None
        try:
            return self._parts.hashing.hash(password)
        except Overloaded:
            return None

    def _refuse_known(self, name: str, password: str) -> None:
        try:
            is_known = password.casefold() == name or self._parts.breached.has(password)
        except OSError as error:  # the list is an addition: without it, passwords are as good as their length
            log.warning("the list of breached passwords can't be read", reason=error.strerror)
            return
        if is_known:
            raise BreachedPassword

    def _of_name(self, name: str) -> User | None:
        with self._database.read() as connection:
            row = connection.execute(select(users).where(_C.name == name)).mappings().first()
        return None if row is None else User(**row)

    @staticmethod
    def _get(connection: Connection, user_id: int, *, lock: bool = False) -> User | None:
        found = select(users).where(_C.user_id == user_id)
        row = connection.execute(found.with_for_update() if lock else found).mappings().first()
        return None if row is None else User(**row)

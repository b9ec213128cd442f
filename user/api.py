"""The user service over REST."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.errors import TooManyRequests
from common.jwk import FRESH
from common.limits import Limiter
from common.schema import parse_id
from common.user_keys import PATH
from common.web import Api, Reply, current_identity
from common.web.problems import OverLimit
from common.web.requests import LOOPBACK, IPNetwork, client_address, current_request
from halfmessage.errors import NotFound
from user.instruments import Instruments
from user.model import (
    BreachedPassword,
    LogInDelayed,
    NameTaken,
    NotTheirPassword,
    WrongPassword,
    WrongRefreshToken,
)
from user.schema import (
    ChangePassword,
    Jwks,
    LoggedOut,
    LogIn,
    NewUser,
    Refresh,
    Removed,
    RemoveUser,
    TokensOut,
    UserOut,
)
from user.service.accounts import Accounts
from user.service.keys import SigningKeys
from user.service.sessions import Sessions

_NO_STORE = {"Cache-Control": "no-store"}  # RFC 6749, 5.1


@dataclass(frozen=True, slots=True)
class Rates:
    """How often one address may register and log in, and a name be logged in under.

    `proxies` of ours, in `networks`, are in front.
    """

    registration: str
    log_in: str
    log_in_of_name: str
    proxies: int
    networks: Sequence[IPNetwork] = LOOPBACK


class Doors:
    """Who knocks at the calls that need no token, and how often."""

    def __init__(self, limiter: Limiter, rates: Rates) -> None:
        """Count with `limiter`."""
        self._limiter, self._rates = limiter, rates

    def address(self) -> str:
        """Return the address of who calls."""
        return client_address(current_request(), self._rates.proxies, self._rates.networks)

    def registering(self) -> None:
        """Raise `OverLimit` where this address registered too often."""
        self._count(self._rates.registration, "registration", self.address())

    def logging_in(self) -> str:
        """Return the address of who calls. Raise `OverLimit` where it logged in too often."""
        address = self.address()
        self._count(self._rates.log_in, "log-in", address)
        return address

    def logging_in_as(self, name: str, place: str) -> None:
        """Raise `OverLimit` where a name was logged in under too often from a place (`Accounts.place`)."""
        self._count(self._rates.log_in_of_name, "log-in of name", name, place)

    def _count(self, limit: str, *of: str) -> None:
        if wait := self._limiter.hit(limit, *of):
            raise OverLimit(wait)


def install(
    api: Api, accounts: Accounts, sessions: Sessions, keys: SigningKeys, doors: Doors, instruments: Instruments
) -> None:
    """Declare the routes."""
    _install_open(api, accounts, sessions, doors, instruments)
    _install_own(api, accounts, sessions, doors.address)

    @api.get(PATH, returns={200: Jwks}, open_to_all=True)
    def jwks() -> Reply:
        """Tell the public keys that verify users' tokens (RFC 7517)."""
        return Reply(Jwks.of(keys.published()), headers={"Cache-Control": f"max-age={FRESH:.0f}"})


def _install_open(api: Api, accounts: Accounts, sessions: Sessions, doors: Doors, instruments: Instruments) -> None:
    @api.post(
        "/users",
        body=NewUser,
        returns={201: UserOut},
        errors=[NameTaken, BreachedPassword, TooManyRequests],
        open_to_all=True,
    )
    def register(body: NewUser) -> Reply:
        """Register."""
        doors.registering()
        return Reply(UserOut.of(accounts.register(body.name, body.password)), 201, {"Location": "/users/me"})

    @api.post(
        "/tokens",
        body=LogIn,
        returns={200: TokensOut},
        errors=[WrongPassword, LogInDelayed],
        open_to_all=True,
    )
    def log_in(body: LogIn) -> Reply:
        """Log in: get an access token, and a refresh token that is good once."""
        with instruments.log_in():
            address = doors.logging_in()
            doors.logging_in_as(body.name, accounts.place(body.name, address))
            tokens = accounts.log_in(body.name, body.password, address)
        return Reply(TokensOut.of(tokens), headers=_NO_STORE)

    @api.post(
        "/tokens/refresh",
        body=Refresh,
        returns={200: TokensOut},
        errors=[WrongRefreshToken, TooManyRequests],
        open_to_all=True,
    )
    def refresh(body: Refresh) -> Reply:
        """Get new tokens for a refresh token; one that comes twice ends its log-in."""
        with instruments.refresh():
            tokens = sessions.refresh(body.refresh_token, doors.logging_in())
        return Reply(TokensOut.of(tokens), headers=_NO_STORE)


def _install_own(api: Api, accounts: Accounts, sessions: Sessions, address: Callable[[], str]) -> None:
    @api.get("/users/me", returns={200: UserOut}, errors=[NotFound])
    def me() -> Reply:
        """Show the user whose token it is."""
        return Reply(UserOut.of(accounts.get(_user_id())), headers=_NO_STORE)

    @api.post(
        "/users/me/password",
        body=ChangePassword,
        returns={200: UserOut},
        errors=[NotFound, NotTheirPassword, BreachedPassword, LogInDelayed],
    )
    def change_password(body: ChangePassword) -> Reply:
        """Change one's password; all other log-ins end."""
        changed = accounts.change_password(_user_id(), body.password, body.new_password, address(), _session_id())
        return Reply(UserOut.of(changed))

    @api.post(
        "/users/me/delete",
        body=RemoveUser,
        returns={200: Removed},
        errors=[NotFound, NotTheirPassword, LogInDelayed],
    )
    def remove(body: RemoveUser) -> Reply:
        """Delete oneself; one's orders stay."""
        user_id = _user_id()
        accounts.remove(user_id, body.password, address())
        return Reply(Removed(user_id=user_id))

    @api.delete("/tokens/current", returns={200: LoggedOut}, errors=[NotFound])
    def log_out() -> Reply:
        """Log out: the refresh token is good no more. Again: the same."""
        session_id = _session_id()
        if session_id is None:
            raise NotFound("This token is of no log-in.")
        sessions.end(session_id)
        return Reply(LoggedOut(session_id=session_id))


def _user_id() -> int:
    user_id = parse_id(current_identity().user_id)
    if user_id is None:
        raise NotFound("This token is of no user here.")
    return user_id


def _session_id() -> int | None:
    return parse_id(current_identity().session_id or "")

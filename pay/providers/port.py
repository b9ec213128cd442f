"""What pay asks of a provider, and what a provider tells: money that was taken, sent back, or neither."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from common.errors import OrdersError
from halfmessage.errors import Unavailable


class Kind(StrEnum):
    """What an event of a provider means to us; `other`: nothing, but it is stored."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    REFUNDED = "refunded"
    REFUND_REFUSED = "refund-refused"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """What a provider said.

    `event_id`: the provider's, or one made of what was asked and answered, the same for the same news; at most 128
    characters. `payment_id`: ours, as the provider repeats it; None: it names none. `charge_id`: the provider's name of
    the money; `amount` in minor units of `currency` (ISO 4217, upper case), both as the provider has it; None where the
    event is about no money. `raw`: the bytes as they came. `reason`: the provider's words, for people. `reference`: the
    provider's name of the try, as in `Begun`, where the event says it: a `failed` or `expired` without ends no try.
    """

    event_id: str
    kind: Kind
    payment_id: int | None
    raw: bytes
    charge_id: str | None = None
    amount: int | None = None
    currency: str | None = None
    reason: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A payment that is to be taken: `amount` in minor units of `currency` (ISO 4217).

    `attempt_id` is the idempotency key of this try. `scenario`: how the sandbox is to behave, others ignore it.
    `expires_at`: ms since the epoch, when the order is closed unless it is paid.
    """

    payment_id: int
    attempt_id: int
    amount: int
    currency: str
    expires_at: int
    scenario: str | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """What became of a try: `reference` is the provider's name of it.

    `event` where the money was taken, or refused, at once; else `pay_url` is where the customer goes.
    """

    reference: str
    pay_url: str | None = None
    event: ProviderEvent | None = None


class RefundState(StrEnum):
    """Where a refund stands: only `done` means that the money went back."""

    DONE = "done"
    PENDING = "pending"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Refund:
    """What a provider says of a refund; `reason`: its words where it refuses."""

    state: RefundState
    refund_id: str | None = None
    reason: str | None = None


class BadSignature(OrdersError):
    """The callback is not the provider's, or too old: nothing of it is stored."""

    status, slug, title = 401, "bad-signature", "Bad signature"


class ProviderUnavailable(Unavailable):
    """The provider did not answer, or not as it should; it may have done what it was asked."""


class Provider(Protocol):
    """A provider. Calls are repeatable; `ProviderUnavailable` means: maybe done.

    Each ends within `common.config.LONGEST_CALL` seconds, `refund` within two of them: a later answer counts as none.
    """

    name: str

    def begin(self, asked: Asked) -> Begun:
        """Begin a try to pay. Raise `ProviderUnavailable`."""

    def ask(self, reference: str) -> Sequence[ProviderEvent]:
        """Return what there is to say of a try: nothing while it is open, else every charge.

        Raise `ProviderUnavailable`.
        """

    def close(self, reference: str) -> None:
        """Let a try take no further money, where the provider can. Raise `ProviderUnavailable`."""

    def refund(self, charge_id: str, amount: int, currency: str, key: str) -> Refund:
        """Send all of a charge back, once for each `key`; ask again with the same. Raise `ProviderUnavailable`."""

    def read(self, headers: Mapping[str, str], raw: bytes) -> ProviderEvent:
        """Return what a callback says, its signature checked over `raw`, its age too.

        `headers` by lower-case names. Raise `BadSignature`, or `common.errors.Malformed` for what can not be read.
        """

    def thanks(self) -> tuple[bytes, str]:
        """Return the body, and its media type, that a callback is answered with (status 200)."""

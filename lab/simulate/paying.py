"""The pay service as it is wired by its own `build`, but for the web, and for what it forgets when it is old."""

from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, cast

from common.aside import ThreadedAside
from common.periodic import Periodic
from halfmessage.chunks import ROWS
from halfmessage.ids import LeasedIds
from halfmessage.tx.batch import Batcher
from halfmessage.tx.coordinator import Checker, Coordinator
from halfmessage.tx.record import Records
from lab.simulate.ordering import DEADLINE, GRACE, LAST_QUESTION, PROVIDER
from lab.simulate.participants import start_participant
from lab.simulate.provider import SECRET
from lab.simulate.scheduler import Process
from lab.simulate.world import World
from pay.model import transaction_records
from pay.providers.sandbox import SandboxProvider
from pay.service.asking import LastQuestion
from pay.service.attempts import Attempts
from pay.service.claims import while_any
from pay.service.crew import Crew
from pay.service.events import Handling
from pay.service.inbox import EventKey, Inbox
from pay.service.payments import payment_reservations
from pay.service.polling import Pace, Polling
from pay.service.posting import Times
from pay.service.reading import PaymentReader
from pay.service.refunding import Refunding, SendingBack
from pay.service.soon import Soon
from pay.service.telling import Telling

if TYPE_CHECKING:
    from common.config import Settings

_LOOK_EVERY: Final = 2.0  # seconds; real ones look four times as often, and a run would be little else
_CALLS: Final = 2
_QUEUE, _LONGEST_WAIT = 64, 5.0
_REFUNDS: Final = (1.0, 8.0)  # seconds until a refund is tried again, at first and at most
_PACE: Final = Pace(first=4.0, longest=16.0, until=60.0, per_second=20.0)
_SETTINGS: Final = cast(
    "Settings",
    SimpleNamespace(
        jwt_secret=SECRET,
        callback_tolerance=300.0,
        callbacks_to="http://pay",
        peer_timeout=2.0,
        url=lambda name: f"http://{name}",
    ),
)
"""What the client of the provider reads of all settings."""


def start_pay(world: World, process: Process) -> None:
    """Start the pay service. Raise `HalfMessageError`."""
    providers = {PROVIDER: SandboxProvider(_SETTINGS)}
    database, broker = world.database("pay"), world.broker()
    ids = LeasedIds(database, "pay", lease_seconds=world.plan.lease)
    records = Records(transaction_records, retention=world.plan.retention)
    producer = broker.producer("pay", Checker(database, records, deadline=DEADLINE))
    coordinator = Coordinator(producer, database, records, ids)
    reservations = payment_reservations(database, _PACE.until)
    inbox = Inbox(database)
    first, longest = _REFUNDS
    times = Times(int(GRACE * 1000), int(longest * 1000), int(_PACE.until * 1000))
    handling = Handling(database, coordinator, times)
    asking, polls, refunds = (Crew(name, _CALLS) for name in ("asking", "polling", "refunding"))
    attempts = Attempts(database, reservations, providers, inbox, _in_batches(handling), ids, _PACE.first)
    polling = Polling(database, providers, inbox, attempts.carry_out, handling.handle, polls, _PACE)
    refunding = Refunding(database, providers, refunds, first=first, longest=longest)
    telling = Telling(database, producer, ids, GRACE)
    process.use_cases |= {
        "providers": providers,
        "reader": PaymentReader(database),
        "attempts": attempts,
        "last_question": LastQuestion(database, providers, inbox, handling.handle, asking, LAST_QUESTION),
        "sending_back": SendingBack(database),
        "inbox": inbox,
        "soon": Soon(handling.handle, ThreadedAside("handling", 1)),
    }
    ids.start()
    for name, work in (
        ("events", partial(while_any, handling.handle_due)),
        ("polling", polling.run),
        ("refunding", partial(while_any, refunding.run)),
        ("telling", partial(while_any, telling.run)),
    ):
        Periodic(name, _LOOK_EVERY, work).start()
    start_participant(world, process, broker, database, reservations)


def _in_batches(handling: Handling) -> Callable[[EventKey], None]:
    def handle(keys: Sequence[EventKey]) -> list[None]:
        handling.handle(keys)
        return [None] * len(keys)

    batcher: Batcher[EventKey, None] = Batcher(
        handle, lanes=1, heaviest=ROWS, longest_queue=_QUEUE, longest_wait=_LONGEST_WAIT
    )
    return batcher.submit

"""The console of a deployment on RocketMQ: looks through the remoting protocol or the admin tool, and sends on.

What lies still is sent on as a copy that says where the old one lies (the property `ONWARD`): RocketMQ deletes messages
by age only. The old one counts as gone from then on, so a second resend or resume finds nothing to do.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from common.clock import now_ms
from common.errors import ConsoleUnavailable, MessageNotFound
from common.mq.port import Backlog, BrokerStats, MessageView, State
from common.mq.rocketmq_grpc.names import BORN_AT, ONWARD, OWN
from ops.stack import remoting
from ops.stack.inflight import InFlight
from ops.stack.lanes import HALF_TOPIC, PARKED_TOPIC, TIMER_TOPIC, Lane, Lanes, Spot
from ops.stack.message import StoredMessage, pack
from ops.stack.progress import Consumption, OpenHalves
from ops.stack.remoting import Address
from ops.stack.settings import Kind
from ops.stack.store import Reader, Store
from ops.stack.views import Copies, age, at, identity, view

_AT_ONCE = 2  # lookups of the admin tool, each a JVM; on a busy machine more of them run into its timeouts
_ALL = 1_000_000
_HALF = 0x4  # MessageSysFlag.java: TRANSACTION_PREPARED_TYPE
_KEPT = frozenset({"KEYS", "TAGS", "UNIQ_KEY", "__transactionId__"})  # of RocketMQ's own properties


class StackConsole:
    """Implements `common.mq.port.Console`."""

    def __init__(self, broker: Address, namesrv: Address, prefix: str = "", *, reader: Reader | None = None) -> None:
        """Take where broker and name server listen, the prefix of the deployment, and what looks up keys and ids."""
        self._broker, self._store, self._lanes = broker, Store(broker, namesrv), Lanes(prefix)
        self._reader: Reader = reader or self._store

    def find(
        self,
        *,
        topic: str | None = None,
        key: str | None = None,
        message_id: str | None = None,
        state: State | None = None,
        limit: int = 100,
    ) -> list[MessageView]:
        """Return matching messages, newest first. Delayed ones are found by key or id only: RocketMQ lists none."""
        halves, consumption = OpenHalves(self._store, self._lanes), Consumption(self._store)
        if message_id is not None:
            found = self._copies(message_id, by_id=True)
        elif key is not None:
            found = self._copies(key, by_id=False)
        else:
            lying = self._lying(state, halves, consumption, limit)
            wanted = (message for message in lying if topic in {None, self._topic(message)})
            found = self._every_copy(dict.fromkeys(map(identity, sorted(wanted, key=age, reverse=True))))
        views = (view(copies, halves, consumption) for copies in found)
        matching: Iterator[MessageView] = (
            one
            for one in views
            if topic in {None, one.message.topic}
            and state in {None, one.state}
            and message_id in {None, one.message_id}
        )
        if message_id is None and key is None:
            matching = islice(matching, limit)  # they come newest first, and each costs ten lookups
        return sorted(matching, key=lambda one: (one.born_at, one.message_id), reverse=True)[:limit]

    def stats(self) -> BrokerStats:
        """Count what needs attention."""
        halves, consumption = OpenHalves(self._store, self._lanes), Consumption(self._store)
        still = [message for message in halves.messages.values() if not self._was_given(message)]
        oldest = min((message.born_at or now_ms() for message in still), default=now_ms())
        return BrokerStats(
            half=len(still),
            oldest_half_age=max(0.0, (now_ms() - oldest) / 1000),
            parked=sum(1 for _ in self._left_behind(Spot.PARKED)),
            dead=sum(1 for _ in self._left_behind(Spot.DEAD)),
            pending=sum(consumption.behind(lane) for lane in self._lanes),
        )

    def backlog(self) -> list[Backlog]:
        """Return what each group has before it; what was given in the last seconds may be left out (`InFlight`)."""
        consumption, in_flight = Consumption(self._store), InFlight(self._store)

        def of(lane: Lane) -> Backlog:
            lying = (*consumption.oldest(lane), *in_flight.messages(lane))
            oldest = min((message.stored_at or now_ms() for message in lying), default=now_ms())
            age = max(0.0, (now_ms() - oldest) / 1000)
            return Backlog(lane.group, lane.topic, consumption.behind(lane), in_flight.count(lane), age)

        return [of(lane) for lane in self._lanes]

    def resend(self, message_id: str) -> None:
        """Store a dead message for its group again, where its redeliveries lie. Raise `MessageNotFound`."""
        lane, dead = self._one_left_behind(message_id, Spot.DEAD)
        retries = lane.retries[0]
        if not self._store.queues(retries):  # it died at its first delivery
            remoting.create_topic(self._broker, retries, Kind.NORMAL, queues=1)
        remoting.send(self._broker, retries, dead.body, properties=pack(_onward(dead)))

    def forget(self, group: str) -> None:
        """Raise `ConsoleUnavailable`: RocketMQ keeps nothing for the sake of a group."""
        raise ConsoleUnavailable(
            f"RocketMQ deletes messages by age, whether a group had them or not; delete {group} with its own tool: "
            "mqadmin deleteSubGroup."
        )

    def resume(self, message_id: str) -> None:
        """Store a parked half message as one that nobody was asked about yet. Raise `MessageNotFound`.

        Whatever becomes of it is what any check-back answers: from the record alone.
        """
        lane, parked = self._one_left_behind(message_id, Spot.PARKED)
        producers = parked.properties.get("PGROUP", lane.real_topic)
        remoting.send(
            self._broker,
            lane.real_topic,
            parked.body,
            properties=pack(_onward(parked) | {"TRAN_MSG": "true", "PGROUP": producers}),
            queue=int(parked.properties.get("REAL_QID", "0")),
            flags=_HALF,
            group=producers,
        )

    def _was_given(self, half: StoredMessage) -> bool:
        """Whether a copy of a half message was committed (`Copies.given`), in up to four lookups."""
        known = self._lanes.of(half)
        topics = (*known[0].consumed, known[0].dead) if known else ()
        return any(self._store.messages_by_id(topic, half.message_id) for topic in topics)

    def _one_left_behind(self, message_id: str, spot: Spot) -> tuple[Lane, StoredMessage]:
        for copies in self._copies(message_id, by_id=True):
            found = copies.left_behind(spot)
            if found is not None:
                return copies.lane, found
        raise MessageNotFound

    def _left_behind(self, spot: Spot) -> Iterator[StoredMessage]:
        lying = self._tails([PARKED_TOPIC] if spot is Spot.PARKED else [lane.dead for lane in self._lanes], _ALL)
        for copies in self._every_copy({identity(message): None for message in lying}):
            found = copies.left_behind(spot)
            if found is not None:
                yield found

    def _lying(
        self, state: State | None, halves: OpenHalves, consumption: Consumption, limit: int
    ) -> Iterable[StoredMessage]:
        """Return copies of the messages that may be in a state, and of others."""
        match state:
            case State.HALF:
                return halves.messages.values()
            case State.PARKED:
                return self._tails([PARKED_TOPIC], _ALL)
            case State.DEAD:
                return self._tails([lane.dead for lane in self._lanes], _ALL)
            case State.READY:
                return [message for lane in self._lanes for message in consumption.waiting(lane)]
            case State.DELAYED | State.IN_FLIGHT:
                return ()
        return self._tails([HALF_TOPIC, PARKED_TOPIC, *self._lanes.by_topic], limit)

    def _tails(self, topics: Iterable[str], count: int) -> list[StoredMessage]:
        return [message for topic in topics for message in self._store.tail(topic, count) if self._lanes.of(message)]

    def _topic(self, message: StoredMessage) -> str | None:
        known = self._lanes.of(message)
        return known[0].topic if known else None

    def _every_copy(self, message_ids: Iterable[str]) -> Iterator[Copies]:
        for message_id in message_ids:
            yield from self._copies(message_id, by_id=True, reader=self._store)

    def _copies(self, wanted: str, *, by_id: bool, reader: Reader | None = None) -> Iterator[Copies]:
        """Look everywhere; yield the copies of each message."""
        look = self._store.messages_by_id if by_id else self._store.messages_by_key
        by_topic = {topic: there for topic in self._lanes.topics if (there := look(topic, wanted))}
        if (reader or self._reader) is not self._store:
            by_topic |= self._read_again(self._reader, wanted, by_topic.keys() - {TIMER_TOPIC}, by_id=by_id)
        by_message: dict[tuple[str, Lane], dict[Spot, list[StoredMessage]]] = defaultdict(lambda: defaultdict(list))
        for message in (message for messages in by_topic.values() for message in messages):
            known = self._lanes.of(message)
            if known is not None:
                by_message[identity(message), known[0]][known[1]].append(message)
        for (_, lane), by_spot in by_message.items():
            yield Copies(lane, {spot: sorted(those, key=lambda m: m.offset) for spot, those in by_spot.items()})

    @staticmethod
    def _read_again(
        reader: Reader, wanted: str, topics: Iterable[str], *, by_id: bool
    ) -> dict[str, list[StoredMessage]]:
        """Have the admin tool read what is there, topic by topic: it starts a JVM for each, and knows no timers."""
        look = reader.messages_by_id if by_id else reader.messages_by_key
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            coming = {topic: pool.submit(look, topic, wanted) for topic in topics}
            return {topic: found.result() for topic, found in coming.items()}


def _onward(message: StoredMessage) -> dict[str, str]:
    """Return the properties of the copy that goes on for a message: its own, ours, and none of its past."""
    kept = {
        name: value
        for name, value in message.properties.items()
        if name in _KEPT or name in OWN or not (name.startswith("__") or name.upper() == name)
    }
    return {**kept, BORN_AT: message.properties.get(BORN_AT) or str(message.born_at or now_ms()), ONWARD: at(message)}

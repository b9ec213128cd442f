"""The console of a deployment on RocketMQ: looks through the remoting protocol or the admin tool, and sends on.

What lies still is sent on as a copy that says where the old one lies (the property `ONWARD`): RocketMQ deletes messages
by age only. The old one counts as gone from then on, so a second resend or resume finds nothing to do.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from halfmessage.clock import now_ms
from halfmessage.errors import ConsoleUnavailable, MessageNotFound
from halfmessage.mq.port import Backlog, BrokerStats, Cursor, MessageView, State
from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.defaults import Kind
from halfmessage.mq.rocketmq_console.inflight import InFlight
from halfmessage.mq.rocketmq_console.lanes import HALF_TOPIC, PARKED_TOPIC, TIMER_TOPIC, Lane, Lanes, Spot
from halfmessage.mq.rocketmq_console.message import StoredMessage, pack
from halfmessage.mq.rocketmq_console.progress import Consumption, OpenHalves
from halfmessage.mq.rocketmq_console.remoting import Address
from halfmessage.mq.rocketmq_console.store import Reader, Store
from halfmessage.mq.rocketmq_console.views import Copies, age, at, identity, view
from halfmessage.mq.rocketmq_console.wanted import Wanted
from halfmessage.mq.rocketmq_grpc.names import BORN_AT, ONWARD, OWN

_AT_ONCE = 2  # lookups of the admin tool, each a JVM; on a busy machine more of them run into its timeouts
_ALL = 1_000_000
PAGED = 500  # newest of a queue among which older ones are looked for
_COUNTED = 200  # newest of a queue that a count looks at, each in ten lookups: it is read at every scrape
_HALF = 0x4  # MessageSysFlag.java: TRANSACTION_PREPARED_TYPE
_KEPT = frozenset({"KEYS", "TAGS", "UNIQ_KEY", "__transactionId__"})  # of RocketMQ's own properties


class RocketMQConsole:
    """Implements `halfmessage.mq.port.Console`."""

    def __init__(
        self,
        broker: Address,
        namesrv: Address,
        prefix: str = "",
        *,
        subscriptions: tuple[tuple[str, str], ...],
        reader: Reader | None = None,
    ) -> None:
        """Take where broker and name server listen, the prefix of the deployment, and what looks up keys and ids.

        `subscriptions`: the topics with the groups that consume them.
        """
        self._broker, self._store, self._lanes = broker, Store(broker, namesrv), Lanes(prefix, subscriptions)
        self._reader: Reader = reader or self._store

    def find(
        self,
        *,
        topic: str | None = None,
        key: str | None = None,
        message_id: str | None = None,
        state: State | None = None,
        group: str | None = None,
        born_from: int | None = None,
        born_until: int | None = None,
        before: Cursor | None = None,
        limit: int = 100,
    ) -> list[MessageView]:
        """Return matching messages, newest first. Delayed ones are found by key or id only: RocketMQ lists none.

        Without key or id the newest of each queue are looked at: `limit` of them, or `PAGED` where a group, a time or
        the page before leave some of them out.
        """
        wanted = Wanted(topic, message_id, state, group, born_from, born_until, before)
        halves, consumption = OpenHalves(self._store, self._lanes), Consumption(self._store)
        if message_id is not None:
            found = self._copies(message_id, by_id=True)
        elif key is not None:
            found = self._copies(key, by_id=False)
        else:
            lying = self._lying(state, halves, consumption, PAGED if wanted.leaves_out else limit)
            mine = (message for message in lying if wanted.is_copy(message, self._lanes.of(message)))
            found = self._every_copy(dict.fromkeys(map(identity, sorted(mine, key=age, reverse=True))))
        matching: Iterator[MessageView] = filter(
            wanted.is_view, (view(copies, halves, consumption) for copies in found)
        )
        if message_id is None and key is None:
            matching = islice(matching, limit)  # they come newest first, and each costs ten lookups
        return sorted(matching, key=lambda one: one.cursor, reverse=True)[:limit]

    def stats(self) -> BrokerStats:
        """Count what needs attention: of parked messages and dead letters among the newest `_COUNTED` of each queue."""
        halves, consumption = OpenHalves(self._store, self._lanes), Consumption(self._store)
        still = [message for message in halves.messages.values() if not self._was_given(message)]
        now = now_ms()  # once: what is nowhere is not a millisecond old
        oldest = min((message.born_at or now for message in still), default=now)
        return BrokerStats(
            half=len(still),
            oldest_half_age=max(0.0, (now - oldest) / 1000),
            parked=self._number_left_behind(Spot.PARKED),
            dead=self._number_left_behind(Spot.DEAD),
            pending=sum(consumption.behind(lane) for lane in self._lanes),
        )

    def backlog(self) -> list[Backlog]:
        """Return what each group has before it; what was given in the last seconds may be left out (`InFlight`)."""
        consumption, in_flight = Consumption(self._store), InFlight(self._store)

        def of(lane: Lane) -> Backlog:
            lying = (*consumption.oldest(lane), *in_flight.messages(lane))
            now = now_ms()
            oldest = min((message.stored_at or now for message in lying), default=now)
            age = max(0.0, (now - oldest) / 1000)
            return Backlog(lane.group, lane.topic, consumption.behind(lane), in_flight.count(lane), age)

        return [of(lane) for lane in self._lanes]

    def resend(self, message_id: str) -> None:
        """Store a message again for each group that it is dead to, where its redeliveries lie.

        Raise `MessageNotFound`.
        """
        copies = self._left_behind_of(message_id, Spot.DEAD)
        for lane in copies.lanes:
            dead = copies.left_behind(Spot.DEAD, lane)
            if dead is not None:
                self._resend(lane, dead)

    def _resend(self, lane: Lane, dead: StoredMessage) -> None:
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
        """Store a parked half message as one without a check-back so far. Raise `MessageNotFound`.

        Whatever becomes of it is what any check-back answers: from the record alone.
        """
        copies = self._left_behind_of(message_id, Spot.PARKED)
        parked, topic = copies.all(Spot.PARKED)[-1], copies.lanes[0].real_topic
        producers = parked.properties.get("PGROUP", topic)
        remoting.send(
            self._broker,
            topic,
            parked.body,
            properties=pack(_onward(parked) | {"TRAN_MSG": "true", "PGROUP": producers}),
            queue=int(parked.properties.get("REAL_QID", "0")),
            flags=_HALF,
            group=producers,
        )

    def check_now(self, message_id: str) -> None:  # noqa: ARG002 - it can be done to none
        """Raise `ConsoleUnavailable`: no request of RocketMQ's protocol has it ask before its time."""
        raise ConsoleUnavailable(
            "RocketMQ asks about half messages at times of its own (transactionCheckInterval in broker.conf)."
        )

    def _was_given(self, half: StoredMessage) -> bool:
        """Whether a copy of a half message was committed (`Copies.given`), in up to four lookups."""
        known = self._lanes.of(half)
        topics = dict.fromkeys(topic for lane in (known[0] if known else ()) for topic in (*lane.consumed, lane.dead))
        return any(self._store.messages_by_id(topic, half.message_id) for topic in topics)

    def _left_behind_of(self, message_id: str, spot: Spot) -> Copies:
        for copies in self._copies(message_id, by_id=True):
            if copies.is_left_behind(spot):
                return copies
        raise MessageNotFound

    def _number_left_behind(self, spot: Spot) -> int:
        lying = self._tails([PARKED_TOPIC] if spot is Spot.PARKED else [lane.dead for lane in self._lanes], _COUNTED)
        every = self._every_copy({identity(message): None for message in lying})
        return sum(copies.is_left_behind(spot) for copies in every)

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

    def _every_copy(self, message_ids: Iterable[str]) -> Iterator[Copies]:
        for message_id in message_ids:
            yield from self._copies(message_id, by_id=True, reader=self._store)

    def _copies(self, wanted: str, *, by_id: bool, reader: Reader | None = None) -> Iterator[Copies]:
        """Look everywhere; yield the copies of each message."""
        look = self._store.messages_by_id if by_id else self._store.messages_by_key
        by_topic = {topic: there for topic in self._lanes.topics if (there := look(topic, wanted))}
        if (reader or self._reader) is not self._store:
            by_topic |= self._read_again(self._reader, wanted, by_topic.keys() - {TIMER_TOPIC}, by_id=by_id)
        by_message: dict[tuple[str, tuple[Lane, ...]], dict[Spot, list[StoredMessage]]]
        by_message = defaultdict(lambda: defaultdict(list))
        for message in (message for messages in by_topic.values() for message in messages):
            known = self._lanes.of(message)
            if known is not None:
                by_message[identity(message), known[0]][known[1]].append(message)
        for (_, lanes), by_spot in by_message.items():
            yield Copies(lanes, {spot: sorted(those, key=lambda m: m.offset) for spot, those in by_spot.items()})

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

"""The console of a deployment on RocketMQ: looks through the remoting protocol or the admin tool, and sends on.

What lies still is sent on as a copy that says where the old one lies (the property `ONWARD`): RocketMQ deletes messages
by age only. The old one counts as gone from then on, so a second resend or resume finds nothing to do.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from halfmessage.chunks import chunks
from halfmessage.clock import now_ms
from halfmessage.errors import ConsoleUnavailable, MessageNotFound
from halfmessage.mq.port import Backlog, BrokerStats, Cursor, MessageView, State
from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.connections import Connections
from halfmessage.mq.rocketmq_console.defaults import Kind
from halfmessage.mq.rocketmq_console.inflight import InFlight
from halfmessage.mq.rocketmq_console.lanes import HALF_TOPIC, PARKED_TOPIC, TIMER_TOPIC, Lane, Lanes, Spot
from halfmessage.mq.rocketmq_console.message import StoredMessage, pack
from halfmessage.mq.rocketmq_console.newest import newest
from halfmessage.mq.rocketmq_console.progress import Consumption, OpenHalves
from halfmessage.mq.rocketmq_console.remoting import Address
from halfmessage.mq.rocketmq_console.store import Queue, Reader, Store
from halfmessage.mq.rocketmq_console.views import Copies, age, at, identity, view
from halfmessage.mq.rocketmq_console.wanted import Wanted
from halfmessage.mq.rocketmq_grpc.names import BORN_AT, ONWARD, OWN

_AT_ONCE = 2  # lookups of the admin tool, each a JVM; on a busy machine more of them run into its timeouts
_ALL = 1_000_000
PAGED = 500  # messages of a queue among which those of a page are looked for
_TOGETHER = 16  # messages that are looked for everywhere at once: some hundred lookups
_LOOKED_FOR = 1_000  # messages that a page looks for everywhere until it is full
_COUNTED = 200  # newest of a queue that a count looks at: it is read at every scrape
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
        connections: Connections | None = None,
    ) -> None:
        """Take where broker and name server listen and the prefix of the deployment.

        `subscriptions`: the topics with the groups that consume them; `reader`: what reads again what was found by a
        key or an id; `connections`: those to go on with.
        """
        self._broker, self._namesrv, self._lanes = broker, namesrv, Lanes(prefix, subscriptions)
        self._connections, self._reader = connections or Connections(), reader

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

        Without key or id `PAGED` messages of each queue are looked at, the newest before `before` and `born_until`, and
        `_LOOKED_FOR` of them in all places where they may lie.
        """
        wanted = Wanted(topic, message_id, state, group, born_from, born_until, before)
        look = self._look()
        found: Iterable[MessageView]
        if message_id is not None:
            found = look.of(self._copies(look.store, message_id, by_id=True))
        elif key is not None:
            found = look.of(self._copies(look.store, key, by_id=False))
        else:
            lying = self._lying(look, wanted)
            mine = (message for message in lying if wanted.is_copy(message, self._lanes.of(message)))
            found = look.everywhere(islice(_once(mine), _LOOKED_FOR))
        matching: Iterator[MessageView] = filter(wanted.is_view, found)
        if message_id is None and key is None:
            matching = islice(matching, limit)  # they come newest first, and each costs ten lookups
        return sorted(matching, key=lambda one: one.cursor, reverse=True)[:limit]

    def stats(self) -> BrokerStats:
        """Count what needs attention: of parked messages and dead letters among the newest `_COUNTED` of each queue.

        Of open half messages the oldest `_COUNTED` are looked for in all places: one that was given is none.
        """
        look = self._look()
        halves = sorted(look.halves.messages.values(), key=age)
        given = look.given(halves[:_COUNTED])
        still = [message for message in halves if message.message_id not in given]
        behind = look.consumption.behind(list(self._lanes))
        now = now_ms()  # once: what is nowhere is not a millisecond old
        oldest = min((message.born_at or now for message in still), default=now)
        return BrokerStats(
            half=len(still) + look.halves.unread,
            oldest_half_age=max(0.0, (now - oldest) / 1000),
            parked=self._number_left_behind(look, Spot.PARKED, [PARKED_TOPIC]),
            dead=self._number_left_behind(look, Spot.DEAD, [lane.dead for lane in self._lanes]),
            pending=sum(len(offsets) for waiting in behind.values() for offsets in waiting.values()),
        )

    def backlog(self) -> list[Backlog]:
        """Return what each group has before it; what was given in the last seconds may be left out (`InFlight`)."""
        look = self._look()
        lanes = list(self._lanes)
        behind, in_flight = look.consumption.behind(lanes), InFlight(look.store)
        oldest = {lane: look.first_of(behind[lane]) for lane in lanes}

        def of(lane: Lane) -> Backlog:
            now = now_ms()
            lying = (*oldest[lane], *in_flight.messages(lane))
            age = max(0.0, (now - min((message.stored_at or now for message in lying), default=now)) / 1000)
            waiting = sum(map(len, behind[lane].values()))
            return Backlog(lane.group, lane.topic, waiting, in_flight.count(lane), age)

        return [of(lane) for lane in lanes]

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
        if not self._look().store.queues_of([retries]):  # it died at its first delivery
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

    def _look(self) -> "_Look":
        store = Store(self._broker, self._namesrv, self._connections)
        return _Look(store, self._lanes)

    def _left_behind_of(self, message_id: str, spot: Spot) -> Copies:
        for copies in self._copies(self._look().store, message_id, by_id=True):
            if copies.is_left_behind(spot):
                return copies
        raise MessageNotFound

    def _number_left_behind(self, look: "_Look", spot: Spot, topics: Iterable[str]) -> int:
        lying = filter(self._lanes.of, newest(look.store, list(topics), _COUNTED))
        return sum(copies.is_left_behind(spot) for copies in look.copies(_once(lying)))

    def _lying(self, look: "_Look", wanted: Wanted) -> Iterable[StoredMessage]:
        """Return copies of the messages that may be wanted, and of others, newest first."""
        lanes = [lane for lane in self._lanes if wanted.may_be_of(lane)]
        match wanted.state:
            case State.DELAYED | State.IN_FLIGHT:
                return ()
            case State.HALF:
                return sorted(look.halves.messages.values(), key=age, reverse=True)
            case State.READY:
                given = look.consumption.given(lanes)
                topics = list(dict.fromkeys(topic for topic, _ in given))
                return newest(look.store, topics, PAGED, until=wanted.until, floor=given)
            case State.PARKED:
                return newest(look.store, [PARKED_TOPIC], _ALL, until=wanted.until)
            case State.DEAD:
                return newest(look.store, [lane.dead for lane in lanes], _ALL, until=wanted.until)
        lying = dict.fromkeys(topic for lane in lanes for topic in lane.shown)
        shared = () if wanted.group is not None else (HALF_TOPIC, PARKED_TOPIC)  # what lies there is no group's yet
        return newest(look.store, [*shared, *lying], PAGED, until=wanted.until)

    def _copies(self, store: Store, wanted: str, *, by_id: bool) -> Iterator[Copies]:
        """Look everywhere; return the copies of each message."""
        topics = self._lanes.topics
        there = store.lookups([(topic, wanted) for topic in topics], by_id=by_id)
        by_topic = {topic: messages for topic, messages in zip(topics, there, strict=True) if messages}
        if self._reader is not None:
            by_topic |= self._read_again(self._reader, wanted, by_topic.keys() - {TIMER_TOPIC}, by_id=by_id)
        return _sorted(self._lanes, (message for messages in by_topic.values() for message in messages))

    @staticmethod
    def _read_again(
        reader: Reader, wanted: str, topics: Iterable[str], *, by_id: bool
    ) -> dict[str, list[StoredMessage]]:
        """Have the admin tool read what is there, topic by topic: it starts a JVM for each, and knows no timers."""
        look = reader.messages_by_id if by_id else reader.messages_by_key
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            coming = {topic: pool.submit(look, topic, wanted) for topic in topics}
            return {topic: found.result() for topic, found in coming.items()}


class _Look:
    """One look at a broker: what is asked in it is asked once."""

    def __init__(self, store: Store, lanes: Lanes) -> None:
        """Take what to ask, and where the messages of the deployment lie."""
        self.store, self._lanes = store, lanes
        self.halves, self.consumption = OpenHalves(store, lanes), Consumption(store)

    def everywhere(self, messages: Iterable[StoredMessage]) -> Iterator[MessageView]:
        """Yield the messages that some copies are of, as many at a time as `_TOGETHER`."""
        for some in chunks(messages, _TOGETHER):
            yield from self.of(self.copies(some))

    def of(self, found: Iterable[Copies]) -> list[MessageView]:
        """Return some messages; what all of them need is asked together."""
        those = list(found)
        lanes = dict.fromkeys(lane for copies in those for lane in copies.lanes)
        lying = [message for copies in those for message in copies.all(Spot.VISIBLE, Spot.RETRY)]
        self.consumption.learn(lanes, dict.fromkeys((message.topic, message.queue) for message in lying))
        sent = [copies.all(Spot.HALF) for copies in those if not copies.given]
        self.halves.learn(halves for halves in sent if not self.halves.has(halves))
        return [view(copies, self.halves, self.consumption) for copies in those]

    def copies(self, messages: Iterable[StoredMessage]) -> Iterator[Copies]:
        """Return all copies of the messages that some copies are of, each of which is a message's only one here."""
        wanted: list[tuple[str, str]] = []
        for message in messages:
            if known := self._lanes.of(message):
                topics = self.store.holding(self._lanes.topics_of(known[0]))
                wanted += [(topic, identity(message)) for topic in topics]
        found = self.store.lookups(wanted, by_id=True)
        return _sorted(self._lanes, (copy for copies in found for copy in copies))

    def first_of(self, offsets: Mapping[Queue, range]) -> list[StoredMessage]:
        """Return the first message of each queue among some offsets, that is kept."""
        begins = self.store.begins(offsets)
        at = [(*queue, max(those.start, begins[queue])) for queue, those in offsets.items()]
        return [message for message in self.store.at(at) if message is not None]

    def given(self, halves: Iterable[StoredMessage]) -> set[str]:
        """Return the ids of those half messages of which a copy was committed (`Copies.given`)."""
        wanted: list[tuple[str, str]] = []
        for half in halves:
            if known := self._lanes.of(half):
                topics = {topic for lane in known[0] for topic in lane.shown}
                wanted += [(topic, half.message_id) for topic in self.store.holding(topics)]
        found = self.store.lookups(wanted, by_id=True)
        return {message_id for (_, message_id), there in zip(wanted, found, strict=True) if there}


def _once(messages: Iterable[StoredMessage]) -> Iterator[StoredMessage]:
    """Yield the first copy of each message."""
    seen: set[str] = set()
    for message in messages:
        if identity(message) not in seen:
            seen.add(identity(message))
            yield message


def _sorted(lanes: Lanes, found: Iterable[StoredMessage]) -> Iterator[Copies]:
    """Yield the copies of each message, in the order in which the messages were found."""
    by_message: dict[tuple[str, tuple[Lane, ...]], dict[Spot, list[StoredMessage]]]
    by_message = defaultdict(lambda: defaultdict(list))
    for message in found:
        known = lanes.of(message)
        if known is not None:
            by_message[identity(message), known[0]][known[1]].append(message)
    for (_, those), by_spot in by_message.items():
        yield Copies(those, {spot: sorted(lying, key=lambda m: m.offset) for spot, lying in by_spot.items()})


def _onward(message: StoredMessage) -> dict[str, str]:
    """Return the properties of the copy that goes on for a message: its own, ours, and none of its past."""
    kept = {
        name: value
        for name, value in message.properties.items()
        if name in _KEPT or name in OWN or not (name.startswith("__") or name.upper() == name)
    }
    return {**kept, BORN_AT: message.properties.get(BORN_AT) or str(message.born_at or now_ms()), ONWARD: at(message)}

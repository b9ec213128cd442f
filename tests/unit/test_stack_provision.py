"""Topics and groups are made before consumers start: what is missing, and no more."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from click.testing import CliRunner, Result

from common import registry
from halfmessage.errors import BrokerError
from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.remoting import Address
from ops.commands.provision import command
from ops.errors import CommandFailed
from ops.stack import provision
from ops.stack.provision import Supplies
from ops.stack.settings import GROUPS, TOPICS

NAMESRV, BROKER = Address("namesrv", 9876), Address("10.0.0.1", 10911)
CONSUMERS = [group for _, group in registry.SUBSCRIPTIONS]
BESIDE = {f"%RETRY%{group}" for group in CONSUMERS}


class Cluster:
    """A name server with one broker, as far as making and deleting goes; it is known after `hidden` looks."""

    def __init__(self) -> None:
        self.topics: dict[str, str] = {}
        self.groups: dict[str, int] = {}
        self.queues: dict[str, int] = {}
        self.made: list[str] = []
        self.hidden = 0

    def call(
        self, server: Address, code: int, fields: Mapping[str, Any], body: bytes = b"", **_: object
    ) -> tuple[Mapping[str, Any], bytes]:
        assert server == (NAMESRV if code in {106, 216} else BROKER)
        return {}, json.dumps(getattr(self, f"_{code}")(fields, body)).encode()

    def _106(self, _: object, __: object) -> object:
        self.hidden -= 1
        if self.hidden >= 0:
            raise BrokerError("namesrv:9876 does not answer.")
        replica = {"slave": {"brokerAddrs": {"1": "10.0.0.2:10911"}}}
        return {"brokerAddrTable": {"broker-a": {"brokerAddrs": {"0": "10.0.0.1:10911"}}, **replica}}

    def _21(self, _: object, __: object) -> object:
        kinds = {name: {"message.type": kind} if kind else {} for name, kind in self.topics.items()}
        return {"topicConfigTable": {name: {"attributes": kind} for name, kind in kinds.items()}}

    def _201(self, _: object, __: object) -> object:
        return {"subscriptionGroupTable": self.groups}

    def _17(self, fields: Mapping[str, Any], _: object) -> None:
        self.topics[fields["topic"]] = fields["attributes"].removeprefix("+message.type=")
        self.queues[fields["topic"]] = fields["writeQueueNums"]
        self.made.append(fields["topic"])

    def _200(self, _: object, body: bytes) -> None:
        told = json.loads(body)
        self.groups[told["groupName"]] = told["retryMaxTimes"]
        self.made.append(told["groupName"])

    def _215(self, fields: Mapping[str, Any], _: object) -> None:
        self.topics.pop(fields["topic"], None)

    def _216(self, _: object, __: object) -> None:
        pass

    def _207(self, fields: Mapping[str, Any], _: object) -> None:
        self.groups.pop(fields["groupName"], None)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Return a cluster with nothing in it."""
    cluster = Cluster()
    monkeypatch.setattr(remoting, "_call", cluster.call)
    return cluster


def orders_provision(*words: str) -> Result:
    return CliRunner().invoke(command, ["--name-server", "namesrv:9876", *words])


def test_a_deployment_gets_its_topics_with_kinds_its_groups_and_a_topic_beside_each(cluster: Cluster) -> None:
    """Groups last, so that who waits for one finds the rest; the second time nothing is made."""
    done = orders_provision()
    assert done.exit_code == 0, done.output
    assert cluster.topics == {topic: TOPICS[topic] for topic in registry.TOPICS} | dict.fromkeys(BESIDE, "NORMAL")
    assert (cluster.groups, cluster.made[-len(CONSUMERS) :]) == (dict.fromkeys(CONSUMERS, 16), CONSUMERS)
    assert {topic: cluster.queues[topic] for topic in BESIDE} == dict.fromkeys(BESIDE, 1)
    assert "broker-a: made topic order_rollback (TRANSACTION)\n" in done.output
    cluster.made.clear()
    assert orders_provision().output == "broker-a: nothing is missing.\n"
    assert cluster.made == []


def test_a_dry_run_makes_nothing_and_says_what_it_would(cluster: Cluster) -> None:
    """Line by line what the real one says."""
    would = orders_provision("--dry-run", "--prefix", "shop").output
    assert cluster.made == []
    assert "broker-a: would make group shop-stock\n" in would
    assert orders_provision("--prefix", "shop").output == would.replace("would make", "made")
    assert "%RETRY%shop-stock" in cluster.topics


def test_what_is_there_stays_as_it_is(cluster: Cluster) -> None:
    """A group with redeliveries of its owner's own, a topic that takes every kind, one that its clients made."""
    cluster.groups["stock"] = 3
    cluster.topics |= {"order_rollback": "MIXED", "%RETRY%stock": ""}
    orders_provision()
    ours = {"order_timeout", "payment_succeeded", "order_request", "flash_purchase"}
    assert set(cluster.made) == {*ours, *CONSUMERS, *BESIDE} - {"stock", "%RETRY%stock"}
    assert cluster.groups["stock"] == 3


@pytest.mark.parametrize(("kind", "told"), [("NORMAL", "carries NORMAL"), ("", "carries no kind")])
def test_a_topic_of_another_kind_is_told_before_anything_is_made(cluster: Cluster, kind: str, told: str) -> None:
    """Its kind can't be changed: with what to do."""
    cluster.topics["order_timeout"] = kind
    done = orders_provision()
    assert isinstance(done.exception, CommandFailed)
    assert told in done.exception.detail
    assert "must carry DELAY" in done.exception.detail
    assert cluster.made == []


def test_a_broker_that_is_not_known_yet_is_waited_for(cluster: Cluster) -> None:
    """For so long as is said; then with what the name server answered."""
    cluster.hidden = 2
    assert orders_provision().exit_code == 0
    cluster.hidden = 1_000
    done = orders_provision("--within", "0.1")
    assert isinstance(done.exception, CommandFailed)
    assert "namesrv:9876 does not answer" in done.exception.detail


@pytest.mark.parametrize(
    "words", [["--name-server", "namesrv"], ["--name-server", "namesrv:x"], ["--name-server", "n:1", "--prefix", "a b"]]
)
def test_what_is_no_address_and_no_prefix_is_refused(words: list[str]) -> None:
    """Before anything is asked."""
    assert CliRunner().invoke(command, words).exit_code == 2


def test_a_stack_has_all_that_is_used_on_it(cluster: Cluster) -> None:
    """Its tests and probes too."""
    provision.make(Supplies.of_stack(), BROKER)
    assert set(cluster.topics) == set(TOPICS) | {f"%RETRY%{group}" for group in GROUPS}
    assert set(cluster.groups) == set(GROUPS)


def test_nothing_of_a_prefix_is_left_behind(cluster: Cluster) -> None:
    """Topics, groups, the topics beside them, redeliveries and dead letters; what others have stays."""
    provision.make(Supplies.of_deployment("me"), BROKER)
    provision.make(Supplies.of_deployment("you"), BROKER)
    cluster.topics |= {"%DLQ%me-stock": "", "%RETRY%me-stock_me-order_rollback": "", "%DLQ%you-stock": ""}
    provision.remove("me", BROKER, NAMESRV)
    assert [name for name in (*cluster.topics, *cluster.groups) if "me-" in name] == []
    assert cluster.topics.keys() == {*Supplies.of_deployment("you").all_topics, "%DLQ%you-stock"}

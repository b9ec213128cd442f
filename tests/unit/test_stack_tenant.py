"""A deployment's share of a stack: what is its own, and what it is called."""

from pathlib import Path

import pytest

from common.registry import SUBSCRIPTIONS
from ops.errors import CommandFailed, NoDeployment
from ops.plan import Plan, Servers
from ops.stack import Stack, plan, tenant
from ops.stack.settings import DATABASES, GROUPS, TOPICS


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """Return a stack that was planned, and runs nothing."""
    stack = Stack(tmp_path)
    stack.layout.make()
    plan.save(stack.layout.plan_file, plan.new_plan(20000))
    return stack


def test_without_a_name_a_deployment_has_the_stack_to_itself(stack: Stack) -> None:
    """Its URLs are the stack's; nothing is asked of a server."""
    servers, urls = tenant.servers(stack), stack.urls()
    assert (servers.broker_url, servers.redis_url) == (urls["ORDERS_BROKER_URL"], urls["ORDERS_REDIS_URL"])
    assert servers.database_urls == {name: urls[f"{name.upper()}_DATABASE_URL"] for name in DATABASES}
    assert servers.stack == str(stack.layout.root)


def test_what_servers_a_deployment_has_survives_the_state_file(stack: Stack) -> None:
    """Also as it was kept before there was a stack in it."""
    plan = Plan(servers=tenant.servers(stack))
    assert Plan.from_settings(plan.as_settings()) == plan
    old = {"broker_url": "rocketmq://h:1", "database_urls": {}, "redis_url": ""}
    assert Plan.from_settings({"servers": old}).servers == Servers(**old, stack="")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["with-dash", "Upper", "a b", "x" * 33, "ä", "a`b"])
def test_a_name_that_servers_would_not_take_is_refused(stack: Stack, name: str) -> None:
    """Before anything is made."""
    with pytest.raises(CommandFailed, match="a-z, 0-9"):
        tenant.servers(stack, name)
    with pytest.raises(CommandFailed, match="a-z, 0-9"):
        tenant.drop(stack, name)


def test_nothing_is_dropped_without_a_name(stack: Stack) -> None:
    """The stack's own databases go with the stack (`orders stack reset`)."""
    with pytest.raises(CommandFailed):
        tenant.drop(stack, "")


def test_a_stack_that_was_never_started(tmp_path: Path) -> None:
    """Says how to start one."""
    with pytest.raises(NoDeployment, match="orders stack up"):
        tenant.servers(Stack(tmp_path))


def test_every_subscription_is_of_a_topic_and_a_group_that_are_made() -> None:
    """The consumers of docs/architecture.md."""
    assert {topic for topic, _ in SUBSCRIPTIONS} <= TOPICS.keys()
    assert {group for _, group in SUBSCRIPTIONS} <= set(GROUPS)

"""What every directory of instances promises (`common.discovery.port`)."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from common.discovery.factory import open_directory
from common.discovery.port import LEAST_TTL, Instance
from tests.contract.directories import KINDS, Open, opening
from tests.support import eventually

pytestmark = pytest.mark.embedded("the directories are servers of their own")

ONE = Instance("stock", "http://127.0.0.1:8002")
TWO = Instance("stock", "http://127.0.0.1:8102")
OTHER = Instance("goods", "http://127.0.0.1:8003")
LONG = 60
LATE = 1.5  # seconds after the end of a lease; etcd looks for those that are over twice a second, and may be busy


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Run each directory once for all tests."""
    with opening(request.param, tmp_path_factory.mktemp(request.param)) as link:
        yield link


@pytest.fixture
def link(server: Open) -> Open:
    """Return what opens links to an empty list."""
    with closing(server()) as directory:
        for instance in (ONE, TWO, OTHER):
            directory.withdraw(instance)
    return server


def test_who_is_listed_is_found_by_others(link: Open) -> None:
    """Each service's instances, sorted; one that was not asked for is left out; one without any is empty."""
    mine, theirs = link(), link()
    for instance in (TWO, ONE, OTHER):
        mine.put(instance, LONG)
    assert theirs.read(["stock", "pay"]) == {"stock": [ONE.url, TWO.url], "pay": []}


def test_an_instance_is_listed_once(link: Open) -> None:
    """Put again, by itself or by its successor at the same address, it is the same one."""
    first, second = link(), link()
    for directory in (first, first, second):
        directory.put(ONE, LONG)
    assert first.read(["stock"]) == {"stock": [ONE.url]}


def test_withdrawn_at_once(link: Open) -> None:
    """What is withdrawn is gone for all readers; again, and what never was listed: nothing."""
    mine, theirs = link(), link()
    mine.put(ONE, LONG)
    mine.put(TWO, LONG)
    mine.withdraw(ONE)
    assert theirs.read(["stock"]) == {"stock": [TWO.url]}
    mine.withdraw(ONE)
    theirs.withdraw(OTHER)


def test_listed_again_after_it_was_withdrawn(link: Open) -> None:
    """It has a lease of its own again."""
    directory = link()
    directory.put(ONE, LONG)
    directory.withdraw(ONE)
    directory.put(ONE, LONG)
    assert directory.read(["stock"]) == {"stock": [ONE.url]}


def test_gone_when_its_lease_is_over(link: Open) -> None:
    """What is not put again is listed for its TTL, and no longer than a little more."""
    mine, theirs = link(), link()
    begun = time.monotonic()
    mine.put(ONE, LEAST_TTL)
    mine.close()
    eventually(lambda: theirs.read(["stock"]) == {"stock": []}, within=LEAST_TTL + LATE)
    assert time.monotonic() - begun > LEAST_TTL - 0.5


def test_listed_for_as_long_as_it_is_put_again(link: Open) -> None:
    """Renewed in time it stays, well past its first lease, and is never missed meanwhile."""
    mine, theirs = link(), link()
    begun = time.monotonic()
    mine.put(ONE, LEAST_TTL)
    due = begun + LEAST_TTL / 3
    while (now := time.monotonic()) < begun + 2 * LEAST_TTL:
        assert theirs.read(["stock"]) == {"stock": [ONE.url]}
        if now >= due:
            mine.put(ONE, LEAST_TTL)
            due = now + LEAST_TTL / 3


def test_its_lease_was_lost(link: Open) -> None:
    """Put again after its time was over, as by a process that was stopped meanwhile: it is listed as before."""
    directory = link()
    directory.put(ONE, LEAST_TTL)
    eventually(lambda: directory.read(["stock"]) == {"stock": []}, within=LEAST_TTL + LATE)
    directory.put(ONE, LEAST_TTL)
    assert directory.read(["stock"]) == {"stock": [ONE.url]}


def test_another_first_lease_takes_nothing_away(link: Open) -> None:
    """A successor at the same address is listed still, when the lease of the one that was killed is over."""
    killed, successor, third = link(), link(), link()
    killed.put(ONE, LEAST_TTL)
    successor.put(ONE, LONG)
    killed.put(TWO, LEAST_TTL)  # its lease ends with the first one's, or later
    eventually(lambda: TWO.url not in third.read(["stock"])["stock"], within=LEAST_TTL + LATE)
    assert third.read(["stock"]) == {"stock": [ONE.url]}


def test_static(tmp_path: Path) -> None:
    """The settings' addresses, whatever is put or withdrawn; it says that it never changes."""
    directory = open_directory("", lambda name: f"http://{name}:1, http://{name}:2/")
    directory.put(ONE, LONG)
    directory.withdraw(ONE)
    assert directory.read(["stock"]) == {"stock": ["http://stock:1", "http://stock:2"]}
    assert not directory.changes
    directory.close()
    assert not list(tmp_path.iterdir())

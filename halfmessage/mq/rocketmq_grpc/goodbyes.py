"""Goodbyes in the name of processes that died, so that RocketMQ asks them no more.

RocketMQ 5 takes a client for alive until 120 s after its last word (SimpleChannel.isActive) and asks those of a topic
in turn. A producer that was killed thus takes its share of check-backs to the grave, and these count: measured on
5.2.0, after ten kills within two minutes a half message was asked about 15 times before somebody alive got to hear of
it, and after 15 RocketMQ asks no more. So each client that answers check-backs has a file of its name, which it
locks. A file without a lock is a dead process's: the others of its machine say goodbye for it.
"""

import contextlib
import fcntl
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import structlog
from rocketmq.grpc_protocol import NotifyClientTerminationRequest
from rocketmq.v5.util.signature import Signature

from halfmessage.mq.rocketmq_grpc import faults
from halfmessage.mq.rocketmq_grpc.place import Place

_PATIENCE = 2.0  # seconds for one goodbye

log = structlog.get_logger()


class Goodbyes:
    """Who is alive on this machine among the clients of one RocketMQ. Without its directory it does nothing."""

    def __init__(self, place: Place, parent: Path | None = None) -> None:
        """Take which RocketMQ; `parent` is where the files are, the directory for temporary files unless told."""
        name = hashlib.sha256(place.address.encode()).hexdigest()[:16]
        self._folder = (parent or Path(tempfile.gettempdir())) / f"orders-rocketmq-{os.geteuid()}" / name
        self._held: dict[str, int] = {}
        self._lock = threading.Lock()

    def greeted(self, client_id: str) -> None:
        """Keep a file for a client of ours as long as this process lives."""
        file = self._file(client_id)
        draft = file.with_name(f".{file.name}")  # locked before it has its name, or another would take it for dead
        with self._excused("keep"):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.rename(file)
            with self._lock:
                self._held[client_id] = descriptor

    def said(self, client_id: str) -> None:
        """Forget a client that said goodbye by itself; one that is not known: nothing."""
        with self._lock:
            descriptor = self._held.pop(client_id, None)
        if descriptor is not None:
            with self._excused("remove"):
                self._file(client_id).unlink(missing_ok=True)
            os.close(descriptor)

    def say(self, client: Any) -> None:
        """Say goodbye for all who died, through a client that lives. Raise `BrokerError`: they are tried again."""
        for client_id, file in self._dead():
            for endpoints in client.route_manager.get_all_endpoints().values():
                _say(client, endpoints, client_id)
            file.unlink(missing_ok=True)
            log.info("broker.goodbye_for_the_dead", client_id=client_id)

    def _dead(self) -> Iterator[tuple[str, Path]]:
        """Yield the clients whose process is gone, each locked while it is looked at: one of us says goodbye."""
        with self._excused("read"):
            for file in sorted(self._folder.glob("[!.]*")):
                with contextlib.suppress(FileNotFoundError, BlockingIOError), file.open("rb") as held:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    yield unquote(file.name), file

    def _file(self, client_id: str) -> Path:
        return self._folder / quote(client_id, safe="@")

    @contextlib.contextmanager
    def _excused(self, what: str) -> Iterator[None]:
        """Go on without: what is lost is time until a check-back finds somebody alive."""
        try:
            yield
        except OSError as error:
            log.warning("broker.goodbyes_failed", step=what, folder=str(self._folder), reason=str(error))


def _say(client: Any, endpoints: Any, client_id: str) -> None:
    metadata = Signature.metadata(client.client_configuration, client_id)
    with faults.translated():
        request = NotifyClientTerminationRequest()
        call = client.rpc_client.notify_client_termination_async(endpoints, request, metadata, timeout=_PATIENCE)
        call.result(_PATIENCE + 1.0)  # whatever it answers: one that it does not know is forgotten already

"""Whatever the client or gRPC raises is a BrokerError that says what to do; nothing else gets out."""

from concurrent.futures import CancelledError

import pytest

pytest.importorskip("rocketmq.grpc_protocol", reason="the gRPC client is an extra: .[rocketmq]")

import grpc
from rocketmq.grpc_protocol import Code
from rocketmq.v5.exception import ClientException

from halfmessage.errors import BrokerError
from halfmessage.mq.rocketmq_grpc import faults
from tests.unit.rocketmq_grpc.kit import OK


class Rpc(grpc.RpcError):  # type: ignore[misc]
    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (Rpc(grpc.StatusCode.UNAVAILABLE), "is not there"),
        (Rpc(grpc.StatusCode.DEADLINE_EXCEEDED), "in time"),
        (Rpc(grpc.StatusCode.UNIMPLEMENTED), "no RocketMQ 5 proxy"),
        (Rpc(grpc.StatusCode.ABORTED), "connection to RocketMQ failed"),
        (grpc.RpcError(), "connection to RocketMQ failed"),
        (TimeoutError(), "in time"),
        (CancelledError(), "in time"),
        (ClientException("odd"), "client refused: .*odd"),
        (Exception("bare"), "client failed: bare"),
        (AttributeError("settings"), "client failed: settings"),
    ],
)
def test_every_exception_is_translated(raised: BaseException, said: str) -> None:
    """gRPC's, the client's own, those of futures, and bare ones."""
    with pytest.raises(BrokerError, match=said), faults.translated():
        raise raised


def test_our_own_errors_pass() -> None:
    """What is translated already keeps its words, and its code."""
    with pytest.raises(faults.Refused, match="no such topic") as caught, faults.translated():
        raise faults.Refused(Code.TOPIC_NOT_FOUND, "nope")
    assert (caught.value.code, caught.value.said) == (Code.TOPIC_NOT_FOUND, "nope")


def test_a_code_that_was_not_foreseen_is_told_as_it_came() -> None:
    """Number and words of RocketMQ, and where to look."""
    with pytest.raises(faults.Refused, match=r"refused \(50001\): settings is null"):
        faults.check(type(OK)(code=50001, message="settings is null"))
    faults.check(OK)

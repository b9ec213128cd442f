"""What the client and gRPC raise, in our words, each with what to do next."""

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

import grpc
from rocketmq.grpc_protocol import Code
from rocketmq.v5.exception import ClientException

from halfmessage.errors import BrokerError

_GRPC = {
    grpc.StatusCode.UNAVAILABLE: "RocketMQ is not there; start it, or check the broker's URL: it is tried again.",
    grpc.StatusCode.DEADLINE_EXCEEDED: "RocketMQ did not answer in time; try again.",
    grpc.StatusCode.UNIMPLEMENTED: "What listens there is no RocketMQ 5 proxy; check the port in the broker's URL.",
}
_CODES = {
    Code.TOPIC_NOT_FOUND: "RocketMQ has no such topic; create it with its message.type (mqadmin updateTopic).",
    Code.CONSUMER_GROUP_NOT_FOUND: "RocketMQ has no such consumer group; create it (mqadmin updateSubGroup).",
    Code.MESSAGE_PROPERTY_CONFLICT_WITH_TYPE: "The topic's message.type refuses this kind of message.",
    Code.MESSAGE_BODY_TOO_LARGE: "The message is larger than RocketMQ takes (4 MiB by default).",
    Code.MESSAGE_PROPERTIES_TOO_LARGE: "The message's properties and keys are more than RocketMQ takes (16 KiB).",
    Code.ILLEGAL_INVISIBLE_TIME: "RocketMQ refuses this invisible time; say its minimum in the URL: min_invisible=.",
    Code.ILLEGAL_DELIVERY_TIME: "RocketMQ refuses a delay this long; say its limit in the URL: max_delay=.",
    Code.UNAUTHORIZED: "RocketMQ wants a key and a secret: rocketmq://key:secret@host:port.",
    Code.FORBIDDEN: "RocketMQ does not let this key do that; check its access control list.",
    Code.TOO_MANY_REQUESTS: "RocketMQ is overloaded; try again later.",
    Code.UNRECOGNIZED_CLIENT_TYPE: "RocketMQ has forgotten this client; it is being made anew, try again.",
    Code.MASTER_PERSISTENCE_TIMEOUT: "RocketMQ did not get the message to its disk in time; try again.",
    Code.HA_NOT_AVAILABLE: "RocketMQ's replicas do not answer; look after them, then try again.",
}


class Refused(BrokerError):
    """RocketMQ answered, with a code that is not OK."""

    def __init__(self, code: int, said: str) -> None:
        """Take its code (`Code` in RocketMQ's definition.proto) and words."""
        super().__init__(_CODES.get(code) or f"RocketMQ refused ({code}): {said}. Look into its log, try again.")
        self.code, self.said = code, said


class NoGroup(BrokerError):
    """RocketMQ has no such consumer group, so its consumers get nothing."""

    def __init__(self, group: str) -> None:
        """Take the group's name."""
        super().__init__(
            f"RocketMQ has no consumer group {group}, so that its consumers get nothing: make it with "
            f"`orders provision`, or mqadmin updateSubGroup -g {group}. It is looked for until it is there."
        )


def check(status: Any) -> None:
    """Raise `Refused` unless a status says OK."""
    if status.code not in {Code.OK, Code.MULTIPLE_RESULTS}:
        raise Refused(status.code, status.message)


@contextmanager
def translated() -> Iterator[None]:
    """Raise `BrokerError` for whatever the client raises.

    It raises its own `ClientException`, gRPC's errors, futures' errors and, in `retrieve_or_create_channel` and
    elsewhere, bare `Exception`: hence the broad catch, at this one place.
    """
    try:
        yield
    except BrokerError:
        raise
    except grpc.RpcError as error:
        code = error.code() if hasattr(error, "code") else None
        raise BrokerError(_GRPC.get(code) or f"The connection to RocketMQ failed ({code}); try again.") from error
    except (TimeoutError, CancelledError) as error:
        raise BrokerError("RocketMQ did not answer in time, or its client is being made anew; try again.") from error
    except ClientException as error:
        raise BrokerError(f"RocketMQ's client refused: {error}. Try again.") from error
    except Exception as error:
        raise BrokerError(f"RocketMQ's client failed: {error}. Try again.") from error

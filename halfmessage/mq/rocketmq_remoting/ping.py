"""Whether RocketMQ answers: the C interface can't tell, so the name server is asked in its own protocol.

A frame is its length (4 bytes), the header's length (4 bytes), the header as JSON, the body. Source:
RemotingCommand.java and RequestCode.java, https://github.com/apache/rocketmq/tree/rocketmq-all-5.2.0/remoting
"""

import json
import re
import socket

from halfmessage.errors import BrokerError

_GET_BROKER_CLUSTER_INFO = 106
_LARGEST = 16 * 1024 * 1024  # bytes
_ADDRESS = re.compile(r'"-?\d+"?\s*:\s*"([^"\s]+:\d+)"|[{,]-?\d+:"([^"\s]+:\d+)"')  # fastjson writes {0:"host:10911"}


def ping(name_servers: str, patience: float) -> None:
    """Raise `BrokerError` unless a name server answers, knows a broker, and that takes connections.

    That it can store is not tried: nothing but a message would, and there is no topic for it.
    """
    troubles: list[str] = []
    for server in name_servers.split(";"):
        try:
            for broker in brokers(server, patience):
                _connect(broker, patience).close()
                return
            troubles.append(f"{server} knows no broker")
        except (OSError, ValueError) as error:
            troubles.append(f"{server}: {error}")
    raise BrokerError(f"RocketMQ does not answer: {'; '.join(troubles)}.")


def brokers(server: str, patience: float) -> list[str]:
    """Return the addresses of the brokers that a name server knows. Raise `OSError` or `ValueError`."""
    header = json.dumps(
        {"code": _GET_BROKER_CLUSTER_INFO, "language": "CPP", "version": 401, "opaque": 1, "flag": 0, "extFields": {}}
    ).encode()
    frame = len(header).to_bytes(4) + header
    with _connect(server, patience) as connection, connection.makefile("rb") as answer:
        connection.sendall(len(frame).to_bytes(4) + frame)
        length = int.from_bytes(answer.read(4))
        if not 0 < length <= _LARGEST:
            raise ValueError("it is no name server")
        body = answer.read(length).decode(errors="replace")
    return [match[1] or match[2] for match in _ADDRESS.finditer(body)]


def _connect(address: str, patience: float) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=patience)

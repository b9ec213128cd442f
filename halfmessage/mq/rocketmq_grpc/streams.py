"""A client's stream, on which it tells RocketMQ its settings and check-backs come.

What is done to it is done on the client's event loop. The client opens another stream from whatever thread notices
that the last one failed, and off its loop that ends in "There is no current event loop in thread …" (client 5.1.2): it
then has none, and says so in its log only.
"""

import asyncio
from typing import Any

from rocketmq.v5.client.connection import RpcClient

from halfmessage.mq.rocketmq_grpc import faults

_LONGEST = 365 * 24 * 3600  # seconds that a stream may last: as the client's own


def stands(client: Any, endpoints: Any) -> bool:
    """Whether RocketMQ has not ended the stream."""
    call = _call(client, endpoints)
    return call is not None and not call.done()


def last_words(client: Any, endpoints: Any, within: float) -> str:
    """Return what RocketMQ said when it ended the stream, empty where it said nothing. Raise `BrokerError`.

    It may take `within` seconds.
    """
    call = _call(client, endpoints)
    if call is None or not call.done():
        return ""

    async def ask() -> str:
        return await call.details() or ""

    with faults.translated():
        return asyncio.run_coroutine_threadsafe(ask(), RpcClient.get_channel_io_loop()).result(within)


def replace(client: Any, endpoints: Any, within: float) -> None:
    """Open another stream and write the settings on it, in up to `within` seconds. Raise `BrokerError`.

    Whether RocketMQ took them is told by the next heartbeat.
    """

    async def renew() -> None:
        channel = client.rpc_client.telemetry_stream(endpoints, client, client.sign(), rebuild=True, timeout=_LONGEST)
        await channel.telemetry_stream_stream_call.stream_write(client.sync_setting_req(endpoints))

    with faults.translated():
        asyncio.run_coroutine_threadsafe(renew(), RpcClient.get_channel_io_loop()).result(within)


def _call(client: Any, endpoints: Any) -> Any:
    """Return the stream's call, which the client keeps private; the package is pinned, and a test looks for it."""
    channel = client.rpc_client.channels.get(endpoints)
    stream = None if channel is None else channel.telemetry_stream_stream_call
    return stream and stream._RpcStreamStreamCall__stream_stream_call  # noqa: SLF001

"""The adapter for RocketMQ 5 over gRPC (`rocketmq-python-client`): imported only when a URL asks for it."""

import logging
import sys
from types import ModuleType

import structlog

from halfmessage.errors import Misconfigured
from halfmessage.mq.port import Broker, BrokerOptions
from halfmessage.mq.rocketmq_grpc.place import Place

_CLIENT_LOGGER = "rocketmq-python-client"
_LOG_MODULE = "rocketmq.v5.log.log_config"
_MISSING = (
    "rocketmq:// needs the gRPC client: pip install '.[rocketmq]' (in an environment without '.[rocketmq4]': "
    "both packages are called rocketmq)."
)


def open_rocketmq(url: str, options: BrokerOptions) -> Broker:
    """Open the RocketMQ that `url` names; it need not be up. Raise `Misconfigured`: no client, or a wrong URL."""
    place = Place.read(url)
    _take_over_logger()
    try:
        from halfmessage.mq.rocketmq_grpc.broker import RocketMQBroker  # noqa: PLC0415 (an extra: loaded when asked for)
    except ImportError as error:
        raise Misconfigured(_MISSING) from error
    return RocketMQBroker(place, options)


class _IntoOurLog(logging.Handler):
    """Passes on what the client says, for those who debug: each fault is an error of ours, or repaired and told."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().debug("broker.client", said=record.getMessage())


def _take_over_logger() -> None:
    """Keep the client from making ~/logs/rocketmq_python, which it does where it is imported (its log_config.py).

    Its module of settings is replaced before it can be imported, so it works where there is no home directory.
    """
    logger = logging.getLogger(_CLIENT_LOGGER)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    if not any(isinstance(handler, _IntoOurLog) for handler in logger.handlers):
        logger.addHandler(_IntoOurLog())
    replacement = ModuleType(_LOG_MODULE)
    replacement.__dict__["logger"] = logger
    sys.modules.setdefault(_LOG_MODULE, replacement)

"""The settings of RocketMQ, MariaDB and Redis: the one place they are written down.

`orders stack` renders the configuration files from here (`ops.stack.render`), and so does whatever else runs them;
only places and ports differ. RocketMQ's names and defaults are those of BrokerConfig, MessageStoreConfig,
NettyServerConfig and ProxyConfig in its source, https://github.com/apache/rocketmq/tree/rocketmq-all-5.2.0
"""

from collections.abc import Mapping
from dataclasses import dataclass

from common import registry
from halfmessage.mq.rocketmq_console.defaults import CLUSTER, Kind

Value = str | int | bool
Values = Mapping[str, Value]

DATABASES = registry.ALL_NAMES
DATABASE_USER = "orders"
SERVERS = ("namesrv", "broker", "mariadb", "redis")  # in the order of starting; stopped the other way round
OPTIONAL = ("etcd",)  # run where they were asked for


TOPICS: Mapping[str, Kind] = {
    **{name: Kind(kind) for name, kind in registry.TOPICS.items()},
    "test_normal": Kind.NORMAL,
    "test_delay": Kind.DELAY,
    "test_transaction": Kind.TRANSACTION,
    "stack_probe": Kind.NORMAL,  # each `up` and `status` stores a message here
}
GROUPS = (*dict.fromkeys(group for _, group in registry.SUBSCRIPTIONS), "test")

NAMESRV: Values = {"bindAddress": "127.0.0.1"}

BROKER: Values = {
    "brokerClusterName": CLUSTER,
    "brokerName": "broker-a",
    "brokerId": 0,
    "brokerRole": "ASYNC_MASTER",
    "flushDiskType": "SYNC_FLUSH",  # a send is on disk before it is acknowledged
    "timerWheelEnable": True,  # delays to the second, not in levels
    # ms. Each flush compares the whole wheel (39 MB) byte by byte (TimerWheel.flush of 5.2.0): 80 to 500 ms of a
    # processor, by default every second. After a crash, delayed messages of the last so many ms may come twice; they
    # are found anew in the timer log and the commit log, so none is lost (TimerMessageStore.recover).
    "timerFlushIntervalMs": 30_000,
    "traceOn": False,  # a message with TRACE_ON=true promises a trace, which gRPC clients do not write
    "autoCreateTopicEnable": False,  # a topic made by accident has no kind
    "autoCreateSubscriptionGroup": True,
    "registerNameServerPeriod": 10000,  # ms; the shortest. A name server that restarts knows us again after it
    "mappedFileSizeCommitLog": 67108864,
    # ms, longer than RocketMQ looks back (10,000 s): never. A send that failed on a full disk leaves its start behind
    # (CommitLog.beginTimeInLock of 5.2.0), and from a second later on every other one is refused as "busy".
    "osPageCacheBusyTimeOutMills": 10_000_000,
    "diskMaxUsedSpaceRatio": 95,  # per cent; the default of 75 deletes messages early on a full laptop
}
PROXY: Values = {
    "rocketMQClusterName": CLUSTER,
    "grpcShutdownTimeSeconds": 3,  # open streams of clients hold a stop for this long (default 30)
    # For so long the proxy tells what it knew of a topic, be it that it took no messages or was not there (default 20)
    "topicRouteServiceCacheRefreshSeconds": 2,
    # What is acknowledged in one call is one durable entry, not one for each message: 4 ms for 32, not 17 to 65
    "enableBatchAck": True,
}


@dataclass(frozen=True, slots=True)
class Timing:
    """When the broker asks and how long it waits: `broker` and `proxy` are in milliseconds where not counts."""

    broker: Values
    proxy: Values


DEFAULT_TIMING = Timing(
    broker={"transactionTimeOut": 6000, "transactionCheckInterval": 30000, "transactionCheckMax": 15},
    proxy={},
)
# docs/stack.md tells what was measured. The batch interval is how long a resolution may stay unseen by the next round
# of checks: at its default of 3 s every message resolved at once would be checked for nothing.
SHORT_TIMING = Timing(
    broker={
        "transactionTimeOut": 1000,
        "transactionCheckInterval": 500,
        "transactionCheckMax": 60,
        "transactionOpBatchInterval": 50,
    },
    proxy={"minInvisibleTimeMillsForRecv": 1000, "grpcClientConsumerMinLongPollingTimeoutMillis": 1000},
)

MARIADB: Values = {
    "innodb_flush_log_at_trx_commit": 1,
    "innodb_buffer_pool_size": "256M",
    "character_set_server": "utf8mb4",
    "collation_server": "utf8mb4_bin",
    "default_time_zone": "+00:00",
    "max_connections": 1000,  # all services with a database, each with its whole pool (`Settings`), and operators
    "skip_name_resolve": True,
    "skip_log_bin": True,
    "performance_schema": False,
}
REDIS_DATABASES = 1024  # one for each deployment that shares a stack
REDIS: Values = {
    "databases": REDIS_DATABASES,
    "appendonly": True,
    "appendfsync": "everysec",
    "protected-mode": True,
    "save": '""',
}

# RocketMQ parts several stores at a comma; the others mean something in the names of its logs, which begin with ours
# (logback's fileNamePattern and its variables).
FORBIDDEN_IN_PATHS = ",%${}\\"
JVM_MODULES = (  # what RocketMQ reaches into on Java 17
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
)
NAMESRV_JVM = ("-Xms128m", "-Xmx256m", "-XX:MaxDirectMemorySize=128m", "-XX:+UseSerialGC")
BROKER_JVM = (
    *("-Xms768m", "-Xmx768m", "-XX:MaxDirectMemorySize=512m"),
    # Of two cores the optimising compiler and G1 take half of one for minutes before they pay, and a third more memory.
    *("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
    "-Drocketmq.broker.diskSpaceWarningLevelRatio=0.98",  # the default of 0.90 refuses messages on a full laptop
    "-Drocketmq.broker.diskSpaceCleanForciblyRatio=0.97",
)
ADMIN_JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")

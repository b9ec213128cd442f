#!/usr/bin/env bash
# RocketMQ 5.5.0: a broker that has resolved ONE transactional message keeps a processor core busy for ever after.
#
# Its thread TransactionalOpBatchService writes down which half messages are resolved. TransactionalMessageServiceImpl.
# batchSendOpMessage returns when it is to be woken next: the oldest last write of any queue + transactionOpBatchInterval.
# Up to 5.4.0 only queues with something to write counted; 5.5.0 counts the idle ones too. Once a queue was idle for
# longer than the interval, that time is past, 0 is returned, and the thread wakes itself at once, again and again.
#
# Seen, on two cores that five other programs wanted too: 5.4.0 0.00 cores, 5.5.0 0.42. Fails if that changes.
# Takes some 3 minutes and 200 MB of downloads.
. "$(dirname -- "${BASH_SOURCE[0]}")/_rocketmq.sh"
client

measure() { # VERSION: writes down the share of a core that the thread takes 10 s after one message was committed
    fetch "$1"
    start "$1"
    topic "$1" paid TRANSACTION
    python "$grpc" <<'PY'
import sys
from rocketmq import ClientConfiguration, Credentials, Message, Producer, TransactionChecker, TransactionResolution

class Checker(TransactionChecker):
    def check(self, message):
        return TransactionResolution.COMMIT

producer = Producer(ClientConfiguration(f"127.0.0.1:{sys.argv[1]}", Credentials()), ["paid"], checker=Checker())
producer.startup()
message = Message()
message.topic, message.body = "paid", b"1"
transaction = producer.begin_transaction()
producer.send(message, transaction)
transaction.commit()
producer.shutdown()
PY
    sleep 10
    share "$broker" >"$work/share-$1"
    kill "$broker"
    wait "$broker" || true
}

share() { # PID: of a core, of its thread TransactionalOpBatchService, over 15 s, by the JVM's own count
    local before after
    before=$(jstack "$1" | sed -n 's/^"TransactionalOpBatchService".* cpu=\([0-9.]*\)ms.*/\1/p')
    sleep 15
    after=$(jstack "$1" | sed -n 's/^"TransactionalOpBatchService".* cpu=\([0-9.]*\)ms.*/\1/p')
    python3 -c "print(f'{($after - $before) / 15000:.2f}')"
}

measure 5.4.0
measure 5.5.0
old=$(cat "$work/share-5.4.0") new=$(cat "$work/share-5.5.0")
echo "TransactionalOpBatchService, idle after one message: 5.4.0 $old cores, 5.5.0 $new cores"
python3 -c "import sys; sys.exit(not ($old < 0.05 and $new > 0.2))" || { echo "This has changed."; exit 1; }

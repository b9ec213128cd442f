"""The admin tool's text, as RocketMQ 5.2.0 printed it, understood."""

import pytest

from ops.errors import CommandFailed
from ops.stack import admin_output

ID = "0102FC0000000174080B12982000000000"
PRINTED = (
    "minOffset=0, maxOffset=1, MessageQueue [topic=%DLQ%test_dead, brokerName=broker-a, queueId=0]\n"
    f"MSGID: {ID} MessageExt [brokerName=broker-a, queueId=0, storeSize=480, queueOffset=0, sysFlag=0, "
    "bornTimestamp=1795227168000, bornHost=/127.0.0.1:18805, storeTimestamp=1795227183388, "
    "storeHost=/127.0.0.1:18805, msgId=7F00000100004975000000000015698F, commitLogOffset=1403279, bodyCRC=45895460, "
    "reconsumeTimes=4, preparedTransactionOffset=0, toString()=Message{topic='%DLQ%test_dead', flag=0, "
    f"properties={{RETRY_TOPIC=%RETRY%test_dead_test_normal, UNIQ_KEY={ID}, TAGS=tg, "
    "BORN_TIMESTAMP=1795227168000, KEYS=k2 k1, note=a, b and c, p=v1, MAX_OFFSET=1}, "
    "body=[123, 34, -61, -92, 10], transactionId='null'}] BODY: whatever\n"
    "--------------------------------------------------------\n"
)
BY_ID = f"""\
Topic:               test_transaction
Tags:                [null]
Keys:                [open-0]
Queue ID:            3
Reconsume Times:     0
Born Timestamp:      2026-11-21 02:07:58,000
Born Host:           127.0.0.1:54302
Properties:          {{UNIQ_KEY={ID}, KEYS=open-0, TRANSACTION_CHECK_TIMES=1, REAL_TOPIC=test_transaction}}
Message Body Path:   /tmp/rocketmq/msgbodys/{ID}


WARN: No Consumer
"""
BY_KEY = f"""\
#Message ID                                        #QID                                  #Offset
{ID}                    0                                       20
{ID}                    0                                      113
"""
PROGRESS = """\
#Topic                        #Broker Name  #QID  #Broker Offset  #Consumer Offset  #Diff  #Inflight  #LastTime
%RETRY%test_dead_test_normal  broker-a      0     3               2                 1      0  2026-11-21 02:13:01
test_normal                   broker-a      1     0               0                 0      0  N/A

Consume TPS: 0.00
"""


def test_a_printed_message_is_read_whole() -> None:
    """Keys, tag, our properties with commas in them, and a body of any bytes."""
    (message,) = admin_output.printed_messages(PRINTED)
    assert (message.message_id, message.topic, message.redeliveries) == (ID, "%DLQ%test_dead", 4)
    assert (message.keys, message.tag, message.body) == (("k2", "k1"), "tg", b'{"\xc3\xa4\n')
    assert (message.properties["note"], message.properties["p"]) == ("a, b and c", "v1")
    assert (message.born_at, message.stored_at) == (1795227168000, 1795227183388)


def test_a_message_in_an_unknown_form_is_not_left_out_silently() -> None:
    """Another version's output is told, not shown as nothing."""
    with pytest.raises(CommandFailed, match="not known"):
        admin_output.printed_messages("MSGID: 01 Something [else]\n")


def test_a_message_found_by_id_tells_its_checks_and_real_topic() -> None:
    """The fields of queryMsgByUniqueKey become the same message."""
    fields = admin_output.message_fields(BY_ID)
    message = admin_output.one_message(ID, fields, b"body")
    assert (message.keys, message.checks, message.real_topic) == (("open-0",), 1, "test_transaction")
    assert admin_output.message_fields("") == {}


def test_a_half_message_is_listed_once_however_often_it_was_checked() -> None:
    """Every check makes a row of its own."""
    assert admin_output.ids(BY_KEY) == [ID]


def test_a_newer_tool_prints_a_key_of_the_index_too() -> None:
    """5.4.0 has a column more."""
    row = f"{ID}                    0                        7 1795860000000@RMQ_SYS_TRANS_HALF_TOPIC@K@7@{ID}@1043    "
    assert admin_output.ids(f"#Message ID   #QID   #Offset #IndexKey\n{row}\n") == [ID]


def test_progress_is_read_by_queue() -> None:
    """Each queue has how much is behind; headings and sums are left out."""
    rows = admin_output.progress(PROGRESS)
    assert [(row.topic, row.queue, row.behind) for row in rows] == [
        ("%RETRY%test_dead_test_normal", 0, 1),
        ("test_normal", 1, 0),
    ]

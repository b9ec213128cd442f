"""What may be printed, by hand or in a traceback: no password shows in what holds one."""

import pytest

from halfmessage.mq.rocketmq_grpc.place import Place
from ops.child import ProcessSpec
from ops.plan import Plan, Servers
from ops.runstate import RunState
from ops.stack.daemons import Program
from ops.stack.plan import Ports, StackPlan
from ops.stack.status import StackStatus
from order.model import Receiver
from user.schema import NewUser
from user.service.accounts import User
from user.service.keys import SigningKey
from user.service.sessions import Tokens

_HUSH = "pass-word-of-nobody"


@pytest.mark.parametrize(
    "holder",
    [
        Place.read(f"rocketmq://key:{_HUSH}@127.0.0.1:8081"),
        StackPlan(Ports.from_base(18800), password=_HUSH),
        Servers(
            f"rocketmq://key:{_HUSH}@h:1", {"order": f"mysql+pymysql://u:{_HUSH}@h/order"}, f"redis://:{_HUSH}@h:1"
        ),
        Plan(extra={"redis_url": f"redis://:{_HUSH}@h:1", "jwt_secret": _HUSH * 2}),
        StackStatus("/d", (), {"ORDERS_REDIS_URL": f"redis://:{_HUSH}@h:1"}, defaults=False, rocketmq="5.4.0"),
        ProcessSpec("order", ("python",), {"ORDERS_JWT_SECRET": _HUSH}, 8001),
        RunState(settings={"servers": {"redis_url": f"redis://:{_HUSH}@h:1"}}),
        Program("/bin/true", ("true",), {"MYSQL_PWD": _HUSH}),
        Receiver(_HUSH, _HUSH, _HUSH),
        NewUser(name="alice", password=_HUSH),
        Tokens(_HUSH, _HUSH, 900),
        SigningKey(1, "k", _HUSH.encode(), b"", 0),
        User(1, "alice", _HUSH, False, 0, 0),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_no_password_shows(holder: object) -> None:
    """Neither alone, nor in what holds it."""
    assert _HUSH not in repr(holder)
    assert _HUSH not in f"{[holder]}"

"""Errors and settings tell neither rows nor passwords, however they are printed."""

import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pymysql
import pytest
from pydantic import ValidationError
from sqlalchemy import Column, MetaData, String, Table, insert
from sqlalchemy.exc import DBAPIError

from common import mysql
from common.config import Settings, explain
from common.db import Database
from common.errors import OrdersError
from common.redis_client import RedisClient
from halfmessage.errors import HalfMessageError
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import BrokerOptions

MARK = "Nemo Unlogged's"


def test_a_refused_row_is_not_told(tmp_path: Path) -> None:
    """Neither by our error, nor by any that it came from."""
    table = Table("t", MetaData(), Column("name", String(9), primary_key=True))
    database = Database(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(HalfMessageError) as caught:
        database.transact(lambda connection: connection.execute(insert(table).values(name=MARK)))
    database.close()
    assert MARK not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("code", "text", "told"),
    [
        (1062, f"Duplicate entry '{MARK}' for key 'PRIMARY'", "Duplicate entry '…'"),
        (1366, f"Incorrect string value: '{MARK}' for column `name`", "Incorrect string value: '…' for column `name`"),
        (1406, "Data too long for column 'name' at row 1", "Data too long for column 'name' at row 1"),
    ],
)
def test_mysql_s_own_text_tells_no_value(code: int, text: str, told: str) -> None:
    """What it quotes may be a value of a row; a name is kept."""
    error = pymysql.err.DataError(code, text)
    wrapped = DBAPIError.instance("INSERT", {}, error, pymysql.err.Error, hide_parameters=True)
    mysql._hide_values(SimpleNamespace(original_exception=error, sqlalchemy_exception=wrapped))
    assert error.args == (code, told)
    assert MARK not in str(wrapped) + repr(wrapped)


def test_settings_hide_what_opens_doors() -> None:
    """Printed whole, or in what is said of wrong ones."""
    schemes = {"database_url": "mysql+pymysql", "broker_url": "rocketmq", "redis_url": "redis"}
    urls = {name: f"{scheme}://user:{MARK}@host:1/0" for name, scheme in schemes.items()}
    settings = Settings(port=1, jwt_secret=MARK * 3, **urls)  # type: ignore[arg-type]
    assert MARK not in repr(settings) + str(settings)
    with pytest.raises(ValidationError) as caught:
        Settings(port=-1, jwt_secret=MARK, **urls)  # type: ignore[arg-type]
    assert MARK not in str(caught.value)


_OPENED: dict[str, Callable[[str], object]] = {
    "database": Database,
    "broker": lambda url: open_broker(url, BrokerOptions()),
    "redis": RedisClient,
}
_PASSWORD = "pass-word"


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        ("database", "mysql+pymysql://user:{}@host:{}/x"),
        ("database", "mysql+pymysql://user@host:1/x?{}=1"),
        ("database", "{}"),
        ("broker", "rocketmq://key:{}@host:port"),
        ("broker", "rocketmq://key:a/{}@host:1"),
        ("broker", "rocketmq://key:{}/@host:1"),
        ("broker", "rocketmq://host:1?poll={}"),
        ("broker", "rocketmq4://key:{}@host:1"),
        ("broker", "embedded://key:{}@/path"),
        ("redis", "redis://user:{}@host:port/0"),
        ("redis", "redis://:{}/a@host:1/0"),
        ("redis", "redis://host:1/0?socket_timeout={}"),
        ("redis", "redis://host:1/0?{}=1"),
        ("redis", "redis://:{}@[host"),
    ],
)
def test_a_url_that_can_not_be_read_is_not_told(kind: str, url: str) -> None:
    """It is refused at start, in one line of ours: a library would quote what it did not understand."""
    with pytest.raises(HalfMessageError) as caught:
        _OPENED[kind](url.replace("{}", _PASSWORD))
    assert _PASSWORD not in "".join(traceback.format_exception(caught.value)) + repr(caught.value.__cause__)
    assert "\n" not in caught.value.detail
    assert caught.value.detail != OrdersError().detail


def test_a_peer_s_url_that_can_not_be_read_is_not_told() -> None:
    """A password in it is no use, and refused; what breaks off in the middle is named by its variable."""
    for url in (f"http://user:{_PASSWORD}@host:1", f"http://[{_PASSWORD}", f"http://host:{_PASSWORD}"):
        with pytest.raises(ValidationError) as caught:
            Settings(port=1, jwt_secret=MARK * 3, database_url="sqlite://", stock_url=url)  # type: ignore[arg-type]
        assert explain(caught.value) == ["ORDERS_STOCK_URL has an instance that is no http://host:port"]

"""Errors and settings tell neither rows nor passwords, however they are printed."""

import traceback
from pathlib import Path
from types import SimpleNamespace

import pymysql
import pytest
from pydantic import ValidationError
from sqlalchemy import Column, MetaData, String, Table, insert
from sqlalchemy.exc import DBAPIError

from common import mysql
from common.config import Settings
from common.db import Database
from common.errors import OrdersError

MARK = "Nemo Unlogged's"


def test_a_refused_row_is_not_told(tmp_path: Path) -> None:
    """Neither by our error, nor by any that it came from."""
    table = Table("t", MetaData(), Column("name", String(9), primary_key=True))
    database = Database(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(OrdersError) as caught:
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

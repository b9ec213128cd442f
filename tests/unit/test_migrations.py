"""Migrations, the schema written down beside them and the tables in the code are the same thing."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, text

from common import migrations, registry, schema_version
from common.db import Database
from halfmessage.errors import DatabaseUnavailable


def version(url: str) -> str | None:
    with opened(url) as database, database.read() as connection:
        return schema_version.current(connection)


services = pytest.mark.parametrize("service", registry.ALL_NAMES)


def metadata_of(service: str) -> MetaData:
    metadata = importlib.import_module(f"{service}.model").metadata
    assert isinstance(metadata, MetaData)
    return metadata


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/50% of a name.db"


@services
def test_migrations_lead_to_the_schema_written_down(service: str, url: str) -> None:
    """What a reader sees in schema.sqlite.sql is what a user gets."""
    migrations.upgrade(service, url)
    assert migrations.schema_sql(url) == files("sql").joinpath(service, "schema.sqlite.sql").read_text()


@services
def test_the_code_s_tables_agree_with_the_migrations(service: str, url: str) -> None:
    """Alembic finds nothing to generate, and the tables made from the code have the same DDL, checks included."""
    migrations.upgrade(service, url)
    with opened(url) as database, database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata_of(service)) == []
    made = url.replace(".db", ".made.db")
    with opened(made) as database:
        database.transact(metadata_of(service).create_all)
    assert migrations.schema_sql(made) == migrations.schema_sql(url)


@services
def test_migrating_again_changes_nothing(service: str, url: str) -> None:
    """It is run at every start."""
    assert version(url) is None
    migrations.upgrade(service, url)
    migrations.upgrade(service, url)
    assert version(url) == schema_version.known(service)[-1]


def test_processes_may_migrate_at_once(url: str) -> None:
    """One does it, the others wait and find it done."""
    program = "import sys; from common import migrations; migrations.upgrade('goods', sys.argv[1])"
    running = [subprocess.Popen([sys.executable, "-c", program, url]) for _ in range(3)]
    assert [process.wait(timeout=90) for process in running] == [0, 0, 0]
    assert version(url) == schema_version.known("goods")[-1]


def test_a_migration_that_fails_leaves_nothing_behind(url: str) -> None:
    """SQLite's DDL is transactional, and we use it."""
    with opened(url) as database:
        database.transact(lambda connection: connection.execute(text("CREATE VIEW worker_leases AS SELECT 1")))
    with pytest.raises(DatabaseUnavailable, match="worker_leases already exists"):
        migrations.upgrade("goods", url)
    assert migrations.schema_sql(url) == "CREATE VIEW worker_leases AS SELECT 1;\n"


@services
def test_versions_are_those_that_alembic_reads(service: str) -> None:
    """Their names are told from the files' names: a migration that is named otherwise would be overlooked."""
    config = Config()
    config.set_main_option("script_location", str(files("sql")))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(files("sql").joinpath(service, "versions")))
    revisions = ScriptDirectory.from_config(config).walk_revisions()
    assert [script.revision for script in revisions][::-1] == schema_version.known(service)


def test_a_database_that_can_t_be_opened_is_said_so(tmp_path: Path) -> None:
    """The driver's exception does not get out."""
    with pytest.raises(DatabaseUnavailable):
        migrations.upgrade("goods", f"sqlite:///{tmp_path}/missing/goods.db")

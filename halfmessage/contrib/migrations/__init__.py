"""The library's tables by Alembic, never by themselves. Needs the extra `alembic`.

`upgrade` keeps count in a version table of its own. Who has an Alembic tree names `versions` beside it instead, in
alembic.ini, and runs `alembic upgrade heads`::

    path_separator = newline
    version_locations =
        %(here)s/migrations/versions
        halfmessage.contrib.migrations:versions

with ``target_metadata = [Base.metadata, halfmessage.transactional.tables.METADATA]`` in env.py, so that
`--autogenerate` takes the library's tables for what they are.
"""

from pathlib import Path
from typing import Any, Final

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect

from halfmessage.errors import Misconfigured
from halfmessage.transactional.tables import RECORDS

VERSION_TABLE: Final = "halfmessage_version"
_HEAD: Final = "heads"


def upgrade(engine: Engine) -> str:
    """Make the tables, or bring them up to date; return the revision that they are at.

    Raise `Misconfigured` for tables that somebody else's Alembic has made, which goes on to do it.
    """
    found = inspect(engine)
    if found.has_table(RECORDS.name) and not found.has_table(VERSION_TABLE):
        raise Misconfigured("These tables are your own Alembic's: run `alembic upgrade heads`.")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)

    def steps(revision: Any, _context: Any) -> Any:
        return scripts._upgrade_revs(_HEAD, revision)  # noqa: SLF001 - as in the documentation of EnvironmentContext

    with EnvironmentContext(config, scripts, fn=steps) as environment, engine.connect() as connection:
        environment.configure(connection=connection, version_table=VERSION_TABLE)
        with environment.begin_transaction():
            environment.run_migrations()
        connection.commit()
    head = scripts.get_current_head()
    assert head is not None  # noqa: S101  # nosec B101 - there is one revision at least
    return head

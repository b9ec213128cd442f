"""Transactional messages for anybody's service: your own session, your own transaction (docs/decisions/0044).

options   how long things may take and are kept
tables    what it keeps in your database; made by `contrib.migrations` or your own Alembic only
outgoing  one message: half message, your transaction with the record in it, resolved
incoming  consumers whose effect happens once: an inbox row in your transaction
ways      how a message gets out: as a half message of a broker, or as a row of an outbox
service   `TransactionalMessages`, which puts them together
"""

from halfmessage.transactional.options import Options
from halfmessage.transactional.outgoing import OutgoingMessage
from halfmessage.transactional.service import TransactionalMessages

__all__ = ["Options", "OutgoingMessage", "TransactionalMessages"]

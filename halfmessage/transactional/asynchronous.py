"""One message that leaves with a transaction of an `AsyncSession`: drivers of asyncio, brokers on threads.

What SQLAlchemy's asyncio extension does to a session (`AsyncSession.run_sync`) is done to the functions that commit a
session of the ordinary kind, so that both keep the same promise:
https://docs.sqlalchemy.org/en/20/orm/extensions/asyncio.html#running-synchronous-methods-and-functions-under-asyncio
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from halfmessage.db import is_prepared
from halfmessage.errors import CommitOutcomeUnknown, HalfMessageError, Misconfigured
from halfmessage.transactional.outgoing import RULE, Draft
from halfmessage.transactional.sessions import Begun, begun, commit, within
from halfmessage.transactional.ways import Opened


class AsyncOutgoingMessage(Draft):
    """As `OutgoingMessage`, with an `AsyncSession`."""

    @asynccontextmanager
    async def begin(self, session: AsyncSession) -> AsyncIterator[None]:
        """Wrap the local transaction of a session, which is begun here and committed at the end of the block.

        See `OutgoingMessage.begin`. A task that is cancelled inside of the block rolls back, and the message is
        dropped. One that is cancelled in COMMIT is cancelled once that has ended: if it was committed, the message goes
        out. Raise `Misconfigured` for a session whose engine was not prepared, too.
        """
        _hold_prepared(session)
        if within(session.sync_session) is not None:
            raise Misconfigured("The transaction of an AsyncSession has one message: let several groups consume it.")
        tx_id = self._begun()
        opened: Opened | None = None if self._body is self.UNSET else await asyncio.to_thread(self._open, tx_id)
        try:
            async with _begun(session):
                yield
                await session.flush()
                if opened is None:
                    opened = await asyncio.to_thread(self._open, tx_id)
                else:
                    self._hold_unchanged()
                await session.run_sync(self._decide, opened)
        except (Exception, asyncio.CancelledError):  # of what is like a crash the check-back takes care
            try:
                await session.rollback()
            finally:
                if opened is not None:
                    await asyncio.to_thread(opened.dropped)
            raise
        await _to_its_end(self._commit(session, opened))

    async def _commit(self, session: AsyncSession, opened: Opened) -> None:
        try:
            await session.run_sync(commit)
        except CommitOutcomeUnknown:
            raise
        except HalfMessageError:  # it did not happen, for certain
            await asyncio.to_thread(opened.dropped)
            raise
        await asyncio.to_thread(self._committed, opened)


@asynccontextmanager
async def _begun(session: AsyncSession) -> AsyncIterator[None]:
    wrapped = begun(session.sync_session, RULE, Begun())
    await session.run_sync(lambda _: wrapped.__enter__())
    try:
        yield
    except BaseException as error:
        wrapped.__exit__(type(error), error, error.__traceback__)  # which raises it
        raise
    wrapped.__exit__(None, None, None)


async def _to_its_end(work: Coroutine[object, object, None]) -> None:
    """Do it, also where this task is cancelled meanwhile; it is cancelled then."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:  # once more
                continue
        raise


def _hold_prepared(session: AsyncSession) -> None:
    if not is_prepared(session.sync_session.get_bind().engine):
        raise Misconfigured("Call halfmessage.db.prepare(engine.sync_engine) before its first connection is made.")

"""Wires the console together; nothing else does."""

from collections.abc import Callable
from functools import partial
from typing import Final

from common import schema_version
from common.auth import verifier_of
from common.config import Settings
from common.db import Database
from common.heartbeat import Heartbeat
from common.our_tokens import tokens_of
from common.periodic import Periodic
from common.process import Service
from common.registry import NAMES, PARTICIPANTS, SANDBOX, SUBSCRIPTIONS, instance
from common.telemetry import Metrics
from common.web import Api
from console.clients.broker import Messages
from console.clients.instances import Instance
from console.clients.services import Services
from console.pages import (
    coupons,
    drills,
    errors,
    find,
    guard,
    letters,
    login,
    orders,
    overview,
    payments,
    reconcile,
    sagas,
    sales,
    stock,
    story_files,
    transactions,
)
from console.pages import messages as message_pages
from console.pages.assets import Assets
from console.pages.rendering import Templates
from console.pages.site import Site
from console.pages.viewer import Sessions
from console.service.actions import Actions
from console.service.checking import Checking
from console.service.drills import Drills
from console.service.finding import Finding
from console.service.letters import Letters
from console.service.orders import Orders
from console.service.overview import EVERY, Overview
from console.service.providers import names_of
from console.service.reconciling import Reconciling, command_of
from console.service.sales import FlashSales
from console.service.searching import Search
from console.service.stocks import Stocks
from console.service.transactions import Transactions
from halfmessage.clock import now_ms
from halfmessage.ids import LeasedIds
from halfmessage.mq.factory import open_broker

_PURGED_EVERY: Final = 3600.0  # seconds


def build(settings: Settings) -> Service:
    """Return the console, not started yet. Raise `OrdersError` where something it needs can't be had.

    It is ready without the services and the broker: what does not answer is what its pages show.
    """
    secret = settings.jwt_secret.get_secret_value()
    database = Database(settings.database_url, pool_size=settings.pool_size)
    ids = LeasedIds(database, "console")
    verifier = verifier_of(settings, "console")
    api = Api(
        "console",
        title="Console",
        description="Pages for people: what happened to every order and message, and why.",
        max_body=settings.max_body,
        body_timeout=settings.body_timeout,
        slow_bodies=settings.threads // 2,
        verifier=verifier,
        metrics=Metrics("console"),
        checks={"database": Heartbeat(database).ask, "ids": ids.ask},
    )
    assets = Assets()
    templates = Templates(assets)
    sessions = Sessions(verifier, secret)
    site = Site(api, sessions, templates)
    guard.install(api.app)
    errors.install(api.app, sessions, templates)
    assets.install(api)
    login.install(api, site, sessions, templates)

    services = Services(settings)
    messages = Messages(lambda: open_broker(settings.broker_url, settings.broker_options, subscriptions=SUBSCRIPTIONS))
    looking_on = Overview(_instances(settings), messages, lists_delayed=settings.broker_url.startswith("embedded"))
    looks = Periodic("looks", EVERY, looking_on.tick)
    data_dir = settings.console_data_dir
    reconciling = Reconciling(None if data_dir is None else command_of(data_dir))
    overview.install(site, looking_on, lambda: reconciling.standings(settings.participant_names))
    actions, stocks = Actions(database, ids), Stocks(services)
    _install_orders(site, settings, services, messages, actions)
    _install_what_is_done(site, settings, services, messages, actions)
    stock.install(site, services, stocks, actions)
    coupons.install(site, services, actions)
    sales.install(site, FlashSales(services), actions)
    payments.install(site, services, actions)
    sagas.install(site, services, actions)
    reconcile.install(site, reconciling, actions, settings.participant_names)
    playing = _install_drills(site, settings, actions)
    kept = int(settings.console_actions_kept * 1000)
    purge = Periodic("purge", _PURGED_EVERY, lambda: actions.purge(now_ms() - kept))
    return Service(
        api,
        start=[partial(schema_version.require, "console", database), ids.start, looks.start, purge.start],
        stop=[
            *(*playing, reconciling.close, purge.close, looks.close, looking_on.close, stocks.close, services.close),
            *(messages.close, ids.close, database.close),
        ],
        peers=services.peers,
    )


def _install_orders(site: Site, settings: Settings, services: Services, messages: Messages, actions: Actions) -> None:
    reading, checking = Orders(services), Checking(messages, services)
    orders.install(site, reading, messages, checking, actions, providers=names_of(settings))
    looking_up = Transactions(Search(messages), services)
    find.install(site, Finding(reading, services, messages, looking_up))
    story_files.install(site)


def _install_what_is_done(
    site: Site, settings: Settings, services: Services, messages: Messages, actions: Actions
) -> None:
    """Add the pages of transactions, of messages, and of those that lie still."""
    search, sending_on = Search(messages), Letters(messages, actions)
    is_embedded = settings.broker_url.startswith("embedded")
    message_pages.install(site, search, actions, sending_on, tells_all=is_embedded)
    letters.install(site, search, actions, sending_on)
    transactions.install(site, Transactions(search, services), actions, tells_all=is_embedded)


def _install_drills(site: Site, settings: Settings, actions: Actions) -> list[Callable[[], None]]:
    """Add the pages that break something, where that is allowed; return what is to be stopped."""
    if not settings.console_drills or settings.console_data_dir is None:
        return []
    playing = Drills(settings.console_data_dir / "drills")
    drills.install(site, playing, actions)
    return [playing.close]


def _instances(settings: Settings) -> list[Instance]:
    """Return every process of the services that the deployment has."""
    token = tokens_of(settings, "console")
    left_out = set(PARTICIPANTS) - set(settings.participant_names)
    if "pay" in left_out or SANDBOX not in settings.provider_names:
        left_out.add(SANDBOX)
    return [
        Instance(service, instance(service, number), url, token(service))
        for service in NAMES
        if service not in left_out
        for number, url in enumerate(settings.url(service).split(","), 1)
    ]

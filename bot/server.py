"""`outreach run`: everything on this machine, embedded parts only."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from rasa.core.channels.channel import InputChannel
from sanic import Sanic
from sanic.config import Config
from sanic.exceptions import SanicException, ServiceUnavailable
from sanic.request import Request
from sanic.response import HTTPResponse, text

from actions.freshness import Withdrawals
from bot import bounds, remarks
from bot.assistant import Assistant, Incoming, incident
from bot.channels.sms.channel import SmsChannel
from bot.channels.web.channel import HEADERS, WebChannel
from bot.connections import MOST, OURSELVES, Connections, most_connections, open_files
from bot.connections import remarks as remarks_of_limit
from bot.desk import Desk
from bot.privacy import logs
from bot.privacy.keys import day_keys
from bot.privacy.limits import Limiter
from bot.privacy.logs import event
from bot.privacy.pseudonyms import Pseudonyms
from bot.privacy.store import Store
from bot.privacy.store_file import FileStore
from bot.privacy.store_redis import RedisStore
from bot.settings import LOCAL, SettingError, Settings, settings, shown

logger = logging.getLogger(__name__)
READY_EVERY = 60
SWEEP_EVERY = 60
LAST_SECONDS = 16.0
"""What a stopping server waits for answers under way: the slowest, that to an SMS, takes 13 (bot/channels/sms/channel.py)."""
HARDENING = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}
"""For answers that are no page; pages and the loader bring their own."""
SAID = {400: "bad request", 404: "not found", 405: "not allowed", 408: "too slow", 413: "too large"}
GOLDEN = ("can the police ask for my papers", "police_questions")
"""A message whose answer is known: while it comes, the whole path works."""


async def golden(assistant: Assistant) -> bool:
    """Whether the known message gets the known reply, by the engine itself: no store, counter or limit sees it."""
    try:
        outcome = await assistant.turn(Incoming("web", f"ready-{secrets.token_hex(8)}", GOLDEN[0]), None)
        return outcome.plans[0]["topic"] == GOLDEN[1] and bool(assistant.render(outcome.plans)[0].text)
    except Exception as error:
        incident(error, "while looking whether the known message gets its known answer")
        return False


def application(desk: Desk, channels: Sequence[InputChannel], connections: Connections | None = None) -> Sanic:
    """The web application: the channels' addresses, health and readiness, and nothing else.

    Args:
        desk: answers.
        channels: what is served.
        connections: their bounds.
    """
    app = Sanic(
        f"outreach-{secrets.token_hex(4)}",
        # No SANIC_ variable of the environment changes what is set here.
        config=Config(env_prefix=""),
        request_class=bounds.BoundedRequest,
        configure_logging=False,
    )
    app.config.REQUEST_MAX_SIZE = bounds.BODY_BYTES
    app.config.REQUEST_TIMEOUT = bounds.BODY_SECONDS
    app.config.RESPONSE_TIMEOUT = 30
    app.config.KEEP_ALIVE_TIMEOUT = 15
    app.config.ACCESS_LOG = False
    app.config.FALLBACK_ERROR_FORMAT = "text"

    async def unused(message: object) -> None:
        return None

    for channel in channels:
        app.blueprint(channel.blueprint(unused), url_prefix=channel.url_prefix())  # type: ignore[arg-type]
        listener = getattr(channel, "start", None)
        if listener:
            app.register_listener(_listening(listener), "before_server_start")
    app.ctx.ready = False
    app.ctx.connections = Connections() if connections is None else connections

    @app.get("/health")
    async def health(request: Request) -> HTTPResponse:
        return text("ok", headers=HEADERS)

    @app.get("/ready")
    async def ready(request: Request) -> HTTPResponse:
        return text("ready" if app.ctx.ready else "not ready", status=200 if app.ctx.ready else 503, headers=HEADERS)

    @app.exception(Exception)
    async def failed(request: Request, error: Exception) -> HTTPResponse:
        """Own error pages: a status, and nothing of what was sent."""
        # What fails before a route is found is how the request is written: a length that is no number, for one.
        status = error.status_code if isinstance(error, SanicException) else 500 if request.route else 400
        # Sanic's way to say that the caller has gone.
        gone = isinstance(error, ServiceUnavailable) and not _is_open(request)
        if status >= 500 and not gone:
            incident(error, "in a request")
        return text(SAID.get(status, "error"), status=status)

    @app.on_response
    async def harden(request: Request, response: HTTPResponse) -> None:
        """What every answer has, errors too; a channel's own headers stand."""
        for name, value in HARDENING.items():
            response.headers.setdefault(name, value)

    @app.before_server_start
    async def first_look(app: Sanic, loop: asyncio.AbstractEventLoop) -> None:
        app.ctx.ready = await golden(desk.assistant)
        app.ctx.looking = loop.create_task(keep_looking())

    async def keep_looking() -> None:
        while True:
            await asyncio.sleep(READY_EVERY)
            app.ctx.ready = await golden(desk.assistant)
            try:
                await desk.sweep()
            except Exception as error:
                # What expires must go on expiring.
                incident(error, "while sweeping")

    @app.before_server_stop
    async def farewell(app: Sanic, loop: asyncio.AbstractEventLoop) -> None:
        """Nobody new; who has asked is answered; then the channels end what hangs on these answers."""
        late = await app.ctx.connections.drain(LAST_SECONDS)
        if late:
            event(logger, logging.WARNING, "{number} requests were not answered before the stop", number=late)
        for channel in channels:
            stop = getattr(channel, "stop", None)
            try:
                if stop:
                    await stop()
            except Exception as error:
                incident(error, "while a channel was stopping")

    @app.after_server_stop
    async def let_go(app: Sanic, loop: asyncio.AbstractEventLoop) -> None:
        app.ctx.looking.cancel()
        desk.close()

    return app


def _is_open(request: Request) -> bool:
    transport: Any = request.transport
    return transport is not None and not transport.is_closing()


def _listening(call: Callable[[], Awaitable[None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    async def listener(app: Sanic, loop: asyncio.AbstractEventLoop) -> None:
        await call()

    return listener


def open_store(own: Settings) -> Store:
    """The store that the settings name: a file in OUTREACH_DATA, or Redis for several servers.

    Raises:
        StoreError: when it cannot be used.
    """
    return RedisStore(own.redis_url, own) if own.redis_url else FileStore(own.data, own)


def open_channels(desk: Desk, own: Settings) -> list[InputChannel]:
    """The channels whose keys are set; one line about each."""
    # Where only this machine can reach the server there is one network, and it is ours.
    limiter = None if own.trusted_proxies or not own.local else Limiter(())
    channels: list[InputChannel] = [WebChannel(desk, own.chat_origins, own.trusted_proxies, limiter)]
    if own.public_url and not own.trusted_proxies:
        logs.say(
            "TRUSTED_PROXIES is not set: behind a proxy all visitors of the website share one limit (docs/operators.md)."
        )
    if own.twilio is None:
        logs.say("SMS and WhatsApp are off: no Twilio keys are set (TWILIO_ACCOUNT_SID).")
    else:
        sms = SmsChannel(desk, own.twilio, own.public_url)
        channels.append(sms)
        logs.say(f"SMS and WhatsApp are on: Twilio sends to {own.public_url}{sms.url_prefix()}")
        if own.twilio.delete_after:
            logs.say(f"Messages are deleted at Twilio {own.twilio.delete_after} minutes after their work is done.")
    if own.telegram is None:
        logs.say("Telegram is off: no key is set (TELEGRAM_TOKEN).")
    else:
        # Here, because the library takes half a second to load, and most first starts are without Telegram.
        from bot.channels.telegram.channel import PATH, TelegramChannel

        channels.append(TelegramChannel(desk, own.telegram, own.public_url))
        how = f"it sends to {own.public_url}{PATH}" if own.public_url else "it is asked for messages (no PUBLIC_URL)"
        logs.say(f"Telegram is on: {how}.")
    return channels


def _free(port: int, host: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def run(port: int, started: float) -> int:
    """Serve until interrupted; one line with the address when ready.

    Args:
        port: on localhost.
        started: `time.monotonic()` when the command began.
    """
    own = settings()
    # .env may have set what the environment may not.
    logs.seal()
    host = own.host
    if not _free(port, host):
        raise SettingError(f"port {port} is taken; choose another with --port")
    from actions.knowledge.load import knowledge
    from bot import catalogues

    catalogues.compile_all(knowledge())
    catalogues.require_urgent(knowledge())
    Withdrawals().check()
    logs.say("Loading ...")
    store = open_store(own)
    try:
        logs.private_temporary_folder(own.data)
    except OSError as error:
        raise SettingError(
            f"OUTREACH_DATA is {shown(str(own.data))}: {error.strerror}; name a folder of your own"
        ) from None
    lasting, former = remarks.lasting_keys(own)
    # Everything that may be wrong with the settings before what takes long.
    for line in (*remarks.of_opt_outs(own, store), *remarks.of_settings(own)):
        logs.say(line)
    names = Pseudonyms(day_keys(own.data, own.keys), lasting, former)
    desk = Desk(Assistant.load(), store, names)
    if not own.organisation.set_up:
        logs.say("Nobody is set up as running this service (bot/organisation.yml): localhost only.")
    limit = open_files()
    app = application(desk, open_channels(desk, own), Connections(ours=(*OURSELVES, *own.trusted_proxies)))
    # What was loaded so far may have loggers and handlers of its own; so may what a start loads.
    logs.seal()

    @app.before_server_start
    async def sealed(app: Sanic, loop: asyncio.AbstractEventLoop) -> None:
        loop.set_debug(False)
        logs.seal()

    @app.after_server_start
    async def tell(app: Sanic, loop: asyncio.AbstractEventLoop) -> None:
        # A terminal that is closed is a stop like others (Sanic sees to SIGINT and SIGTERM), but not for who asked for nohup.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            loop.add_signal_handler(signal.SIGHUP, app.stop)
        # Now that all is open that the server itself needs.
        app.ctx.connections.most = most_connections(limit)
        for line in remarks_of_limit(limit):
            logs.say(line)
        shown = "localhost" if host in LOCAL else host
        if app.ctx.ready:
            logs.say(f"Ready after {time.monotonic() - started:.0f} s: http://{shown}:{port}/chat")
        else:
            logs.say("Started, but the known test message did not get its known answer: run `make train`", error=True)

    app.run(
        host=host,
        port=port,
        protocol=bounds.BoundedProtocol,
        # Who comes in a rush waits here; with Sanic's 100 the others were sent away, and came back after a second.
        backlog=MOST,
        access_log=False,
        motd=False,
        debug=False,
        workers=1,
    )
    return 0

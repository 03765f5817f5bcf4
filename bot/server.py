"""`outreach run`: everything on this machine, embedded parts only."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time

from sanic import Sanic
from sanic.exceptions import SanicException
from sanic.request import Request
from sanic.response import HTTPResponse, text

from bot.assistant import Assistant, Incoming
from bot.channels.web.channel import HEADERS, WebChannel
from bot.settings import SettingError, settings

logger = logging.getLogger(__name__)
BODY_BYTES = 16_384
BODY_SECONDS = 10
READY_EVERY = 60
SWEEP_EVERY = 60
GOLDEN = ("can the police ask for my papers", "police_questions")
"""A message whose answer is known: while it comes, the whole path works."""


async def golden(assistant: Assistant) -> bool:
    """Whether the known message gets the known reply, on a conversation of its own that nothing keeps."""
    key = f"ready-{secrets.token_hex(8)}"
    try:
        replies = await assistant.reply(Incoming("web", key, GOLDEN[0]))
        return bool(replies) and replies[0].topic == GOLDEN[1]
    finally:
        assistant.records.forget(key)


def application(assistant: Assistant, origins: tuple[str, ...] = ()) -> Sanic:
    """The web application: the chat, health and readiness, and nothing else."""
    app = Sanic(f"outreach-{secrets.token_hex(4)}", configure_logging=False)
    app.config.REQUEST_MAX_SIZE = BODY_BYTES
    app.config.REQUEST_TIMEOUT = BODY_SECONDS
    app.config.RESPONSE_TIMEOUT = 30
    app.config.KEEP_ALIVE_TIMEOUT = 15
    app.config.ACCESS_LOG = False
    app.config.FALLBACK_ERROR_FORMAT = "text"
    web = WebChannel(assistant, origins)

    async def unused(message: object) -> None:
        return None

    app.blueprint(web.blueprint(unused), url_prefix=web.url_prefix())  # type: ignore[arg-type]
    app.ctx.ready = False

    @app.get("/health")
    async def health(request: Request) -> HTTPResponse:
        return text("ok", headers=HEADERS)

    @app.get("/ready")
    async def ready(request: Request) -> HTTPResponse:
        return text("ready" if app.ctx.ready else "not ready", status=200 if app.ctx.ready else 503, headers=HEADERS)

    @app.exception(Exception)
    async def failed(request: Request, error: Exception) -> HTTPResponse:
        """Own error pages: a status, and nothing of what was sent."""
        status = error.status_code if isinstance(error, SanicException) else 500
        if status >= 500:
            logger.error("incident %s: %s in a request", secrets.token_hex(4), type(error).__name__)
        return text(
            {404: "not found", 413: "too large", 405: "not allowed"}.get(status, "error"),
            status=status,
            headers=HEADERS,
        )

    @app.before_server_start
    async def first_look(app: Sanic, loop: asyncio.AbstractEventLoop) -> None:
        app.ctx.ready = await golden(assistant)

    async def keep_looking(app: Sanic) -> None:
        while True:
            await asyncio.sleep(READY_EVERY)
            app.ctx.ready = await golden(assistant)
            sweep = getattr(assistant.records, "sweep", None)
            if sweep:
                sweep()

    app.add_task(keep_looking)  # type: ignore[arg-type]
    return app


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
    host = os.environ.get("OUTREACH_HOST") or "127.0.0.1"
    if host not in ("127.0.0.1", "localhost", "::1") and not own.organisation.set_up:
        raise SettingError(
            "OUTREACH_HOST is not localhost, but bot/organisation.yml does not say who runs the service; fill it in first"
        )
    if not _free(port, host):
        raise SettingError(f"port {port} is taken; choose another with --port")
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("rasa").setLevel(logging.ERROR)
    logging.getLogger("sanic").setLevel(logging.ERROR)
    from actions.knowledge.load import knowledge
    from bot import catalogues

    catalogues.compile_all(knowledge())
    catalogues.require_urgent(knowledge())
    print("Loading ...", flush=True)
    assistant = Assistant.load()
    origins = tuple(os.environ.get("CHAT_ORIGINS", "").split())
    app = application(assistant, origins)
    if not own.organisation.set_up:
        print("Nobody is set up as running this service (bot/organisation.yml): localhost only.", flush=True)
    print("SMS and Telegram are off: no keys are set.", flush=True)

    @app.after_server_start
    async def tell(app: Sanic, loop: asyncio.AbstractEventLoop) -> None:
        shown = "localhost" if host in ("127.0.0.1", "::1") else host
        if app.ctx.ready:
            print(f"Ready after {time.monotonic() - started:.0f} s: http://{shown}:{port}/chat", flush=True)
        else:
            print("Started, but the known test message did not get its known answer: run `make train`", flush=True)

    app.run(host=host, port=port, access_log=False, motd=False, debug=False, workers=1)
    return 0

"""Real HTTP on 127.0.0.1, in this process: for what only the inside of a server can show."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sanic import Sanic

from tests.conftest import free_port


@contextmanager
def serving(desk: Any, channels: Sequence[Any]) -> Iterator[str]:
    """Serve these channels in a thread of its own; its address."""
    from bot.server import application

    port, loop = free_port(), asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()
    failed: list[BaseException] = []

    async def serve() -> None:
        # Sanic rewrites its own methods when it starts; without this the second start in a process finds nothing to rewrite.
        Sanic.test_mode = True
        app = application(desk, channels)
        server = await app.create_server(host="127.0.0.1", port=port, return_asyncio_server=True, access_log=False)
        assert server is not None
        await server.startup()
        await server.before_start()
        ready.set()
        await stop.wait()
        await server.close()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(serve())
        except BaseException as error:  # shown by the test that waits
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(30)
    if failed:
        raise failed[0]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)

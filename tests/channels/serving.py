"""The application itself on a free port of this machine, in a thread: real HTTP, the trained model, a store of the test's own."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sanic import Sanic

from bot.bounds import BoundedProtocol
from bot.connections import Connections
from bot.server import application
from tests.conftest import free_port


@contextmanager
def serving(
    make: Callable[[], tuple[Any, Sequence[Any]]], connections: Connections | None = None
) -> Iterator[tuple[str, Any]]:
    """Serve a desk with channels.

    Args:
        make: makes (desk, channels), in the thread that will use them.
        connections: their bounds; the usual ones when left out.
    Yields:
        (address, desk)
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    ready, stop = threading.Event(), threading.Event()
    held: dict[str, Any] = {}

    async def run() -> None:
        # Else Sanic can start once in a process only: it rewrites its own methods, and cannot rewrite them again.
        Sanic.test_mode = True
        desk, channels = make()
        held["desk"] = desk
        server = await application(desk, channels, connections).create_server(
            host="127.0.0.1",
            port=port,
            protocol=BoundedProtocol,
            return_asyncio_server=True,
            access_log=False,
        )
        await server.startup()
        await server.before_start()
        await server.start_serving()
        ready.set()
        while not stop.is_set():
            await asyncio.sleep(0.02)
        await server.before_stop()
        await server.close()
        await server.after_stop()

    def thread() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            held["error"] = error
        finally:
            ready.set()

    served = threading.Thread(target=thread, daemon=True)
    served.start()
    assert ready.wait(30)
    if "error" in held:
        raise held["error"]
    wait_for(address)
    try:
        yield address, held["desk"]
    finally:
        stop.set()
        served.join(20)
        if "error" in held:
            raise held["error"]


def wait_for(address: str, seconds: float = 90) -> None:
    """Until the server says that it is well.

    Raises:
        TimeoutError
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/ready", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
    raise TimeoutError(f"{address} did not become ready")

"""The real application on a free port of this machine, for as long as a test needs it: real HTTP, its own protocol, the trained model."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.conftest import free_port


class Running:
    """Serves channels of a desk over real HTTP, in a thread of its own. Use as a context manager."""

    def __init__(self, desk: Any, channels: Sequence[Any], connections: Any = None):
        """
        Args:
            desk, channels: what is served; for a store that one thread must make and use, see `serving`.
            connections: their bounds.
        """
        self._start(lambda: (desk, channels), connections)
        self.desk = desk

    def _start(self, make: Callable[[], tuple[Any, Sequence[Any]]], connections: Any) -> None:
        self._make, self._connections = make, connections
        self._port = free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None

    @classmethod
    def made_by(cls, make: Callable[[], tuple[Any, Sequence[Any]]], connections: Any = None) -> Running:
        """Of a desk that is made in the thread that will use it.

        Args:
            make: makes (desk, channels).
        """
        running = cls.__new__(cls)
        running._start(make, connections)
        return running

    def __enter__(self) -> Running:
        self._thread.start()
        if not self._started.wait(30) or self._error:
            raise RuntimeError(f"the application did not start: {self._error!r}") from self._error
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        assert not self._thread.is_alive(), "the application did not stop"
        if self._error:
            raise self._error

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        run = self._loop.run_until_complete
        try:
            server = run(self._serve())
        except BaseException as error:
            self._error = error
            return
        finally:
            self._started.set()
        self._loop.run_forever()
        try:
            run(server.before_stop())
            run(server.close())
            run(server.after_stop())
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            run(asyncio.sleep(0))
        except BaseException as error:
            self._error = error
        self._loop.close()

    async def _serve(self) -> Any:
        from sanic import Sanic

        from bot.bounds import BoundedProtocol
        from bot.server import application

        # Without it Sanic can start once in a process only: it rewrites its own methods, and cannot rewrite them again.
        Sanic.test_mode = True
        self.desk, channels = self._make()
        server: Any = await application(self.desk, channels, self._connections).create_server(
            "127.0.0.1",
            self._port,
            protocol=BoundedProtocol,
            return_asyncio_server=True,
            access_log=False,
            debug=False,
        )
        await server.startup()
        await server.before_start()
        await server.after_start()
        return server

    def call(self, work: Any) -> Any:
        """Run a coroutine in the application's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


def request(
    address: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
    method: str | None = None,
    timeout: float = 40,
) -> tuple[int, str, dict[str, str]]:
    """Status, text and headers of a request; a body that is no bytes goes as JSON, as Telegram writes it."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    made = urllib.request.Request(address, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(made, timeout=timeout) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


@contextmanager
def serving(make: Callable[[], tuple[Any, Sequence[Any]]], connections: Any = None) -> Iterator[tuple[str, Any]]:
    """Serve a desk with channels until they are ready.

    Args:
        make: makes (desk, channels), in the thread that will use them.
        connections: their bounds.
    Yields:
        (address, desk)
    """
    with Running.made_by(make, connections) as running:
        wait_for(running.address)
        yield running.address, running.desk


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

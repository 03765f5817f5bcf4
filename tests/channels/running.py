"""The real application on a free port of this machine, for as long as a test needs it."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from tests.conftest import free_port


class Running:
    """Serves channels of a desk over real HTTP, in a thread of its own. Use as a context manager."""

    def __init__(self, desk: Any, channels: Sequence[Any]):
        self.desk = desk
        self._channels = channels
        self._port = free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None

    def __enter__(self) -> Running:
        self._thread.start()
        if not self._started.wait(30) or self._error:
            raise RuntimeError(f"the application did not start: {self._error!r}")
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        assert not self._thread.is_alive(), "the application did not stop"

    def _run(self) -> None:
        from sanic import Sanic

        from bot.bounds import BoundedProtocol
        from bot.server import application

        # Without it Sanic can start once in a process only: it rewrites its own methods, and cannot rewrite them again.
        Sanic.test_mode = True
        asyncio.set_event_loop(self._loop)
        run = self._loop.run_until_complete
        try:
            app = application(self.desk, self._channels)
            server = run(
                app.create_server(
                    "127.0.0.1",
                    self._port,
                    protocol=BoundedProtocol,
                    return_asyncio_server=True,
                    access_log=False,
                    debug=False,
                )
            )
            run(server.startup())
            run(server.before_start())
            run(server.after_start())
        except BaseException as error:
            self._error = error
            self._started.set()
            return
        self._started.set()
        self._loop.run_forever()
        run(server.before_stop())
        run(server.close())
        run(server.after_stop())
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        run(asyncio.sleep(0))
        self._loop.close()

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

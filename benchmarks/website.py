"""The website chat on a slow phone: DevTools' slow 3G (400 kbit/s, 2 s more for every request) and a processor four times slower.

    .venv/bin/python benchmarks/website.py [RUNS]

Times in milliseconds, bytes as they go over the wire without TLS, medians. The partner's page is deployment/demo, on another origin of
the same site: Chromium's throttling does not reach frames of other sites, which run in a process of their own.
"""

from __future__ import annotations

import http.server
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.conftest import chromium, free_port  # noqa: E402

SLOW = {"offline": False, "latency": 2000, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
"""https://chromedevtools.github.io/devtools-protocol/tot/Network/#method-emulateNetworkConditions"""
CPU = 4
BLOCKING = """
window.blocked = 0;
new PerformanceObserver(list => { for (const task of list.getEntries()) window.blocked += Math.max(0, task.duration - 50); })
  .observe({type: "longtask", buffered: true});
"""
QUESTION = "can police ask me for my immigration papers?"


def partner(chat: str) -> str:
    """Serve the demo page for a chat's address; its own address."""
    folder = ROOT / "deployment" / "demo"

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = "index.html" if self.path == "/" else self.path[1:]
            self.send_response(200)
            self.send_header("Content-Type", "text/css" if name.endswith(".css") else "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write((folder / name).read_text("utf-8").replace("http://localhost:8080", chat).encode())

        def log_message(self, *arguments: Any) -> None:
            """Nothing."""

    port = free_port()
    threading.Thread(
        target=http.server.ThreadingHTTPServer(("127.0.0.1", port), Page).serve_forever, daemon=True
    ).start()
    return f"http://127.0.0.1:{port}"


def until(ask: Callable[[], Any]) -> float:
    """Wait until it is true; the moment, in milliseconds."""
    while not ask():
        time.sleep(0.01)
    return time.monotonic() * 1000


def visit(browser: Any, host: str, chat: str, slow: bool) -> dict[str, float]:
    """One visitor: opens the partner's page, taps, asks a question, leaves."""
    context = browser.new_context(viewport={"width": 360, "height": 640})
    context.route("https://**", lambda route: route.fulfill(body="x", content_type="text/html"))
    context.add_init_script(BLOCKING)
    page = context.new_page()
    requests: list[Any] = []
    page.on("request", lambda request: requests.append(request))
    wire = context.new_cdp_session(page)
    if slow:
        wire.send("Network.enable")
        wire.send("Network.emulateNetworkConditions", SLOW)
        wire.send("Emulation.setCPUThrottlingRate", {"rate": CPU})
    found: dict[str, float] = {}
    start = time.monotonic() * 1000
    page.goto(f"{host}/", wait_until="commit")
    launcher = page.get_by_role("button", name="Chat")
    launcher.wait_for()
    found["launcher"] = time.monotonic() * 1000 - start
    found["blocked, host"] = page.evaluate("window.blocked")
    start = time.monotonic() * 1000
    launcher.click()
    shown = until(lambda: page.evaluate("document.querySelector('iframe')?.style.visibility === 'visible'"))
    found["tap to text box"] = shown - start
    frame = page.frames[1]
    frame.fill("#text", QUESTION)
    start = time.monotonic() * 1000
    frame.press("#text", "Enter")
    frame.locator(".entry.answer").wait_for()
    found["send to answer"] = time.monotonic() * 1000 - start
    found["blocked, chat"] = frame.evaluate("window.blocked")
    ours = [request for request in requests if request.url.startswith(chat)]
    sizes = [request.sizes() for request in ours]
    for name, size in zip(("loader", "document", "turn"), sizes, strict=True):
        found[f"bytes, {name}"] = size["responseHeadersSize"] + size["responseBodySize"]
    found["bytes up, turn"] = sizes[2]["requestHeadersSize"] + sizes[2]["requestBodySize"]
    found["bytes to first answer"] = sum(found[f"bytes, {name}"] for name in ("loader", "document", "turn"))
    found["requests"] = len(requests)
    found["exit to blank"] = frame.evaluate(
        "(() => { const start = performance.now(); document.getElementById('exit').click(); return performance.now() - start; })()"
    )
    context.close()
    return found


def main() -> None:
    """Measure, and print a table."""
    from playwright.sync_api import sync_playwright

    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    port = free_port()
    chat = f"http://127.0.0.1:{port}"
    host = partner(chat)
    with tempfile.TemporaryDirectory() as data:
        server = subprocess.Popen(  # noqa: S603
            [str(Path(sys.executable).parent / "outreach"), "run", "--port", str(port)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OUTREACH_DATA": data, "CHAT_ORIGINS": host},
        )
        try:
            assert server.stdout is not None
            while "Ready" not in server.stdout.readline():
                if server.poll() is not None:
                    raise SystemExit("the server did not start")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium(),
                    args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
                )
                columns = [[visit(browser, host, chat, slow) for _ in range(runs)] for slow in (False, True)]
                browser.close()
        finally:
            server.terminate()
            server.wait(20)
    print(f"{'':24}{'this machine':>16}{'slow 3G, CPU / 4':>20}")
    for name in columns[0][0]:
        fast, slow = (statistics.median(run[name] for run in column) for column in columns)
        print(f"{name:24}{fast:16.0f}{slow:20.0f}")


if __name__ == "__main__":
    main()

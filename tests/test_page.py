"""The chat page in a real browser, in three languages, at two sizes; screenshots are kept in artefacts/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, chromium

SIZES = [(360, 640), (1280, 800)]
SPOKEN = {
    "en": "can police ask me for my immigration papers?",
    "es": "¿la policía me puede preguntar por mis papeles?",
    "ht": "èske lapolis ka mande m papye imigrasyon?",
}
SHOTS = ROOT / "artefacts"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, without any network of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(),
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield browser
        browser.close()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("language", sorted(SPOKEN))
def test_a_question_and_its_answer(
    language: str, size: tuple[int, int], browser: Any, served: tuple[str, Path], words: Any
) -> None:
    SHOTS.mkdir(exist_ok=True)
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    page = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"{served[0]}/chat?l={language}")
    assert page.inner_text("h1") == words.line("phrase/page_heading", language)
    page.screenshot(path=SHOTS / f"chat-{language}-{size[0]}-start.png")
    page.fill("#text", SPOKEN[language])
    page.keyboard.press("Enter")
    page.wait_for_selector(".entry.answer")
    said = page.inner_text(".entry.answer")
    assert words.line("police_questions/short", language).split(".")[0] in said
    assert page.get_attribute(".entry.answer", "lang") == language
    page.screenshot(path=SHOTS / f"chat-{language}-{size[0]}-answer.png")
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), "nothing scrolls sideways"
    page.click(f".choices button:has-text({words.line('phrase/more_button', language)!r})")
    page.locator(".entry.answer").nth(1).wait_for()
    assert all(url.startswith((served[0], "data:")) for url in requests), requests
    assert complaints == []
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    context.close()


def test_the_picker_switches_page_and_conversation(browser: Any, served: tuple[str, Path], words: Any) -> None:
    page = browser.new_page()
    page.goto(f"{served[0]}/chat?l=en")
    page.click(".languages a[lang=ht]")
    assert page.get_attribute("html", "lang") == "ht"
    assert page.inner_text("#form button") == words.line("phrase/page_send", "ht")
    page.fill("#text", "ok")
    page.click("#form button")
    page.wait_for_selector(".entry.service")
    assert page.get_attribute(".entry.service", "lang") == "ht"
    page.close()


def test_markup_is_text(browser: Any, served: tuple[str, Path]) -> None:
    page = browser.new_page()
    page.goto(f"{served[0]}/chat")
    for number, text in enumerate(
        ("<img src=x onerror=alert(1)>", '"><script>alert(1)</script>', "[a](javascript:alert(1))", "{{7*7}}")
    ):
        page.fill("#text", text)
        page.click("#form button")
        page.locator(".entry:not(.own)").nth(number).wait_for()
    assert page.locator(".log img, .log script").count() == 0
    links = page.eval_on_selector_all(".log a", "all => all.map(a => a.protocol)")
    assert set(links) <= {"https:", "tel:"}
    page.close()


def test_a_message_survives_a_lost_connection(browser: Any, served: tuple[str, Path], words: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{served[0]}/chat?l=es")
    context.set_offline(True)
    page.fill("#text", "hola")
    page.click("#form button")
    page.wait_for_selector(".entry.failed button", timeout=15_000)
    assert page.inner_text("#status") == words.line("phrase/page_offline", "es")
    assert "911" in page.inner_text(".danger")
    context.set_offline(False)
    page.click(".entry.failed button")
    page.wait_for_selector(".entry.service")
    assert page.locator(".entry.own").count() == 1
    context.close()


def test_exit_leaves_nothing_to_go_back_to(browser: Any, served: tuple[str, Path]) -> None:
    context = browser.new_context()
    page = context.new_page()
    context.route(
        "https://weather.com/**", lambda route: route.fulfill(body="<title>weather</title>", content_type="text/html")
    )
    page.goto(f"{served[0]}/health")
    page.goto(f"{served[0]}/chat?l=en")
    page.fill("#text", "my husband hits me")
    page.click("#form button")
    page.wait_for_selector(".entry.answer")
    page.click("#exit")
    page.wait_for_url("https://weather.com/")
    page.go_back()
    assert page.url == f"{served[0]}/health"
    context.close()


def test_it_can_be_used_by_keyboard_alone(browser: Any, served: tuple[str, Path]) -> None:
    page = browser.new_page()
    page.goto(f"{served[0]}/chat?l=en")
    stops = []
    for _ in range(14):
        page.keyboard.press("Tab")
        stops.append(
            page.evaluate("document.activeElement.id || document.activeElement.lang || document.activeElement.tagName")
        )
    assert stops[0] == "exit"
    assert {"exit", "en", "es", "ht", "log", "text", "restart"} <= set(stops)
    page.close()

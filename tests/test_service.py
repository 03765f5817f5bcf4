"""The served chat over real HTTP: the wire contract, what is refused, withdrawals in the running server."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import outreach


def post(
    address: str, body: Any, path: str = "/chat/v1/messages", headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """Status and parsed answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}{path}", data, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        text = error.read()
        try:
            return error.code, json.loads(text)
        except ValueError:
            return error.code, text.decode()


def get(address: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, str, Any]:
    """Status, text and headers."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address + path, headers=headers or {}), timeout=20
        ) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


def message(text: str, number: str = "t-1", session: str | None = None, **more: Any) -> dict[str, Any]:
    """A message as the page sends it."""
    return {"v": 1, "session": session, "id": number, "lang": None, "hint": "en", "text": text, "button": None, **more}


@pytest.mark.parametrize(("language", "asked"), [("en", ""), ("es", "?l=es"), ("ht", "?l=ht")])
def test_the_page_in_three_languages(served: tuple[str, Path], language: str, asked: str, words: Any) -> None:
    status, page, headers = get(served[0], f"/chat{asked}")
    assert status == 200
    assert f'<html lang="{language}"' in page
    assert words.line("phrase/page_send", language) in page
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_the_page_follows_the_browser_s_language(served: tuple[str, Path]) -> None:
    assert '<html lang="ht"' in get(served[0], "/chat", {"Accept-Language": "ht-HT,fr;q=0.8"})[1]
    assert '<html lang="es"' in get(served[0], "/chat", {"Accept-Language": "es-419,en;q=0.5"})[1]


def test_a_conversation(served: tuple[str, Path]) -> None:
    address = served[0]
    status, first = post(address, message("necesito un abogado gratis"))
    assert status == 200
    assert first["lang"] == "es"
    assert first["messages"][0]["kind"] == "question"
    assert len(first["session"]) == 32
    _, second = post(address, message("hialeah", "t-2", first["session"]))
    assert second["session"] == first["session"]
    assert second["messages"][0]["topic"] == "legal_aid"
    more = [button["id"] for button in second["messages"][0]["buttons"]]
    assert "more" in more
    _, third = post(address, message("", "t-3", first["session"], button="more"))
    assert third["messages"][0]["topic"] == "legal_aid"


def test_a_repeated_message_is_answered_once(served: tuple[str, Path]) -> None:
    address = served[0]
    _, first = post(address, message("can the jail hold me for ice"))
    _, more = post(address, message("more", "r-2", first["session"]))
    _, again = post(address, message("more", "r-2", first["session"]))
    assert again == more
    _, other = post(address, message("more", "r-3", first["session"]))
    assert other != more


def test_an_invented_session_is_a_new_one(served: tuple[str, Path]) -> None:
    _, answer = post(served[0], message("more", session="x" * 32))
    assert answer["messages"][0]["kind"] == "notice"


def test_end_forgets(served: tuple[str, Path]) -> None:
    address = served[0]
    _, first = post(address, message("can the jail hold me for ice", "e-1"))
    assert post(address, {"session": first["session"]}, "/chat/v1/end")[0] == 204
    _, after = post(address, message("more", "e-2", first["session"]))
    assert after["messages"][0]["kind"] == "notice"


@pytest.mark.parametrize(
    ("label", "body", "status"),
    [
        ("no JSON", b"hello", 400),
        ("a list", [1], 400),
        ("no text", {"v": 1, "id": "a", "session": None}, 400),
        ("a text that is none", {**message("x"), "text": 7}, 400),
        ("an id with a path", {**message("x"), "id": "../etc"}, 400),
        ("deep nesting", b"[" * 8000, 400),
        ("too large", message("a" * 20_000), 413),
        ("bytes that are no text", b"\xff\xfe\x00", 400),
    ],
)
def test_bad_bodies_are_refused(label: str, body: Any, status: int, served: tuple[str, Path]) -> None:
    got, answer = post(served[0], body)
    assert got == status
    assert "hello" not in str(answer)
    assert get(served[0], "/health")[0] == 200


def test_another_site_cannot_post(served: tuple[str, Path]) -> None:
    assert post(served[0], message("hi"), headers={"Sec-Fetch-Site": "cross-site"})[0] == 400


@pytest.mark.parametrize(
    "path",
    ["/", "/version", "/status", "/model", "/model/train", "/webhooks/rest/webhook", "/webhooks/rest/", "/socket.io/", "/domain",
     "/conversations/default/tracker", "/conversations/default/messages", "/chat/loader/2.js", "/chat/..%2f..%2fetc/passwd", "/.env"],
)  # fmt: skip
def test_nothing_else_answers(path: str, served: tuple[str, Path]) -> None:
    status, text, headers = get(served[0], path)
    assert status in (400, 404)
    assert "rasa" not in text.lower()
    assert "sanic" not in str(headers).lower()


def test_the_page_without_scripts(served: tuple[str, Path], words: Any) -> None:
    address = served[0]
    status, page, _ = get(address, "/chat/basic?l=ht")
    assert status == 200
    assert "<script" not in page
    data = "text=%C3%A8ske+lapolis+ka+mande+m+papye+%3Cb%3E&l=ht&session="
    request = urllib.request.Request(
        f"{address}/chat/basic", data.encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        said = answer.read().decode()
    assert "<b>" not in said
    assert "&lt;b&gt;" in said
    assert 'lang="ht"' in said
    assert words.line("police_questions/short", "ht").split(".")[0] in said.replace("&quot;", '"').replace(
        "&#x27;", "'"
    )


def test_health_and_readiness(served: tuple[str, Path]) -> None:
    assert get(served[0], "/health")[:2] == (200, "ok")
    assert get(served[0], "/ready")[:2] == (200, "ready")


def test_a_withdrawal_reaches_the_running_server(served: tuple[str, Path], words: Any) -> None:
    address, data = served
    environment = {**os.environ, "OUTREACH_DATA": str(data)}
    questions = {
        "en": "do miami police work together with ice",
        "es": "la policia de miami trabaja con ice?",
        "ht": "èske lapolis Miami travay ansanm ak ICE",
    }
    done = outreach("withdraw", "mdso-287g-2025", "--until", "2099-01-01", environment=environment)
    assert done.returncode == 0
    assert "police_ice_cooperation" in done.stdout
    try:
        for number, (language, text) in enumerate(questions.items()):
            _, answer = post(address, message(text, f"w-{number}"))
            said = answer["messages"][0]
            assert said["topic"] == "police_ice_cooperation"
            assert said["text"] == words.line("phrase/withdrawn", language)
            assert said["facts"] == []
        _, urgent = post(address, message("he is shooting at us right now", "w-9"))
        assert urgent["messages"][0]["kind"] == "emergency"
    finally:
        outreach("withdraw", "mdso-287g-2025", "--end", environment=environment)
    _, answer = post(address, message(questions["en"], "w-10"))
    assert answer["messages"][0]["facts"]
    assert outreach("withdraw", "--list", environment=environment).stdout == ""


def test_a_withdrawal_ends_by_itself(known: Any, tmp_path: Path) -> None:
    import datetime as dt

    from actions.freshness import Withdrawal, Withdrawals

    store = Withdrawals(tmp_path / "withdrawn.yml")
    store.write([Withdrawal("schools", dt.date(2026, 11, 30))])
    assert store.withdrawn(["schools"], dt.date(2026, 11, 30))
    assert not store.withdrawn(["schools"], dt.date(2026, 12, 1))
    assert not store.withdrawn(["at_home"], dt.date(2026, 11, 22))

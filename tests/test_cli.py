"""The command: its contract, and bad input to every part of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.conftest import outreach


@dataclass(frozen=True)
class Bad:
    """Input that cannot be used."""

    label: str
    arguments: tuple[str, ...]
    says: str
    stdin: str = ""


BAD = [
    Bad("no such command", ("fly",), "invalid choice"),
    Bad("no such option", ("ask", "--loud", "hi"), "unrecognized"),
    Bad("a port that is no number", ("run", "--port", "http"), "is no port"),
    Bad("a port out of range", ("run", "--port", "70000"), "is no port"),
    Bad("a moment that is none", ("ask", "--at", "tomorrow", "hi"), "is no moment"),
    Bad("a moment without time zone", ("ask", "--at", "2026-11-22T12:00", "hi"), "has no time zone"),
    Bad("no JSON", ("ask", "--jsonl"), "line 1 is no JSON", "hello\n"),
    Bad("JSON that is no object", ("ask", "--jsonl"), "line 1 needs", "[1]\n"),
    Bad("no text", ("ask", "--jsonl"), "line 1 needs", '{"id": "1"}\n'),
    Bad("an unknown channel", ("ask", "--jsonl"), "write one of", '{"id": "1", "channel": "fax", "text": "hi"}\n'),
    Bad("a line that is too long", ("ask", "--jsonl"), "is longer than", '{"id":"1","text":"' + "a" * 70000 + '"}\n'),
    Bad("withdrawing what is not there", ("withdraw", "moon-law"), "neither a fact nor a policy topic"),
    Bad("withdrawing 911", ("withdraw", "emergency"), "never withdrawn"),
    Bad("withdrawing nothing", ("withdraw",), "name a fact or topic"),
    Bad("until no day", ("withdraw", "report_crime", "--until", "Friday"), "is no date"),
    Bad("a translation into English", ("words", "--translated", "en", "greet/short"), "no language that is translated"),
    Bad("a translation of nothing", ("words", "--translated", "es", "moon/short"), "there is no text"),
    Bad("a review of nothing", ("review", "moon"), "no texts for"),
    Bad("a signature without language", ("review", "greet", "--sign", "Somebody"), "go together"),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.label)
def test_bad_input_is_one_clear_line(bad: Bad) -> None:
    done = outreach(*bad.arguments, stdin=bad.stdin)
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert bad.says in lines[0]
    assert "Traceback" not in done.stderr


def test_ask_jsonl_follows_the_contract() -> None:
    requests = [
        {"id": "a", "conversation": "c1", "channel": "sms", "text": "m bezwen yon avoka"},
        {"id": "b", "conversation": "c1", "channel": "sms", "text": "33142"},
        {"id": "c", "conversation": "c2", "channel": "web", "text": "can the police ask for my papers?"},
    ]
    stdin = "".join(json.dumps(request) + "\n" for request in requests)
    first = outreach("ask", "--jsonl", "--at", "2026-11-22T12:00Z", stdin=stdin)
    second = outreach("ask", "--jsonl", "--at", "2026-11-22T12:00Z", stdin=stdin)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    answers = [json.loads(line) for line in first.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == ["a", "b", "c"]
    for answer in answers:
        assert answer["elapsed_ms"] > 0
        for reply in answer["replies"]:
            assert {"text", "language", "kind", "topic", "choices", "facts", "links", "buttons"} <= set(reply)
    assert [answer["replies"][0]["kind"] for answer in answers] == ["question", "answer", "answer"]
    again = [json.loads(line) for line in second.stdout.splitlines()]
    for one, other in zip(answers, again, strict=True):
        assert one["replies"] == other["replies"]


def test_ask_one_message() -> None:
    done = outreach("ask", "--channel", "web", "¿la policía me puede preguntar por mis papeles?")
    assert done.returncode == 0
    assert "[es answer police_questions]" in done.stdout


def test_ask_a_conversation() -> None:
    done = outreach("ask", stdin="necesito un abogado\nhialeah\n\n")
    assert done.returncode == 0
    assert "[es question legal_aid]" in done.stdout
    assert "[es answer legal_aid]" in done.stdout


def test_check_passes() -> None:
    done = outreach("check")
    assert done.returncode == 0, done.stdout


def test_check_release_names_what_people_still_have_to_do() -> None:
    done = outreach("check", "--release")
    assert done.returncode == 1
    for wanted in (
        "not reviewed by a lawyer",
        "native reader of Spanish",
        "native reader of Haitian Creole",
        "bot/organisation.yml",
    ):
        assert wanted in done.stdout


def test_check_release_finds_what_is_past_its_day() -> None:
    done = outreach("check", "--release", "--at", "2027-12-01T12:00Z")
    assert done.returncode == 1
    assert "was to be checked again by 2027-02-20" in done.stdout


def test_without_a_command_it_explains_itself() -> None:
    done = outreach()
    assert done.returncode == 0
    assert "withdraw" in done.stdout

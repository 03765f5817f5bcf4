"""Conversations of several turns, through the trained model and the real actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import table


@pytest.mark.parametrize("dialogue", table("dialogues"), ids=lambda dialogue: dialogue["label"])
def test_dialogue(dialogue: dict[str, Any], talk: Callable[..., list[Any]]) -> None:
    for number, turn in enumerate(dialogue["turns"], 1):
        replies = talk(turn["text"], dialogue["channel"])
        first = replies[0]
        where = f"turn {number} ({turn['text']!r}): [{first.language} {first.kind} {first.topic}] {first.text}"
        for name in ("topic", "kind", "language"):
            if name in turn:
                assert getattr(first, name) == turn[name], where
        if "not_topic" in turn:
            assert first.topic != turn["not_topic"], where
        if "also" in turn:
            assert turn["also"] in [reply.topic for reply in replies[1:]], where
            assert all(reply.language == turn["language"] for reply in replies), where
        whole = "\n".join(reply.text for reply in replies)
        for wanted in turn.get("say", []):
            assert wanted in whole, f"{wanted!r} is missing in {where}"
        for unwanted in turn.get("not", []):
            assert unwanted not in whole, f"{unwanted!r} stands in {where}"


def test_a_button_must_have_been_offered_to_this_conversation(talk: Callable[..., list[Any]]) -> None:
    offered = talk("can police ask my status", "web")[0]
    assert {button["id"] for button in offered.buttons} >= {"more"}
    other = offered.buttons[1]["id"]
    assert talk("", "web", button=other)[0].topic == other
    forged = talk("", "web", button="opt_out")[0]
    assert forged.kind == "notice"
    stranger = talk("", "web", conversation="somebody-else", button=other)[0]
    assert stranger.kind == "notice"

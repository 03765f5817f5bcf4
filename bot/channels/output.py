"""Collects a turn's replies whole. Rasa's own CollectingOutputChannel drops what is not text."""

from __future__ import annotations

from typing import Any

from rasa.core.channels.channel import OutputChannel

from bot.nlg import Reply


class CollectedReplies(OutputChannel):
    """Receives what the assistant says in one turn."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []

    @classmethod
    def name(cls) -> str:
        """As Rasa wants."""
        return "collected"

    async def send_response(self, recipient_id: str, message: dict[str, Any]) -> None:
        """Keep the reply that bot/nlg.py made."""
        custom = message.get("custom") or {}
        if "reply" in custom:
            self.replies.append(Reply(**custom["reply"], more=custom["more"]))

"""Collects a turn's plans. Rasa's own CollectingOutputChannel drops what is not text."""

from __future__ import annotations

from typing import Any

from rasa.core.channels.channel import OutputChannel


class CollectedPlans(OutputChannel):
    """Receives what the assistant says in one turn, as ids and values; bot/nlg.py has the words."""

    def __init__(self) -> None:
        self.plans: list[dict[str, Any]] = []

    @classmethod
    def name(cls) -> str:
        """As Rasa wants."""
        return "collected"

    async def send_response(self, recipient_id: str, message: dict[str, Any]) -> None:
        """Keep the plan that bot/nlg.py hands through."""
        custom = message.get("custom") or {}
        if "plan" in custom:
            self.plans.append(custom["plan"])

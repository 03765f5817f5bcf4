"""The assistant's one action, for rasa-sdk: in process by default, the same code behind `rasa run actions`."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from rasa_sdk import Action, Tracker
from rasa_sdk.events import SlotSet
from rasa_sdk.executor import CollectingDispatcher

from actions import clock, organisation
from actions.answering import Answering, Conversation
from actions.freshness import Withdrawals
from actions.knowledge.load import knowledge

SLOTS = tuple(field.name for field in dataclasses.fields(Conversation))


@functools.lru_cache(maxsize=1)
def answering() -> Answering:
    """Answers from the project's own knowledge, read once."""
    own = organisation.read(organisation.default_path())
    return Answering(knowledge(), Withdrawals(), own.kind if own.set_up else None)


class ActionAnswer(Action):
    """Answers the understanding of the latest message (actions/answering.py)."""

    def name(self) -> str:
        """As in the domain."""
        return "action_answer"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: dict[str, Any]) -> list[dict[str, Any]]:
        """Emit one plan per reply, and the conversation's record as slots."""
        understood = tracker.latest_message["understanding"]
        values = {name: tracker.get_slot(name) for name in SLOTS}
        before = Conversation(**{name: value for name, value in values.items() if value is not None})
        turn = answering().answer(understood, before, clock.today())
        for plan in turn.plans:
            dispatcher.utter_message(response="utter_reply", plan=plan)
        return [
            SlotSet(name, value)
            for name, value in dataclasses.asdict(turn.conversation).items()
            if value != values.get(name)
        ]

"""Rasa's tracker store for one turn: a tracker is rebuilt from the conversation's record before it, and reduced to it after.

Nothing stays here: bot/assistant.py lays the record in before a turn and takes it out after, and bot/desk.py keeps it
together with the replies in one transaction.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable

from rasa.core.tracker_store import TrackerStore
from rasa.shared.core.constants import ACTION_LISTEN_NAME
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import ActionExecuted, SlotSet
from rasa.shared.core.trackers import DialogueStateTracker

from bot.privacy import logs
from bot.privacy.records import Record

logger = logging.getLogger(__name__)
SLOTS = tuple(field.name for field in dataclasses.fields(Record) if field.name != "used")


class RecordTrackerStore(TrackerStore):
    """Holds the record of each conversation that is being answered; events are never kept."""

    def __init__(self, domain: Domain | None = None):
        super().__init__(domain)
        self._records: dict[str, Record | None] = {}

    def lay(self, key: str, record: Record | None) -> None:
        """The record that the turn starts from."""
        self._records[key] = record

    def take(self, key: str) -> Record | None:
        """The record that the turn left, None where it is to be forgotten; nothing of it stays here."""
        return self._records.pop(key, None)

    async def retrieve(self, sender_id: str) -> DialogueStateTracker | None:
        """A tracker that listens, with the record's values as slots; for a new conversation an empty one.

        Never None: Rasa would run action_session_start and keep events for it.
        """
        record = self._records.get(sender_id) or Record()
        tracker = self.init_tracker(sender_id)
        tracker.update(ActionExecuted(ACTION_LISTEN_NAME), self.domain)
        for name in SLOTS:
            value = getattr(record, name)
            if value:
                tracker.update(SlotSet(name, value), self.domain)
        return tracker

    async def save(self, tracker: DialogueStateTracker) -> None:
        """Reduce the tracker to its record, or to nothing where the turn said so.

        Never raises: Rasa's FailSafeTrackerStore would then keep the whole tracker in memory for good.
        """
        if tracker.sender_id not in self._records:
            return  # the turn was given up meanwhile; what comes late is not kept
        try:
            slots = tracker.current_slot_values()
            record = Record(**{name: slots[name] for name in SLOTS if slots.get(name)})
            self._records[tracker.sender_id] = None if slots.get("forget") else record
        except Exception as error:
            logs.incident(logger, error, "while reducing a conversation to its record")

    async def keys(self) -> Iterable[str]:
        """None: nobody lists conversations."""
        return []

"""Rasa's tracker store over records: a tracker is rebuilt from the record before each message, and reduced to it after."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable

from rasa.core.tracker_store import TrackerStore
from rasa.shared.core.constants import ACTION_LISTEN_NAME
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import ActionExecuted, SlotSet
from rasa.shared.core.trackers import DialogueStateTracker

from bot.privacy.records import Record, Records

logger = logging.getLogger(__name__)
SLOTS = tuple(field.name for field in dataclasses.fields(Record) if field.name != "used")


class RecordTrackerStore(TrackerStore):
    """Keeps a `Record` per conversation; events are never kept."""

    def __init__(self, records: Records, domain: Domain | None = None):
        super().__init__(domain)
        self.records = records

    async def retrieve(self, sender_id: str) -> DialogueStateTracker | None:
        """A tracker that listens, with the record's values as slots; for a new conversation an empty one.

        Never None: Rasa would run action_session_start and keep events for it.
        """
        record = self.records.get(sender_id) or Record()
        tracker = self.init_tracker(sender_id)
        tracker.update(ActionExecuted(ACTION_LISTEN_NAME), self.domain)
        for name in SLOTS:
            value = getattr(record, name)
            if value:
                tracker.update(SlotSet(name, value), self.domain)
        return tracker

    async def save(self, tracker: DialogueStateTracker) -> None:
        """Reduce the tracker to its record, or forget it where the turn said so.

        Never raises: Rasa's FailSafeTrackerStore would then keep the whole tracker in memory for good.
        """
        try:
            slots = tracker.current_slot_values()
            if slots.get("forget"):
                self.records.forget(tracker.sender_id)
                return
            record = Record(**{name: slots[name] for name in SLOTS if slots.get(name)})
            self.records.put(tracker.sender_id, record)
        except Exception as error:
            logger.error("a conversation could not be saved: %s", type(error).__name__)

    async def keys(self) -> Iterable[str]:
        """None: nobody lists conversations."""
        return []

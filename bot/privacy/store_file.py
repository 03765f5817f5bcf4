"""The store as one file on one machine: SQLite with secure delete, in OUTREACH_DATA.

No table has row numbers, so that nothing tells in which order people wrote. Deleted content is overwritten with zeros
(https://www.sqlite.org/pragma.html#pragma_secure_delete). Two places are not reached by that: the write-ahead log, which holds
older pages, and the gaps of pages whose rows were moved to others when the tree was balanced. So after a deletion the file is
written anew (VACUUM) and the log emptied.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from actions import clock
from bot.privacy.pseudonyms import tag_of
from bot.privacy.records import Record, from_json, has_context, rounded, to_json
from bot.privacy.store import (
    Clocks,
    Counted,
    Counts,
    Plan,
    StoreError,
    day_cell,
    delivery_cell,
    repeatable,
    topic_cells,
)
from bot.settings import Settings

NAME = "outreach.db"
REWRITING = 0.1
"""At most this part of the time is spent on writing the file anew (0.1 s for 1,000 conversations on a laptop); what a flood of deletions
leaves in gaps is gone with the next sweep."""
BUSY_SECONDS = 5
SCHEMA = """
CREATE TABLE IF NOT EXISTS conversations (key TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS replies
  (message TEXT PRIMARY KEY, conversation TEXT NOT NULL, plans TEXT NOT NULL, used TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS replies_of ON replies (conversation);
CREATE TABLE IF NOT EXISTS opt_outs (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS newest (one INTEGER PRIMARY KEY CHECK (one = 1), moment TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS topics
  (month TEXT, language TEXT, channel TEXT, topic TEXT, n INTEGER NOT NULL, PRIMARY KEY (month, language, channel, topic)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS days (day TEXT, channel TEXT, n INTEGER NOT NULL, PRIMARY KEY (day, channel)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deliveries
  (month TEXT, channel TEXT, status TEXT, code TEXT, n INTEGER NOT NULL, PRIMARY KEY (month, channel, status, code)) WITHOUT ROWID;
"""


class FileStore:
    """Everything in one SQLite file."""

    def __init__(self, folder: Path, settings: Settings, durable: bool = True, beside: bool = False):
        """Open or make the file.

        Args:
            folder: OUTREACH_DATA.
            settings: the clocks.
            durable: each commit reaches the disk before it is answered (synchronous=FULL); without it a power cut
                may lose the last moments, a killed process none.
            beside: for a command that does one thing while a server may be running.

        Raises:
            StoreError: when it cannot be opened, is damaged, or another server uses it.
        """
        self.path = folder / NAME
        self._clocks = Clocks(settings)
        self._lock: int | None = None
        # What an earlier process left.
        self._remnants = True
        self._rewrite_after = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not beside:
                self._lock_file(folder)
            self._db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self.path.chmod(0o600)
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._db.execute("PRAGMA temp_store = MEMORY")
            self._db.executescript(SCHEMA)
            found = self._db.execute("PRAGMA quick_check(1)").fetchone()
            if found[0] != "ok":
                raise sqlite3.DatabaseError("quick_check")
            self._begin()
        except sqlite3.OperationalError as error:
            self._unlock()
            raise StoreError(
                f"{self.path} cannot be opened or written ({error}); is the disk full, is the folder writable?"
            ) from None
        except sqlite3.DatabaseError as error:
            self._unlock()
            raise StoreError(
                f"{self.path} cannot be used ({type(error).__name__}): it is damaged or no database. Move it away; a new one is "
                "made, conversations begin anew, but opt-outs are lost: restore them from the last good copy (docs/runbook.md)"
            ) from None
        except OSError as error:
            self._unlock()
            raise StoreError(
                f"{folder} cannot be used ({error.strerror}); OUTREACH_DATA must be a folder of your own"
            ) from None

    def _begin(self) -> None:
        """Go on from the newest moment that any server on this file has seen."""
        row = self._db.execute("SELECT moment FROM newest").fetchone()
        if row:
            with suppress(ValueError):
                self._clocks.moments.begin(dt.datetime.fromisoformat(row[0]))
        # On a full disk the first turn that is kept will do it.
        with suppress(sqlite3.OperationalError):
            self._see(self._db)

    def _see(self, db: sqlite3.Connection) -> None:
        """Keep the newest moment, in full tens of minutes: it tells no more of a message than the message's record."""
        newest = rounded(self._clocks.moments.now()).astimezone(dt.timezone.utc).isoformat()
        db.execute(
            "INSERT INTO newest VALUES (1, ?) ON CONFLICT DO UPDATE SET moment = excluded.moment WHERE excluded.moment > moment",
            (newest,),
        )

    def _lock_file(self, folder: Path) -> None:
        """One server a store: two would not know of each other's turns."""
        import fcntl

        self._lock = os.open(folder / "outreach.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._unlock()
            raise StoreError(
                f"another server uses {folder}; stop it, or set OUTREACH_DATA to another folder, or REDIS_URL for several servers"
            ) from None

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and every fault as a StoreError."""
        if not self.path.exists():
            # SQLite goes on writing to a file that has no name any more: an opt-out would be kept until the next start only.
            raise StoreError(f"{self.path} is gone; stop the server, put it back (docs/runbook.md), start again")
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreError(
                f"{self.path}: {type(error).__name__}; is the disk full, is the folder writable?"
            ) from None

    def _rows(self, query: str, values: Sequence[str] = ()) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {type(error).__name__}; is the disk there, is the file damaged?") from None

    def _erase(self, now: bool = False) -> None:
        """Nothing of what was deleted stays in the file or its write-ahead log.

        Args:
            now: also when the file was written anew just before.
        """
        started = time.monotonic()
        rewrite = self._remnants and (now or started >= self._rewrite_after)
        try:
            if rewrite:
                self._db.execute("VACUUM")
                self._remnants = False
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise StoreError(
                f"{self.path}: {type(error).__name__} while overwriting what was deleted; is the disk full?"
            ) from None
        if rewrite:
            ended = time.monotonic()
            self._rewrite_after = ended + (ended - started) / REWRITING

    @staticmethod
    def _record(stored: str) -> Record | None:
        """A record that cannot be read is none: the conversation begins anew."""
        try:
            return from_json(json.loads(stored))
        except (ValueError, TypeError):
            return None

    def get(self, key: str) -> Record | None:
        """The record, as fresh as the clocks allow."""
        rows = self._rows("SELECT record FROM conversations WHERE key = ?", (key,))
        record = self._record(rows[0][0]) if rows else None
        return self._clocks.usable(key, record) if record else None

    def handled(self, messages: Sequence[str]) -> list[Plan] | None:
        """The plans that answered a message."""
        oldest, latest = (moment.isoformat() for moment in repeatable(self._clocks.settings))
        for name in messages:
            rows = self._rows(
                "SELECT plans FROM replies WHERE message = ? AND used BETWEEN ? AND ?", (name, oldest, latest)
            )
            if rows:
                return json.loads(rows[0][0])
        return None

    def commit(
        self,
        key: str,
        record: Record | None,
        messages: Sequence[str] = (),
        plans: Sequence[Plan] = (),
        counted: Counted | None = None,
        before: str | None = None,
        lease: int | None = None,
    ) -> None:
        """Keep a turn, all of it or nothing."""
        deleted = 0
        with self._transaction() as db:
            if before:
                db.execute("UPDATE replies SET conversation = ? WHERE conversation = ?", (key, before))
                deleted += self._delete(db, before)
            if record is None:
                deleted += self._delete(db, key)
            else:
                stored = json.dumps(to_json(self._clocks.stamped(key, record)), ensure_ascii=False)
                db.execute("INSERT OR REPLACE INTO conversations VALUES (?, ?)", (key, stored))
            if messages:
                values = (messages[0], key if record else "", json.dumps(list(plans)), rounded(clock.now()).isoformat())
                db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?)", values)
            self._see(db)
            if counted:
                for cell in topic_cells(counted):
                    db.execute("INSERT INTO topics VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1", cell)
                db.execute("INSERT INTO days VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1", day_cell(counted))
        self._remnants = True  # of what stood in the conversation before
        if deleted:
            # The turn is kept, whatever comes now; what fails here fails again in the sweep, and is told then.
            with suppress(StoreError):
                self._erase()

    def _delete(self, db: sqlite3.Connection, key: str) -> int:
        """How many rows are gone."""
        self._clocks.drop(key)
        gone = db.execute("DELETE FROM conversations WHERE key = ?", (key,)).rowcount
        return gone + db.execute("DELETE FROM replies WHERE conversation = ?", (key,)).rowcount

    def lease(self, key: str) -> int | None:
        """One server alone: the queue in front of it is enough (bot/queues.py)."""
        return 0

    def release(self, key: str, lease: int) -> None:
        """Nothing to give back."""

    def mark(self, message: str, conversations: Sequence[str]) -> None:
        """Keep that all replies to a message have gone out."""
        with self._transaction() as db:
            query = "SELECT 1 FROM conversations WHERE key = ?"
            owner = next((key for key in conversations if db.execute(query, (key,)).fetchone()), "")
            values = (message, owner, "[]", rounded(clock.now()).isoformat())
            db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?)", values)

    def forget(self, key: str) -> None:
        """Remove a conversation and the replies to its messages."""
        with self._transaction() as db:
            deleted = self._delete(db, key)
        if deleted:
            self._remnants = True
            self._erase()

    def opted_out(self, name: str, before: Sequence[str] = ()) -> bool:
        """Whether messages to this sender have been stopped."""
        found = [each for each in (name, *before) if self._rows("SELECT 1 FROM opt_outs WHERE name = ?", (each,))]
        if any(each != name for each in found):
            # Who has stopped has stopped, whether or not that can be written anew just now.
            with suppress(StoreError):
                self.set_opted_out(name, True, before)
        return bool(found)

    def set_opted_out(self, name: str, out: bool, before: Sequence[str] = ()) -> None:
        """Stop or start messages to a sender."""
        unwanted = before if out else (name, *before)
        with self._transaction() as db:
            if out:
                db.execute("INSERT OR IGNORE INTO opt_outs VALUES (?)", (name,))
            gone = db.executemany("DELETE FROM opt_outs WHERE name = ?", [(each,) for each in unwanted]).rowcount
        if gone or not out:
            self._remnants = True
            self._erase()

    def opt_outs(self) -> dict[str, int]:
        """Opt-outs by the tag of their secret."""
        return dict(Counter(tag_of(row[0]) for row in self._rows("SELECT name FROM opt_outs")))

    def count_delivery(self, channel: str, status: str, code: str) -> None:
        """Count what became of a message that we sent."""
        cell = delivery_cell(channel, status, code)
        with self._transaction() as db:
            db.execute("INSERT INTO deliveries VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1", cell)

    def counts(self) -> Counts:
        """All numbers."""
        topics = {tuple(row[:4]): row[4] for row in self._rows("SELECT * FROM topics")}
        days = {tuple(row[:2]): row[2] for row in self._rows("SELECT * FROM days")}
        deliveries = {tuple(row[:4]): row[4] for row in self._rows("SELECT * FROM deliveries")}
        return Counts(topics, days, deliveries)  # type: ignore[arg-type]

    def sweep(self) -> int:
        """Remove what has expired."""
        gone, changed = [], []
        for key, stored in self._rows("SELECT key, record FROM conversations"):
            record = self._record(stored)
            usable = self._clocks.usable(key, record) if record else None
            if usable is None:
                gone.append(key)
            elif record and has_context(record) and not has_context(usable):
                changed.append((json.dumps(to_json(usable), ensure_ascii=False), key))
        oldest, latest = (moment.isoformat() for moment in repeatable(self._clocks.settings))
        with self._transaction() as db:
            for key in gone:
                self._delete(db, key)
            db.executemany("UPDATE conversations SET record = ? WHERE key = ?", changed)
            db.execute("DELETE FROM replies WHERE used < ? OR used > ?", (oldest, latest))
            self._see(db)
        self._clocks.sweep()
        self._erase(now=True)
        return len(gone)

    def purge(self) -> int:
        """Remove every conversation and every reply."""
        with self._transaction() as db:
            gone = db.execute("DELETE FROM conversations").rowcount
            db.execute("DELETE FROM replies")
        self._remnants = True
        self._erase(now=True)
        return gone

    def close(self) -> None:
        """Close the file and let another server have it."""
        self._db.close()
        self._unlock()

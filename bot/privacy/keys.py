"""Keys: new ones every day for pseudonyms, lasting ones for opt-outs. None of them is ever inside OUTREACH_DATA.

The daily keys lie on a tmpfs, memory that looks like a folder: they survive a killed process, but not a machine that is
carried away. Where there is no tmpfs they live in this process alone.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from actions import clock
from bot.settings import SettingError

KEY_BYTES = 32
SHM = Path("/dev/shm")  # noqa: S108 - a tmpfs on every Linux, and the reason is that nothing of it reaches a disk
KEPT_DAYS = 1
"""Today's key and the last one exist; a conversation found under the last one moves over."""


def subkey(secret: str, purpose: str) -> bytes:
    """A key of its own for each purpose, from OUTREACH_SECRET (HKDF-SHA256, RFC 5869).

    >>> subkey("x" * 32, "opt-out") == subkey("x" * 32, "ready")
    False
    """
    derive = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=f"outreach/{purpose}".encode())
    return derive.derive(secret.encode())


class DayKeys(Protocol):
    """Where the daily keys are."""

    def key(self, day: dt.date) -> bytes:
        """The key of a day, made on its first use."""

    def known(self, day: dt.date) -> bytes | None:
        """The key of a day, None when it never existed or is gone."""


class MemoryKeys:
    """Daily keys in this process only."""

    def __init__(self) -> None:
        self._keys: dict[dt.date, bytes] = {}

    def _drop_old(self) -> None:
        today = clock.now().date()
        # Of days that a clock gone wrong has been to, none must wait until they come.
        least, most = today - dt.timedelta(days=KEPT_DAYS), today + dt.timedelta(days=1)
        for other in [day for day in self._keys if not least <= day <= most]:
            del self._keys[other]

    def key(self, day: dt.date) -> bytes:
        """The key of a day, made on its first use."""
        self._drop_old()
        if day not in self._keys:
            self._keys[day] = secrets.token_bytes(KEY_BYTES)
        return self._keys[day]

    def known(self, day: dt.date) -> bytes | None:
        """The key of a day, None when it never existed or is gone."""
        self._drop_old()
        return self._keys.get(day)

    def keep(self, day: dt.date, key: bytes) -> None:
        """A key that was made elsewhere."""
        self._keys[day] = key


class TmpfsKeys(MemoryKeys):
    """Daily keys in one file on a tmpfs, readable by this user only; several servers on one machine have the same ones."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self._read()

    def _read(self) -> None:
        try:
            stored = json.loads(self.path.read_text("utf-8"))
            self._keys |= {dt.date.fromisoformat(day): bytes.fromhex(key) for day, key in stored.items()}
        except (OSError, ValueError, AttributeError):
            # Unreadable keys are no keys: conversations begin anew, nobody is found under a wrong name.
            return
        self._drop_old()

    def key(self, day: dt.date) -> bytes:
        """The key of a day; made and written on its first use."""
        self._drop_old()
        if day not in self._keys:
            with self._alone():
                self._read()  # another server may have made it
                if day not in self._keys:
                    super().key(day)
                    # A tmpfs that is full or gone costs nobody an answer: the keys then live in this process alone.
                    with contextlib.suppress(OSError):
                        self._write()
        return super().key(day)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other server of this machine makes a key meanwhile."""
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):
                lock = os.open(self.path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
                held.callback(os.close, lock)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self) -> None:
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        text = json.dumps({day.isoformat(): key.hex() for day, key in self._keys.items()})
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(self.path)


def on_tmpfs(folder: Path, mounts: str = "/proc/mounts") -> bool:
    """Whether a folder lies in memory: its nearest mount is a tmpfs or ramfs."""
    try:
        rows = [row.split() for row in Path(mounts).read_text("utf-8").splitlines()]
    except OSError:
        return False
    where = str(folder.resolve())
    inside = [
        (len(row[1]), row[2])
        for row in rows
        if len(row) > 2 and (where == row[1] or where.startswith(row[1].rstrip("/") + "/"))
    ]
    return bool(inside) and max(inside)[1] in ("tmpfs", "ramfs")


def day_keys(data: Path, where: str | None = None) -> DayKeys:
    """The daily keys of the service whose data lie in `data`.

    Args:
        data: OUTREACH_DATA; two services on one machine have keys of their own.
        where: OUTREACH_KEYS, a folder on a tmpfs or the address of a Redis; /dev/shm where it is one.

    Raises:
        SettingError: when a folder is named and is not on a tmpfs: the keys would lie on a disk.
        StoreError: when a Redis is named and does not answer, or writes to a disk.
    """
    if where and "://" in where:
        from bot.privacy.keys_redis import RedisKeys

        return RedisKeys(where)
    folder = Path(where) if where else None
    if folder is not None and not on_tmpfs(folder):
        raise SettingError(
            f"OUTREACH_KEYS is {str(folder)!r}, which is not on a tmpfs: keys on a disk can be carried away; "
            f"leave it out, or name a folder in {SHM}"
        )
    folder = folder or (SHM if on_tmpfs(SHM) else None)
    if folder is None:
        return MemoryKeys()
    name = hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16]
    own = folder / f"outreach-{os.getuid()}-{name}"
    with contextlib.suppress(FileExistsError):
        own.mkdir(mode=0o700)
    status = own.lstat()
    if status.st_uid != os.getuid() or own.is_symlink():
        # Somebody else made it first: what is theirs is not ours to trust.
        return MemoryKeys()
    return TmpfsKeys(own / "keys.json")

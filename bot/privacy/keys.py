"""Keys: new ones every day for pseudonyms, lasting ones for opt-outs. None of them is ever inside OUTREACH_DATA.

The daily keys lie on a tmpfs, memory that looks like a folder: they survive a killed process, but not a machine that is
carried away. Where there is no tmpfs they live in this process alone; for several machines see
keys_redis.py.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TypeGuard

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from actions import clock
from bot.settings import SettingError, shown

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

    def sweep(self) -> None:
        """Let go of keys whose days are over."""


class MemoryKeys:
    """Daily keys in this process only."""

    def __init__(self) -> None:
        self._keys: dict[dt.date, bytes] = {}

    def _drop_old(self) -> None:
        for day in [day for day in self._keys if not self.may_be(day)]:
            del self._keys[day]

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

    def drop(self, day: dt.date) -> None:
        """A key that was removed elsewhere."""
        self._keys.pop(day, None)

    @staticmethod
    def may_be(day: dt.date) -> bool:
        """Whether a day is one whose key can exist: not long over, not far away, as after a clock went wrong."""
        return -KEPT_DAYS <= (day - clock.now().date()).days <= 1

    def sweep(self) -> None:
        """Let go of keys whose days are over."""
        self._drop_old()


class TmpfsKeys(MemoryKeys):
    """Daily keys in one file on a tmpfs, readable by this user only; several servers on one machine have the same ones.

    The file leads: keys that somebody removes from it (`outreach purge`) are gone here too, and what another process wrote is known here.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._look()
        self.sweep()

    def _as_it_is(self) -> tuple[int, int, int] | None:
        """What changes whenever the file is written anew; None where there is none."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _look(self) -> None:
        """Follow the file, if it has changed."""
        now = self._as_it_is()
        if now == self._seen:
            return
        self._seen, self._keys = now, {}
        # Unreadable keys are no keys: conversations begin anew, nobody is found under a wrong name.
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            stored = json.loads(self.path.read_text("utf-8"))
            self._keys = {dt.date.fromisoformat(day): bytes.fromhex(key) for day, key in stored.items()}

    def key(self, day: dt.date) -> bytes:
        """The key of a day; made and written on its first use."""
        self._look()
        self._drop_old()
        if day not in self._keys:
            with self._alone():
                self._look()  # another server may just have made it
                if day not in self._keys:
                    super().key(day)
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

    def known(self, day: dt.date) -> bytes | None:
        """The key of a day, None when it never existed or is gone."""
        self._look()
        return super().known(day)

    def sweep(self) -> None:
        """Let go of keys whose days are over, in the file too."""
        self._look()
        before = set(self._keys)
        super().sweep()
        if set(self._keys) != before:
            self._write()

    def _write(self) -> None:
        """Write the keys. A tmpfs that is full or gone costs nobody an answer: they then live in this process alone."""
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        text = json.dumps({day.isoformat(): key.hex() for day, key in self._keys.items()})
        with contextlib.suppress(OSError):
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            draft.replace(self.path)
        self._seen = self._as_it_is()


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


def _tmpfs(where: str | None) -> Path | None:
    """Where keys may lie: OUTREACH_KEYS, else /dev/shm where it is a tmpfs.

    Raises:
        SettingError: when a folder is named that is not on a tmpfs: the keys would lie on a disk.
    """
    folder = Path(where) if where else None
    if folder is not None and not on_tmpfs(folder):
        raise SettingError(
            f"OUTREACH_KEYS is {shown(str(folder))}, which is not on a tmpfs: keys on a disk can be carried away; "
            f"leave it out, or name a folder in {SHM}"
        )
    return folder or (SHM if on_tmpfs(SHM) else None)


def _is_address(where: str | None) -> TypeGuard[str]:
    return where is not None and "://" in where


def _prefix() -> str:
    return f"outreach-{os.getuid()}-"


def _own(data: Path, folder: Path) -> Path:
    return folder / (_prefix() + hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16])


def _is_ours(path: Path) -> bool:
    """Whether it is a folder of this user: what somebody else made first is not ours to trust, or to remove."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def day_keys(data: Path, where: str | None = None) -> DayKeys:
    """The daily keys of the service whose data lie in `data`; those of services that are gone are removed.

    Args:
        data: OUTREACH_DATA; two services on one machine have keys of their own.
        where: OUTREACH_KEYS, a folder on a tmpfs or the address of a Redis; /dev/shm where it is one.

    Raises:
        SettingError: when a folder is named and is not on a tmpfs: the keys would lie on a disk.
        StoreError: when a Redis is named and does not answer, or writes to a disk.
    """
    if _is_address(where):
        from bot.privacy.keys_redis import RedisKeys

        return RedisKeys(where)
    folder = _tmpfs(where)
    if folder is None:
        return MemoryKeys()
    own = _own(data, folder)
    with contextlib.suppress(FileExistsError):
        own.mkdir(mode=0o700)
    if not _is_ours(own):
        return MemoryKeys()
    _remove_left_behind(folder, own)
    return TmpfsKeys(own / "keys.json")


def forget_day_keys(data: Path, where: str | None = None) -> bool:
    """Remove the daily keys of the service whose data lie in `data`, in a running server too: what is kept under them is nobody's any more.

    Args:
        data, where: as for `day_keys`.

    Returns:
        whether there were any.

    Raises:
        SettingError, StoreError: as `day_keys`; or when they cannot be removed.
    """
    if _is_address(where):
        from bot.privacy.keys_redis import RedisKeys

        return RedisKeys(where).forget()
    folder = _tmpfs(where)
    own = _own(data, folder) if folder else None
    if own is None or not _is_ours(own):
        return False
    there = any(own.iterdir())
    try:
        # The folder stays for a server that runs: it makes its next key there.
        for path in own.iterdir():
            path.unlink(missing_ok=True)
    except OSError as error:
        raise SettingError(
            f"the keys in {own} cannot be removed ({error.strerror}); remove that folder yourself"
        ) from None
    return there


def _remove_left_behind(folder: Path, own: Path) -> None:
    """Remove folders of keys that nothing needs any more: no key in them is younger than a key is kept. Theirs is a data folder that was
    moved or thrown away, or a server that rests, which makes new ones."""
    least = (clock.now() - dt.timedelta(days=KEPT_DAYS + 1)).timestamp()
    for path in folder.glob(f"{_prefix()}*"):
        if path == own or not _is_ours(path):
            continue
        with contextlib.suppress(OSError):
            if max(there.lstat().st_mtime for there in (path, *path.rglob("*"))) < least:
                shutil.rmtree(path)

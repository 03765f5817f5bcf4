"""What an operator should know of how the service is set up, one line each: `outreach run` says it at its start, `outreach check` too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bot.numbers import beside_the_server
from bot.privacy.keys import subkey
from bot.privacy.pseudonyms import Pseudonyms
from bot.privacy.store import Store, StoreError
from bot.privacy.store_file import NAME
from bot.settings import ROOT, SettingError, Settings

RUNBOOK = 'docs/runbook.md, "Keys and their rotation"'


def lasting_keys(own: Settings) -> tuple[bytes | None, list[bytes]]:
    """The key of opt-outs, and the former ones (bot/privacy/pseudonyms.py)."""
    lasting = subkey(own.secret, "opt-out") if own.secret else None
    return lasting, [subkey(secret, "opt-out") for secret in own.secrets_before]


def of_settings(own: Settings, swaps: Path = Path("/proc/swaps"), env: Path = ROOT / ".env") -> Iterator[str]:
    """What can be set better.

    Args:
        swaps: the kernel's list (https://man7.org/linux/man-pages/man5/proc_swaps.5.html).
        env: the file with the secrets.
    """
    if own.twilio and not own.twilio.delete_after:
        yield (
            "TWILIO_DELETE_AFTER is 0: every message stays at Twilio, with number and words, for whoever has TWILIO_AUTH_TOKEN (docs/operators.md)."
        )
    used = swap_on_disks(swaps)
    if used:
        yield (
            f"Swap is on ({', '.join(used)}) and not known to be encrypted: keys and messages that are in memory can reach that disk. Switch it off "
            "(swapoff -a) or encrypt it (docs/runbook.md)."
        )
    if env.is_file() and env.stat().st_mode & 0o077:
        yield "The file .env can be read by others on this machine: chmod 600 .env"


def swap_on_disks(swaps: Path = Path("/proc/swaps"), blocks: Path = Path("/sys/class/block")) -> list[str]:
    """Swap that may lie on a disk in the clear: everything but zram without a disk behind it, and dm-crypt.

    Swap on an encrypted volume group, or a file on an encrypted disk, cannot be told from another: it is in the list too.

    Args:
        swaps: the kernel's list; empty where there is none, as on other systems than Linux.
        blocks: what the kernel says of its block devices.
    """
    try:
        rows = [row.split() for row in swaps.read_text("utf-8").splitlines()[1:]]
    except OSError:
        return []
    return [row[0] for row in rows if row and not _is_safe(blocks / Path(row[0]).name)]


def _is_safe(block: Path) -> bool:
    def said(name: str) -> str:
        try:
            return (block / name).read_text("utf-8").strip()
        except OSError:
            return ""

    # https://docs.kernel.org/admin-guide/blockdev/zram.html#writeback: a zram can have a disk behind it.
    if block.name.startswith("zram"):
        return said("backing_dev") in ("", "none")
    # cryptsetup begins the name of every mapping of its own so: CRYPT-PLAIN-, CRYPT-LUKS2-.
    return said("dm/uuid").startswith("CRYPT-")


def of_opt_outs(own: Settings, store: Store) -> Iterator[str]:
    """Under which secrets opt-outs lie.

    Raises:
        SettingError: when some lie under a secret that is not set, so that who has stopped would be written to.
        StoreError: when the store cannot be asked.
    """
    if not own.secret:
        return
    lasting, former = lasting_keys(own)
    there = Pseudonyms(lasting=lasting, former=former).under_secrets(store.opt_outs())
    if there.unknown and own.twilio and not own.secret_lost:
        raise SettingError(
            f"{there.unknown} of the opt-outs lie under another OUTREACH_SECRET: who wrote STOP would be answered again. Put the former one "
            f"into OUTREACH_SECRET_BEFORE, or the word lost if nobody has it ({RUNBOOK})"
        )
    if own.secrets_before:
        what = "keep OUTREACH_SECRET_BEFORE" if there.former else "OUTREACH_SECRET_BEFORE can be taken out"
        yield f"{there.former} of {there.current + there.former} opt-outs are still under former secrets: {what} ({RUNBOOK})."
    if there.unknown:
        yield f"{there.unknown} of the opt-outs lie under a secret that is not set: nobody finds them ({RUNBOOK})."


def of_this_machine(own: Settings) -> Iterator[str]:
    """What `outreach run` would say here, without starting anything.

    Raises:
        SettingError: as `outreach run`.
    """
    yield from of_settings(own)
    if not own.redis_url and not (own.data / NAME).exists():
        return
    try:
        store = beside_the_server(own)
        yield from of_opt_outs(own, store)
        store.close()
    except StoreError as error:
        yield f"Under which secrets opt-outs lie cannot be told now. {error}"

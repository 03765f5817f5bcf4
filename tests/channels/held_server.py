"""A server as `outreach run` has it, except that it holds the answers to two senders: for a test that kills it meanwhile.

python -m tests.channels.held_server PORT FOLDER
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from bot.assistant import Assistant
from bot.desk import Answer, Desk, Message
from bot.privacy.keys import day_keys, subkey
from bot.privacy.pseudonyms import Pseudonyms
from bot.server import application, open_channels, open_store
from bot.settings import settings

HELD_BEFORE, HELD_AFTER = "+13055550150", "+13055550151"
"""Before the turn has begun; after it is kept, while the answer is on its way."""


def main() -> None:
    """Serve until killed."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    own = settings()
    desk = Desk(
        Assistant.load(), open_store(own), Pseudonyms(day_keys(own.data, own.keys), subkey(own.secret, "opt-out"))
    )
    answer = desk.answer

    async def held(message: Message) -> Answer:
        if message.sender == HELD_BEFORE:
            (folder / "before").touch()
            await asyncio.sleep(60)
        made = await answer(message)
        if message.sender == HELD_AFTER:
            (folder / "after.draft").write_text(json.dumps([reply.text for reply in made.replies]), "utf-8")
            (folder / "after.draft").rename(folder / "after")
            await asyncio.sleep(60)
        return made

    desk.answer = held  # type: ignore[method-assign]
    application(desk, open_channels(desk, own)).run(host="127.0.0.1", port=port, access_log=False, motd=False)


if __name__ == "__main__":
    main()

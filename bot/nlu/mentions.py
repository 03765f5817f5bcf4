"""What a message names: a rule that changed, a passage; by the English words of its `about` list, over text and gloss."""

from __future__ import annotations

from collections.abc import Iterable

from actions.knowledge.records import Change, Passage
from bot.nlu.text import tokens


def mentioned(texts: Iterable[str], things: Iterable[Change | Passage]) -> list[str]:
    """Ids of what is named, the longest match first.

    Args:
        texts: the message and its gloss.
        things: what can be named; in their phrases "tps & honduras" means both words, wherever they stand.
    """
    said = [f" {' '.join(tokens(text))} " for text in texts]
    found: list[tuple[int, int, str]] = []
    for order, thing in enumerate(things):
        best = 0
        for phrase in thing.about:
            forms = [f" {' '.join(tokens(part))} " for part in phrase.split("&")]
            if any(all(form.strip() and form in text for form in forms) for text in said):
                best = max(best, sum(map(len, forms)))
        if best:
            found.append((-best, order, thing.id))
    return [name for _, _, name in sorted(found)]

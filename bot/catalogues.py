"""Extract, merge and compile the catalogues, by one command: `outreach words`.

English stands in the knowledge files. A message's msgctxt is its text id, its msgid the English. Three facts
about a translation stand in its translator comments, which gettext editors keep:

    of: <hash>        of the English that was translated
    review: none      or: review: <hash of text and facts> by <name> on <date>
    wording only: <name> <date>   the English changed in wording only; the translation still holds

A translation whose `of` is not the hash of today's English is stale: it stays in the file for the translator
to mend, and is left out of the compiled catalogue, so that residents get English with a line that says so.
There is no fuzzy matching: Babel's guess gave "call 988" the Creole of "call 911".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from actions.knowledge.load import Knowledge
from actions.knowledge.records import fingerprint, placeholders
from bot.words import DOMAIN, LOCALES

TRANSLATED = ("es", "ht")
ALL = ("en", *TRANSLATED)
NAMES = {"en": "English", "es": "Spanish", "ht": "Haitian Creole"}
URGENT = ("emergency/short", "crisis/short", "phrase/failure", "phrase/safety_delete")
"""Texts that may never be stale or missing: train, run and the image build stop without them."""

_OF = re.compile(r"^of: ([0-9a-f]{12})$")
_REVIEW = re.compile(r"^review: ([0-9a-f]{12}) by (.+) on (\d{4}-\d{2}-\d{2})$")
_WORDING = re.compile(r"^wording only: (.+) (\d{4}-\d{2}-\d{2})$")
HEADER = """# {language} texts of the assistant. msgctxt is the text's id, msgid its English.
# No native speaker has reviewed them yet, except where a `review:` line names one (docs/translators.md).
"""


class CatalogueError(ValueError):
    """A catalogue that cannot be used: names file, text, language and what to do."""


@dataclass(frozen=True)
class Finding:
    """Something that a check found in a catalogue."""

    language: str
    text: str
    """Text id."""
    what: str
    """missing, stale, placeholders, unreviewed."""
    message: str
    """For a translator: what is wrong and what to do."""


def english_hash(english: str) -> str:
    """What a translation remembers of its English."""
    return fingerprint([english])


def review_hash(text: str, text_id: str, knowledge: Knowledge) -> str:
    """What a review remembers: the text, and the fact fields that it rests on."""
    return fingerprint([text, *(fact_hash for fact_hash in _rests_on(text_id, knowledge))])


def _rests_on(text_id: str, knowledge: Knowledge) -> Iterator[str]:
    kind, _, rest = text_id.partition("/")
    ids: Iterable[str] = ()
    if kind in knowledge.answers:
        answer = knowledge.answers[kind]
        ids = answer.facts if rest == "short" else (*answer.facts, *answer.more_facts)
    elif kind == "passage":
        ids = (knowledge.passages()[rest.split("/")[0]].fact,)
    elif kind == "change":
        ids = knowledge.changes()[rest.split("/")[0]].facts
    elif kind == "directory":
        yield knowledge.directory[rest.split("/")[0]].hash
    for fact in ids:
        yield knowledge.facts[fact].hash


def extract(fileobj: Any, keywords: Any, comment_tags: Any, options: Any) -> Iterator[tuple[int, str, Any, list[str]]]:
    """Babel entry point for the knowledge's phrases and answers: yields ('pgettext', (text id, English)).

    Registered as babel.extractors `outreach_knowledge`; `pybabel extract -F babel.cfg .` works with it too. The
    knowledge is read whole, since a text's id needs more than its file, and given out once, for phrases.yml.
    """
    if not str(getattr(fileobj, "name", "")).endswith("phrases.yml"):
        return
    from actions.knowledge.load import load

    for number, (text_id, english) in enumerate(load().texts.items(), 1):
        yield number, "pgettext", (text_id, english), []


def path(language: str, locales: Path = LOCALES) -> Path:
    """The catalogue of a language."""
    return locales / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def read(language: str, locales: Path = LOCALES) -> Catalog:
    """Read a catalogue; a missing file is an empty one.

    Raises:
        CatalogueError: when the file is no catalogue.
    """
    file = path(language, locales)
    if not file.exists():
        return Catalog(locale=None, domain=DOMAIN, fuzzy=False, charset="utf-8")
    try:
        with file.open("rb") as stream:
            return read_po(stream, domain=DOMAIN, abort_invalid=True)
    except Exception as error:
        raise CatalogueError(f"{file}: is no gettext catalogue ({error}); mend the line or restore the file") from error


def by_context(catalogue: Catalog) -> dict[str, Message]:
    """Text id -> message."""
    return {message.context: message for message in catalogue if message.id and message.context}


def merge(old: Catalog, texts: Mapping[str, str], language: str) -> Catalog:
    """A catalogue with exactly today's texts. What is there is kept under its text id, also when its English changed."""
    known = by_context(old)
    new = Catalog(
        locale=None,
        domain=DOMAIN,
        project="miami-dade-outreach",
        header_comment=HEADER.format(language=NAMES[language]).rstrip("\n"),
        fuzzy=False,
        charset="utf-8",
    )
    new.mime_headers = [
        ("Project-Id-Version", "miami-dade-outreach"),
        ("Language", language),
        ("MIME-Version", "1.0"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Transfer-Encoding", "8bit"),
    ]
    for text_id, english in texts.items():
        before = known.get(text_id)
        if language == "en":
            string, comments = english, list(before.user_comments) if before else ["review: none"]
        else:
            string = str(before.string) if before else ""
            comments = list(before.user_comments) if before else []
        new.add(english, string, context=text_id, user_comments=comments)
    return new


def stamp(catalogue: Catalog, text_ids: Iterable[str]) -> None:
    """Say that these translations are of today's English; their reviews end."""
    messages = by_context(catalogue)
    for text_id in text_ids:
        message = messages[text_id]
        message.user_comments = [f"of: {english_hash(str(message.id))}", "review: none"]


def is_current(message: Message) -> bool:
    """Whether a translation is there and of today's English."""
    if not message.string:
        return False
    if any(_WORDING.match(comment) for comment in message.user_comments):
        return True
    of = next((match.group(1) for comment in message.user_comments if (match := _OF.match(comment))), None)
    return of == english_hash(str(message.id))


def reviewed_by(message: Message, knowledge: Knowledge) -> str | None:
    """The name of the reviewer whose review still holds, None when nobody's does."""
    for comment in message.user_comments:
        match = _REVIEW.match(comment)
        if match and match.group(1) == review_hash(str(message.string), str(message.context), knowledge):
            return match.group(2)
    return None


def write(catalogue: Catalog, language: str, locales: Path = LOCALES) -> bool:
    """Write a catalogue when it changed; tells whether it did."""
    import io

    stream = io.BytesIO()
    write_po(stream, catalogue, width=0, sort_output=False, omit_header=False)
    lines = stream.getvalue().decode()
    # Dates and versions of the tool would change the file at every run.
    lines = "\n".join(line for line in lines.split("\n") if not line.startswith('"Generated-By'))
    file = path(language, locales)
    if file.exists() and file.read_text(encoding="utf-8") == lines:
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(lines, encoding="utf-8")
    return True


def update(knowledge: Knowledge, locales: Path = LOCALES) -> dict[str, bool]:
    """Extract and merge: language -> whether its file changed."""
    return {
        language: write(merge(read(language, locales), knowledge.texts, language), language, locales)
        for language in ALL
    }


def compile_all(knowledge: Knowledge, locales: Path = LOCALES) -> dict[str, int]:
    """Compile what is current: language -> number of texts. Stale and broken ones are left out."""
    counts = {}
    for language in TRANSLATED:
        source = by_context(read(language, locales))
        compiled = Catalog(domain=DOMAIN, fuzzy=False, charset="utf-8")
        number = 0
        for text_id, english in knowledge.texts.items():
            message = source.get(text_id)
            if message is None or str(message.id) != english or not is_current(message):
                continue
            if placeholders(english) != placeholders(str(message.string)):
                continue
            compiled.add(english, str(message.string), context=text_id)
            number += 1
        target = path(language, locales).with_suffix(".mo")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_suffix(".mo.new")
        with draft.open("wb") as stream:
            write_mo(stream, compiled)
        draft.replace(target)
        counts[language] = number
    return counts


def check(knowledge: Knowledge, locales: Path = LOCALES) -> list[Finding]:
    """Everything that a translator has to do."""
    found: list[Finding] = []
    for language in TRANSLATED:
        messages = by_context(read(language, locales))
        for text_id, english in knowledge.texts.items():
            message = messages.get(text_id)
            where = f"locales/{language}: {text_id}"
            if message is None or not message.string:
                found.append(
                    Finding(
                        language,
                        text_id,
                        "missing",
                        f"{where}: no translation; write one, then run `outreach words --translated {language} {text_id}`",
                    )
                )
                continue
            if str(message.id) != english:
                found.append(
                    Finding(
                        language,
                        text_id,
                        "stale",
                        f"{where}: its English changed; run `outreach words`, then look at the translation",
                    )
                )
            elif not is_current(message):
                found.append(
                    Finding(
                        language,
                        text_id,
                        "stale",
                        f"{where}: the English changed after it was translated; mend it, then run `outreach words --translated {language} {text_id}`",
                    )
                )
            wanted, there = placeholders(english), placeholders(str(message.string))
            if wanted != there:
                found.append(
                    Finding(
                        language,
                        text_id,
                        "placeholders",
                        f"{where}: has {' '.join(there) or 'no placeholders'}, the English has {' '.join(wanted) or 'none'}; make them the same",
                    )
                )
        for text_id in messages:
            if text_id not in knowledge.texts:
                found.append(
                    Finding(
                        language,
                        text_id,
                        "stale",
                        f"locales/{language}: {text_id}: no such text any more; run `outreach words`",
                    )
                )
    return found


def unreviewed(knowledge: Knowledge, locales: Path = LOCALES) -> list[Finding]:
    """Texts whose review is missing or void: a lawyer's for English, a native reader's for the others."""
    found = []
    for language in ALL:
        messages = by_context(read(language, locales))
        who = "a lawyer" if language == "en" else f"a native reader of {NAMES[language]}"
        for text_id in knowledge.texts:
            message = messages.get(text_id)
            if message is not None and message.string and reviewed_by(message, knowledge) is None:
                found.append(
                    Finding(language, text_id, "unreviewed", f"locales/{language}: {text_id}: not reviewed by {who}")
                )
    return found


def require_urgent(knowledge: Knowledge, locales: Path = LOCALES) -> None:
    """Stop unless the urgent and failure texts are current in every language.

    Raises:
        CatalogueError: naming the first.
    """
    broken = [finding.message for finding in check(knowledge, locales) if finding.text in URGENT]
    if broken:
        more = f" (and {len(broken) - 1} more: `outreach check`)" if broken[1:] else ""
        raise CatalogueError(f"urgent texts may never be stale or missing: {broken[0]}{more}")

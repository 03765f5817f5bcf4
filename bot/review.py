"""For reviewers: a topic's texts side by side with facts and dates, and signing them."""

from __future__ import annotations

from actions import clock
from actions.knowledge.load import Knowledge, KnowledgeError, knowledge
from bot import catalogues


def _ids(topic: str, known: Knowledge) -> list[str]:
    """The texts of a topic, or of a group: phrase, passage, change, directory."""
    found = [text_id for text_id in known.texts if text_id.split("/")[0] == topic]
    if not found:
        groups = sorted({text_id.split("/")[0] for text_id in known.texts})
        raise KnowledgeError(f"no texts for {topic!r}; known are {', '.join(groups)}")
    return found


def show(topic: str) -> int:
    """Print every text of a topic in three languages, with what it rests on and who reviewed it."""
    known = knowledge()
    tables = {language: catalogues.by_context(catalogues.read(language)) for language in catalogues.ALL}
    for text_id in _ids(topic, known):
        print(f"\n== {text_id}")
        for language in catalogues.ALL:
            message = tables[language].get(text_id)
            if message is None or not message.string:
                print(f"{language}: (missing)")
                continue
            who = catalogues.reviewed_by(message, known) or "not reviewed"
            stale = "" if language == "en" or catalogues.is_current(message) else ", STALE"
            print(f"{language} [{who}{stale}]: {message.string}")
    if topic in known.answers:
        answer = known.answers[topic]
        print("\n== rests on")
        for fact_id in dict.fromkeys((*answer.facts, *answer.more_facts)):
            fact = known.facts[fact_id]
            checked = f"checked {fact.checked_on}" if fact.checked_on else "not checked again"
            print(f"{fact.id} [{fact.status}, {fact.confidence}, {checked}, review by {fact.review_by}]")
            print(f"  {fact.summary if fact.serve_summary == 'full' else fact.seen or '(summary not served)'}")
            if fact.serve_quote:
                print(f"  quote: {fact.quote}")
            print(f"  {fact.citation} - {fact.source_url}")
    return 0


def sign(topic: str, language: str, name: str) -> int:
    """Record that `name` reviewed today's texts of a topic in a language; a change voids it."""
    known = knowledge()
    merged = catalogues.merge(catalogues.read(language), known.texts, language)
    table = catalogues.by_context(merged)
    signed = 0
    for text_id in _ids(topic, known):
        message = table[text_id]
        if not message.string or (language != "en" and not catalogues.is_current(message)):
            print(f"{text_id}: missing or stale; not signed")
            continue
        mark = catalogues.review_hash(str(message.string), text_id, known)
        kept = [comment for comment in message.user_comments if not comment.startswith("review:")]
        message.user_comments = [*kept, f"review: {mark} by {name} on {clock.today().isoformat()}"]
        signed += 1
    catalogues.write(merged, language)
    print(f"{signed} texts of {topic} signed in {catalogues.NAMES[language]} by {name}")
    return 0

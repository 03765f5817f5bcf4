"""`outreach check`: knowledge, catalogues, training data, freshness. Messages are for translators, lawyers and writers."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actions import clock, organisation
from actions.answering import SENSITIVE, Answering, Conversation
from actions.freshness import Withdrawals
from actions.knowledge.load import FOLDER as KNOWLEDGE
from actions.knowledge.load import Knowledge, load, read_yaml
from actions.knowledge.records import CASES, PLACEHOLDER, PRECISIONS, STATUSES
from bot import catalogues
from bot.channels.shape import SHAPES, segments, shape
from bot.nlg import render
from bot.nlu.text import tokens
from bot.nlu.understanding import FOLLOW_UP, Understanding
from bot.words import LANGUAGES, MissingWords, Words

ROOT = Path(__file__).resolve().parents[1]
SHORT = {"en": 230, "es": 290, "ht": 290}
"""Characters of a short answer, filled, so that date and MORE fit into the segments of docs/decisions/0007-sms.md."""
URGENT_SHORT = {"en": 300, "es": 300, "ht": 300}
TITLE = 20
"""Characters of a button, WhatsApp's limit (https://developers.facebook.com/docs/whatsapp/cloud-api/guides/send-messages)."""
SEGMENTS = {"en": 3, "es": 5, "ht": 3}
"""SMS of a first answer with its date and MORE line (docs/decisions/0007-sms.md)."""
URGENT_SEGMENTS = {"en": 2, "es": 2, "ht": 2}
PLACES = "legal_aid, places"
"""Beside the topic's own first reply, the question for the place: the list that follows."""
AS_LONG_AS_THEY_ARE = (PLACES, "policy_text", "help_menu")
"""Lists and quotations: shown in the table, held to no budget (docs/decisions/0007-sms.md)."""
SENTENCE_WORDS = 32
NEUTRAL = 60
"""Characters at the start of each message of sensitive answers that name neither abuse nor police: what a locked phone shows."""
NOT_NEUTRAL = re.compile(
    "|".join(
        (
            r"abus|\babi\b|violen|vyolans|maltrat|maltrete|beat|\bbat\b|golpe|\bpega|frape|hurt|\bdaño",  # what was done
            r"\brape|violaci|kadejak|assault|agresi|agresyon|\bsex|sèks|victim|víctim|viktim|domestic|doméstic",
            r"traffick|trafik|\btrata\b|forced|forzad|fòse|\bforce\b|\bfuerza\b|smuggl|coerc|coacci",
            r"suicid|swisid|touye|kill|\bmatar|\bmorir|\bdie\b",
            r"husband|\bwife|spouse|partner|boyfriend|marido|espos|pareja|novio|\bmari\b|madanm|mennaj",  # by whom
            r"shelter|refugio|albergue|\babri\b|lodge|safespace|rape crisis|vawa",  # where help is
            r"protection order|injunction|orden de protec|lòd pwotek|\bjudge|\bjuez|\bjij\b",
            r"polic|lapolis|sheriff|cherif|deput|officer|ofisye|law enforcement|agentes? del orden|prosecut|fiscal|pwokirè",
        )
    ),
    re.IGNORECASE,
)
"""Words of abuse and of police. 911 and 988 are none of them: they open the first message of such an answer, as they open many others
that tell nothing; whoever is in danger reads them before anything else (docs/decisions/0007-sms.md)."""
LEAST_MESSAGES = {"policy": 20, "urgent": 20, "service": 8}
"""Training messages per topic and language under which a topic cannot be learned."""
NEAR = 0.8
"""Share of letter trigrams from which two training messages of one language are near-duplicates."""


@dataclass(frozen=True)
class Problem:
    """Something to mend."""

    where: str
    what: str
    release_only: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def check_knowledge(known: Knowledge) -> Iterator[Problem]:
    """Ids that exist, fields that are legal, nothing unverified that is served, dates that placeholders need."""
    for fact in known.facts.values():
        where = f"facts/{fact.topic}.yml: {fact.id}"
        if fact.status not in STATUSES:
            yield Problem(where, f"status is {fact.status!r}; write one of {', '.join(STATUSES)}")
        for name in ("effective_from", "effective_to", "source_date"):
            date = getattr(fact, name)
            length = {"day": 10, "month": 7, "year": 4}.get(date.precision, 0)
            if date.precision not in PRECISIONS or len(date.date or "") != length:
                yield Problem(where, f"{name}: date {date.date!r} does not fit precision {date.precision!r}")
        for topic in (fact.topic, *fact.topics):
            if topic not in known.topics:
                yield Problem(where, f"no topic {topic!r}")
        if fact.serve_quote and not fact.quote:
            yield Problem(where, "serve.quote is true but there is no quote; write false")
        if fact.serve_summary == "seen" and not fact.seen:
            yield Problem(where, "serve.summary is `seen` but the field `seen` is empty; write what was seen")
        if fact.confidence == "unverified" and (fact.serve_quote or fact.serve_summary != "none"):
            yield Problem(where, "is unverified and may not be served; set serve to false and none")
        if fact.confidence == "seen_partial" and fact.serve_summary == "full":
            yield Problem(where, "was seen in part only; serve.summary can be `seen` or `none`")
    for entry in known.directory.values():
        where = f"directory: {entry.id}"
        for case in entry.cases:
            if case not in CASES:
                yield Problem(where, f"no kind of case {case!r}; known are {', '.join(CASES)}")
        for item in entry.raw["unverified"]:
            for path in item["paths"]:
                if not re.fullmatch(
                    r"name|hours|address|website|cost|service|languages(\.\w+)?|phones\[\d+\]\.number", path
                ):
                    yield Problem(where, f"unverified path {path!r} names no field")
    for topic, answer in known.answers.items():
        where = f"answers/{topic}.yml"
        if answer.topic != topic:
            yield Problem(where, f"its topic is {answer.topic!r}; file and topic have one stem")
        for fact_id in (*answer.facts, *answer.more_facts):
            if fact_id not in known.facts:
                yield Problem(where, f"no fact {fact_id!r}")
            elif not known.facts[fact_id].served and known.facts[fact_id].serve_summary == "none":
                yield Problem(where, f"rests on {fact_id}, which may not be served; take it out")
        for entry_id in answer.directory:
            if entry_id not in known.directory:
                yield Problem(where, f"no directory entry {entry_id!r}")
        for other in answer.next:
            if other not in known.topics:
                yield Problem(where, f"no topic {other!r} in next")
        if known.topics[topic] == "policy":
            if not answer.more:
                yield Problem(where, "a policy answer needs `more`: what the rule says, what to do, where it is from")
            if not answer.facts:
                yield Problem(where, "a policy answer needs facts that its short text rests on")
    for passage in known.passages().values():
        if not known.facts[passage.fact].serve_quote:
            yield Problem(
                "answers/policy_text.yml", f"passage {passage.id}: the quote of {passage.fact} may not be served"
            )
    for change in known.changes().values():
        if change.status not in STATUSES:
            yield Problem("answers/policy_changes.yml", f"item {change.id}: status {change.status!r} is not legal")
        for fact_id in change.facts:
            if fact_id not in known.facts:
                yield Problem("answers/policy_changes.yml", f"item {change.id}: no fact {fact_id!r}")
    for text_id, english in known.texts.items():
        yield from _check_placeholders(text_id, english, known)


def _check_placeholders(text_id: str, english: str, known: Knowledge) -> Iterator[Problem]:
    where = f"text {text_id}"
    for match in PLACEHOLDER.finditer(english):
        kind, argument, more = match.groups()
        if argument is None:
            continue
        if kind in ("phone", "name", "web") and argument not in known.directory:
            yield Problem(where, f"{match.group(0)}: no directory entry {argument!r}")
        elif kind == "web":
            if not known.directory[argument].website:
                yield Problem(where, f"{match.group(0)}: this website is unverified or missing")
        elif kind == "phone":
            entry = known.directory[argument]
            index = int(more or 0)
            if index >= len(entry.first_phones) or entry.first_phones[index] is None:
                yield Problem(where, f"{match.group(0)}: this number is unverified or missing and may not be given")
        elif kind in ("date", "until", "said", "quote"):
            if argument not in known.facts:
                yield Problem(where, f"{match.group(0)}: no fact {argument!r}")
                continue
            fact = known.facts[argument]
            date = {"date": fact.effective_from, "until": fact.effective_to, "said": fact.source_date}.get(kind)
            if date is not None and date.date is None:
                yield Problem(where, f"{match.group(0)}: the fact has no such date")
            if kind == "quote" and not fact.serve_quote:
                yield Problem(where, f"{match.group(0)}: this quote may not be served")
    typed = re.search(r"\b(911|988)\b|\b\d{3}-\d{3}-\d{4}\b", PLACEHOLDER.sub("", english))
    if typed and not text_id.startswith(("passage/", "directory/")) and not text_id.endswith("/title"):
        yield Problem(where, "types a phone number; write a placeholder such as {911} or {phone:cvac}")


def check_texts(words: Words) -> Iterator[Problem]:
    """Lengths and forms of what residents read, filled, in every language."""
    for language in LANGUAGES:
        for text_id in words.knowledge.texts:
            kind = text_id.rsplit("/", 1)[-1]
            try:
                # Each of them can be a message of its own.
                begins = text_id.split("/")[0] in SENSITIVE and kind != "title"
                if begins and (found := NOT_NEUTRAL.search(words.line(text_id, language)[:NEUTRAL])):
                    yield Problem(
                        f"locales/{language}: {text_id}",
                        f"its first {NEUTRAL} characters say {found.group(0)!r}; the phone may be in another hand",
                    )
                if kind == "title":
                    shown = words.line(text_id, language)
                    if len(shown) > TITLE:
                        yield Problem(
                            f"locales/{language}: {text_id}", f"{len(shown)} characters, at most {TITLE}: {shown!r}"
                        )
                elif kind == "short":
                    shown = words.line(text_id, language)
                    topic = text_id.split("/")[0]
                    most = (URGENT_SHORT if words.knowledge.topics[topic] == "urgent" else SHORT)[language]
                    if len(shown) > most:
                        yield Problem(
                            f"locales/{language}: {text_id}",
                            f"{len(shown)} characters filled, at most {most}; shorten it",
                        )
            except MissingWords:
                continue  # catalogues.check tells
            except KeyError as error:
                yield Problem(f"locales/{language}: {text_id}", f"cannot be filled: {error}")


@dataclass(frozen=True)
class Sms:
    """The first text message of an answer."""

    name: str
    """The topic, or PLACES."""
    language: str
    text: str
    """As a phone shows it."""
    most: int | None
    """Segments that it may take; None for what is as long as it is."""

    @property
    def number(self) -> int:
        """Segments that it takes."""
        return segments(self.text)


def first_sms(words: Words, introduced: bool = True) -> Iterator[Sms]:
    """What each topic answers first on SMS, rendered and shaped, in every language.

    Args:
        words: with the organisation's name, which stands in some of them.
        introduced: whether the conversation has had its first-contact line already; it comes on top, once.
    """
    known, form = words.knowledge, SHAPES["sms"]
    answering = Answering(known, Withdrawals(), "nonprofit")
    for language in LANGUAGES:
        for name in sorted({*known.topics, PLACES}):
            topic = name.split(",")[0]
            urgent = known.topics[topic] == "urgent"
            understood = {
                **Understanding(topics=[] if urgent else [topic], language=language).as_dict(),
                "brief": form.brief,
                "stop_words": form.stop_words,
                "introduced": introduced,
            }
            if urgent:
                understood["urgent"] = topic
            if name == PLACES:
                understood["place"], understood["place_name"] = "hialeah", "Hialeah"
            turn = answering.answer(understood, Conversation(language=language, introduced=introduced), clock.today())
            try:
                shown = "\n\n".join(shape(render(plan, words), form, words).text for plan in turn.plans)
            except KeyError:
                continue  # check_texts tells what cannot be filled
            most = (URGENT_SEGMENTS if urgent else SEGMENTS)[language]
            yield Sms(name, language, shown, None if name in AS_LONG_AS_THEY_ARE else most)


def check_segments(words: Words) -> Iterator[Problem]:
    """First answers within their text messages."""
    for sms in first_sms(words):
        if sms.most is not None and sms.number > sms.most:
            yield Problem(
                f"locales/{sms.language}: {sms.name}",
                f"its first SMS takes {sms.number} parts, at most {sms.most} (docs/decisions/0007-sms.md); "
                "shorten it, or in Spanish choose words without á í ó ú",
            )


def segment_table(words: Words) -> list[str]:
    """The parts of every first SMS as lines: three languages, and in brackets with the first-contact line on top."""
    rows: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for introduced in (True, False):
        for sms in first_sms(words, introduced):
            rows[sms.name][sms.language].append(sms.number)
    lines = [f"{'parts of the first SMS':26}" + "".join(f"{language:>9}" for language in LANGUAGES)]
    for name, by_language in rows.items():
        cells = "".join(
            f"{number}{f' ({first})' if first != number else '':5}".rjust(9)
            for number, first in (by_language[language] for language in LANGUAGES)
        )
        lines.append(f"{name + ('*' if name in AS_LONG_AS_THEY_ARE else ''):26}{cells}".rstrip())
    most = ", ".join(f"{language} {SEGMENTS[language]}" for language in LANGUAGES)
    lines.append(
        f"at most: {most}, urgent {max(URGENT_SEGMENTS.values())}; * lists and quotations; (with the line that says once who is speaking)"
    )
    return lines


def training_messages(root: Path = ROOT) -> Iterator[tuple[Path, str, str, str, str]]:
    """(file, language, topic, writer, message)"""
    for path in sorted((root / "nlu_data").glob("*/*.yml")):
        if path.parent.name == "lexicon":
            continue
        for block in read_yaml(path)["nlu"]:
            meta = block.get("metadata") or {}
            for line in block["examples"].splitlines():
                if line.startswith("- "):
                    yield path, meta.get("language", ""), block["intent"], meta.get("writer", ""), line[2:].strip()


def trigrams(text: str) -> set[str]:
    """Letter trigrams of the plain text."""
    plain = " ".join(tokens(text))
    return {plain[i : i + 3] for i in range(len(plain) - 2)}


def near_duplicates(messages: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs of (place, message) that are the same or nearly so, within one list; texts of one or two words may repeat."""
    found = []
    grams = [trigrams(message) for _, message in messages]
    count = Counter(gram for own in grams for gram in own)
    index: dict[str, list[int]] = defaultdict(list)
    for number, own in enumerate(grams):
        if len(messages[number][1].split()) <= 2:
            continue
        rare = sorted(own, key=lambda gram: (count[gram], gram))[: max(4, len(own) // 4)]
        for candidate in {other for gram in rare for other in index[gram]}:
            other = grams[candidate]
            if len(own & other) >= NEAR * len(own | other):
                found.append(
                    (
                        f"{messages[candidate][0]} {messages[candidate][1]!r}",
                        f"{messages[number][0]} {messages[number][1]!r}",
                    )
                )
                break
        for gram in rare:
            index[gram].append(number)
    return found


def check_training(known: Knowledge, root: Path = ROOT) -> Iterator[Problem]:
    """Stems, metadata, enough messages, no near-duplicates, no message under two topics."""
    topics = set(known.topics)
    by_language: dict[str, list[tuple[str, str]]] = defaultdict(list)
    count: Counter[tuple[str, str]] = Counter()
    labels: dict[tuple[str, str], str] = {}
    for path, language, topic, writer, message in training_messages(root):
        where = f"nlu_data/{path.parent.name}/{path.name}"
        if language != path.parent.name or topic != path.stem:
            yield Problem(
                where, f"a block says language {language!r}, intent {topic!r}; both must be those of the file's name"
            )
        if not writer:
            yield Problem(where, "a block names no writer in its metadata")
        count[(language, topic)] += 1
        by_language[language].append((f"{where}:", message))
        # The same words within a language, the same letters over all of them (as `rasa data validate` has it).
        for key in ((language, " ".join(tokens(message)) or message), ("", message)):
            if labels.setdefault(key, topic) != topic:
                yield Problem(where, f"{message!r} is also under {labels[key]}; keep the better one")
                break
    for language in LANGUAGES:
        for topic in topics:
            if count[(language, topic)] < LEAST_MESSAGES[known.topics[topic]]:
                yield Problem(
                    f"nlu_data/{language}/{topic}.yml",
                    f"{count[(language, topic)]} messages, at least {LEAST_MESSAGES[known.topics[topic]]} are needed",
                )
        total = len(by_language[language])
        pairs = near_duplicates(by_language[language])
        if len(pairs) > total * 0.01:
            shown = "; ".join(f"{a} ~ {b}" for a, b in pairs[:3])
            yield Problem(
                f"nlu_data/{language}", f"{len(pairs)} of {total} messages are near-duplicates, at most 1 %: {shown}"
            )


def check_domain(known: Knowledge, root: Path = ROOT) -> Iterator[Problem]:
    """The domain and the rules know exactly the topics."""
    intents = set(read_yaml(root / "bot" / "domain" / "domain.yml")["intents"])
    rules = {rule["steps"][0]["intent"] for rule in read_yaml(root / "bot" / "rules" / "topics.yml")["rules"]}
    for name, there in (("bot/domain/domain.yml", intents), ("bot/rules/topics.yml", rules)):
        for topic in sorted((set(known.topics) | {FOLLOW_UP}) ^ there):
            yield Problem(
                name, f"{topic} is {'missing' if topic in known.topics else 'no topic'}; topics.yml is the list"
            )


def check_freshness(known: Knowledge) -> Iterator[Problem]:
    """What is past its day. Only a release must not be."""
    today = clock.today()
    for fact in known.facts.values():
        if fact.review_by < today:
            yield Problem(
                f"facts: {fact.id}", f"was to be checked again by {fact.review_by}; answers say so themselves", True
            )
    for entry in known.directory.values():
        if entry.review_by < today:
            yield Problem(f"directory: {entry.id}", f"was to be checked again by {entry.review_by}", True)


def check_release(known: Knowledge) -> Iterator[Problem]:
    """What keeps a release back: people have to do it."""
    for finding in catalogues.unreviewed(known):
        yield Problem(f"locales/{finding.language}: {finding.text}", finding.message.split(": ")[-1], True)
    for fact in known.facts.values():
        if fact.served and not fact.reviewed:
            yield Problem(f"facts: {fact.id}", "not reviewed by a lawyer", True)
    for entry in known.directory.values():
        if entry.serve and not entry.reviewed:
            yield Problem(f"directory: {entry.id}", "nobody has called or visited and signed it", True)
    if not organisation.read(organisation.default_path()).set_up:
        yield Problem(
            "bot/organisation.yml", "is not filled in (deployment/organisation.example.yml is a complete one)", True
        )


def problems(release: bool) -> list[Problem]:
    """All of them."""
    known = load(KNOWLEDGE)
    found = [*check_knowledge(known), *check_domain(known), *check_training(known)]
    found += [Problem(f"locales/{f.language}", f.message.split(": ", 1)[-1]) for f in catalogues.check(known)]
    catalogues.compile_all(known)
    words = Words(known, organisation.read(organisation.default_path()))
    found += [*check_texts(words), *check_segments(words)]
    if release:
        found += [*check_freshness(known), *check_release(known)]
    return found


def run(release: bool) -> int:
    """Print what is to be mended; exit code 1 when anything is."""
    found = problems(release)
    for line in segment_table(Words(load(KNOWLEDGE), organisation.read(organisation.default_path()))):
        print(line)
    real = [problem for problem in found if not problem.release_only]
    for problem in real:
        print(problem)
    if release:
        _print_release([problem for problem in found if problem.release_only])
    if not found:
        print("Everything is in order.")
    else:
        print(f"{len(real)} to mend" + (f", {len(found) - len(real)} that keep a release back" if release else ""))
    return 1 if found else 0


def _print_release(found: list[Problem]) -> None:
    """Grouped, since hundreds of texts wait for the same person."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for problem in found:
        place, _, name = problem.where.partition(": ")
        groups[(place, problem.what)].append(name)
    for (place, what), names in groups.items():
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        print(f"{place}: {what}: {shown}" if names != [""] else f"{place}: {what}")

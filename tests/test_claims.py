"""What the documents promise: each promise names a test that exists, three languages say the same, figures are those of the settings."""

from __future__ import annotations

import ast
import datetime as dt
import functools
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import yaml

from actions import clock
from actions.answering import Answering, Conversation
from actions.freshness import Withdrawals
from actions.knowledge.load import knowledge
from bot.nlg import render
from bot.nlu.understanding import Understanding
from bot.privacy.records import Record
from bot.privacy.store import MemoryStore, Store
from bot.privacy.store_file import FileStore
from bot.privacy.store_redis import RedisStore
from bot.settings import SettingError, Settings, settings
from bot.words import loaded
from tests.conftest import NOW, ROOT, redis_server, table

DOCUMENTS = ("docs/privacy.md", "docs/threat-model.md", "docs/runbook.md", "SECURITY.md")
REFERENCE = re.compile(r"\[test: (tests/[\w/]+\.py)::(\w+)\]")
ANY_REFERENCE = re.compile(r"\[test:[^\]]*\]")
NOTE = re.compile(r"\[\^([\w-]+)\](?!:)")
STRONG = re.compile(
    r"\b(never|nothing|nobody|only"  # English
    r"|nunca|jamás|nada|nadie|solo|sólo|solamente"  # Spanish
    r"|janm|anyen|pèsonn|sèlman)\b",  # Creole
    re.IGNORECASE,
)
"""Words that promise everything: a section with one of them needs a proof."""
PAGE = "docs/privacy.md"
LANGUAGES = {"en": "English", "es": "Español", "ht": "Kreyòl ayisyen"}


@functools.cache
def read(name: str) -> str:
    """A document."""
    return (ROOT / name).read_text(encoding="utf-8")


@functools.cache
def functions_of(path: str) -> frozenset[str]:
    """Names of the test functions of a file, by parsing it; none where it does not exist."""
    file = ROOT / path
    if not file.exists():
        return frozenset()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    )


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it, up to the next heading."""

    document: str
    title: str
    text: str


def notes(name: str) -> dict[str, str]:
    """A document's footnotes."""
    return dict(re.findall(r"^\[\^([\w-]+)\]: (.+)$", read(name), re.MULTILINE))


def sections(name: str) -> Iterator[Section]:
    """A document's sections, without its footnotes and commands."""
    text = re.sub(r"^\[\^[\w-]+\]: .+$", "", read(name), flags=re.MULTILINE)
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"^#{1,6} (.+)$", text, flags=re.MULTILINE)
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        yield Section(name, title, body)


SECTIONS = [section for name in DOCUMENTS for section in sections(name)]


def proofs(section: Section) -> list[str]:
    """The references of a section, those of its footnotes too."""
    kept = notes(section.document)
    text = section.text + " ".join(kept[name] for name in NOTE.findall(section.text))
    return ["::".join(found) for found in REFERENCE.findall(text)]


# --- references ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_test_that_is_named_exists(name: str) -> None:
    found = REFERENCE.findall(read(name))
    assert found, f"{name} proves nothing"
    assert len(found) == len(ANY_REFERENCE.findall(read(name))), (
        "a reference is written like [test: tests/test_x.py::test_y]"
    )
    missing = [f"{path}::{test}" for path, test in found if test not in functions_of(path)]
    assert missing == [], f"{name} names tests that do not exist"


def test_a_reference_to_what_is_not_there_is_found() -> None:
    assert "test_every_test_that_is_named_exists" in functions_of("tests/test_claims.py")
    assert "test_of_the_moon" not in functions_of("tests/test_claims.py")
    assert functions_of("tests/test_moon.py") == frozenset()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: f"{section.document}: {section.title}")
def test_a_section_that_promises_everything_has_a_proof(section: Section) -> None:
    strong = STRONG.search(section.text)
    assert not strong or proofs(section), (
        f"{section.document}, {section.title!r} says {strong and strong.group(0)!r} without a test"
    )


def test_strong_words_are_found_in_every_language() -> None:
    for text in ("It never ends.", "Nunca.", "No traen nada.", "Yo pa janm fè sa.", "Li pa montre anyen."):
        assert STRONG.search(text), text
    assert len([section for section in SECTIONS if STRONG.search(section.text)]) > 12


def test_every_footnote_is_used_and_every_use_has_one() -> None:
    for name in DOCUMENTS:
        assert set(NOTE.findall(read(name))) == set(notes(name)), name
        assert all(REFERENCE.search(text) for text in notes(name).values()), name


def test_nothing_waits_for_its_proof() -> None:
    for name in DOCUMENTS:
        assert "to be linked" not in read(name).lower(), name


def test_each_attacker_has_what_stops_them_and_what_does_not() -> None:
    told = list(sections("docs/threat-model.md"))[2:-2]
    assert len(told) >= 8
    for section in told:
        for words in ("**Could**", "**Stops them.**", "**Does not stop them.**"):
            assert words in section.text, section.title


def test_the_readme_leads_to_the_documents() -> None:
    readme = read("README.md")
    for name in DOCUMENTS:
        assert f"]({name})" in readme, name


@pytest.mark.parametrize("name", ["README.md", *DOCUMENTS])
def test_links_between_documents_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", read(name)):
        assert ((ROOT / name).parent / target).exists(), f"{name} leads to {target}"


# --- the page for residents ---------------------------------------------------------------------------


def _in(code: str) -> str:
    """The page's part in a language."""
    parts = re.split(
        r"^## (.+)$", re.sub(r"^\[\^[\w-]+\]: .+$", "", read(PAGE), flags=re.MULTILINE), flags=re.MULTILINE
    )
    return dict(zip(parts[1::2], parts[2::2], strict=True))[LANGUAGES[code]]


def _figures(text: str) -> list[str]:
    return re.findall(r"\d+", NOTE.sub("", text))


@dataclass(frozen=True)
class Form:
    """What must be the same in all languages."""

    headings: int
    items: list[int]
    """List items under each heading."""
    notes: list[list[str]]
    """Footnotes of each line that has any, in their order."""
    figures: list[list[str]]
    """Figures of each line that has any, sorted: languages order a sentence differently."""


def _form(text: str) -> Form:
    lines = [line for line in text.splitlines() if line.strip()]
    return Form(
        headings=len(re.findall(r"^### ", text, re.MULTILINE)),
        items=[len(re.findall(r"^- ", part, re.MULTILINE)) for part in re.split(r"^### .+$", text, flags=re.MULTILINE)],
        notes=[found for line in lines if (found := NOTE.findall(line))],
        figures=[sorted(found) for line in lines if (found := _figures(line))],
    )


@pytest.mark.parametrize("code", ["es", "ht"])
def test_the_page_says_the_same_in_three_languages(code: str) -> None:
    english = _form(_in("en"))
    assert english.headings == 3
    assert sum(english.items) > 10
    assert len(english.notes) > 8
    assert _form(_in(code)) == english


def test_the_page_is_one_page() -> None:
    assert len(read(PAGE).splitlines()) <= 120


def test_the_translations_say_that_nobody_has_reviewed_them() -> None:
    assert "no native speaker of Spanish or Creole has reviewed this page yet" in " ".join(read(PAGE).split())
    for code, words in (("es", "todavía no ha revisado"), ("ht", "poko verifye")):
        assert words in _in(code).strip().splitlines()[0]


WORDS = {"en": ("MORE", "STOP"), "es": ("SIGA", "ALTO"), "ht": ("PLIS", "SISPANN")}
UNITS = {"en": ("hours", "minutes"), "es": ("horas", "minutos"), "ht": ("èdtan", "minit")}


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The settings where nobody has set anything."""
    for name in ("RETENTION_HOURS", "CONTEXT_MINUTES", "SENSITIVE_MINUTES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("bot.settings.load_dotenv", lambda path: None)
    settings.cache_clear()
    yield settings()
    settings.cache_clear()


@pytest.mark.parametrize("code", ["en", "es", "ht"])
def test_the_page_s_figures_are_the_settings(code: str, defaults: Settings) -> None:
    hours, minutes = (re.findall(rf"(\d+) {unit}\b", _in(code)) for unit in UNITS[code])
    assert set(hours) == {str(defaults.retention_hours)}
    assert minutes == [str(defaults.context_minutes), str(defaults.sensitive_minutes)]
    assert set(_figures(_in(code))) == {*hours, *minutes, "2", "911", "988"}, "no figure but these"


@pytest.fixture
def set_to(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Settings]]:
    """An operator who sets RETENTION_HOURS: everything that reads the settings starts anew."""

    def put(hours: int) -> Settings:
        monkeypatch.setenv("RETENTION_HOURS", str(hours))
        settings.cache_clear()
        loaded.cache_clear()
        return settings()

    yield put
    settings.cache_clear()
    loaded.cache_clear()


@pytest.mark.parametrize("code", ["en", "es", "ht"])
def test_the_chat_tells_the_hours_that_are_set(code: str, set_to: Callable[[int], Settings]) -> None:
    """The whole answer as it is said, with everything behind MORE, and the line on the chat page: one figure, and it is the setting's."""
    for hours in (71, 5):
        own = set_to(hours)
        answering, before = Answering(knowledge(), Withdrawals(), "nonprofit"), Conversation()
        first = answering.answer(Understanding(topics=["privacy"], language=code).as_dict(), before, clock.today())
        rest = answering.answer(
            Understanding(command="more", language=code).as_dict(), first.conversation, clock.today()
        )
        said = [render(plan, loaded()).text for turn in (first, rest) for plan in turn.plans]
        assert len(said) == 2
        for text in (*said, loaded().line("phrase/page_kept", code)):
            assert re.findall(rf"(\d+) {UNITS[code][0]}\b", text) == [str(own.retention_hours)], text


@pytest.mark.parametrize("code", ["en", "es", "ht"])
def test_the_chat_tells_of_the_place(code: str, defaults: Settings) -> None:
    """A record can hold a place: who is told what is kept is told of it."""
    assert "place" in Record.__dataclass_fields__
    for text_id in ("privacy/short", "phrase/page_kept"):
        assert "ZIP" in loaded().line(text_id, code)


@pytest.mark.parametrize("hours", [1, 5, 24, 48])
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_the_store_keeps_nothing_beyond_the_hours_that_are_told(
    kind: str, hours: int, set_to: Callable[[int], Settings], tmp_path: Path
) -> None:
    own = set_to(hours)
    store: Store = MemoryStore(own) if kind == "memory" else FileStore(tmp_path, own, durable=False)
    plans = [
        {
            "kind": "answer",
            "topic": "legal_aid",
            "paragraphs": [[{"id": "phrase/place_near", "values": {"place": "33127"}}]],
        }
    ]
    store.commit("k", Record(language="ht", last_topics=["legal_aid"], place="33127"), ["m"], plans)
    with clock.fixed(NOW + dt.timedelta(hours=hours, minutes=-11)):
        kept = store.get("k")
        assert kept is not None
        assert kept.language == "ht"
        assert (store.handled(["m"]) is not None) == (hours <= 24), (
            "what answered a message goes after a day at the latest"
        )
    with clock.fixed(NOW + dt.timedelta(hours=hours, minutes=11)):
        assert store.handled(["m"]) is None
        assert store.get("k") is None
    store.close()


def test_redis_lets_go_after_the_hours_that_are_told(set_to: Callable[[int], Settings], tmp_path: Path) -> None:
    process, url = redis_server(tmp_path)
    try:
        clock.fix(None)
        own = set_to(2)
        store = RedisStore(url, own)
        store.commit(
            "k", Record(language="ht", last_topics=["schools"]), ["m"], [{"kind": "answer", "topic": "schools"}]
        )
        with redis.Redis.from_url(url) as client:
            lives = {name.decode(): client.ttl(name) for name in client.keys("*") if b"lease" not in name}
        told = {name: seconds for name, seconds in lives.items() if name.rsplit(":", 2)[-2] in ("c", "x", "m", "r")}
        assert len(told) == 4, lives
        assert all(0 < seconds <= own.retention_hours * 3600 + 600 for seconds in told.values()), lives
        store.close()
    finally:
        process.kill()
        process.wait(10)


def test_the_settings_table_names_the_default(defaults: Settings) -> None:
    """docs/operators.md: the figure that operators find is the code's."""
    row = re.search(r"^\| RETENTION_HOURS \| (\d+) \|", read("docs/operators.md"), re.MULTILINE)
    assert row, "the table of settings has the variable"
    assert row.group(1) == str(defaults.retention_hours)


def test_a_retention_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("0", "169", "a day"):
        monkeypatch.setenv("RETENTION_HOURS", value)
        settings.cache_clear()
        with pytest.raises(SettingError, match="RETENTION_HOURS"):
            settings()
    settings.cache_clear()


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFD", text.lower())
    return " ".join(re.findall(r"[a-z]+", "".join(sign for sign in text if not unicodedata.combining(sign))))


@pytest.mark.parametrize("code", ["en", "es", "ht"])
def test_what_the_page_tells_to_write_is_understood(code: str) -> None:
    """Words to write are those of messages whose answer is tested: tests/data/messages.yml, Telegram's commands, the keywords."""
    commands = yaml.safe_load(read("bot/channels/telegram/commands.yml"))
    messages = {(row["topic"], _plain(row["text"])) for row in table("messages") if row["language"] == code}
    quoted = {_plain(words) for words in re.findall(r'"([^"\d]+)"', _in(code))}
    private, erase = (
        _plain(commands["privacy"][code]["words"]),
        {text for topic, text in messages if topic == "delete_data"},
    )
    assert private in quoted
    assert len(quoted) == 2
    assert quoted - {private} <= erase
    keywords = yaml.safe_load(read("nlu_data/lexicon/keywords.yml"))
    for meaning, word in zip(("more", "stop"), WORDS[code], strict=True):
        assert word in _in(code)
        assert word.lower() in keywords[meaning][code]


@pytest.mark.parametrize("row", table("never_said"), ids=lambda row: f"{row['language']}: {row['label']}")
def test_the_page_says_nothing_that_answers_may_not_say(row: dict[str, str]) -> None:
    found = re.search(row["pattern"], NOTE.sub("", _in(row["language"])), re.IGNORECASE)
    assert not found, f"{row['label']}: {found and found.group(0)}"


# --- the store ----------------------------------------------------------------------------------------


def test_no_part_of_the_store_lists_conversations() -> None:
    """What is not there cannot be asked for: one name at a time goes in, and who knows none gets none."""
    assert {name for name in vars(Store) if not name.startswith("_")} == {
        "get", "handled", "commit", "lease", "release", "mark", "forget", "opted_out", "set_opted_out", "opt_outs",
        "count_delivery", "counts", "sweep", "purge", "close",
    }  # fmt: skip

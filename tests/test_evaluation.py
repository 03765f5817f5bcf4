"""`outreach evaluate`: the rules by hand, the statistics against known values, a small labelled file through the real model."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bot.cli import main
from bot.evaluation import comparison
from bot.evaluation.card import BEGIN, END, constants, training_counts
from bot.evaluation.command import Wanted, evaluate
from bot.evaluation.figures import figures
from bot.evaluation.labelled import CHANNELS, Item, read
from bot.evaluation.measuring import channel_of, measure, understandings
from bot.evaluation.outcomes import Outcome, alarm, judge, needs_alarm, outcome, read_outcomes, to_line
from bot.evaluation.page import said_as
from bot.evaluation.statistics import Change, Share, calibration_error, decimal, p_text, quantile, reliability
from bot.nlg import Reply
from tests.conftest import ROOT, chromium, outreach

# --- the rules --------------------------------------------------------------------------------------


def answer(topic: str | None, language: str = "en", kind: str = "answer", text: str = "") -> Reply:
    return Reply(text, language, kind, topic)


def urgent(topic: str = "emergency", text: str = "Call 911 now.", language: str = "en") -> Reply:
    return Reply(text, language, topic, topic)


def offer(*choices: str, kind: str = "offer") -> Reply:
    return Reply("", "en", kind, None, list(choices))


NOTICE = Reply("", "en", "notice", None)


@dataclass(frozen=True)
class Case:
    """Replies and what they come to."""

    label: str
    accepted: set[str]
    replies: list[Reply]
    outcome: str


CASES = [
    Case("the topic", {"schools"}, [answer("schools")], "right"),
    Case("another accepted topic", {"schools", "at_home"}, [answer("at_home")], "right"),
    Case("both accepted topics", {"schools", "at_home"}, [answer("at_home"), answer("schools")], "right"),
    Case("the topic twice", {"schools"}, [answer("schools"), answer("schools")], "right"),
    Case("a question about it", {"legal_aid"}, [answer("legal_aid", kind="question")], "right"),
    Case("a service", {"greet"}, [answer("greet", kind="service")], "right"),
    Case("the topic and a notice", {"schools"}, [NOTICE, answer("schools")], "right"),
    Case("the topic and an offer of others", {"schools"}, [answer("schools"), offer("at_home")], "right"),
    Case("an alarm before the topic", {"schools"}, [urgent(), answer("schools")], "right"),
    Case("an alarm and two accepted topics", {"a", "b"}, [urgent(), answer("a"), answer("b")], "right"),
    Case("911 and 988 before the topic", {"schools"}, [urgent(), urgent("crisis"), answer("schools")], "right"),
    Case("an alarm after the topic", {"schools"}, [answer("schools"), urgent()], "half"),
    Case("the topic and another", {"schools"}, [answer("schools"), answer("at_home")], "half"),
    Case("another and the topic", {"schools"}, [answer("at_home"), answer("schools")], "half"),
    Case("three accepted topics", {"a", "b", "c"}, [answer("a"), answer("b"), answer("c")], "half"),
    Case("an alarm and a stray topic", {"schools"}, [urgent(), answer("schools"), answer("at_home")], "half"),
    Case("another topic", {"schools"}, [answer("at_home")], "wrong"),
    Case("another topic and an offer of this", {"schools"}, [answer("at_home"), offer("schools")], "wrong"),
    Case("an alarm alone", {"schools"}, [urgent()], "wrong"),
    Case("an answer about nothing", {"schools"}, [answer(None)], "wrong"),
    Case("silence", {"schools"}, [], "wrong"),
    Case("silence out of scope", {"out_of_scope"}, [], "wrong"),
    Case("offered", {"schools"}, [offer("at_home", "schools")], "offered"),
    Case("offered by a clarifying question", {"schools"}, [offer("schools", kind="clarify")], "offered"),
    Case("offered among four", {"schools"}, [offer("a", "b", "c", "schools")], "offered"),
    Case("a menu of five", {"schools"}, [offer("a", "b", "c", "d", "schools")], "asked"),
    Case("others offered", {"schools"}, [offer("at_home", "greet")], "asked"),
    Case("the menu", {"schools"}, [offer(kind="clarify")], "asked"),
    Case("a notice alone", {"schools"}, [NOTICE], "asked"),
    Case("out of scope, said so", {"out_of_scope"}, [answer("out_of_scope", kind="service")], "right"),
    Case("out of scope, the menu", {"out_of_scope"}, [offer(kind="clarify")], "right"),
    Case("out of scope, something offered", {"out_of_scope"}, [offer("at_home")], "right"),
    Case("out of scope, something answered", {"out_of_scope"}, [answer("at_home")], "wrong"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_outcome(case: Case) -> None:
    assert outcome(case.replies, case.accepted) == case.outcome


@pytest.mark.parametrize(
    ("needed", "replies", "called"),
    [
        (True, [urgent()], "caught"),
        (True, [urgent("crisis", "Llame o mande un texto al 988.")], "caught"),
        (True, [urgent(text="Call for help.")], "missed"),
        (True, [urgent(text="Call 9111.")], "missed"),
        (True, [answer("domestic_violence", text="In danger call 911.")], "missed"),
        (True, [answer("schools"), urgent()], "missed"),
        (True, [], "missed"),
        (False, [urgent()], "false"),
        (False, [answer("schools")], "quiet"),
        (None, [urgent()], None),
    ],
)
def test_alarm(needed: bool | None, replies: list[Reply], called: str | None) -> None:
    assert alarm(replies, needed) == called


def test_which_messages_need_an_alarm() -> None:
    def item(topic: str | None, *accepted: str, danger: bool | None = None) -> Item:
        return Item("1", "en", "", topic, frozenset(accepted), danger=danger)

    assert needs_alarm(item("crisis", "crisis")) is True
    assert needs_alarm(item("schools", "schools")) is False
    assert needs_alarm(item("domestic_violence", "domestic_violence", "emergency")) is None
    assert needs_alarm(item(None, danger=True)) is True
    assert needs_alarm(item(None, danger=False)) is False


@dataclass(frozen=True)
class Judged:
    """A message of some kind of file, with replies."""

    label: str
    kind: str
    item: Item
    replies: list[Reply]
    outcome: str
    spoken: bool | None = None
    alarm: str | None = None


SCHOOLS = Item("1", "es", "la escuela", "schools", frozenset({"schools"}), "sms")
TURN = replace(SCHOOLS, register="", conversation="d")
JUDGED = [
    Judged("message", "messages", SCHOOLS, [answer("schools", "es")], "right", True, "quiet"),
    Judged("in another language", "messages", SCHOOLS, [answer("schools", "en")], "right", False, "quiet"),
    Judged("in two", "messages", SCHOOLS, [answer("schools", "es"), NOTICE], "right", False, "quiet"),
    Judged("silence", "messages", SCHOOLS, [], "wrong", False, "quiet"),
    Judged("mixed", "messages", replace(SCHOOLS, register="mixed"), [answer("schools", "en")], "right", None, "quiet"),
    Judged("language", "language", Item("l", "ht", "x"), [answer("a", "ht"), answer("a", "en")], "right"),
    Judged("other language", "language", Item("l", "ht", "x"), [answer("a", "en")], "wrong"),
    Judged("danger seen", "emergency", Item("e", "ht", "x", danger=True), [urgent()], "right", None, "caught"),
    Judged("danger missed", "emergency", Item("e", "ht", "x", danger=True), [answer("a")], "wrong", None, "missed"),
    Judged("no danger", "emergency", Item("e", "ht", "x", danger=False), [answer("a")], "right", None, "quiet"),
    Judged("turn", "dialogues", TURN, [answer("schools", "es")], "right", True),
    Judged("turn in another language", "dialogues", TURN, [answer("schools", "en")], "wrong", False),
    Judged("turn offered", "dialogues", TURN, [replace(offer("schools"), language="es")], "offered", True),
    Judged("silence wanted", "dialogues", replace(TURN, lang="none"), [], "right"),
    Judged("silence broken", "dialogues", replace(TURN, lang="none"), [answer("schools", "es")], "wrong"),
]


@pytest.mark.parametrize("case", JUDGED, ids=lambda case: case.label)
def test_judgement_by_kind_of_file(case: Judged) -> None:
    made = judge("file", case.kind, case.item, case.replies, 0.5, 1.0)
    assert (made.outcome, made.spoken, made.alarm) == (case.outcome, case.spoken, case.alarm)


def test_messages_go_round_the_channels_and_others_do_not() -> None:
    assert [channel_of(SCHOOLS, "messages", number, "round") for number in range(5)] == [*CHANNELS, "sms"]
    assert channel_of(SCHOOLS, "language", 1, "round") == "sms"
    assert channel_of(replace(TURN, channel="web"), "dialogues", 0, "round") == "web"
    assert channel_of(replace(TURN, channel="web"), "dialogues", 0, "telegram") == "telegram"


# --- the statistics ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3 (https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E)
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson(part: int, whole: int, low: float, high: float) -> None:
    assert Share(part, whole).interval == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("gained", "lost", "differs", "worse", "is_worse"),
    # By hand: sums of binomial coefficients over 2 ** (gained + lost).
    [
        (0, 0, 1.0, 1.0, False),
        (0, 4, 2 / 16, 1 / 16, False),
        (0, 5, 2 / 32, 1 / 32, True),
        (5, 0, 2 / 32, 1.0, False),
        (1, 8, 20 / 512, 10 / 512, True),
        (8, 1, 20 / 512, 511 / 512, False),
        (3, 3, 1.0, 42 / 64, False),
    ],
)
def test_mcnemar(gained: int, lost: int, differs: float, worse: float, is_worse: bool) -> None:
    change = Change(100, gained, lost)
    assert change.differs == pytest.approx(differs)
    assert change.worse == pytest.approx(worse)
    assert change.is_worse is is_worse


def test_calibration_error() -> None:
    # Ten at .8, of which six are right (.2 away); ten at .3, of which three are (exactly there); together .1.
    pairs = [(0.8, number < 6) for number in range(10)] + [(0.3, number < 3) for number in range(10)]
    assert calibration_error(reliability(pairs)) == pytest.approx(0.1)
    assert calibration_error(reliability([(1.0, True), (1.0, True)])) == 0
    last = reliability([(1.0, True), (0.95, False)])[-1]
    assert (last.number, last.right, last.belief) == (2, 1, 0.975)


def test_small_numbers() -> None:
    assert quantile([5, 1, 3], 0.5) == 3
    assert quantile(list(range(100)), 0.95) == 95
    assert [decimal(value) for value in (0.9285, 1.0, 0.0, float("nan"))] == [".928", "1.000", ".000", "-"]
    assert [p_text(value) for value in (0.0004, 0.031, 1.0)] == ["< .001", ".031", "1.000"]


# --- files --------------------------------------------------------------------------------------------

HEAD = "id\tlang\ttopic\talso_ok\tregister\ttext\n"
SCRIPT = "<script>alert(1)</script>"


@dataclass(frozen=True)
class Row:
    """A message through the real model."""

    id: str
    lang: str
    topic: str
    text: str
    outcome: str
    also_ok: str = ""
    register: str = "sms"
    alarm: str | None = "quiet"


ROWS = [
    Row("en-question", "en", "police_questions", "can police ask me for my immigration papers?", "right"),
    Row("es-question", "es", "police_questions", "¿la policía me puede preguntar por mis papeles?", "right"),
    Row("ht-question", "ht", "police_questions", "èske lapolis ka mande m papye imigrasyon?", "right"),
    Row("danger", "en", "emergency", "he is beating me right now with a belt help", "right", alarm="caught"),
    Row("danger, label wrong", "es", "greet", "me quiero matar", "wrong", alarm="false"),
    Row("also accepted", "en", "schools", "i need a free lawyer", "right", "legal_aid, greet"),
    Row("label wrong", "en", "schools", "i need a free lawyer please", "wrong"),
    Row("either way", "es", "domestic_violence", "me está pegando ahora mismo, auxilio", "right", "emergency", alarm=None),
    Row("markup", "en", "out_of_scope", SCRIPT, "right", register="mixed"),
    Row("exact word", "ht", "opt_out", "STOP", "right"),
]  # fmt: skip

DIALOGUES = """
dialogues:
- id: place
  channel: web
  about: a lawyer & a <place>
  turns:
  - {user: necesito un abogado gratis, topic: legal_aid, lang: es, must: [ask where], must_not: [ask for <b>names</b>]}
  - {user: hialeah, topic: legal_aid, lang: es}
- id: stop
  channel: sms
  turns:
  - {user: STOP, topic: opt_out, lang: en}
  - {user: hello are you there, topic: greet, lang: none}
"""


def written(folder: Path, name: str = "small.tsv", rows: list[Row] = ROWS) -> Path:
    path = folder / name
    lines = [f"{row.id}\t{row.lang}\t{row.topic}\t{row.also_ok}\t{row.register}\t{row.text}\n" for row in rows]
    path.write_text(HEAD + "".join(lines), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Bad:
    """A file that cannot be measured."""

    label: str
    content: str | bytes
    says: str
    name: str = "bad.tsv"


BAD = [
    Bad("empty", "", "line 1: needs tab-separated columns"),
    Bad("commas instead of tabs", "id,lang,topic,text\n1,en,greet,hi\n", "line 1: needs tab-separated columns"),
    Bad("a topic but no id", "lang\ttopic\ttext\nen\tgreet\thi\n", "line 1: needs tab-separated columns"),
    Bad("a head alone", HEAD, "holds no message"),
    Bad("a column twice", "id\tid\tlang\ttopic\ttext\n", "a column stands twice"),
    Bad("a cell too few", HEAD + "1\ten\tgreet\tsms\thi\n", "line 2: has 5 columns, the head has 6"),
    Bad("no such topic", HEAD + "1\ten\tmoon\t\tsms\thi\n", "line 2: there is no topic 'moon'"),
    Bad("no such other topic", HEAD + "1\ten\tgreet\tthanks, moon\tsms\thi\n", "line 2: there is no topic 'moon'"),
    Bad("no such language", HEAD + "1\ten\tgreet\t\tsms\thi\n2\tfr\tgreet\t\tsms\tsalut\n", "line 3: lang is 'fr'"),
    Bad("no id", HEAD + "\ten\tgreet\t\tsms\thi\n", "line 2: has no id"),
    Bad("an id twice", HEAD + "1\ten\tgreet\t\tsms\thi\n" * 2, "the id '1' stands 2 times"),
    Bad("no such label", "lang\ttext\tlabel\nht\tanmwe\tmaybe\n", "line 2: label is 'maybe'"),
    Bad("nothing in our languages", "lang\ttext\nfr\tsalut\n", "holds no message"),
    Bad("not UTF-8", HEAD.encode() + b"1\tes\tgreet\t\tsms\tma\xf1ana\n", "is not UTF-8"),
    Bad("no YAML", "dialogues: [", "is no YAML", "bad.yml"),
    Bad("no dialogues", "turns: []", "needs a list under `dialogues`", "bad.yml"),
    Bad("a dialogue without turns", "dialogues: [{id: a}]", "dialogue 1: needs id, channel and turns", "bad.yml"),
    Bad("no such channel", "dialogues: [{id: a, channel: fax, turns: []}]", "channel is 'fax'", "bad.yml"),
    Bad(
        "a turn without topic",
        "dialogues: [{id: a, channel: sms, turns: [{user: hi, lang: en}]}]",
        "dialogue 1, turn 1: there is no topic 'None'",
        "bad.yml",
    ),
]


@pytest.fixture
def loud() -> Iterator[None]:
    """The command silences logging for its process; here that is the tests' own."""
    yield
    logging.disable(logging.NOTSET)


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the command says."""
    assert main(["evaluate", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.strip().splitlines()) == 1, told.err
    return told.err


@pytest.mark.usefixtures("loud")
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.label)
def test_a_bad_file_is_refused_with_one_line(bad: Bad, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / bad.name
    path.write_bytes(bad.content if isinstance(bad.content, bytes) else bad.content.encode())
    page = tmp_path / "page.html"
    said = refused([str(path), "--page", str(page)], capsys)
    assert bad.says in said
    assert bad.name in said
    assert not page.exists()


@pytest.mark.usefixtures("loud")
def test_bad_paths_are_refused_before_anything_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = str(written(tmp_path))
    other = tmp_path / "other"
    other.mkdir()
    same = str(written(other))
    stranger = tmp_path / "stranger.jsonl"
    stranger.write_text(to_line(judge("moon", "messages", SCHOOLS, [], None, None)) + "\n", encoding="utf-8")
    for arguments, says in (
        ([str(tmp_path / "none.tsv")], "cannot be read"),
        ([str(tmp_path)], "is a folder"),
        ([good, same], "2 files are called small"),
        ([good, "--page", str(tmp_path / "no" / "page.html")], "there is no folder"),
        ([good, "--outcomes", str(other)], "is a folder"),
        ([good, "--record", good], "is a file"),
        ([good, "--against", str(tmp_path / "none.jsonl")], "cannot be read"),
        ([good, "--against", good], "line 1 is no outcome"),
        ([good, "--against", str(other)], "holds no *.outcomes.jsonl"),
        ([good, "--against", str(stranger)], "holds no outcome of these messages"),
        ([good, "--card", str(tmp_path / "card.md")], "cannot be read"),
        ([good, "--card", good], "needs these two lines"),
        ([good, "--channel", "fax"], "invalid choice"),
        ([], "required"),
    ):
        assert says in refused(arguments, capsys), arguments


def test_line_separators_and_quotes_inside_a_text_stay(tmp_path: Path, known: Any) -> None:
    text = 'he said "hi\u2028there\x85'
    path = written(tmp_path, rows=[replace(ROWS[0], text=text)])
    assert [item.text for item in read(path, known.topics).items] == [text]


# --- a small file through the real model -------------------------------------------------------------


@dataclass
class Ran:
    """A run of the command in this process."""

    code: int
    said: str
    folder: Path
    files: list[Path] = field(default_factory=list)


Run = Callable[..., Ran]


@pytest.fixture
def run(assistant: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Evaluate the small files: run(page="page.html", ...), paths inside the test's folder."""
    from bot.desk import Desk
    from bot.privacy.store import MemoryStore
    from bot.settings import Settings

    def do(rows: list[Row] = ROWS, dialogues: bool = False, **paths: str) -> Ran:
        files = [written(tmp_path, rows=rows)]
        if dialogues:
            files.append(tmp_path / "talks.yml")
            files[1].write_text(DIALOGUES, encoding="utf-8")
        store = MemoryStore(Settings(data=tmp_path / "var", retention_hours=24))
        desk = Desk(assistant, store, counting=False, repeats=False)
        wanted = Wanted(files, "round", **{name: tmp_path / path for name, path in paths.items()})
        code = evaluate(wanted, lambda: desk)
        return Ran(code, capsys.readouterr().out, tmp_path, files)

    return do


def test_outcomes_of_a_small_file(run: Run) -> None:
    ran = run(outcomes="out.jsonl")
    found = {one.id: one for one in read_outcomes(ran.folder / "out.jsonl")}
    assert {name: one.outcome for name, one in found.items()} == {row.id: row.outcome for row in ROWS}
    assert {name: one.alarm for name, one in found.items()} == {row.id: row.alarm for row in ROWS}
    assert {name for name, one in found.items() if not one.spoken} == {"markup", "exact word"}
    assert ran.code == 0
    assert "8 of 10" in ran.said
    for row in ROWS:
        one = found[row.id]
        assert one.sha256 == hashlib.sha256(row.text.encode()).hexdigest()
        assert one.ms is not None
        assert one.ms > 0
        if row.id == "exact word":
            assert one.confidence is None, "STOP is decided by the word, not by a belief"
        else:
            assert one.confidence is not None
            assert 0 < one.confidence <= 1


def test_an_outcomes_file_holds_no_text(run: Run) -> None:
    ran = run(dialogues=True, outcomes="out.jsonl", record="record")
    files = [ran.folder / "out.jsonl", *(ran.folder / "record").iterdir()]
    assert len(files) == 3
    allowed = [
        "set",
        "id",
        "lang",
        "topic",
        "outcome",
        "said",
        "kind",
        "reply_language",
        "alarm",
        "spoken",
        "confidence",
        "ms",
        "sha256",
    ]
    for file in files:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        assert rows
        for row in rows:
            assert set(row) <= set(allowed)
            assert ("ms" in row) is (file.name == "out.jsonl"), "times belong to a machine, not into a record"
        values = json.dumps([{name: value for name, value in row.items() if name != "id"} for row in rows])
        texts = [row.text for row in ROWS] + ["necesito", "hialeah", "hello", "abogado"]
        assert [text for text in texts if text in values] == []


def test_the_assistant_is_left_as_it_was(assistant: Any, run: Run) -> None:
    run()
    assert "parse_message" not in vars(assistant.agent.processor)
    with pytest.raises(ZeroDivisionError), understandings(assistant):
        raise ZeroDivisionError
    assert "parse_message" not in vars(assistant.agent.processor)


def test_measuring_is_what_residents_get(assistant: Any, desk: Any, tmp_path: Path, known: Any) -> None:
    """The replies are those that `ask` gives, by the same channel."""
    labelled = read(written(tmp_path), known.topics)
    told: list[str] = []
    measured = measure(desk, labelled, "round", told.append)
    asked = outreach(
        "ask",
        "--jsonl",
        "--at",
        "2026-11-22T12:00Z",
        stdin="".join(
            json.dumps({"id": item.id, "channel": CHANNELS[number % 4], "text": item.text}) + "\n"
            for number, item in enumerate(labelled.items)
        ),
    )
    lines = [json.loads(line)["replies"] for line in asked.stdout.splitlines()]
    assert [[reply.as_dict() for reply in one.replies] for one in measured] == lines
    assert told == ["small: 10 of 10 messages"]


def test_the_command_prints_figures_and_tells_progress_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "few.tsv"
    path.write_text("lang\ttext\nen\tcan police ask me for papers\nfr\tbonjour monsieur\nes\tnecesito un abogado\n")
    done = outreach("evaluate", str(path), "--channel", "web")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "few: 2 of 2 messages\n"
    assert re.search(r"first reply in the language +1\.000 +\.342 - 1\.000 +2 of 2", done.stdout)


# --- comparison ---------------------------------------------------------------------------------------

LOST = [f"row {number}" for number in range(5)]


def outcomes_of(rights: dict[str, bool], lang: str = "en", called: tuple[str, str] | None = None) -> list[Outcome]:
    """Outcomes by id; `called` are the alarms of right and of other ones."""
    made = []
    for name, right in rights.items():
        one = judge("file", "messages", replace(SCHOOLS, id=name, lang=lang), [answer("schools" if right else "a", lang)], None, None)  # fmt: skip
        made.append(replace(one, alarm=called[0 if right else 1] if called else None))
    return made


@dataclass(frozen=True)
class Compared:
    """Two runs and the groups that are worse."""

    label: str
    now: list[Outcome]
    before: list[Outcome]
    worse: list[str]
    kind: str = "messages"


GOOD, POOR = dict.fromkeys(LOST, True), dict.fromkeys(LOST, False)
COMPARED = [
    Compared("the same", outcomes_of(GOOD), outcomes_of(GOOD), []),
    Compared("better", outcomes_of(GOOD), outcomes_of(POOR), []),
    Compared("four lost are chance", outcomes_of({**POOR, "row 0": True}), outcomes_of(GOOD), []),
    Compared("five lost are not", outcomes_of(POOR), outcomes_of(GOOD), ["all", "en"]),
    Compared(
        "lost in a language, won back in another",
        outcomes_of(POOR, "ht") + outcomes_of({f"{name} es": True for name in LOST}, "es"),
        outcomes_of(GOOD, "ht") + outcomes_of({f"{name} es": False for name in LOST}, "es"),
        ["ht"],
    ),
    Compared(
        "alarms lost, others won",
        outcomes_of(POOR, called=("caught", "missed")) + outcomes_of({f"{name} b": True for name in LOST}),
        outcomes_of(GOOD, called=("caught", "missed")) + outcomes_of({f"{name} b": False for name in LOST}),
        ["urgent recall"],
    ),
    Compared("false alarms alone are shown, not failed", outcomes_of(GOOD, called=("false", "")), outcomes_of(GOOD, called=("quiet", "")), []),
    Compared("another domain", outcomes_of(POOR), outcomes_of(GOOD), [], "emergency"),
]  # fmt: skip


@pytest.mark.parametrize("case", COMPARED, ids=lambda case: case.label)
def test_comparison(case: Compared) -> None:
    made = comparison.compare("file", case.kind, case.now, case.before)
    assert made is not None
    assert made.worse == case.worse


def test_a_message_with_another_text_has_no_pair() -> None:
    before = outcomes_of(GOOD)
    now = [replace(before[0], sha256="0"), *before[1:], replace(before[0], id="new")]
    made = comparison.compare("file", "messages", now, before)
    assert made is not None
    assert (made.changes["all"].pairs, made.unpaired) == (4, 2)
    assert comparison.compare("another file", "messages", [replace(one, set="x") for one in now], before) is None


def test_a_worse_run_fails_and_is_not_recorded(run: Run) -> None:
    first = run(outcomes="before.jsonl", record="record")
    assert first.code == 0
    recorded = (first.folder / "record" / "small.outcomes.jsonl").read_bytes()
    same = run(against="record", record="record", page="page.html")
    assert same.code == 0
    assert (first.folder / "record" / "small.outcomes.jsonl").read_bytes() == recorded, (
        "recording twice changes nothing"
    )
    # The labels change, not the messages: six answers are now wrong.
    spoiled = [replace(row, topic="workplace", also_ok="") if row.outcome == "right" else row for row in ROWS]
    worse = run(spoiled, against="record", record="record", page="page.html")
    assert worse.code == 1
    assert "Worse than" in worse.said
    assert "small: all" in worse.said
    assert "Nothing is recorded" in worse.said
    assert (first.folder / "record" / "small.outcomes.jsonl").read_bytes() == recorded
    page = (first.folder / "page.html").read_text(encoding="utf-8")
    assert "Worse by more than chance: all" in page
    meant = run(spoiled, record="record")
    assert meant.code == 0
    assert (first.folder / "record" / "small.outcomes.jsonl").read_bytes() != recorded


# --- the page -----------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Tags in order, balanced; attributes; the texts of each SVG's title."""

    VOID = frozenset({"meta", "br", "hr", "img", "input", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id" and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag, self.getpos()


@pytest.fixture
def page(run: Run) -> tuple[str, Reader]:
    """The page of both small files, compared with a spoiled run."""
    spoiled = [replace(row, topic="workplace", also_ok="") for row in ROWS]
    run(spoiled, outcomes="before.jsonl")
    ran = run(dialogues=True, page="page.html", against="before.jsonl")
    text = (ran.folder / "page.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return text, reader


def test_the_page_has_every_picture_with_title_and_table(page: tuple[str, Reader]) -> None:
    text, reader = page
    pictures = [attributes for tag, attributes in reader.tags if tag == "svg" and attributes.get("role") == "img"]
    names = [str(one["aria-labelledby"]).split()[0].removesuffix("-title") for one in pictures]
    assert names == [
        "file-small-lang",
        "file-small-register",
        "file-small-topic",
        "file-small-confusion",
        "file-small-reliability",
        "file-talks-lang",
    ]
    for one in pictures:
        assert set(str(one["aria-labelledby"]).split()) <= set(reader.ids)
    assert len(set(reader.ids)) == len(reader.ids)
    assert text.count("<summary>The same as a table</summary>") == len(pictures)
    others = [one for tag, one in reader.tags if tag == "svg" and one.get("role") != "img"]
    assert all(one.get("aria-hidden") == "true" for one in others)
    for heading in ("Against the other run", "False alarms: 1", "Worst confusions", "The dialogues"):
        assert heading in text
    assert "schools → legal_aid: 1 wrong" in text


def test_the_page_asks_for_nothing_and_runs_nothing(page: tuple[str, Reader]) -> None:
    text, reader = page
    tags = {tag for tag, _ in reader.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "form", "base", "use", "image"}
    for tag, attributes in reader.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "action", "xlink:href"):
                assert str(value).startswith("#"), (tag, value)
    assert not re.search(r"https?:|url\(|@import", text)
    assert "default-src 'none'" in text


def test_messages_and_notes_are_text(page: tuple[str, Reader]) -> None:
    text, _ = page
    assert SCRIPT not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "a lawyer &amp; a &lt;place&gt;" in text
    assert "ask for &lt;b&gt;names&lt;/b&gt;" in text


def test_a_wrong_message_with_markup_is_text(run: Run) -> None:
    rows = [*ROWS, replace(ROWS[8], id="<i>bad</i>", topic="workplace", register="<u>"), replace(ROWS[0], register="x")]
    ran = run([row for row in rows if row.id != ROWS[0].id or row.register == "x"], page="page.html")
    text = (ran.folder / "page.html").read_text(encoding="utf-8")
    assert SCRIPT not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "&lt;i&gt;bad&lt;/i&gt;" in text
    assert "<u>" not in text
    assert "<i>" not in text


@pytest.mark.parametrize(
    ("accepted", "replies", "column"),
    [
        ({"schools", "at_home"}, [answer("at_home")], "at_home"),
        ({"schools"}, [urgent(), answer("schools")], "schools"),
        ({"schools"}, [answer("schools"), answer("greet")], "greet"),
        ({"schools"}, [urgent(), answer("schools"), answer("greet")], "greet"),
        ({"schools"}, [urgent(), answer("greet")], "emergency"),
        ({"schools"}, [offer("greet")], "offer"),
        ({"schools"}, [], "silence"),
        ({"out_of_scope"}, [offer(kind="clarify")], "clarify"),
    ],
)
def test_the_column_of_the_confusion_matrix(accepted: set[str], replies: list[Reply], column: str) -> None:
    from bot.evaluation.measuring import Measured

    item = replace(SCHOOLS, topic="schools", accepted=frozenset(accepted))
    assert said_as(Measured(item, judge("f", "messages", item, replies, None, None), replies)) == column


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_in_a_browser(width: int, run: Run) -> None:
    from playwright.sync_api import sync_playwright

    spoiled = [replace(row, topic="workplace", also_ok="") for row in ROWS]
    run(spoiled, outcomes="before.jsonl")
    ran = run(dialogues=True, page="page.html", against="before.jsonl")
    shots = ROOT / "artefacts"
    shots.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
            tab = context.new_page()
            complaints: list[str] = []
            requests: list[str] = []
            tab.on("console", lambda line, kept=complaints: kept.append(line.text))
            tab.on("pageerror", lambda error, kept=complaints: kept.append(str(error)))
            tab.on("request", lambda request, kept=requests: kept.append(request.url))
            address = (ran.folder / "page.html").as_uri()
            tab.goto(address)
            assert not tab.evaluate("document.documentElement.scrollWidth > innerWidth"), "nothing scrolls sideways"
            assert complaints == []
            assert requests == [address]
            ground = tab.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            assert ground == ("rgb(251, 250, 247)" if scheme == "light" else "rgb(20, 24, 29)")
            smallest = tab.evaluate(
                "Math.min(...[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height))"
            )
            assert smallest >= 11, "the words in the pictures keep their size"
            tab.screenshot(path=shots / f"evaluation-{width}-{scheme}.png", full_page=True)
            context.close()
        browser.close()


# --- record and card ----------------------------------------------------------------------------------


def test_the_record_can_be_read_and_holds_no_times() -> None:
    found = read_outcomes(ROOT / "benchmarks" / "understanding")
    sets = {one.set for one in found}
    assert {"messages_dev", "language_real", "emergency_real", "dialogues_dev"} <= sets
    assert all(one.ms is None for one in found)
    kept = {one.name: one for one in figures("messages", [one for one in found if one.set == "messages_dev"])}
    assert kept["right"].value > 0.9
    assert "median of a message" not in kept


def test_the_card_keeps_its_prose(run: Run) -> None:
    ran = run()
    before, after = "# A card\n\nProse | with a bar.\n", "\n## Limits\n\nMore prose.\n"
    path = ran.folder / "card.md"
    path.write_text(f"{before}{BEGIN}\nold numbers\n{END}{after}", encoding="utf-8")
    run(card="card.md")
    first = path.read_text(encoding="utf-8")
    assert first.startswith(before + BEGIN)
    assert first.endswith(END + after)
    assert "old numbers" not in first
    for wanted in ("| right | .800 |", "| urgent recall | 1.000 |", "`SURE`", "| ht |", "### small (10)"):
        assert wanted in first
    run(card="card.md")
    assert path.read_text(encoding="utf-8") == first, "the same run gives the same card"


def test_the_model_card_stands_and_is_filled() -> None:
    text = (ROOT / "docs" / "model-card.md").read_text(encoding="utf-8")
    numbers = text[text.index(BEGIN) : text.index(END)]
    assert "### messages_dev (537)" in numbers
    assert "urgent recall" in numbers


def test_training_messages_are_counted() -> None:
    from bot.check import training_messages

    rows = list(training_messages())
    for language, (messages, writers, topics) in training_counts().items():
        own = [row for row in rows if row[1] == language]
        assert messages == len(own)
        assert writers == len({row[3] for row in own})
        assert topics == len({row[2] for row in own})


def test_numbers_that_decide_are_read_with_their_reason(tmp_path: Path) -> None:
    module = tmp_path / "some.py"
    module.write_text(
        '"""Doc."""\nSURE = 0.4\n"""Belief\nfrom which."""\nA, B = 0.5, 2\nNAMES = ("x", "y")\nSPOKEN = "en"\nlow = 3\nON = True\nWORDS = 9\n'
    )
    assert list(constants(module)) == [
        ("SURE", "0.4", "Belief from which."),
        ("A, B", "0.5, 2", ""),
        ("WORDS", "9", ""),
    ]

"""The `outreach` command. Bad input: one clear line on standard error, exit 2, nothing half-written."""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

os.environ.setdefault("RASA_TELEMETRY_ENABLED", "false")
os.environ.setdefault("SQLALCHEMY_SILENCE_UBER_WARNING", "1")
# Rasa's dependencies warn of their own age at every import and reset the filters; nobody here can act on it.
warnings.showwarning = lambda *arguments, **options: None  # type: ignore[assignment]

STARTED = time.monotonic()
"""When the command began: what residents wait for after a restart begins here, before anything heavy is imported."""
CHANNELS = ("sms", "whatsapp", "telegram", "web")
LONGEST_LINE = 65_536
"""Characters of one JSON line."""


class UsageError(Exception):
    """Bad input: its text is the one line that the user reads."""


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no moment; write for example 2026-11-22T12:00Z") from None
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no time zone; write for example 2026-11-22T12:00Z")
    return moment


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write for example 2026-12-31") from None


def _month(text: str) -> str:
    try:
        dt.datetime.strptime(text, "%Y-%m")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no month; write for example 2026-11") from None
    return text


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; write a number from 1 to 65535")
    return int(text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}")


def parser() -> argparse.ArgumentParser:
    """All sub-commands with their options."""
    top = _Parser(prog="outreach", description="The Miami-Dade outreach assistant.")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    run = commands.add_parser("run", help="serve the chat on this machine")
    run.add_argument("--port", type=_port, default=8080)
    ask = commands.add_parser("ask", help="one message, a conversation, or JSON lines")
    ask.add_argument("text", nargs="?")
    ask.add_argument("--jsonl", action="store_true", help="one JSON object a line in, one out")
    ask.add_argument("--channel", choices=CHANNELS, default="sms")
    ask.add_argument("--at", type=_moment, help="fix the clock, for example 2026-11-22T12:00Z")
    train = commands.add_parser("train", help="train the model")
    train.add_argument("--if-needed", action="store_true", help="only when there is none or its inputs changed")
    check = commands.add_parser("check", help="validate knowledge, catalogues and training data")
    check.add_argument("--release", action="store_true", help="fail while anything is unreviewed or out of date")
    check.add_argument("--at", type=_moment)
    words = commands.add_parser("words", help="extract, merge and compile the catalogues")
    words.add_argument(
        "--translated", nargs="+", metavar=("LANGUAGE", "TEXT"), help="these translations are of today's English"
    )
    words.add_argument("--compile-only", action="store_true")
    review = commands.add_parser("review", help="texts of a topic side by side, or record a review")
    review.add_argument("topic")
    review.add_argument("--sign", metavar="NAME", help="record that NAME reviewed this topic in --language")
    review.add_argument("--language", choices=("en", "es", "ht"))
    evaluate = commands.add_parser("evaluate", help="measure labelled messages: figures, a page, a comparison")
    evaluate.add_argument("files", nargs="+", type=Path, metavar="FILE", help="labelled .tsv, or .yml for dialogues")
    evaluate.add_argument(
        "--channel", choices=("round", *CHANNELS), default="round", help="round: as the file's kind asks"
    )
    evaluate.add_argument("--page", type=Path, help="write an HTML page with pictures; it holds the messages")
    evaluate.add_argument("--outcomes", type=Path, help="write the outcome of each message, without its text")
    evaluate.add_argument("--against", type=Path, help="compare with outcomes (file or folder); exit 1 when worse")
    evaluate.add_argument("--record", type=Path, metavar="FOLDER", help="make this run the one that others must match")
    evaluate.add_argument("--card", type=Path, help="put the numbers into the model card")
    commands.add_parser("purge", help="remove every conversation and the keys of the day now, in a running server too")
    report = commands.add_parser("report", help="the organisation's numbers")
    report.add_argument("--month", type=_month, help="like 2026-11; everything when left out")
    report.add_argument("--csv", action="store_true")
    withdraw = commands.add_parser("withdraw", help="take a fact or topic back at once, in a running server too")
    withdraw.add_argument("id", metavar="FACT|TOPIC", nargs="?")
    withdraw.add_argument("--until", type=_day)
    withdraw.add_argument("--end", action="store_true", help="serve it again")
    withdraw.add_argument("--list", action="store_true")
    snippet = commands.add_parser("snippet", help="what a partner site pastes to show the chat")
    snippet.add_argument(
        "--language", choices=("en", "es", "ht"), default="en", help="of the page that it is pasted into"
    )
    return top


# --- ask ----------------------------------------------------------------------------------------


def _request(line: str, number: int) -> dict[str, Any]:
    if len(line) > LONGEST_LINE:
        raise UsageError(f"outreach ask: line {number} is longer than {LONGEST_LINE} characters")
    try:
        request = json.loads(line)
    except ValueError as error:
        raise UsageError(f"outreach ask: line {number} is no JSON ({error})") from None
    if not isinstance(request, dict) or not isinstance(request.get("text"), str):
        raise UsageError(f'outreach ask: line {number} needs {{"id", "conversation", "channel", "text"}}')
    if request.get("channel", "sms") not in CHANNELS:
        raise UsageError(
            f"outreach ask: line {number}: channel is {request['channel']!r}; write one of {', '.join(CHANNELS)}"
        )
    return request


def _quiet() -> None:
    """Nothing of other packages on the terminal."""
    import structlog

    # Rasa's structlog writes texts to standard output at debug level, whatever logging is set to.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.WARNING)


def _desk() -> Any:
    """A fresh store in memory, no counting, no limits, no repeats: the same line twice is two messages."""
    from bot.assistant import Assistant
    from bot.desk import Desk
    from bot.privacy.store import MemoryStore
    from bot.settings import settings

    return Desk(Assistant.load(), MemoryStore(settings()), counting=False, repeats=False)


def ask(options: argparse.Namespace) -> int:
    """`outreach ask`."""
    _quiet()
    from actions import clock

    if options.at:
        clock.fix(options.at)
    from bot.desk import Message

    desk = _desk()
    loop = asyncio.new_event_loop()

    def said(message: Message) -> Sequence[Any]:
        return loop.run_until_complete(desk.answer(message)).replies

    if options.jsonl:
        for number, line in enumerate(sys.stdin, 1):
            if not line.strip():
                continue
            request = _request(line, number)
            started = time.perf_counter()
            replies = said(
                Message(
                    channel=request.get("channel", "sms"),
                    sender=str(request.get("conversation", request.get("id", number))),
                    text=request["text"],
                    button=request.get("button"),
                )
            )
            answer = {
                "id": request.get("id"),
                "replies": [reply.as_dict() for reply in replies],
                "elapsed_ms": round((time.perf_counter() - started) * 1000, 2),
            }
            sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
            sys.stdout.flush()
        return 0
    if options.text is not None:
        _show(said(Message(options.channel, "terminal", options.text)))
        return 0
    print("Write a message, an empty line to end.")
    for line in sys.stdin:
        if not line.strip():
            break
        _show(said(Message(options.channel, "terminal", line.rstrip("\n"))))
    return 0


def _show(replies: Sequence[Any]) -> None:
    for reply in replies:
        print(f"\n[{reply.language} {reply.kind} {reply.topic or '-'}]\n{reply.text}")
        if reply.buttons and not reply.text.rstrip().endswith(reply.buttons[-1]["title"]):
            print("  " + "  ".join(f"({button['title']})" for button in reply.buttons))


# --- the others ---------------------------------------------------------------------------------


def train(options: argparse.Namespace) -> int:
    """`outreach train`."""
    from bot import train as training

    if options.if_needed and training.is_current():
        return 0
    from actions.knowledge.load import knowledge
    from bot import catalogues

    catalogues.require_urgent(knowledge())
    training.train()
    return 0


def check(options: argparse.Namespace) -> int:
    """`outreach check [--release]`."""
    from actions import clock
    from bot import check as checking
    from bot import remarks
    from bot.settings import settings

    if options.at:
        clock.fix(options.at)
    # First: it takes no time, and may say why a server does not start.
    for line in remarks.of_this_machine(settings()):
        print(line)
    return checking.run(release=options.release)


def evaluate(options: argparse.Namespace) -> int:
    """`outreach evaluate FILE [FILE ...]`."""
    _quiet()
    from bot.evaluation.command import Wanted
    from bot.evaluation.command import evaluate as measure

    wanted = Wanted(
        options.files,
        options.channel,
        page=options.page,
        outcomes=options.outcomes,
        against=options.against,
        record=options.record,
        card=options.card,
    )
    return measure(wanted, _desk)


def words(options: argparse.Namespace) -> int:
    """`outreach words`."""
    from actions.knowledge.load import knowledge
    from bot import catalogues

    known = knowledge()
    if options.translated:
        language, *text_ids = options.translated
        if language not in catalogues.TRANSLATED:
            raise UsageError(f"outreach words: {language!r} is no language that is translated; write es or ht")
        if not text_ids:
            raise UsageError("outreach words: --translated needs a language and at least one text id")
        merged = catalogues.merge(catalogues.read(language), known.texts, language)
        there = catalogues.by_context(merged)
        for text_id in text_ids:
            if text_id not in there:
                raise UsageError(f"outreach words: there is no text {text_id!r}")
            if not there[text_id].string:
                raise UsageError(f"outreach words: {text_id} has no {catalogues.NAMES[language]} translation yet")
        catalogues.stamp(merged, text_ids)
        catalogues.write(merged, language)
    if not options.compile_only:
        for language, changed in catalogues.update(known).items():
            print(f"locales/{language}: {'updated' if changed else 'unchanged'}")
    for language, number in catalogues.compile_all(known).items():
        print(f"locales/{language}: {number} of {len(known.texts)} texts compiled")
    return 0


def review(options: argparse.Namespace) -> int:
    """`outreach review TOPIC [--sign NAME --language LANGUAGE]`."""
    from bot import review as reviewing

    if bool(options.sign) != bool(options.language):
        raise UsageError("outreach review: --sign NAME and --language go together")
    if options.sign:
        return reviewing.sign(options.topic, options.language, options.sign)
    return reviewing.show(options.topic)


def withdraw(options: argparse.Namespace) -> int:
    """`outreach withdraw FACT|TOPIC [--until DATE] [--end]`, `outreach withdraw --list`."""
    from actions.freshness import Withdrawal, Withdrawals
    from actions.knowledge.load import knowledge
    from bot.settings import settings

    settings()
    known = knowledge()
    store = Withdrawals()
    if options.list or not options.id:
        if not options.list:
            raise UsageError("outreach withdraw: name a fact or topic, or write --list")
        for item in store.all():
            print(f"{item.id}: withdrawn{f' until {item.until}' if item.until else ''}")
        return 0
    if options.id in ("emergency", "crisis"):
        raise UsageError("outreach withdraw: the 911 and 988 texts are never withdrawn")
    if options.id not in known.facts and known.topics.get(options.id) != "policy":
        raise UsageError(
            f"outreach withdraw: {options.id!r} is neither a fact nor a policy topic (see actions/knowledge)"
        )
    left = [item for item in store.all() if item.id != options.id]
    if not options.end:
        left.append(Withdrawal(options.id, options.until))
    store.write(left)
    touched = [
        topic
        for topic, answer in known.answers.items()
        if options.id == topic or options.id in answer.facts or options.id in answer.more_facts
    ]
    verb = "is served again" if options.end else "is withdrawn"
    print(f"{options.id} {verb}. Answers that rest on it: {', '.join(touched) or 'none'}")
    return 0


def snippet(options: argparse.Namespace) -> int:
    """`outreach snippet [--language LANGUAGE]`."""
    from bot.channels.web import build
    from bot.settings import settings
    from bot.words import loaded

    own = settings()
    name = build.page_words(loaded(), options.language)["page_title"]
    print(build.snippet(own.public_url or "http://localhost:8080", own.organisation, options.language, name), end="")
    return 0


def run(options: argparse.Namespace) -> int:
    """`outreach run`."""
    from bot.privacy import logs

    # Before Rasa: from here on nothing but what the allow-list lets through leaves this process.
    logs.install()
    from bot import server

    return server.run(options.port, STARTED)


def purge(options: argparse.Namespace) -> int:
    """`outreach purge`."""
    from bot import numbers
    from bot.privacy.keys import forget_day_keys
    from bot.settings import settings

    own = settings()
    # First: without them nobody can go from a number to what is kept, even if that cannot be removed just now.
    if forget_day_keys(own.data, own.keys):
        print("The keys of the day are removed.")
    store = numbers.beside_the_server(own)
    gone = store.purge()
    store.close()
    print(
        f"{gone} conversation{'' if gone == 1 else 's'} removed, with the replies to their messages. Opt-outs and numbers stay."
    )
    return 0


def report(options: argparse.Namespace) -> int:
    """`outreach report [--month MONTH] [--csv]`."""
    from bot import numbers
    from bot.settings import settings

    store = numbers.beside_the_server(settings())
    made = numbers.as_csv if options.csv else numbers.as_text
    print(made(store.counts(), options.month).rstrip("\n"))
    store.close()
    return 0


COMMANDS = {
    "run": run,
    "ask": ask,
    "train": train,
    "check": check,
    "evaluate": evaluate,
    "words": words,
    "review": review,
    "withdraw": withdraw,
    "snippet": snippet,
    "purge": purge,
    "report": report,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; the exit code."""
    top = parser()
    try:
        options = top.parse_args(arguments)
        if options.command is None:
            top.print_help()
            return 0
        from actions.freshness import WithdrawalError
        from actions.knowledge.load import KnowledgeError
        from bot.catalogues import CatalogueError
        from bot.evaluation.labelled import LabelError
        from bot.nlu.safety import SafetyDataError
        from bot.privacy.store import StoreError
        from bot.settings import SettingError
        from bot.train import ModelError

        try:
            return COMMANDS[options.command](options)
        except (
            KnowledgeError, CatalogueError, SettingError, ModelError, SafetyDataError, LabelError, StoreError,
            FileNotFoundError, WithdrawalError,
        ) as error:  # fmt: skip
            raise UsageError(f"outreach {options.command}: {error}") from None
        except BrokenPipeError:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (the reader went away; nothing more can be said)
            return 0
    except UsageError as error:
        from bot.privacy import logs

        logs.say(str(error), error=True)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

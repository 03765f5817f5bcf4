"""The parts inside: clocks, records, shapes, failures, training, the stand-in for TensorFlow."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actions import clock
from bot.channels.shape import gsm, segments
from bot.nlu.classifier import NotLearned, TopicClassifier
from bot.nlu.features import Lexicons
from bot.privacy.pseudonyms import Pseudonyms
from bot.privacy.records import Record, fresh, rounded
from bot.privacy.store import MemoryStore
from bot.queues import Busy, Queues
from bot.settings import Settings
from tests.conftest import NOW, ROOT

OWN = Settings(data=Path("var"), retention_hours=24)


# --- what is kept, and how long -----------------------------------------------------------------

CLOCKS = [
    # label, last topics, idle time, language kept?, context kept?
    ("at once", ["schools"], dt.timedelta(minutes=5), True, True),
    ("after half an hour", ["schools"], dt.timedelta(minutes=30), True, False),
    ("just before half an hour", ["schools"], dt.timedelta(minutes=29), True, True),
    ("abuse after ten minutes", ["domestic_violence"], dt.timedelta(minutes=10), True, False),
    ("abuse still open", ["domestic_violence"], dt.timedelta(minutes=9), True, True),
    ("after a day", ["schools"], dt.timedelta(hours=24), False, False),
    ("a clock set back must not prolong anything", ["schools"], dt.timedelta(hours=-5), False, False),
]


@pytest.mark.parametrize(("label", "topics", "idle", "language", "context"), CLOCKS, ids=[row[0] for row in CLOCKS])
def test_the_two_clocks(label: str, topics: list[str], idle: dt.timedelta, language: bool, context: bool) -> None:
    record = Record(
        language="ht", introduced=True, last_topics=topics, more={"topic": topics[0], "from": 1}, used=rounded(NOW)
    )
    left = fresh(record, NOW + idle, OWN)
    assert (left is not None and left.language == "ht") == language
    assert (left is not None and left.more is not None) == context


def test_records_are_forgotten_and_swept() -> None:
    records = MemoryStore(OWN, most=3)
    for number in range(5):
        records.commit(f"k{number}", Record(language="es"))
    assert len(records) == 3
    assert records.get("k0") is None
    records.forget("k4")
    assert records.get("k4") is None
    with clock.fixed(NOW + dt.timedelta(days=2)):
        assert records.sweep() == 2
    assert len(records) == 0


def test_a_record_holds_no_text() -> None:
    assert set(Record.__dataclass_fields__) == {
        "language", "introduced", "last_topics", "open_question", "choices", "more", "shown", "place", "used", "moment"
    }  # fmt: skip


def test_nothing_of_a_conversation_but_its_record_is_in_memory(talk: Callable[..., list[Any]], desk: Any) -> None:
    talk("my name is Zebulon Quark from Opa-locka and my boss does not pay me", "web", conversation="kept")
    record = desk.store.get(desk.pseudonyms.of("web", "kept"))
    assert record.last_topics == ["workplace"]
    assert "Zebulon" not in json.dumps(record.__dict__, default=str)


def test_delete_leaves_nothing(talk: Callable[..., list[Any]], desk: Any) -> None:
    talk("can police ask my status", "web", conversation="gone")
    assert desk.store.get(desk.pseudonyms.of("web", "gone")) is not None
    talk("delete my messages", "web", conversation="gone")
    assert desk.store.get(desk.pseudonyms.of("web", "gone")) is None


def test_pseudonyms_change_every_day_and_yesterday_s_is_known_once_more() -> None:
    names = Pseudonyms()
    first = names.of("web", "token")
    assert first == names.of("web", "token")
    assert first != names.of("sms", "token")
    assert "token" not in first
    with clock.fixed(NOW + dt.timedelta(days=1)):
        assert names.of("web", "token") != first
        assert names.before("web", "token") == first
    with clock.fixed(NOW + dt.timedelta(days=3)):
        assert names.before("web", "token") != first


# --- order ----------------------------------------------------------------------------------------


def test_one_conversation_waits_others_do_not() -> None:
    async def scene() -> list[str]:
        queues = Queues(most=2)
        order: list[str] = []
        gate = asyncio.Event()

        async def say(key: str, name: str, hold: bool = False) -> None:
            try:
                async with queues.turn(key):
                    if hold:
                        await gate.wait()
                    order.append(name)
            except Busy:
                order.append(f"{name} busy")

        tasks = [asyncio.create_task(say("a", "a1", True))]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(say("a", f"a{number}")) for number in (2, 3, 4)]
        tasks.append(asyncio.create_task(say("b", "b1")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(scene()) == ["a4 busy", "b1", "a1", "a2", "a3"]


# --- text messages ----------------------------------------------------------------------------------

COUNTED = [
    ("160 plain", "a" * 160, 1),
    ("161 plain", "a" * 161, 2),
    ("306 plain", "a" * 306, 2),
    ("307 plain", "a" * 307, 3),
    ("Creole accents are plain", "è" * 160, 1),
    ("Spanish á costs double", "á" * 70, 1),
    ("71 of them", "á" * 71, 2),
    ("braces count twice", "{" * 81, 2),
    ("an emoji is two", "😀" * 36, 2),
]


@pytest.mark.parametrize(("label", "text", "number"), COUNTED, ids=[row[0] for row in COUNTED])
def test_segments_as_carriers_count(label: str, text: str, number: int) -> None:
    assert segments(text) == number


def test_signs_that_cost_double_without_need_are_exchanged() -> None:
    assert gsm("“Èske” – l’avoka… Òganizasyon") == '"Eske" - l\'avoka... Oganizasyon'
    assert gsm("está") == "está"


# --- when something fails ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kinds", "language"),
    [
        ("can police ask my status", ["notice"], "en"),
        ("mwen pè lapolis ap mande m papye", ["notice"], "ht"),
        ("he is beating me right now", ["emergency", "notice"], "en"),
        ("me quiero matar", ["crisis", "notice"], "es"),
    ],
)
@pytest.mark.parametrize("broken", ["the model", "the action", "the words"])
def test_a_failure_still_answers(
    broken: str, text: str, kinds: list[str], language: str, talk: Callable[..., list[Any]], assistant: Any,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, words: Any,
) -> None:  # fmt: skip
    def fail(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError(text)

    if broken == "the model":
        monkeypatch.setattr(assistant.agent.processor.graph_runner, "run", fail)
    elif broken == "the action":
        from actions import actions

        monkeypatch.setattr(actions, "answering", fail)
    else:
        monkeypatch.setattr("bot.assistant.render", fail)
    with caplog.at_level(logging.ERROR, logger="bot"):
        replies = talk(text)
    assert [reply.kind for reply in replies] == kinds
    assert all(reply.language == language for reply in replies)
    assert "911" in replies[0].text or "988" in replies[0].text
    closing = [words.line("phrase/safety_delete", language)] if "crisis" in kinds else []
    assert replies[-1].text == gsm("\n\n".join([words.line("phrase/failure", language), *closing]))
    own = [record for record in caplog.records if record.name.startswith("bot")]
    assert all(text not in record.getMessage() for record in own)
    monkeypatch.undo()
    assert talk("can police ask my status", conversation=f"after {broken} {text}")[0].kind == "answer"


# --- training ----------------------------------------------------------------------------------------


def test_training_twice_gives_the_same_model() -> None:
    texts = ["can they ask my papers", "police ask status", "need a lawyer", "free lawyer near me"] * 3
    topics = ["police_questions", "police_questions", "legal_aid", "legal_aid"] * 3
    lexicons = Lexicons.load()
    one = TopicClassifier.train(texts, ["en"] * 12, topics, lexicons)
    two = TopicClassifier.train(texts, ["en"] * 12, topics, lexicons)
    assert np.array_equal(one.weights, two.weights)
    assert next(iter(one.probabilities("i want a lawyer", "en", lexicons))) == "legal_aid"


def test_a_model_that_learned_nothing_fails_at_once() -> None:
    texts = ["same words here"] * 10
    with pytest.raises(NotLearned, match="nothing was saved"):
        TopicClassifier.train(texts, ["en"] * 10, ["greet", "thanks"] * 5, Lexicons.load())


def test_a_saved_model_is_loaded_whole_or_not_at_all(tmp_path: Path) -> None:
    lexicons = Lexicons.load()
    texts = ["need a lawyer", "good morning", "abogado gratis", "buenos dias"] * 3
    model = TopicClassifier.train(
        texts, ["en", "en", "es", "es"] * 3, ["legal_aid", "greet", "legal_aid", "greet"] * 3, lexicons
    )
    model.save(tmp_path)
    again = TopicClassifier.load(tmp_path)
    assert again.probabilities("abogado", "es", lexicons) == model.probabilities("abogado", "es", lexicons)
    (tmp_path / "words.json").write_text('{"weight": 1, "least": 1, "terms": []}', encoding="utf-8")
    with pytest.raises(ValueError, match="train again"):
        TopicClassifier.load(tmp_path)


def test_a_strange_model_file_is_not_loaded(tmp_path: Path) -> None:
    from bot.train import MODELS, ModelError, model_path, recorded

    record = recorded()
    assert record is not None
    (tmp_path / "model.json").write_text((MODELS / "model.json").read_text())
    (tmp_path / record.file).write_bytes(b"something else")
    with pytest.raises(ModelError, match="is not the file that was trained here"):
        model_path(tmp_path)
    with pytest.raises(ModelError, match="make train"):
        model_path(tmp_path / "nowhere")


def test_the_model_is_of_today_s_inputs() -> None:
    from bot.train import is_current

    assert is_current()


# --- Rasa ----------------------------------------------------------------------------------------------


def test_rasa_still_has_what_is_patched() -> None:
    """bot/in_process.py replaces this method; in a fresh interpreter it must be Rasa's own."""
    code = (
        "import warnings; warnings.filterwarnings('ignore')\n"
        "from rasa.core.actions.action import RemoteAction\n"
        "import inspect; print('validate(result' in inspect.getsource(RemoteAction._validate_action_result))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert done.stdout.strip() == "True", done.stderr


def test_tensorflow_is_the_stand_in_and_says_so() -> None:
    import tensorflow as tf

    class Layer(tf.keras.layers.Layer):  # type: ignore[misc, name-defined]
        """Rasa subclasses such names while it is imported."""

    assert issubclass(Layer, tf.keras.layers.Layer)
    with pytest.raises(RuntimeError, match="TensorFlow, which is not installed"):
        tf.constant([1, 2])


def test_the_same_action_runs_behind_an_action_server(assistant: Any) -> None:
    """`rasa run actions` serves the package `actions`; its executor must find and run action_answer."""
    from rasa_sdk.executor import ActionExecutor

    from bot.nlu.understanding import Understanding

    executor = ActionExecutor()
    executor.register_package("actions.actions")
    understood = {
        **Understanding(topics=["schools"], language="es").as_dict(),
        "brief": True,
        "stop_words": True,
        "introduced": True,
    }
    call = {
        "next_action": "action_answer",
        "sender_id": "x",
        "tracker": {
            "sender_id": "x", "slots": {}, "latest_message": {"understanding": understood}, "events": [], "paused": False,
            "followup_action": None, "active_loop": {}, "latest_action_name": None,
        },
        "domain": {},
    }  # fmt: skip
    result = asyncio.run(executor.run(call))
    assert result is not None
    assert result["responses"][0]["plan"]["topic"] == "schools"


def test_the_conversation_store_is_ours(assistant: Any) -> None:
    from bot.privacy.trackers import RecordTrackerStore

    store = getattr(assistant.agent.tracker_store, "_tracker_store", assistant.agent.tracker_store)
    assert isinstance(store, RecordTrackerStore)

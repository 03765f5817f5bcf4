"""What is said to an understanding: ids and values, no words, nothing of channels, nothing of Rasa.

`answer` is a pure function of understanding, conversation and clock. Its plans are rendered by bot/nlg.py.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actions import finder
from actions.freshness import Withdrawals, oldest, overdue
from actions.knowledge.load import Knowledge
from actions.knowledge.places import COUNTY, OUTSIDE, Found
from actions.knowledge.records import Entry, Fact

MOST_TOPICS = 2
URGENT = ("emergency", "crisis")
SMALL = frozenset({"greet", "thanks", "goodbye"})
WITH_PLACES = frozenset(
    {
        "domestic_violence",
        "human_trafficking",
        "workplace",
        "officer_complaint",
        "immigration_fraud",
        "detained_relative",
        "crime_victim_visa",
    }
)
"""Topics whose own directory entries end their answer."""
NO_RAPE_LINE = frozenset({"delete_data", "opt_out", "change_language", "thanks", "goodbye"})
"""What ends something names no hotline."""
SENSITIVE = frozenset({"domestic_violence", "human_trafficking", "crisis"})
"""Their answers end with how to get rid of them: the phone may be in another hand."""
HARMED = frozenset({"DOMESTIC_VIOLENCE", "BEATEN_BY", "ABUSER", "RAPE", "TRAFFICKER", "FORCED_WORK"})
"""Concepts of a message that may be read by who does the harm: its answer ends so too, whatever the topic."""
AT_HOME = frozenset({"HUSBAND", "WIFE", "PARTNER", "EX"})
"""The same for a call for help that names one of them."""
HARM = frozenset({"domestic_violence", "trafficking", "sexual_assault"})
"""Kinds of case whose places are listed as carefully."""
LISTED = 4
"""Passages or rules offered at once."""
LANGUAGES = ("en", "es", "ht")
LANGUAGE_NAMES = {"en": "phrase/language_english", "es": "phrase/language_spanish", "ht": "phrase/language_creole"}

Line = dict[str, Any]
Plan = dict[str, Any]


@dataclass
class Conversation:
    """The record of a conversation, as slots hold it."""

    language: str | None = None
    last_topics: list[str] = field(default_factory=list)
    open_question: str | None = None
    choices: list[str] = field(default_factory=list)
    more: dict[str, Any] | None = None
    """{"topic": ..., "from": index of the next paragraph}."""
    shown: str | None = None
    """The passage shown last."""
    place: str | None = None
    introduced: bool = False
    forget: bool = False


@dataclass
class Turn:
    """What one message leads to."""

    plans: list[Plan]
    conversation: Conversation


def line(text_id: str, language: str | None = None, **values: Any) -> Line:
    """One text to say, with what fills it; `language` only where it differs from the reply's."""
    made: Line = {"id": text_id, "values": values}
    if language:
        made["language"] = language
    return made


def plan(kind: str, topic: str | None, language: str, paragraphs: Sequence[Any], **more: Any) -> Plan:
    """A reply to be: paragraphs, and what goes with it. A paragraph is a list of lines, or {"rows": lines}, one a row."""
    made: Plan = {
        "kind": kind,
        "topic": topic,
        "language": language,
        "paragraphs": [paragraph for paragraph in paragraphs if paragraph],
        "choices": [],
        "facts": [],
        "buttons": [],
        "more": False,
        "guarded": topic in SENSITIVE,
        "closing": [],
    }
    made.update(more)
    return made


def deleting() -> list[Line]:
    """The last line of what somebody else may read on the same phone."""
    return [line("phrase/safety_delete")]


def close(plans: Sequence[Plan], told: bool = False) -> None:
    """Have the turn end with how to get rid of it, where any of its plans ought to; it is said once.

    Args:
        plans: of the turn.
        told: whether it ought to whatever they are.
    """
    last = next((made["closing"] for made in reversed(plans) if made["closing"]), deleting() if told else [])
    for made in plans:
        made["closing"] = []
    plans[-1]["closing"] = last


def button(button_id: str, text_id: str, language: str | None = None) -> dict[str, Any]:
    """A choice: what it stands for, and its title as a line."""
    return {"id": button_id, "title": line(text_id, language)}


class Answering:
    """Answers understandings from knowledge."""

    def __init__(self, knowledge: Knowledge, withdrawals: Withdrawals, organisation_kind: str | None = None):
        """
        Args:
            knowledge: everything that may be said.
            withdrawals: what was taken back.
            organisation_kind: "nonprofit", "public agency", or None when nobody is set up.
        """
        self.knowledge = knowledge
        self.withdrawals = withdrawals
        self.organisation_kind = organisation_kind

    # --- the turn -------------------------------------------------------------------------------

    def answer(self, understood: Mapping[str, Any], before: Conversation, today: dt.date) -> Turn:
        """Plans for one message, urgent first, and the conversation after it.

        Args:
            understood: bot.nlu.understanding.Understanding as a dict; `brief` (long texts in parts),
                `stop_words` (the channel has STOP) and `introduced` come from the channel.
            before: the conversation so far.
            today: the day in Miami.
        """
        language = understood["language"]
        after = Conversation(
            language=language,
            last_topics=list(before.last_topics),
            open_question=before.open_question,
            # "2" means the second of the last list, also when an answer without a list came between.
            choices=list(before.choices),
            # A "thanks" or "ok" in between does not lose the rest of an answer.
            more=before.more if understood["topics"] and set(understood["topics"]) <= SMALL else None,
            shown=before.shown,
            place=before.place,
            introduced=before.introduced or bool(understood.get("introduced")),
        )
        if understood["place"] and understood["place"] not in ("unknown", OUTSIDE):
            after.place = understood["zip"] or understood["place"]
        plans: list[Plan] = []
        if understood["notice"]:
            after.language = before.language
            return Turn([self._language_notice(understood["notice"], after)], after)
        if understood["urgent"]:
            plans.append(self._urgent(understood["urgent"], language, after))
        plans += self._rest(understood, before, after, today)
        if not understood["urgent"] and not plans:
            plans = [self._doubt(understood, after)]
        self._around(plans, understood, before, after)
        if understood["case"] in HARM:
            for made in plans:
                made["guarded"] = True
        cried = any(made["topic"] == "emergency" for made in plans)
        harm = HARMED | AT_HOME if cried else HARMED
        erased = any(made["topic"] in ("delete_data", "opt_out") for made in plans)
        # "He's here", after violence at home, names nobody.
        told = bool(harm & set(understood["concepts"])) or (cried and "domestic_violence" in before.last_topics)
        close(plans, understood["watched"] or (told and not erased))
        return Turn(plans, after)

    def _rest(
        self, understood: Mapping[str, Any], before: Conversation, after: Conversation, today: dt.date
    ) -> list[Plan]:
        command, language = understood["command"], understood["language"]
        if command == "more":
            return [self._go_on(understood, before, after, today)]
        if command == "start" and not understood.get("stop_words"):
            return [self._service("greet", language)]
        if command == "start":
            return [plan("service", "opt_out", language, [[line("opt_out/resumed")]])]
        if command == "number_unknown":
            return [plan("notice", None, language, [[line("phrase/number_unknown")]])]
        plans: list[Plan] = []
        topics = list(understood["topics"][:MOST_TOPICS])
        # What begins with 911 and names nothing is first, whatever else is asked, a threat to kill before all; else the shorter answer.
        topics.sort(
            key=lambda topic: (
                topic != "domestic_violence",
                topic not in SENSITIVE,
                len(self.knowledge.texts[f"{topic}/short"]),
            )
        )
        for topic in topics:
            plans += self._topic(topic, understood, before, after, today)
        return plans

    def _topic(
        self, topic: str, understood: Mapping[str, Any], before: Conversation, after: Conversation, today: dt.date
    ) -> list[Plan]:
        language = understood["language"]
        if topic in URGENT:
            return [self._urgent(topic, language, after)]
        if topic not in SMALL and topic not in ("change_language", "opt_out", "delete_data"):
            after.last_topics = [topic, *[old for old in after.last_topics if old != topic]][:3]
        special = getattr(self, f"_topic_{topic}", None)
        if special:
            return special(understood, before, after, today)
        if self.knowledge.topics[topic] == "policy":
            # Asked again at once, in other words: the rest of the answer, not the same text once more.
            follows = before.last_topics[:1] == [topic] and before.more and before.more["topic"] == topic
            # Who asks for a promise gets the comfort with its limit again, not a part of the rest that has one without the other.
            if (
                follows
                and not understood["exact"]
                and not understood.get("again")
                and "DEPORT" not in understood["concepts"]
            ):
                return [self._go_on(understood, before, after, today)]
            return [self._policy(topic, understood, after, today)]
        return [self._service(topic, language)]

    def _urgent(self, topic: str, language: str, after: Conversation) -> Plan:
        after.last_topics = [topic, *[old for old in after.last_topics if old != topic]][:3]
        facts = list(self.knowledge.answers[topic].facts)
        closing = deleting() if topic in SENSITIVE else []
        return plan(topic, topic, language, [[line(f"{topic}/short")]], facts=facts, closing=closing)

    def _around(
        self, plans: list[Plan], understood: Mapping[str, Any], before: Conversation, after: Conversation
    ) -> None:
        """What stands inside the last answer besides itself: a warning, who is speaking, the open question."""
        calm = [made for made in plans if made["kind"] not in URGENT]
        if not calm:
            return
        first, last = calm[0], calm[-1]
        if "RAPE" in understood["concepts"] and first["topic"] not in NO_RAPE_LINE:
            first["paragraphs"].append([line("phrase/after_rape")])
        if "DELETE" in understood["concepts"] and not any(
            made["topic"] == "delete_data" or "delete_data" in made["choices"] for made in calm
        ):
            # Perhaps it was meant: what to write so that it is done.
            last["paragraphs"].append([line("privacy/more/1")])
        if understood["personal"] and not any(made["topic"] == "privacy" for made in calm):
            first["paragraphs"].append([line("privacy/personal")])
        answered = first["kind"] in ("answer", "service", "clarify", "offer", "question")
        if answered and not after.introduced and first["topic"] not in ("bot_identity", "opt_out", "delete_data"):
            after.introduced = True
            # After an urgent reply the line waits for a calmer moment.
            if len(calm) == len(plans):
                first["paragraphs"].append([line("phrase/first_contact")])
        asked_now = any(made["kind"] == "question" for made in calm)
        if before.open_question == "place" and not asked_now:
            placed = after.place and after.place != before.place
            keep = first["topic"] not in {"legal_aid", "thanks", "goodbye", "opt_out", "delete_data"}
            if keep and not placed:
                if first["kind"] == "answer":
                    last["paragraphs"].append([line("phrase/place_question")])
                    after.open_question = "place_again"
            else:
                after.open_question = None
        elif not asked_now:
            after.open_question = None
        for made in plans:
            offered = [item["id"] for item in made["buttons"] if item["id"] != "more"]
            after.choices = offered or after.choices

    # --- policy answers -------------------------------------------------------------------------

    def _facts(self, ids: Sequence[str]) -> list[Fact]:
        return [self.knowledge.facts[fact] for fact in ids]

    def _age(self, ids: Sequence[str], today: dt.date) -> list[Line]:
        facts = self._facts(ids)
        if not facts:
            return []
        made = [
            line(f"phrase/{how}", None, **({"month" if how == "checked" else "date": {"date": date}} if date else {}))
            for how, date in oldest(facts)
        ]
        if overdue(facts, today):
            made.append(line("phrase/overdue"))
        return made

    def _withdrawn(self, topic: str, language: str) -> Plan:
        closing = deleting() if topic in SENSITIVE else []
        return plan("answer", topic, language, [[line("phrase/withdrawn")]], facts=[], closing=closing)

    def _policy(self, topic: str, understood: Mapping[str, Any], after: Conversation, today: dt.date) -> Plan:
        answer = self.knowledge.answers[topic]
        language = understood["language"]
        if self.withdrawals.withdrawn([topic, *answer.facts], today):
            return self._withdrawn(topic, language)
        made = plan(
            "answer",
            topic,
            language,
            [[line(f"{topic}/short")], self._age(answer.facts, today)],
            facts=list(answer.facts),
            more=bool(self._parts(topic)),
        )
        if topic in SENSITIVE:
            made["closing"] = deleting()
        after.more = {"topic": topic, "from": 0} if made["more"] else None
        if not understood.get("brief"):
            made["buttons"] = self._next(topic)
        if made["more"]:
            made["buttons"] = [button("more", "phrase/more_button"), *made["buttons"]]
        return made

    def _next(self, topic: str) -> list[dict[str, Any]]:
        return [button(other, f"{other}/title") for other in self.knowledge.answers[topic].next]

    def _parts(self, topic: str) -> list[str]:
        """Text ids of a topic's rest; "places" is its own list of helpers."""
        parts = [f"{topic}/more/{number}" for number in range(1, len(self.knowledge.answers[topic].more) + 1)]
        if topic == "privacy" and self.organisation_kind:
            # A nonprofit and a public agency differ: public-records law.
            parts.insert(0, "privacy/agency" if self.organisation_kind == "public agency" else "privacy/nonprofit")
        if topic not in WITH_PLACES:
            return parts
        # The last of what somebody else may read is how to delete it.
        return [*parts[:-1], "places", parts[-1]] if topic in SENSITIVE else [*parts, "places"]

    def _go_on(self, understood: Mapping[str, Any], before: Conversation, after: Conversation, today: dt.date) -> Plan:
        language = understood["language"]
        if not before.more:
            return plan("notice", None, language, [[line("phrase/more_nothing")]])
        topic, start = before.more["topic"], before.more["from"]
        answer = self.knowledge.answers[topic]
        facts = list(dict.fromkeys([*answer.facts, *answer.more_facts]))
        if self.withdrawals.withdrawn([topic, *facts], today):
            return self._withdrawn(topic, language)
        parts = self._parts(topic)
        end = min(len(parts), start + 1) if understood.get("brief") else len(parts)
        paragraphs: list[Any] = []
        closing: list[Line] = []
        for part in parts[start:end]:
            if part == "places":
                found = self._place(before.place)
                entries = finder.find(self.knowledge, answer.directory, language, None, found)
                if entries:
                    paragraphs.append([line("phrase/call_first"), line("phrase/places_that_help")])
                    paragraphs += [self._entry(entry, language, understood) for entry in entries]
            else:
                paragraphs.append([line(part)])
        left = end < len(parts)
        if not left:
            # Under everything else stands how to delete a conversation, where that is the last of the answer.
            closing = paragraphs.pop() if topic in SENSITIVE else []
            paragraphs.append(self._age(answer.more_facts, today))
        made = plan("answer", topic, language, paragraphs, facts=list(answer.more_facts), more=left, closing=closing)
        if left:
            after.more = {"topic": topic, "from": end}
            made["buttons"] = [button("more", "phrase/more_button")]
        elif not understood.get("brief"):
            made["buttons"] = self._next(topic)
        return made

    # --- the exact words, and what has changed --------------------------------------------------

    def _topic_policy_text(
        self, understood: Mapping[str, Any], before: Conversation, after: Conversation, today: dt.date
    ) -> list[Plan]:
        language = understood["language"]
        passages = self.knowledge.passages()
        chosen = understood["argument"] if understood["command"] == "passage" else None
        quoted = {topic for passage in passages.values() for topic in passage.topics} - {
            "policy_text",
            "policy_changes",
        }
        near = [topic for topic in before.last_topics if topic in quoted]
        about = [topic for topic in understood["about"] if topic in quoted][:1]
        if chosen not in passages:
            chosen = next(iter(understood.get("passages") or ()), None)
            if before.last_topics[:1] == ["policy_text"] and before.shown:
                chosen = before.shown
            for topic in [*about, *near[:1]]:
                chosen = chosen or next((p.id for p in passages.values() if topic in p.topics), None)
        offered = [
            passage for passage in passages.values() if passage.id != chosen and set(passage.topics) & {*near, *about}
        ]
        offered += [passage for passage in passages.values() if passage.id != chosen and passage not in offered]
        buttons = [button(f"passage:{p.id}", f"passage/{p.id}/title") for p in offered[:LISTED]]
        if chosen is None:
            answer = self.knowledge.answers["policy_text"]
            first = next(iter(passages.values()))
            if self.withdrawals.withdrawn(["policy_text", *answer.facts], today):
                return [self._withdrawn("policy_text", language)]
            paragraphs = [*self._passage(first.id, language), [line("phrase/choose_passage")]]
            after.shown = first.id
            return [
                plan(
                    "answer",
                    "policy_text",
                    language,
                    paragraphs,
                    facts=[first.fact],
                    buttons=[b for b in buttons if b["id"] != f"passage:{first.id}"],
                )
            ]
        passage = passages[chosen]
        if self.withdrawals.withdrawn(["policy_text", passage.fact], today):
            return [self._withdrawn("policy_text", language)]
        after.shown = chosen
        paragraphs = self._passage(chosen, language)
        if overdue(self._facts([passage.fact]), today):
            paragraphs.append([line("phrase/overdue")])
        return [
            plan(
                "answer",
                "policy_text",
                language,
                paragraphs,
                facts=[passage.fact],
                buttons=[] if understood.get("brief") else buttons,
            )
        ]

    def _passage(self, passage_id: str, language: str) -> list[list[Line]]:
        fact = self.knowledge.facts[self.knowledge.passages()[passage_id].fact]
        date = fact.source_date.date
        source = (
            line("phrase/source", citation=fact.citation, date={"date": date})
            if date
            else line("phrase/source_no_date", citation=fact.citation)
        )
        quote = line("quote", fact=fact.id)
        made = [[line("phrase/official_english"), quote]] if language != "en" else [[quote]]
        if language != "en":
            made.append([line("phrase/unofficial"), line(f"passage/{passage_id}/quote")])
        # How it stands comes first: a fragment of a law read alone can say the opposite of the law.
        return [[line(f"passage/{passage_id}/standing")], *made, [source, line(f"phrase/status_{fact.status}")]]

    def _topic_policy_changes(
        self, understood: Mapping[str, Any], before: Conversation, after: Conversation, today: dt.date
    ) -> list[Plan]:
        language = understood["language"]
        changes = self.knowledge.changes()
        chosen = understood["argument"] if understood["command"] == "change" else None
        if chosen not in changes:
            chosen = next((change for change in understood.get("changes") or () if change in changes), None)
        if chosen is None:
            near = [topic for topic in before.last_topics if topic not in ("policy_text", "policy_changes", *SMALL)]
            for topic in near[:1]:
                own = [c.id for c in changes.values() if c.topics[:1] == (topic,)]
                chosen = next(iter([*own, *(c.id for c in changes.values() if topic in c.topics)]), None)
        others = [button(f"change:{c.id}", f"change/{c.id}/title") for c in changes.values() if c.id != chosen][:LISTED]
        if chosen is None:
            made = self._policy("policy_changes", understood, after, today)
            if not understood.get("brief") and made["more"]:
                made["buttons"] = [button("more", "phrase/more_button"), *others]
            return [made]
        change = changes[chosen]
        if self.withdrawals.withdrawn(["policy_changes", *change.facts], today):
            return [self._withdrawn("policy_changes", language)]
        return [
            plan(
                "answer",
                "policy_changes",
                language,
                [
                    [line(f"change/{chosen}/text")],
                    self._age(change.facts, today),
                ],
                facts=list(change.facts),
                buttons=[] if understood.get("brief") else others,
            )
        ]

    # --- places that help -----------------------------------------------------------------------

    def _place(self, place: str | None) -> Found | None:
        if not place:
            return None
        gazetteer = self.knowledge.gazetteer
        if place in gazetteer.zips:
            return Found(gazetteer.zips[place][0], "", place)
        if place in gazetteer.places:
            return Found(place, gazetteer.places[place].name)
        return Found(place, "")

    def _topic_legal_aid(
        self, understood: Mapping[str, Any], before: Conversation, after: Conversation, today: dt.date
    ) -> list[Plan]:
        language = understood["language"]
        if self.withdrawals.withdrawn(["legal_aid"], today):
            return [self._withdrawn("legal_aid", language)]
        answer = self.knowledge.answers["legal_aid"]
        place = understood["place"] or (before.place if before.place else None)
        asked_again = before.open_question in ("place", "place_again") and understood["command"] != "place"
        if not place and not asked_again:
            after.open_question = "place"
            return [
                plan(
                    "question",
                    "legal_aid",
                    language,
                    [[line("phrase/place_question")], [line("phrase/rest_hotline")]],
                )
            ]
        if understood["place"] in ("unknown", None) and not before.place:
            found, head = (
                None,
                line("phrase/place_unknown" if understood["place"] == "unknown" else "phrase/place_county"),
            )
        else:
            if understood["place"]:
                found = Found(understood["place"], understood["place_name"], understood["zip"])
            else:
                found = self._place(before.place) or Found(COUNTY, "")
            if found.id == OUTSIDE:
                head = line("phrase/place_outside", place=found.name or found.zip)
            elif found.id == COUNTY:
                found, head = None, line("phrase/place_county")
            else:
                name = found.zip or found.name or self.knowledge.gazetteer.places[found.id].name
                head = line("phrase/place_near", place=name)
        case = understood["case"]
        entries = finder.find(self.knowledge, finder.legal_ids(self.knowledge, case), language, case, found)
        # What first shows on a locked phone is this and not the name of a shelter.
        paragraphs = [
            [line("phrase/call_first"), head],
            *[self._entry(entry, language, understood) for entry in entries],
        ]
        paragraphs.append([line("phrase/rest_hotline")])
        checked = min((entry.checked_on for entry in entries if entry.checked_on), default=None)
        if checked:
            paragraphs.append([line("phrase/checked", month={"date": checked.isoformat()[:7]})])
        if any(entry.review_by < today for entry in entries):
            paragraphs.append([line("phrase/overdue")])
        more = bool(answer.more)
        after.more = {"topic": "legal_aid", "from": 0}
        made = plan("answer", "legal_aid", language, paragraphs, facts=list(answer.facts), more=more)
        if case in HARM:
            made["closing"] = deleting()
        made["directory"] = [entry.id for entry in entries]
        made["buttons"] = [button("more", "phrase/more_button")]
        return [made]

    def _entry(self, entry: Entry, language: str, understood: Mapping[str, Any]) -> dict[str, list[Line]]:
        """One place that helps: what it does, how to reach it, hours, cost, language."""
        made = [line("phrase/entry", name=entry.name, helps_with=line(f"directory/{entry.id}/helps_with"))]
        if entry.phones:
            made.append(line("phrase/entry_phone", phone=entry.phones[0][1].replace(" or ", " / ")))
        if entry.website and (not entry.phones or not understood.get("brief")):
            made.append(line("phrase/entry_web", website=entry.site))
        if entry.hours:
            made.append(line("phrase/entry_hours", hours={"hours": dict(entry.hours)}))
        elif entry.phones:
            made.append(line("phrase/entry_ask_hours"))
        made.append(line("phrase/entry_cost", cost=line(f"phrase/cost_{entry.cost}")))
        if language != "en" and entry.phones and language not in entry.languages:
            made.append(line("phrase/entry_ask_spanish" if language == "es" else "phrase/entry_ask_creole"))
        return {"rows": made}

    # --- service topics -------------------------------------------------------------------------

    def _service(self, topic: str, language: str) -> Plan:
        return plan("service", topic, language, [[line(f"{topic}/short")]], buttons=self._next(topic))

    def _topic_thanks(self, understood: Mapping[str, Any], *_: Any) -> list[Plan]:
        return [plan("service", "thanks", understood["language"], [[line("thanks/short")]])]

    def _topic_greet(
        self, understood: Mapping[str, Any], before: Conversation, after: Conversation, today: dt.date
    ) -> list[Plan]:
        return [self._service("greet", understood["language"])]

    def _topic_help_menu(
        self, understood: Mapping[str, Any], before: Conversation, after: Conversation, today: dt.date
    ) -> list[Plan]:
        made = self._service("help_menu", understood["language"])
        made["choices"] = list(self.knowledge.answers["help_menu"].next)
        if understood.get("stop_words"):
            # Carriers want HELP to name the service and to say how to stop.
            made["paragraphs"].append([line("phrase/help_line")])
        return [made]

    def _topic_privacy(
        self, understood: Mapping[str, Any], before: Conversation, after: Conversation, today: dt.date
    ) -> list[Plan]:
        made = self._policy("privacy", {**understood, "brief": True}, after, today)
        made["kind"] = "service"
        if understood["personal"]:
            made["paragraphs"].insert(0, [line("privacy/personal")])
        return [made]

    def _topic_out_of_scope(
        self, understood: Mapping[str, Any], before: Conversation, after: Conversation, today: dt.date
    ) -> list[Plan]:
        made = self._service("out_of_scope", understood["language"])
        # TPS is no topic of ours, but it changed, and people plan their lives by it: what we know, and where to look.
        for change_id in understood.get("changes") or ():
            change = self.knowledge.changes().get(change_id)
            if change and change_id.startswith("tps") and not self.withdrawals.withdrawn(change.facts, today):
                made["paragraphs"].insert(0, [line(f"change/{change_id}/text")])
                made["facts"] = list(change.facts)
                break
        return [made]

    def _topic_human_handoff(
        self, understood: Mapping[str, Any], before: Conversation, after: Conversation, today: dt.date
    ) -> list[Plan]:
        made = self._service("human_handoff", understood["language"])
        if self.organisation_kind:
            made["paragraphs"].append([line("human_handoff/organisation")])
        return [made]

    def _topic_delete_data(
        self, understood: Mapping[str, Any], before: Conversation, after: Conversation, today: dt.date
    ) -> list[Plan]:
        after.forget = True
        return [plan("service", "delete_data", understood["language"], [[line("delete_data/short")]])]

    def _topic_opt_out(
        self, understood: Mapping[str, Any], before: Conversation, after: Conversation, today: dt.date
    ) -> list[Plan]:
        language = understood["language"]
        if not understood.get("stop_words"):
            after.forget = True
            return [plan("service", "opt_out", language, [[line("opt_out/ended")]])]
        if understood["exact"]:
            after.forget = True
            return [plan("service", "opt_out", language, [[line("opt_out/short")]])]
        return [plan("service", "opt_out", language, [[line("opt_out/ask")]])]

    def _topic_change_language(
        self, understood: Mapping[str, Any], before: Conversation, after: Conversation, today: dt.date
    ) -> list[Plan]:
        wanted = understood["argument"]
        if wanted not in LANGUAGES:
            made = plan("service", "change_language", understood["language"], [[line("change_language/ask")]])
            made["buttons"] = [button(f"language:{code}", name, code) for code, name in LANGUAGE_NAMES.items()]
            return [made]
        after.language = wanted
        plans = [plan("service", "change_language", wanted, [[line("change_language/short")]])]
        last = next((topic for topic in before.last_topics if self.knowledge.topics.get(topic) == "policy"), None)
        if last:
            again = {**understood, "language": wanted, "command": None, "argument": None, "again": True}
            plans += self._topic(last, again, before, after, today)
        return plans

    def _language_notice(self, notice: str, after: Conversation) -> Plan:
        names = LANGUAGE_NAMES
        order = ("ht", "es", "en") if notice == "french" else ("en", "es", "ht")
        text = "phrase/language_french" if notice == "french" else "phrase/language_other"
        made = plan("notice", None, order[0], [[line(text, code)] for code in order])
        made["buttons"] = [button(f"language:{code}", names[code], code) for code in order]
        after.choices = [item["id"] for item in made["buttons"]]
        return made

    # --- doubt ----------------------------------------------------------------------------------

    def _doubt(self, understood: Mapping[str, Any], after: Conversation) -> Plan:
        language = understood["language"]
        choices = list(understood["choices"])
        if choices:
            made = plan("offer", None, language, [[line("phrase/offer")]], choices=choices)
        else:
            choices = list(self.knowledge.answers["help_menu"].next)
            made = plan("clarify", None, language, [[line("phrase/clarify")]], choices=choices)
        made["buttons"] = [button(topic, f"{topic}/title") for topic in choices]
        return made

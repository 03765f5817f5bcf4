"""Plans to replies: Rasa's NLG hook (endpoints.yml: nlg.type) and the functions behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rasa.core.nlg.generator import NaturalLanguageGenerator
from rasa.shared.core.domain import Domain
from rasa.shared.core.trackers import DialogueStateTracker
from rasa.utils.endpoints import EndpointConfig

from bot.words import MissingWords, Words, loaded


@dataclass
class Reply:
    """What residents, the widget, tests and `outreach ask` see (the contract of docs/operators.md)."""

    text: str
    """Finished, plain text."""
    language: str
    kind: str
    """answer, offer, clarify, question, emergency, crisis, service, notice."""
    topic: str | None
    choices: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    links: list[dict[str, str]] = field(default_factory=list)
    buttons: list[dict[str, str]] = field(default_factory=list)
    fallback: bool = False
    """English stands in for a stale translation."""
    more: bool = False
    """There is a rest behind MORE."""
    closing: str = ""
    """The last line, under all that a channel puts below the text; shaping makes it a part of the text."""
    guarded: bool = False
    """No message of it begins with what it is about: somebody else may look at the phone."""

    def as_dict(self) -> dict[str, Any]:
        """For `ask` and the widget; `fallback` only where it is true."""
        made = {
            name: getattr(self, name)
            for name in ("text", "language", "kind", "topic", "choices", "facts", "links", "buttons")
        }
        if self.fallback:
            made["fallback"] = True
        return made


def _days(hours: Mapping[str, Any], language: str, words: Words) -> str:
    """Weekly hours in words: "Monday to Friday, 8:30 a.m. to 4:30 p.m."."""
    from bot.words import spoken_time

    if hours["kind"] == "always":
        return words.line("phrase/hours_always", language)
    order = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    spans = []
    for span in hours["spans"]:
        days = [day for day in order if day in span["days"]]
        names = [words.line(f"phrase/day_{day}", language) for day in days]
        together = [order.index(day) for day in days] == list(
            range(order.index(days[0]), order.index(days[0]) + len(days))
        )
        if len(names) == 1:
            said = names[0]
        elif together and len(names) > 2:
            said = words.line("phrase/days_range", language, {"first": names[0], "last": names[-1]})
        else:
            said = words.line("phrase/days_list", language, {"first": ", ".join(names[:-1]), "last": names[-1]})
        times = {"from": spoken_time(span["from"], language), "to": spoken_time(span["to"], language)}
        spans.append(words.line("phrase/hours_span", language, {"days": said, **times}))
    return "; ".join(spans)


def _line(made: Mapping[str, Any], language: str, words: Words) -> str:
    language = made.get("language", language)
    values = dict(made.get("values") or {})
    if made["id"] == "quote":
        return f'"{words.knowledge.facts[values["fact"]].quote.strip(chr(34))}"'
    for name, value in values.items():
        if isinstance(value, Mapping) and "hours" in value:
            values[name] = _days(value["hours"], language, words)
        elif isinstance(value, Mapping) and "id" in value:
            values[name] = _line(value, language, words)
    return words.line(made["id"], language, values)


def render(plan: Mapping[str, Any], words: Words) -> Reply:
    """A plan as a finished reply, in its language, or in English with a line that says why."""
    language = plan["language"]
    try:
        return _render(plan, language, words)
    except MissingWords:
        reply = _render(plan, "en", words)
        try:
            head = words.line("phrase/english_fallback", language)
        except MissingWords:
            head = words.line("phrase/english_fallback", "en")
        reply.text = f"{head}\n\n{reply.text}"
        reply.fallback = True
        return reply


def _render(plan: Mapping[str, Any], language: str, words: Words) -> Reply:
    paragraphs = []
    for paragraph in plan["paragraphs"]:
        rows = paragraph["rows"] if isinstance(paragraph, Mapping) else None
        said = [_line(made, language, words) for made in (rows if rows is not None else paragraph)]
        paragraphs.append(("\n" if rows is not None else " ").join(said))
    buttons = [{"id": item["id"], "title": _line(item["title"], language, words)} for item in plan["buttons"]]
    links: list[dict[str, str]] = []
    for fact_id in plan["facts"]:
        fact = words.knowledge.facts[fact_id]
        if fact.source_url.startswith("https://") and all(link["url"] != fact.source_url for link in links):
            links.append({"title": fact.citation, "url": fact.source_url})
    return Reply(
        text="\n\n".join(text for text in paragraphs if text),
        language=language,
        kind=plan["kind"],
        topic=plan["topic"],
        choices=list(plan["choices"]),
        facts=list(plan["facts"]),
        links=links,
        buttons=buttons,
        more=bool(plan["more"]),
        closing=" ".join(_line(made, language, words) for made in plan.get("closing") or ()),
        guarded=bool(plan.get("guarded")),
    )


class CatalogueWords(NaturalLanguageGenerator):
    """Rasa's NLG: renders the plan that an action emitted, in this process, from the catalogues."""

    def __init__(
        self,
        endpoint_config: EndpointConfig | None = None,
        domain: Domain | None = None,
        words: Words | None = None,
    ) -> None:
        self._words = words

    async def generate(
        self, utter_action: str, tracker: DialogueStateTracker, output_channel: str, **kwargs: Any
    ) -> dict[str, Any] | None:
        """The reply as Rasa carries it: its text for `rasa shell`, and its plan under `custom` for our channels."""
        plan: Mapping[str, Any] | None = kwargs.get("plan")
        if plan is None:
            return None
        # Our own channels render when they have kept the turn, and again for a repeat (bot/desk.py).
        text = "" if output_channel == "collected" else render(plan, self._words or loaded()).text
        return {"text": text, "custom": {"plan": dict(plan)}}

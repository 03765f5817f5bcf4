"""The page: one HTML document that opens from disk, without scripts and without any request (docs/measuring.md says how to read it).

It holds the measured messages. Whatever comes from a file or a reply goes through `escape`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bot.evaluation.comparison import Comparison
from bot.evaluation.figures import Figure, Group, beliefs, figures, groups
from bot.evaluation.labelled import Labelled
from bot.evaluation.measuring import Measured
from bot.evaluation.outcomes import OUTCOMES, URGENT
from bot.evaluation.pictures import Cell, bars, heat_map, reliability_curve
from bot.evaluation.statistics import Bin, Share, calibration_error, decimal, p_text

FOLDER = Path(__file__).resolve().parent
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Nothing is loaded, nothing runs, nothing is sent; the browser sees to it."""
WORST = 12
"""Confusions that are shown open."""
OTHERS = ("offer", "clarify", "notice", "silence")
"""What can be said instead of a topic."""
SAYS = {
    "right": "about what was asked, and nothing else",
    "half": "about it, and about something else",
    "offered": "asked to choose, and it is among the choices",
    "asked": "asked to rephrase, or to choose among others",
    "wrong": "about something else, or silent",
}


@dataclass(frozen=True)
class Run:
    """One labelled file, measured."""

    labelled: Labelled
    measured: Sequence[Measured]
    comparison: Comparison | None = None

    @property
    def figures(self) -> list[Figure]:
        """Its figures."""
        return figures(self.labelled.kind, [one.outcome for one in self.measured])

    def groups(self, key: str) -> list[Group]:
        """Outcomes by lang, topic or register."""
        pairs = []
        for one in self.measured:
            name = one.item.register if key == "register" else getattr(one.outcome, key)
            pairs.append((name or "(none)", one.outcome))
        return groups(pairs)


def page(runs: Sequence[Run], about: Sequence[tuple[str, str]]) -> str:
    """The whole document.

    Args:
        runs: one per labelled file.
        about: (what, value): day, model, what it is compared with.
    """
    body = [
        f"<dl class='quiet about'>{''.join(f'<div><dt>{escape(a)}</dt> <dd>{escape(b)}</dd></div>' for a, b in about)}</dl>"
    ]
    if len(runs) > 1:
        links = "".join(f'<li><a href="#{_name(run)}">{escape(run.labelled.name)}</a></li>' for run in runs)
        body.append(f'<nav aria-label="Files"><ul>{links}</ul></nav>')
    body += [_file(run) for run in runs]
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>How residents are understood</title><style>{style}</style></head>\n"
        "<body><main><h1>How residents are understood</h1>\n" + "\n".join(body) + "\n</main></body></html>\n"
    )


def _name(run: Run) -> str:
    """An element's name from the file's, of letters and numbers only."""
    return "file-" + "".join(sign if sign.isalnum() and sign.isascii() else "-" for sign in run.labelled.name)


def _file(run: Run) -> str:
    labelled = run.labelled
    name = _name(run)
    left = f" Left out, in a language that no reply is written in: {labelled.left_out}." if labelled.left_out else ""
    parts = [
        f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(labelled.name)}</h2>',
        f"<p class=quiet>{len(run.measured)} {_KINDS[labelled.kind]}.{left}</p>",
        _figure_table(run.figures),
    ]
    if run.comparison:
        parts.append(_comparison(run, run.comparison))
    parts.append(_urgent(run))
    if labelled.kind == "messages":
        parts += [
            _bars(run, "lang", "Outcome by language"),
            _bars(run, "register", "Outcome by register"),
            _bars(run, "topic", "Outcome by topic"),
            _confusion(run),
            _reliability(run),
            _worst(run),
        ]
    elif labelled.kind == "dialogues":
        parts += [_bars(run, "lang", "Outcome by language"), _transcripts(run)]
    else:
        parts.append(_bars(run, "lang", "Outcome by language"))
        if labelled.kind == "language":
            wrong = [one for one in run.measured if not one.outcome.right]
            parts.append(_collapsed(f"In another language: {len(wrong)}", _texts(wrong)) if wrong else "")
    return "\n".join(part for part in parts if part) + "\n</section>"


_KINDS = {
    "messages": "messages, each the first of a conversation",
    "emergency": "messages, danger now or not",
    "language": "messages, for the language of the first reply",
    "dialogues": "turns of dialogues",
}


# --- tables ---------------------------------------------------------------------------------------


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], bad: Sequence[bool] = ()) -> str:
    """A table of texts; the first column names the row. It scrolls by itself where it is too wide."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = []
    for number, row in enumerate(rows):
        mark = ' class="bad"' if number < len(bad) and bad[number] else ""
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        lines.append(f'<tr{mark}><th scope="row">{escape(row[0])}</th>{cells}</tr>')
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _collapsed(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _figure_table(found: Sequence[Figure]) -> str:
    rows = [(one.name, one.as_text(), one.interval_text(), one.count_text()) for one in found]
    return _table("Figures, with 95 % intervals (Wilson) of the shares", ("figure", "value", "95 %", "messages"), rows)


def _group_table(caption: str, rows: Sequence[Group]) -> str:
    made = []
    for row in rows:
        low, high = row.share("right").interval
        counts = [str(row.counts[what]) for what in OUTCOMES]
        made.append(
            (row.name, str(row.number), *counts, decimal(row.share("right").value), f"{decimal(low)} - {decimal(high)}")
        )
    return _table(caption, ("", "n", *OUTCOMES, "right", "95 %"), made)


def _comparison(run: Run, one: Comparison) -> str:
    rows = [
        (name, str(c.gained), str(c.lost), p_text(c.worse), p_text(c.differs), str(c.pairs))
        for name, c in one.changes.items()
    ]
    verdict = f"Worse by more than chance: {', '.join(one.worse)}." if one.worse else "Not worse by more than chance."
    if one.unpaired:
        verdict += f" {one.without_pair}"
    by_id = {each.outcome.id: each for each in run.measured}
    lists = [
        _collapsed(f"{label}: {len(ids)}", _texts([by_id[name] for name in ids]))
        for label, ids in (
            ("Became wrong", one.lost),
            ("Became right", one.gained),
            ("Urgent and no longer caught", one.alarms_lost),
        )
        if ids
    ]
    return (
        "<h3>Against the other run</h3>"
        f"<p>{escape(verdict)} <span class=quiet>Only messages that changed sides count (McNemar's exact test): p differs asks whether "
        "the runs differ at all, p worse whether this one is worse; below .05 it is more than chance.</span></p>"
        + _table(
            "What changed, message by message",
            ("", "became right", "became wrong", "p worse", "p differs", "pairs"),
            rows,
            [name in one.worse for name in one.changes],
        )
        + "".join(lists)
    )


# --- lists of messages ----------------------------------------------------------------------------


def _said(one: Measured) -> str:
    """What the replies were, in a few words."""
    told = f"said {', '.join(one.outcome.said) or one.outcome.kind or 'nothing'}"
    if not one.offered:
        return told
    choices = f"offered {', '.join(one.offered)}"
    return f"{told}; {choices}" if one.outcome.said else choices


def _texts(messages: Sequence[Measured]) -> str:
    """Messages with what was asked and said."""
    lines = []
    for one in messages:
        out = one.outcome
        wanted = "/".join(sorted(one.item.accepted, key=lambda topic: (topic != one.item.topic, topic)))
        facts = [out.id, out.lang, out.outcome]
        facts += [f"wanted {wanted}"] if wanted else []
        facts += [_said(one)]
        facts += [f"in {out.reply_language}"] if out.reply_language != out.lang and out.reply_language else []
        facts += [f"belief {decimal(out.confidence, 2)}"] if out.confidence is not None else []
        language = f' lang="{escape(out.lang)}"' if out.lang != "none" else ""
        lines.append(
            f'<li class="{out.outcome}"><p{language}>{escape(one.item.text)}</p><p class=quiet>{escape(" · ".join(facts))}</p></li>'
        )
    return f'<ul class="texts">{"".join(lines)}</ul>'


def _urgent(run: Run) -> str:
    """Missed danger and false alarms: first of all that can go wrong."""
    parts = []
    for label, what in (("Danger that was missed", "missed"), ("False alarms", "false")):
        found = [one for one in run.measured if one.outcome.alarm == what]
        if found:
            content = _texts(found)
            parts.append(
                f"<h3>{label}: {len(found)}</h3>"
                + (content if run.labelled.kind == "messages" else _collapsed("The messages", content))
            )
    return "".join(parts)


# --- pictures -------------------------------------------------------------------------------------


def _key(rows: Sequence[Group], says: bool) -> str:
    """The colours that are used; what they mean beside the first picture."""
    used = [what for what in OUTCOMES if any(row.counts[what] for row in rows)]
    lines = [f'<li><i class="{what}"></i>{what}{f": {SAYS[what]}" if says else ""}</li>' for what in used]
    return f"<ul class=key>{''.join(lines)}</ul>"


def _bars(run: Run, by: str, title: str) -> str:
    rows = run.groups(by)
    if by == "register" and len(rows) < 2:
        return ""
    name = f"{_name(run)}-{by}"
    return (
        f"<h3>{title}</h3><figure><figcaption>{_key(rows, run.labelled.kind == 'messages' and by == 'lang')}</figcaption>"
        f"{bars(name, f'{title}, {run.labelled.name}', rows)}</figure>"
        + _collapsed("The same as a table", _group_table(f"{title}: messages, and share of right", rows))
    )


def said_as(one: Measured) -> str:
    """The column of the confusion matrix: the topic that made the outcome, or what was said instead of one."""
    out, accepted = one.outcome, one.item.accepted
    if not out.said:
        return out.kind or "silence"
    if out.outcome == "right":
        return next(topic for topic in out.said if topic in accepted)
    # Beside an accepted topic, the one that should not have been said; an urgent first one is passed over, as in the rules.
    rest = out.said[1:] if out.outcome == "half" and out.said[0] in URGENT else out.said
    return next((topic for topic in rest if topic not in accepted), out.said[0])


def confusions(measured: Sequence[Measured]) -> dict[tuple[str, str], list[Measured]]:
    """Messages by (topic of the label, what was said)."""
    found: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    for one in measured:
        found[(one.item.topic or "", said_as(one))].append(one)
    return dict(found)


def _cells(found: Mapping[tuple[str, str], Sequence[Measured]]) -> dict[tuple[str, str], Cell]:
    return {key: Cell(len(all_of), sum(one.outcome.right for one in all_of)) for key, all_of in found.items()}


def _confusion(run: Run) -> str:
    cells = _cells(confusions(run.measured))
    rows = sorted({row for row, _ in cells})
    said = {column for _, column in cells}
    columns = [*sorted((said | set(rows)) - set(OTHERS)), *(name for name in OTHERS if name in said)]
    table = [
        (row, column, str(cell.number), str(cell.accepted))
        for (row, column), cell in sorted(cells.items(), key=lambda item: (item[0][0], -item[1].number, item[0][1]))
    ]
    title = "Confusion matrix: topic by what was said"
    return (
        f"<h3>{title}</h3><figure><figcaption>A row is what was asked, a column what was said. Green was accepted, also beside the diagonal, "
        "where another topic serves as well; framed red was not. The stronger the colour, the more of the row.</figcaption>"
        f'<div class="scroll" role="region" aria-label="{title}" tabindex="0"><div class="map">'
        f"{heat_map(_name(run) + '-confusion', f'{title}, {run.labelled.name}', rows, columns, cells)}</div></div></figure>"
        + _collapsed(
            "The same as a table", _table("Cells that are not empty", ("asked", "said", "messages", "right"), table)
        )
    )


def _bin_rows(bins: Sequence[Bin]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for one in bins:
        if one.number:
            share = Share(one.right, one.number)
            low, high = share.interval
            rows.append(
                (
                    f"{decimal(one.low, 1)} - {decimal(one.high, 1)}",
                    str(one.number),
                    decimal(one.belief),
                    decimal(share.value),
                    f"{decimal(low)} - {decimal(high)}",
                )
            )
    return rows


def _reliability(run: Run) -> str:
    outcomes = [one.outcome for one in run.measured]
    every, answered = beliefs(outcomes), beliefs(outcomes, answered=True)
    if not any(one.number for one in every):
        return ""
    without = sum(one.confidence is None for one in outcomes)
    title = "Reliability: belief against right"
    head = ("belief", "messages", "mean belief", "right", "95 %")
    return (
        f"<h3>{title}</h3><figure><figcaption>How often the model is right when it believes so much in its likeliest topic. On the dashed line "
        "belief and truth agree; above it the model knows more than it believes. Round dots, with 95 % intervals: all messages, where those "
        "that were asked to choose count as not right. Diamonds: only messages that were answered. Expected calibration error: "
        f"{decimal(calibration_error(every))} over all messages, {decimal(calibration_error(answered))} over those answered."
        f"{f' Without a belief, since exact words decided: {without}.' if without else ''}</figcaption>"
        f"{reliability_curve(_name(run) + '-reliability', f'{title}, {run.labelled.name}', every, answered)}</figure>"
        + _collapsed(
            "The same as a table",
            _table("All messages", head, _bin_rows(every))
            + _table("Messages that were answered", head, _bin_rows(answered)),
        )
    )


def _worst(run: Run) -> str:
    failed = {key: [one for one in found if not one.outcome.right] for key, found in confusions(run.measured).items()}
    # A wrong answer can hurt, a question only costs time.
    ranked = sorted(
        ((key, found) for key, found in failed.items() if found),
        key=lambda item: (-sum(one.outcome.outcome in ("wrong", "half") for one in item[1]), -len(item[1]), item[0]),
    )
    if not ranked:
        return ""

    def block(key: tuple[str, str], found: Sequence[Measured]) -> str:
        counts = Counter(one.outcome.outcome for one in found)
        told = ", ".join(f"{number} {what}" for what, number in counts.most_common())
        return f"<h4>{escape(key[0])} → {escape(key[1])}: {escape(told)}</h4>{_texts(found)}"

    shown = "".join(block(*item) for item in ranked[:WORST])
    rest = "".join(block(*item) for item in ranked[WORST:])
    return (
        "<h3>Worst confusions</h3><p class=quiet>What was asked → what was said, those with the most wrong answers first, with the messages.</p>"
        + shown
        + (_collapsed(f"{len(ranked) - WORST} more", rest) if rest else "")
    )


# --- dialogues ------------------------------------------------------------------------------------


def _transcripts(run: Run) -> str:
    """Whole dialogues with what a reader has to judge: no program can."""
    by_dialogue: dict[str, list[Measured]] = defaultdict(list)
    for one in run.measured:
        by_dialogue[one.item.conversation].append(one)
    parts = ["<h3>The dialogues</h3><p class=quiet>Notes (must, must not) are for a reader to judge.</p>"]
    for name, turns in by_dialogue.items():
        right = sum(one.outcome.right for one in turns)
        lines = []
        for one in turns:
            replies = "".join(
                f'<p class="reply" lang="{escape(reply.language)}">{escape(reply.text)}</p>'
                f"<p class=quiet>{escape(f'{reply.language} {reply.kind} {reply.topic or str()}')}</p>"
                for reply in one.replies
            )
            notes = "".join(
                f"<p class=quiet>{escape(word.replace('_', ' '))}: {escape(note)}</p>" for word, note in one.item.notes
            )
            wanted = "/".join(sorted(one.item.accepted)) or "silence"
            lines.append(
                f'<li class="{one.outcome.outcome}"><p><strong>{escape(one.item.text)}</strong></p>'
                f"<p class=quiet>{escape(one.outcome.outcome)} · wanted {escape(wanted)} in {escape(one.item.lang)}</p>{replies}{notes}</li>"
            )
        about = run.labelled.about.get(name, "")
        title = f"{name} ({turns[0].item.channel}): {right} of {len(turns)} turns right{' - ' + about if about else ''}"
        parts.append(_collapsed(title, f'<ul class="texts">{"".join(lines)}</ul>'))
    return "".join(parts)

"""Puts the chat document together: style and scripts inlined, words from the catalogues, the scripts' hashes for the CSP.

No Node, no bundler: the sources are what browsers run.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import brotli

from actions.organisation import COLOURS, CONTRAST, Organisation, contrast
from bot.nlg import Reply
from bot.words import LANGUAGES, MissingWords, Words

FOLDER = Path(__file__).resolve().parent
OWN_NAMES = {"en": "English", "es": "Español", "ht": "Kreyòl"}
LINES = ("page_line_911", "page_line_988", "page_line_home", "page_line_work")
"""Lines of help that stand in the document itself: they are there when the network is not."""
EXAMPLES = ("page_example_1", "page_example_2", "page_example_3")
PHONE = r"\b(?:(?:1-)?\d{3}-\d{3}-\d{4}|911|988|211)\b(?!-)"
"""What becomes a link to call, in Python and in the browser; no lookbehind, which Safari reads only since 16.4
(https://caniuse.com/js-regexp-lookbehind)."""
_FIELD = re.compile(r"\{\{([a-z_0-9]+)\}\}")
_COMMENT = re.compile(r"^\s*//.*\n", re.MULTILINE)
_INDENT = re.compile(r"^\s+", re.MULTILINE)
DARK_CARD = "#1e242b"
DARK_INK = "#10201e"
"""Of page.css: its cards on dark screens, and what is written on the accent there."""


@dataclass(frozen=True)
class Document:
    """A page, ready to be sent."""

    body: str
    policy: str
    """Its Content-Security-Policy; {ancestors} stays for the sites that may frame it."""


@dataclass(frozen=True)
class Packed:
    """A body as browsers take it: compressed once, at the start."""

    plain: bytes
    br: bytes
    gzip: bytes

    @classmethod
    def of(cls, text: str) -> Packed:
        """Compress a text as small as it gets."""
        plain = text.encode()
        return cls(plain, brotli.compress(plain, mode=brotli.MODE_TEXT, quality=11), gzip.compress(plain, 9, mtime=0))


def page_words(words: Words, language: str) -> dict[str, str]:
    """The page's own texts in a language; {phone} and {n} stay for the script to fill."""
    texts: dict[str, str] = {}
    for text_id in words.knowledge.texts:
        name = text_id.removeprefix("phrase/")
        if text_id.startswith("phrase/page_"):
            values = {"phone": "{phone}", "n": "{n}"}
            try:
                texts[name] = words.line(text_id, language, values)
            except MissingWords:
                texts[name] = words.line(text_id, "en", values)
    if not words.organisation.set_up:
        del texts["page_contact"]
    return texts


def _script(name: str) -> str:
    """A script without what only its reader needs."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    return _INDENT.sub("", _COMMENT.sub("", text)).strip()


def _fill(template: str, values: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda match: values[match.group(1)], template)


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def _languages(current: str, page: str) -> str:
    return " ".join(
        f'<a href="{page}?l={code}" lang="{code}" hreflang="{code}" aria-current="{"true" if code == current else "false"}">{name}</a>'
        for code, name in OWN_NAMES.items()
    )


def _mixed(one: str, other: str, share: float) -> str:
    """A colour between two; `share` of the first."""
    pairs = [(int(one[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(share * left + (1 - share) * right):02x}" for left, right in pairs)


def _readable(ink: str, ground: str, towards: str, least: float) -> str:
    """The ink, mixed with another as far as it takes to be read on a ground."""
    for step in range(0, 101, 5):
        made = _mixed(towards, ink, step / 100)
        if contrast(made, ground) >= least:
            return made
    return towards


def style(own: Organisation) -> str:
    """The style sheet, in the organisation's colours where it has any."""
    css = (FOLDER / "page.css").read_text(encoding="utf-8").strip()
    if not own.colours:
        return css
    used = {**COLOURS, **own.colours}
    accent, ground, ink = used["accent"], used["background"], used["text"]
    light = {
        "accent": accent,
        "on-accent": used["accent_text"],
        "ground": ground,
        "ink": ink,
        # What stands between text and background follows from them, and can be read for certain.
        "quiet": _readable(_mixed(ink, ground, 0.75), ground, ink, CONTRAST),
        "card": "#ffffff" if contrast(ink, "#ffffff") >= contrast(ink, ground) else ground,
        "own": _readable(_mixed(accent, ground, 0.14), ink, ground, CONTRAST),
        "line": _mixed(ink, ground, 0.22),
    }
    dark = {"accent": _readable(accent, DARK_CARD, "#ffffff", 7.0), "on-accent": DARK_INK}
    light_rule, dark_rule = (";".join(f"--{name}:{value}" for name, value in one.items()) for one in (light, dark))
    return (
        f"{css}\n@media screen{{:root{{{light_rule}}}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{_dark_colours(css)};{dark_rule}}}}}"
    )


def _dark_colours(css: str) -> str:
    found = re.search(r"prefers-color-scheme:dark\)\{:root\{([^}]+)\}", css)
    if not found:
        raise ValueError("page.css has no colours for dark screens")
    return found.group(1)


def linked(text: str) -> str:
    """A text as HTML, its phone numbers links to call."""
    return re.sub(
        PHONE, lambda match: f'<a href="tel:{match.group().replace("-", "")}">{match.group()}</a>', html.escape(text)
    )


def header(own: Organisation, words: Words, language: str) -> str:
    """What stands at the top: the organisation's own words, else its name."""
    return own.header.get(language) or words.fill("{org}", language, {})


def _values(words: Words, language: str, page: str) -> dict[str, str]:
    values = {
        name: linked(text) if name in (*LINES, "page_contact") else html.escape(text)
        for name, text in page_words(words, language).items()
    }
    values["language"] = language
    values["languages"] = _languages(language, page)
    values["exit"] = html.escape(words.organisation.exit_address)
    values["header"] = html.escape(header(words.organisation, words, language))
    values["css"] = style(words.organisation)
    contact = values.get("page_contact")
    values["contact"] = f'<li data-n="page_contact">{contact}</li>' if contact else ""
    return values


def _policy(style_text: str, scripts: Sequence[str]) -> str:
    running = (
        f"script-src {' '.join(_hash(text) for text in scripts)}; connect-src 'self'; "
        "require-trusted-types-for 'script'; trusted-types 'none'; "
        if scripts
        else ""
    )
    return (
        f"default-src 'none'; {running}style-src {_hash(style_text)}; img-src data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors {ancestors}"
    )


def chat_document(words: Words, language: str) -> Document:
    """The chat page in a language, with the words of all three for the picker."""
    values = _values(words, language, "/chat")
    values["check"], values["js"] = _script("check.js"), _script("page.js")
    data = {
        "words": {code: page_words(words, code) for code in LANGUAGES},
        "headers": {code: header(words.organisation, words, code) for code in LANGUAGES},
        "phone": PHONE,
    }
    values["words"] = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return Document(
        _fill((FOLDER / "page.html").read_text(encoding="utf-8"), values),
        _policy(values["css"], (values["check"], values["js"])),
    )


# --- the page without scripts -------------------------------------------------------------------


def _choices(items: Sequence[tuple[str, str, str]]) -> str:
    buttons = "".join(
        f'<button type="submit" name="{name}" value="{html.escape(value)}">{html.escape(title)}</button>'
        for name, value, title in items
    )
    return f'<div class="choices">{buttons}</div>' if items else ""


def entry(reply: Reply, language_words: Mapping[str, str]) -> str:
    """A reply as HTML: its paragraphs, sources and choices.

    Args:
        language_words: the page's words in the reply's language.
    """
    paragraphs = "".join(f"<p>{linked(part)}</p>" for part in reply.text.split("\n\n"))
    links = "".join(
        f'<li><a href="{html.escape(link["url"])}" target="_blank" rel="noopener noreferrer">{html.escape(link["title"])} '
        f"{html.escape(language_words['page_new_tab'])}</a></li>"
        for link in reply.links
        if link["url"].startswith("https://")
    )
    sources = (
        f'<details class="more"><summary>{html.escape(language_words["page_sources"])} ({len(reply.links)})</summary>'
        f"<ul>{links}</ul></details>"
        if links
        else ""
    )
    buttons = _choices([("button", item["id"], item["title"]) for item in reply.buttons])
    return f'<div class="entry {reply.kind}" lang="{reply.language}">{paragraphs}{sources}{buttons}</div>'


def told(text: str) -> str:
    """A line of the page's own as HTML."""
    return f'<div class="entry notice"><p>{linked(text)}</p></div>'


def said(text: str) -> str:
    """The visitor's own words as HTML."""
    return f'<div class="entry own"><p>{html.escape(text)}</p></div>'


def basic_document(words: Words, language: str, log: str = "", session: str = "", message_id: str = "") -> Document:
    """The page without scripts.

    Args:
        log: the last turn, as escaped HTML; without one the page introduces itself.
        session: the conversation's token, for the hidden field.
        message_id: of the next message: sent again by a reload it is answered once.
    """
    own = page_words(words, language)
    values = _values(words, language, "/chat/basic")
    lines = "".join(f"<li>{linked(own[name])}</li>" for name in (*LINES, "page_contact") if name in own)
    intro = f'<ul class="lines">{lines}</ul>'
    if not log:
        examples = _choices([("say", own[name], own[name]) for name in EXAMPLES])
        intro += f"<p>{html.escape(own['page_intro'])}</p><p>{html.escape(own['page_kept'])}</p>{examples}"
    restart = f'<button type="submit" name="restart" value="1">{values["page_restart"]}</button>' if session else ""
    values.update(log=log, session=html.escape(session), id=html.escape(message_id), intro=intro, restart=restart)
    return Document(_fill((FOLDER / "basic.html").read_text(encoding="utf-8"), values), _policy(values["css"], ()))


# --- what partner sites embed -------------------------------------------------------------------


@dataclass(frozen=True)
class Loader:
    """The script that partner sites embed. Its address holds its content's hash, so that no copy is ever stale."""

    body: bytes
    version: str
    """First 12 signs of its SHA-256."""
    integrity: str
    """For the script element (https://www.w3.org/TR/SRI/)."""


def loader() -> Loader:
    """The loader as it is served."""
    body = (_script("loader.js") + "\n").encode()
    integrity = "sha384-" + base64.b64encode(hashlib.sha384(body).digest()).decode()
    return Loader(body, hashlib.sha256(body).hexdigest()[:12], integrity)


def snippet(address: str, own: Organisation, language: str, name: str) -> str:
    """What a partner pastes into a page: a plain link, and the script that makes it a launcher.

    Args:
        address: of this server, as the world reaches it, without a path.
        name: what the link says; neutral, it can be read over a shoulder.
    """
    made = loader()
    colours = ""
    if "accent" in own.colours or "accent_text" in own.colours:
        used = {**COLOURS, **own.colours}
        colours = f' data-colours="{used["accent"]} {used["accent_text"]}"'
    return (
        f'<a href="{address}/chat?l={language}" data-civic-chat>{html.escape(name)}</a>\n'
        f'<script src="{address}/chat/loader/{made.version}.js" defer crossorigin="anonymous"\n'
        f'        integrity="{made.integrity}"\n'
        f'        data-lang="{language}" data-exit="{html.escape(own.exit_address)}"{colours}></script>\n'
    )

"""Puts the chat document together: style and script inlined, words from the catalogues, the script's hash for the CSP.

No Node, no bundler: the sources are what browsers run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bot.words import LANGUAGES, MissingWords, Words

FOLDER = Path(__file__).resolve().parent
VERSION = "1"
"""Of the loader's address; changes with the loader."""
OWN_NAMES = {"en": "English", "es": "Español", "ht": "Kreyòl"}
_FIELD = re.compile(r"\{\{([a-z_]+)\}\}")
_COMMENT = re.compile(r"^\s*//.*$", re.MULTILINE)


@dataclass(frozen=True)
class Document:
    """A page, ready to be sent."""

    body: str
    policy: str
    """Its Content-Security-Policy."""


def page_words(words: Words, language: str) -> dict[str, str]:
    """The page's own texts in a language; {phone} and {n} stay for the script to fill."""
    texts: dict[str, str] = {}
    for text_id in words.knowledge.texts:
        name = text_id.removeprefix("phrase/")
        if text_id.startswith("phrase/page_"):
            try:
                texts[name] = words.line(text_id, language, {"phone": "{phone}"})
            except MissingWords:
                texts[name] = words.line(text_id, "en", {"phone": "{phone}"})
    return texts


def _fill(template: str, values: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda match: values[match.group(1)], template)


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def _languages(current: str, page: str) -> str:
    return " ".join(
        f'<a href="{page}?l={code}" lang="{code}" hreflang="{code}" aria-current="{"true" if code == current else "false"}">{name}</a>'
        for code, name in OWN_NAMES.items()
    )


def _style(words: Words) -> str:
    css = (FOLDER / "page.css").read_text(encoding="utf-8").strip()
    colours = words.organisation.colours
    if colours:
        own = f"--accent:{colours['accent']};--on-accent:{colours['accent_text']}"
        css = css.replace("--accent:#1f5f5b;--on-accent:#fff", own, 1)
    return css


def _values(words: Words, language: str, page: str) -> dict[str, str]:
    values = {name: html.escape(text) for name, text in page_words(words, language).items()}
    values["language"] = language
    values["languages"] = _languages(language, page)
    values["exit"] = html.escape(words.organisation.exit_address)
    values["organisation"] = html.escape(words.fill("{org}", language, {}))
    return values


def _policy(style: str, script: str | None) -> str:
    scripts = f"script-src {_hash(script)}; connect-src 'self'; require-trusted-types-for 'script'; " if script else ""
    return (
        f"default-src 'none'; {scripts}style-src {_hash(style)}; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors {ancestors}"
    )


def chat_document(words: Words, language: str) -> Document:
    """The chat page in a language, with the words of all three for the picker."""
    style = _style(words)
    script = _COMMENT.sub("", (FOLDER / "page.js").read_text(encoding="utf-8")).strip()
    values = _values(words, language, "/chat")
    values["css"], values["js"] = style, script
    data = json.dumps({code: page_words(words, code) for code in LANGUAGES}, ensure_ascii=False)
    values["words"] = data.replace("<", "\\u003c")
    return Document(_fill((FOLDER / "page.html").read_text(encoding="utf-8"), values), _policy(style, script))


def basic_document(words: Words, language: str, log: str = "", session: str = "") -> Document:
    """The page without scripts.

    Args:
        log: the conversation so far, as escaped HTML.
        session: the conversation's token, for the hidden field.
    """
    style = _style(words)
    values = _values(words, language, "/chat/basic")
    values.update(css=style, log=log, session=html.escape(session))
    return Document(_fill((FOLDER / "basic.html").read_text(encoding="utf-8"), values), _policy(style, None))


def loader() -> str:
    """The script that partner sites embed."""
    return _COMMENT.sub("", (FOLDER / "loader.js").read_text(encoding="utf-8")).strip() + "\n"

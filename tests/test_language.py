"""Which language a text is in, and when a conversation changes its own."""

from __future__ import annotations

import pytest

from bot.nlu.language import choose, identify

TEXTS = [
    ("en", "someone broke into my car last night what do i do"),
    ("en", "PLS HELP IDK WHO 2 CALL"),
    ("es", "buenas tardes quisiera saber como poner una denuncia"),
    ("es", "no tengo papeles y me robaron"),
    ("es", "q hago si m paran manejando"),
    ("ht", "bonjou mwen ta renmen konnen si m ka rele lapolis"),
    ("ht", "m pa gen papye kisa pou m fe"),
    ("ht", "mwen besoin yon avocat pou dossier mwen"),
    ("fr", "bonjour, je voudrais savoir si je peux porter plainte à la police"),
    ("other", "我需要帮助"),
    ("other", "мне нужна помощь"),
    (None, "ok"),
    (None, "911"),
    (None, "33142"),
    (None, "👍"),
    (None, ""),
]


@pytest.mark.parametrize(("language", "text"), TEXTS)
def test_the_language_of_a_text(language: str | None, text: str) -> None:
    assert identify(text).language == language


CHOICES = [
    # label, text, before, hint, answer in
    ("the first text decides", "mwen bezwen èd tanpri", None, None, "ht"),
    ("a text that says nothing takes the page's language", "33142", None, "ht", "ht"),
    ("nothing at all is English", "33142", None, None, "en"),
    ("French is answered in Creole first", "je voudrais parler avec un avocat", None, None, "ht"),
    ("ok stays", "ok", "es", None, "es"),
    ("wi stays", "wi", "es", None, "es"),
    ("si stays", "si", "ht", None, "ht"),
    ("911 stays", "911", "ht", None, "ht"),
    ("a place stays", "Opa-locka", "ht", None, "ht"),
    ("thanks in English stays", "thank you", "es", None, "es"),
    ("a clear long text changes", "sorry can you tell me where i can report a robbery", "es", None, "en"),
]


@pytest.mark.parametrize(("label", "text", "before", "hint", "language"), CHOICES, ids=[row[0] for row in CHOICES])
def test_the_language_of_the_answer(label: str, text: str, before: str | None, hint: str | None, language: str) -> None:
    assert choose(identify(text), before, hint) == language

"""Messages to sparse vectors: what the classifier sees. Plain numpy and scipy, no Rasa.

Five views of one text, measured in docs/decisions/0003-understanding.md: letters of the text, of its English gloss
and of its sounds, words of the gloss, concepts with pairs of neighbours.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import sparse

from bot.nlu.lexicon import Concepts, Gloss
from bot.nlu.sounds import sounds
from bot.nlu.text import plain, tokens


@dataclass
class Lexicons:
    """The three lists, loaded once."""

    concepts: Concepts
    glosses: dict[str, Gloss]

    @classmethod
    def load(cls) -> Lexicons:
        """Read all of nlu_data/lexicon."""
        return cls(Concepts.load(), {"es": Gloss.load("es"), "ht": Gloss.load("ht")})


def gloss(text: str, language: str | None, lexicons: Lexicons) -> str:
    """The text in word-by-word English; text in English stays."""
    words = tokens(text)
    if language in lexicons.glosses:
        return lexicons.glosses[language].apply(words)[0]
    return " ".join(words)


def letters(text: str, shortest: int = 1, longest: int = 5) -> Iterable[str]:
    """Letter n-grams inside word bounds, as scikit-learn's char_wb makes them."""
    for word in plain(text).split():
        padded = f" {word} "
        for length in range(shortest, longest + 1):
            if length > len(padded):
                yield padded
                break
            for start in range(len(padded) - length + 1):
                yield padded[start : start + length]


def words(text: str) -> Iterable[str]:
    """Words and pairs of words."""
    found = tokens(text)
    yield from found
    yield from (f"{a} {b}" for a, b in itertools.pairwise(found))


NEGATIONS = frozenset({"NOT", "NEVER", "WITHOUT", "NOTHING_NOBODY"})


def concepts(text: str, language: str | None, lexicons: Lexicons) -> Iterable[str]:
    """Concepts, and unordered pairs of concepts that stand within three matches of each other."""
    found: list[str] = []
    for match in lexicons.concepts.find(tokens(text), language):
        if match.concept not in found[-3:]:
            found.append(match.concept)
    yield from set(found)
    pairs = {tuple(sorted((a, b))) for i, a in enumerate(found) for b in found[i + 1 : i + 7] if a != b}
    yield from (f"{a}+{b}" for a, b in sorted(pairs))


@dataclass
class View:
    """One way of seeing a text: its terms, weighted by tf-idf (sublinear) and brought to length 1."""

    name: str
    weight: float = 1.0
    least: int = 1
    """A term must stand in this many training messages."""
    terms: dict[str, int] = field(default_factory=dict)
    idf: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))

    def fit(self, documents: Sequence[Sequence[str]]) -> View:
        """Learn the terms and how rare each is."""
        count: Counter[str] = Counter()
        for document in documents:
            count.update(set(document))
        kept = sorted(term for term, number in count.items() if number >= self.least)
        self.terms = {term: index for index, term in enumerate(kept)}
        number = np.array([count[term] for term in kept], dtype=np.float32)
        self.idf = (np.log((1 + len(documents)) / (1 + number)) + 1).astype(np.float32)
        return self

    def vectors(self, documents: Sequence[Sequence[str]]) -> sparse.csr_matrix:
        """Shape (messages, terms), float32; a message without known terms is a row of zeros."""
        data: list[np.ndarray] = []
        indices: list[np.ndarray] = []
        ends = [0]
        for document in documents:
            counted = Counter(self.terms[term] for term in document if term in self.terms)
            index = np.fromiter(counted.keys(), dtype=np.int32, count=len(counted))
            value = np.fromiter(counted.values(), dtype=np.float32, count=len(counted))
            value = (np.log(value) + 1) * self.idf[index]
            norm = float(np.sqrt((value**2).sum()))
            data.append(value * (self.weight / norm) if norm else value)
            indices.append(index)
            ends.append(ends[-1] + len(index))
        return sparse.csr_matrix(
            (
                np.concatenate(data) if data else np.zeros(0, np.float32),
                np.concatenate(indices) if indices else np.zeros(0, np.int32),
                np.array(ends),
            ),
            shape=(len(documents), len(self.terms)),
            dtype=np.float32,
        )

    def save(self, folder: Path) -> None:
        """Write <name>.json (terms in order) and <name>.npy (idf) into `folder`."""
        ordered = sorted(self.terms, key=self.terms.__getitem__)
        (folder / f"{self.name}.json").write_text(
            json.dumps({"weight": self.weight, "least": self.least, "terms": ordered}, ensure_ascii=False), "utf-8"
        )
        np.save(folder / f"{self.name}.npy", self.idf, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, name: str) -> View:
        """Read what `save` wrote.

        Raises:
            OSError, ValueError: when a file is missing or damaged.
        """
        stored = json.loads((folder / f"{name}.json").read_text("utf-8"))
        idf = np.load(folder / f"{name}.npy", allow_pickle=False)
        terms = {term: index for index, term in enumerate(stored["terms"])}
        if len(terms) != len(idf):
            raise ValueError(f"{folder / name}: {len(terms)} terms but {len(idf)} weights; train again")
        return cls(name, stored["weight"], stored["least"], terms, idf)


Analyzer = Callable[[str, "str | None", Lexicons], list[str]]

VIEWS: dict[str, tuple[Analyzer, float, int]] = {
    # name: what it sees, its weight, in how many messages a term must stand
    "letters": (lambda text, language, lexicons: list(letters(text)), 1.0, 2),
    "gloss": (lambda text, language, lexicons: list(letters(gloss(text, language, lexicons))), 1.0, 2),
    "sounds": (lambda text, language, lexicons: list(letters(sounds(text, language))), 1.0, 2),
    "words": (lambda text, language, lexicons: list(words(gloss(text, language, lexicons))), 1.2, 2),
    "concepts": (lambda text, language, lexicons: list(concepts(text, language, lexicons)), 1.5, 1),
}

"""The topic classifier: one-against-rest logistic regression over the views of bot/nlu/features.py.

Plain scikit-learn in, arrays out; saved as .npz and .json, never as a pickle. What else was tried and how
it did: docs/decisions/0003-understanding.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from bot.nlu.features import VIEWS, Lexicons, View

STRENGTH = 10.0
"""C of the regression: .851 at 3, .853 at 10, .855 at 30 on the dev messages; 10 keeps probabilities usable."""


class NotLearned(RuntimeError):
    """Training ended with a model that does not know its own training messages."""


@dataclass
class TopicClassifier:
    """Views, and a weight for each of their terms and each topic."""

    views: list[View]
    topics: list[str]
    weights: np.ndarray
    """Shape (terms of all views, topics), float32."""
    bias: np.ndarray
    """Shape (topics,)."""

    @classmethod
    def train(
        cls,
        texts: Sequence[str],
        languages: Sequence[str | None],
        topics: Sequence[str],
        lexicons: Lexicons,
        progress: Callable[[str], None] = lambda line: None,
    ) -> TopicClassifier:
        """Learn topics from messages. The same messages in the same order give the same model.

        Args:
            texts: messages as written.
            languages: the language of each, for glosses and false friends; None where unknown.
            topics: the topic of each.
            lexicons: concepts and glosses.
            progress: told a line about each step.

        Raises:
            NotLearned: when fewer than 90 % of the training messages get their own topic back.
        """
        from sklearn.linear_model import LogisticRegression

        views, blocks = [], []
        for name, (analyze, weight, least) in VIEWS.items():
            documents = [analyze(text, language, lexicons) for text, language in zip(texts, languages, strict=True)]
            view = View(name, weight, least).fit(documents)
            views.append(view)
            blocks.append(view.vectors(documents))
            progress(f"{name}: {len(view.terms)} terms")
        matrix = sparse.hstack(blocks).tocsr()
        names = sorted(set(topics))
        labels = np.array(topics)
        weights = np.zeros((matrix.shape[1], len(names)), dtype=np.float32)
        bias = np.zeros(len(names), dtype=np.float32)
        for index, topic in enumerate(names):
            regression = LogisticRegression(
                # The dual form has the same solution (correlation 1.00000 on 19,990 messages) in half of the time.
                C=STRENGTH,
                solver="liblinear",
                dual=True,
                max_iter=300,
                class_weight="balanced",
                random_state=1,
            )
            regression.fit(matrix, labels == topic)
            weights[:, index] = regression.coef_[0]
            bias[index] = regression.intercept_[0]
            progress(f"topic {index + 1} of {len(names)}: {topic}")
        model = cls(views, names, weights, bias)
        known = np.array(names)[np.argmax(matrix @ weights + bias, axis=1)] == labels
        if known.mean() < 0.9:
            raise NotLearned(
                f"the model knows only {known.mean():.0%} of its own training messages; nothing was saved. "
                "Check nlu_data for topics with mixed-up messages (outreach check)"
            )
        progress(f"knows {known.mean():.1%} of its own messages")
        return model

    def probabilities(self, text: str, language: str | None, lexicons: Lexicons) -> dict[str, float]:
        """Topic -> belief, adding up to 1, likeliest first."""
        row = sparse.hstack([view.vectors([VIEWS[view.name][0](text, language, lexicons)]) for view in self.views])
        scores = np.asarray(row @ self.weights).ravel() + self.bias
        belief = 1 / (1 + np.exp(-scores))
        belief = belief / belief.sum()
        order = np.argsort(-belief)
        return {self.topics[index]: float(belief[index]) for index in order}

    def save(self, folder: Path) -> None:
        """Write the model's files into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        for view in self.views:
            view.save(folder)
        (folder / "classifier.json").write_text(
            json.dumps({"topics": self.topics, "views": [view.name for view in self.views]}), "utf-8"
        )
        np.savez(folder / "classifier.npz", weights=self.weights, bias=self.bias)

    @classmethod
    def load(cls, folder: Path) -> TopicClassifier:
        """Read what `save` wrote.

        Raises:
            OSError, ValueError: when a file is missing or damaged.
        """
        stored = json.loads((folder / "classifier.json").read_text("utf-8"))
        with np.load(folder / "classifier.npz", allow_pickle=False) as arrays:
            weights, bias = arrays["weights"], arrays["bias"]
        views = [View.load(folder, name) for name in stored["views"]]
        if sum(len(view.terms) for view in views) != weights.shape[0] or weights.shape[1] != len(stored["topics"]):
            raise ValueError(f"{folder}: the classifier's files do not belong together; train again")
        return cls(views, stored["topics"], weights, bias)

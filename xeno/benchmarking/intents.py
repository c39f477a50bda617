"""How well intents are told apart, on BANKING77 and CLINC150 with their original splits.

The data sets are read from a folder: banking77_train.csv and banking77_test.csv (PolyAI,
task-specific-datasets), clinc150_data_full.json (clinc, oos-eval). What is tuned is tuned on
CLINC150's validation part and on a fifth of BANKING77's training part; the test parts are only
measured on. The out-of-scope examples of CLINC150's training part are not learned from.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xeno.errors import InvalidValueError
from xeno.personalization.classifier import (
    UNKNOWN,
    Features,
    IntentModel,
    calibration_error,
    fit,
)

# name -> (at least / at most, bound)
TARGETS: dict[str, tuple[bool, float]] = {
    "banking77_accuracy": (True, 0.91),
    "clinc150_accuracy": (True, 0.925),
    "clinc150_out_of_scope_recall": (True, 0.5),
    "clinc150_rejected": (False, 0.03),
    "banking77_fit_seconds": (False, 30.0),
    "clinc150_fit_seconds": (False, 30.0),
    "banking77_predict_milliseconds": (False, 5.0),
    "clinc150_predict_milliseconds": (False, 5.0),
}

Examples = tuple[list[str], list[str]]


def measure(folder: Path, encoder: Features | None = None) -> dict[str, float]:
    """Every measure of `TARGETS` and what goes with it.

    Args:
        folder: where the three files are.
        encoder: a sentence encoder in place of n-grams.

    Raises:
        InvalidValueError: a file is missing or is not what its name says.
    """
    train, test = (_banking(folder / f"banking77_{part}.csv") for part in ("train", "test"))
    result = _measured("banking77", train, None, test, encoder)[1]
    parts = _clinc(folder / "clinc150_data_full.json")
    model, found = _measured("clinc150", parts["train"], parts["val"], parts["test"], encoder)
    outside = [model.predict(text).intent for text in parts["oos_test"][0]]
    found["clinc150_out_of_scope_recall"] = _share(intent == UNKNOWN for intent in outside)
    return result | found


def missed(result: dict[str, float]) -> list[str]:
    """The names of the measures that miss their target."""
    return [
        name
        for name, (at_least, bound) in TARGETS.items()
        if (result[name] < bound if at_least else result[name] > bound)
    ]


def _measured(
    name: str,
    train: Examples,
    validation: Examples | None,
    test: Examples,
    encoder: Features | None,
) -> tuple[IntentModel, dict[str, float]]:
    """Fit, store, read back, and measure what was read."""
    started, worked = time.perf_counter(), time.process_time()
    fitted, found = fit(*train, validation=validation, encoder=encoder)
    # The second is what it takes on a machine that does nothing else.
    seconds, processor = time.perf_counter() - started, time.process_time() - worked
    content = fitted.to_bytes()
    model = IntentModel.from_bytes(content, encoder)
    predictions, milliseconds = [], []
    for text in test[0]:
        started = time.perf_counter()
        predictions.append(model.predict(text))
        milliseconds.append((time.perf_counter() - started) * 1000)
    right = np.array(
        [
            bool(p.ranked) and p.ranked[0][0] == true
            for p, true in zip(predictions, test[1], strict=True)
        ]
    )
    accepted = np.array([p.intent != UNKNOWN for p in predictions])
    confidence = np.array([p.confidence for p in predictions])
    return model, {
        f"{name}_accuracy": float(right.mean()),
        f"{name}_validation_accuracy": found.accuracy,
        f"{name}_rejected": float(1 - accepted.mean()),
        f"{name}_accuracy_of_accepted": float(right[accepted].mean()),
        f"{name}_calibration_error": calibration_error(confidence, right),
        f"{name}_threshold": found.threshold,
        f"{name}_fit_seconds": seconds,
        f"{name}_fit_processor_seconds": processor,
        f"{name}_predict_milliseconds": float(np.median(milliseconds)),
        f"{name}_predict_milliseconds_p95": float(np.quantile(milliseconds, 0.95)),
        f"{name}_megabytes": len(content) / 1e6,
    }


def _banking(path: Path) -> Examples:
    with _opened(path) as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"text", "category"} <= rows[0].keys():
        raise _wrong(path, "It has no columns 'text' and 'category'.")
    return [row["text"] for row in rows], [row["category"] for row in rows]


def _clinc(path: Path) -> dict[str, Examples]:
    with _opened(path) as file:
        try:
            parts = json.load(file)
            return {
                name: ([text for text, _ in parts[name]], [intent for _, intent in parts[name]])
                for name in ("train", "val", "test", "oos_test")
            }
        except (KeyError, TypeError, ValueError) as error:
            raise _wrong(path, f"It does not hold the parts of CLINC150 ({error}).") from error


def _opened(path: Path) -> Any:
    try:
        return path.open(encoding="utf-8", newline="")
    except OSError as error:
        raise _wrong(path, f"The system says: {error.strerror or error}.") from error


def _wrong(path: Path, why: str) -> InvalidValueError:
    return InvalidValueError(
        f"{path.name} cannot be measured on.",
        why,
        "Name the folder that holds banking77_train.csv, banking77_test.csv and "
        "clinc150_data_full.json.",
    )


def _share(values: Any) -> float:
    found: Sequence[bool] = list(values)
    return sum(found) / len(found)

"""The intent classifier: a linear model over n-grams or sentence vectors, with a confidence.

One linear support vector machine per intent, against all others (liblinear). Its margins
become probabilities by a softmax with a temperature (Guo et al. 2017, "On Calibration of Modern
Neural Networks", section 4.2), fitted to examples that the machine has not seen. What is less
sure than a threshold, chosen on the same examples, is "unknown".
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from xeno.errors import DamagedDataError, InvalidValueError
from xeno.personalization.ngrams import NgramFeatures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

UNKNOWN = "unknown"
FOLDS = 5  # a fifth, 20 %, is held out
FULL_FOLDS_BELOW = 2_000  # examples; above, one fold is enough to calibrate on
MOST_REJECTED = 0.03  # of what has an intent
LEAST_CONFIDENCE = 0.2  # a guess that is wrong four times in five is not worth saying
_FORMAT = 1
_COST = 0.5


class Features(Protocol):
    """What turns texts into rows: `NgramFeatures` or a sentence encoder's."""

    def rows(self, texts: Sequence[str]) -> Any: ...


@dataclass(frozen=True)
class Prediction:
    """An intent, or "unknown", with its calibrated confidence (0 to 1) and the best guesses."""

    intent: str
    confidence: float
    ranked: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Fit:
    """What a fit found, on examples it had held out.

    Attributes:
        examples_used: all that were learned from.
        validation_examples: those held out for `accuracy`.
        accuracy: share right before anything is called unknown.
        calibration_error: expected calibration error of the confidence, 10 bins.
        rejected: share of the held-out examples called unknown.
    """

    examples_used: int
    validation_examples: int
    intents: int
    accuracy: float
    calibration_error: float
    rejected: float
    threshold: float
    temperature: float


class IntentModel:
    """A fitted classifier. Immutable, usable from any thread.

    Args:
        features: as it was when the weights were fitted.
        classes: the K intents, in the order of the weights' columns.
        weights: float32 [number of features, K], already rounded to float16.
        bias: float32 [K].
    """

    def __init__(
        self,
        features: Features,
        classes: Sequence[str],
        weights: Floats,
        bias: Floats,
        temperature: float = 1.0,
        threshold: float = LEAST_CONFIDENCE,
        encoder_hash: str | None = None,
    ) -> None:
        self.features = features
        self.classes = tuple(classes)
        self.weights = weights
        self.bias = bias
        self.temperature = temperature
        self.threshold = threshold
        self.encoder_hash = encoder_hash

    def predict(self, text: str, guesses: int = 5) -> Prediction:
        """The intent of `text`; "unknown" below the threshold, and for a text without anything
        that was ever seen."""
        row = self.features.rows([text])
        if not (row.nnz if hasattr(row, "nnz") else np.any(row)):
            return Prediction(UNKNOWN, 0.0)
        shares = softmax(self._margins_of(row), self.temperature)[0]
        best = np.argsort(-shares, kind="stable")[:guesses]
        ranked = tuple((self.classes[i], float(shares[i])) for i in best)
        intent, confidence = ranked[0]
        return Prediction(intent if confidence >= self.threshold else UNKNOWN, confidence, ranked)

    def margins(self, texts: Sequence[str]) -> Floats:
        """[len(texts), K]; a positive one is on the intent's side."""
        return self._margins_of(self.features.rows(texts))

    def _margins_of(self, rows: Any) -> Floats:
        return np.asarray(rows @ self.weights, dtype=np.float64) + self.bias

    def to_bytes(self) -> bytes:
        """The model as safetensors with JSON metadata; `from_bytes` reads it."""
        from safetensors.numpy import save

        arrays: dict[str, Any] = {
            "weights": self.weights.astype(np.float16),
            "bias": self.bias.astype(np.float32),
        }
        names: dict[str, Any] | None = None
        if isinstance(self.features, NgramFeatures):
            more, names = self.features.save()
            arrays |= more
        described = {
            "format": _FORMAT,
            "classes": self.classes,
            "temperature": self.temperature,
            "threshold": self.threshold,
            "ngrams": names,
            "encoder": self.encoder_hash,
        }
        return bytes(save(arrays, {"classifier": json.dumps(described)}))

    @classmethod
    def from_bytes(cls, content: bytes, encoder: Features | None = None) -> IntentModel:
        """The model that `to_bytes` wrote.

        Args:
            encoder: the sentence encoder it was fitted with; n-grams come with the model.

        Raises:
            DamagedDataError: the bytes are no such model.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            arrays = load(content)
            head = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            described = json.loads(head["__metadata__"]["classifier"])
            classes, names = described["classes"], described["ngrams"]
            features = encoder if names is None else NgramFeatures.load(arrays, names)
            weights = arrays["weights"].astype(np.float32)
            bias = arrays["bias"].astype(np.float32)
            numbers = float(described["temperature"]), float(described["threshold"])
            fits = (
                described["format"] == _FORMAT
                and features is not None
                and bias.shape == (len(classes),)
                and weights.shape[1:] == bias.shape
                and (names is None or weights.shape[0] == len(features))  # type: ignore[arg-type]
                and all(isinstance(each, str) for each in classes)
                and np.isfinite(weights).all()
                and np.isfinite(bias).all()
                and all(math.isfinite(number) for number in numbers)
                and numbers[0] > 0
            )
        except (SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
            raise _damaged(f"{type(error).__name__}: {error}") from error
        if not fits or features is None:
            raise _damaged("its parts do not fit together")
        return cls(features, classes, weights, bias, *numbers, described["encoder"])


def encoder_of(content: bytes) -> str | None:
    """The hash of the sentence encoder that a stored model needs, if it needs one."""
    try:
        head = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        found = json.loads(head["__metadata__"]["classifier"])["encoder"]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(f"{type(error).__name__}: {error}") from error
    return None if found is None else str(found)


def fit(
    texts: Sequence[str],
    intents: Sequence[str],
    *,
    encoder: Features | None = None,
    encoder_hash: str | None = None,
    validation: tuple[Sequence[str], Sequence[str]] | None = None,
    seed: int = 0,
) -> tuple[IntentModel, Fit]:
    """Learn the intents of texts.

    A fifth is held out to measure accuracy; with few examples each fifth in turn, so that
    temperature and threshold rest on all of them. Then everything is learned from.

    Args:
        texts, intents: as many of each; an example with the intent "unknown" is like nothing.
        encoder: vectors of sentences in place of n-grams; `encoder_hash` says which.
        validation: texts and intents to calibrate on where a data set brings its own.
        seed: draws the fifths.

    Raises:
        InvalidValueError: fewer than two intents.
    """
    if len(set(intents)) < 2:
        raise InvalidValueError(
            "There is nothing to tell apart yet.",
            f"All {len(intents)} examples have the same intent.",
            "Add examples of a second intent.",
        )
    rows = None if encoder is None else encoder.rows(texts)
    if validation is not None:
        model = _fitted(texts, intents, encoder, rows)
        margins, truth = model.margins(validation[0]), _places(model.classes, validation[1])
        first = len(truth)
    else:
        margins, truth, first = _held_out(texts, intents, encoder, rows, seed)
        model = _fitted(texts, intents, encoder, rows)
    temperature = fit_temperature(margins, truth)
    shares = softmax(margins, temperature)
    scored = _accepted_scores(shares, truth, model.classes)
    threshold = choose_threshold(scored, len(model.classes))
    right = shares.argmax(1) == truth
    found = Fit(
        examples_used=len(texts),
        validation_examples=first,
        intents=len(set(intents) - {UNKNOWN}),
        accuracy=float(right[:first].mean()),
        calibration_error=calibration_error(shares.max(1), right),
        rejected=float((scored < threshold).mean()) if len(scored) else 0.0,
        threshold=threshold,
        temperature=temperature,
    )
    model.temperature, model.threshold, model.encoder_hash = temperature, threshold, encoder_hash
    return model, found


def softmax(margins: Floats, temperature: float) -> Floats:
    """Shares [n, K] that sum to 1 in each row."""
    scaled = np.exp((margins - margins.max(axis=1, keepdims=True)) / temperature)
    shares: Floats = scaled / scaled.sum(axis=1, keepdims=True)
    return shares


def fit_temperature(margins: Floats, truth: NDArray[np.intp]) -> float:
    """The temperature (0.02 to 2) of the least cross-entropy.

    The truth is smoothed by 2 / (n + 2) over all intents, as if two examples had been surprises:
    ten held-out examples that are all right do not make a classifier sure of everything.
    """
    from scipy.optimize import minimize_scalar

    count, classes = margins.shape
    surprise = 2 / (count + 2)
    target = np.full(margins.shape, surprise / classes)
    known = truth >= 0
    target[known.nonzero()[0], truth[known]] += 1 - surprise
    target[~known] += (1 - surprise) / classes
    shifted = margins - margins.max(axis=1, keepdims=True)

    def cross_entropy(log_temperature: float) -> float:
        scaled = shifted / math.exp(log_temperature)
        logs = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return float(-(target * logs).sum() / count)

    found = minimize_scalar(cross_entropy, bounds=(math.log(0.02), math.log(2.0)), method="bounded")
    return float(math.exp(found.x))


def choose_threshold(scores: Floats, classes: int) -> float:
    """The highest confidence below which at most `MOST_REJECTED` of what has an intent lies: two
    standard errors on the safe side, which few examples halve at most.

    Never below `LEAST_CONFIDENCE`, and never above half way from chance to certainty: where all
    examples are much alike and sure, what is a little different still counts.
    """
    count, chance = len(scores), 1 / classes
    error = math.sqrt(MOST_REJECTED * (1 - MOST_REJECTED) / max(count, 1))
    allowed = math.floor(count * max(MOST_REJECTED - 2 * error, MOST_REJECTED / 2))
    found = float(np.sort(scores)[allowed]) if count else 0.0
    return min(max(LEAST_CONFIDENCE, found), (1 + chance) / 2)


def calibration_error(confidence: Floats, right: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error: the mean gap between confidence and share right, over bins of
    equal width weighted by how many fall in. 0 (honest) to 1."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = (
        abs(float(confidence[places == b].mean()) - float(right[places == b].mean()))
        * float((places == b).mean())
        for b in set(places.tolist())
    )
    return sum(gaps)


def folds(intents: Sequence[str], seed: int = 0) -> list[int]:
    """The fold, 0 to `FOLDS` - 1, of each example: every intent spread evenly. An intent's only
    example is in no fold (-1): held out, its intent could not be learned."""
    order = list(range(len(intents)))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda i: intents[i])  # stable: shuffled within an intent
    counts, result, place = Counter(intents), [-1] * len(intents), 0
    for i in order:
        if counts[intents[i]] > 1:
            result[i] = place % FOLDS
            place += 1
    return result


def _held_out(
    texts: Sequence[str],
    intents: Sequence[str],
    encoder: Features | None,
    rows: Any,
    seed: int,
) -> tuple[Floats, NDArray[np.intp], int]:
    """Margins [n, K] and true places of examples that were not learned from, and how many of
    them are of the first fold, which come first."""
    classes = sorted(set(intents))
    margins, truth, first = [], [], 0
    for learned, held in _splits(intents, seed, len(texts) < FULL_FOLDS_BELOW):
        part = None if rows is None else rows[learned]
        names = [intents[i] for i in learned]
        model = _fitted([texts[i] for i in learned], names, encoder, part)
        found = (
            model.margins([texts[i] for i in held])
            if rows is None
            else (model._margins_of(rows[held]))
        )
        # Every intent that can be held out is learned as well; one that has a single example is
        # always learned.
        margins.append(found)
        truth.append(_places(classes, [intents[i] for i in held]))
        first = first or len(held)
    return np.concatenate(margins), np.concatenate(truth), first


def _splits(
    intents: Sequence[str], seed: int, every: bool
) -> Iterator[tuple[list[int], list[int]]]:
    fold = folds(intents, seed)
    for number in range(FOLDS if every else 1):
        held = [i for i, each in enumerate(fold) if each == number]
        if held:
            yield [i for i, each in enumerate(fold) if each != number], held


def _fitted(
    texts: Sequence[str], intents: Sequence[str], encoder: Features | None, rows: Any
) -> IntentModel:
    from sklearn.svm import LinearSVC

    features = encoder or NgramFeatures.fit(texts)
    machine = LinearSVC(C=_COST, tol=1e-3, random_state=0)
    machine.fit(features.rows(texts) if rows is None else rows, list(intents))
    weights, bias = machine.coef_.T, machine.intercept_
    if len(machine.classes_) == 2:  # one machine serves both
        weights, bias = np.hstack([-weights, weights]), np.concatenate([-bias, bias])
    # Rounded as it is stored, so that a model is the same before and after.
    rounded = np.ascontiguousarray(weights).astype(np.float16).astype(np.float32)
    return IntentModel(
        features, [str(c) for c in machine.classes_], rounded, bias.astype(np.float32)
    )


def _places(classes: Sequence[str], intents: Sequence[str]) -> NDArray[np.intp]:
    """The place of each intent among the classes, -1 where it is none of them."""
    places = {name: place for place, name in enumerate(classes)}
    return np.array([places.get(name, -1) for name in intents], dtype=np.intp)


def _accepted_scores(shares: Floats, truth: NDArray[np.intp], classes: Sequence[str]) -> Floats:
    """The confidences of what has an intent; 0 where the model itself says unknown."""
    scores: Floats = shares.max(1)
    if UNKNOWN not in classes:
        return scores
    place = list(classes).index(UNKNOWN)
    kept: Floats = np.where(shares.argmax(1) == place, 0.0, scores)[truth != place]
    return kept


def _damaged(why: str) -> DamagedDataError:
    return DamagedDataError(
        "The stored intent classifier is damaged.", f"{why}.".capitalize(), "Train it again."
    )

"""A/B tests: which of two models does better, without fooling oneself by looking often.

    with ABTestingManager() as tests:
        tests.create_test("style", "v3", "v4", metrics=["user_satisfaction"])
        variant = tests.assign_variant("style", "john_doe")
        tests.record_result("style", variant, {"user_satisfaction": 4})
        tests.analyze_test("style")

A winner is named by a test that stays valid however often it is read (`sequential.compare`): of
tests without a difference 5 % at most ever name one, over all metrics of the test together.

A test `in_chat` assigns conversations to two versions, without telling which. Its results come
from the conversations (`trials.sittings`): "rating", the mean of 1 to 5; "accepted", the share of
replies neither thumbed down, corrected nor regenerated; and "preferred", the user's picks where
both versions answered the same message side by side (`side_by_side`). One such test at a time.
"""

from __future__ import annotations

import heapq
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from xeno.errors import InvalidValueError
from xeno.experiments import decisions
from xeno.experiments.analysis import analysis
from xeno.experiments.routing import share_of
from xeno.experiments.sequential import ALPHA
from xeno.experiments.trials import replies, sittings
from xeno.store.database import Database, Row
from xeno.store.user import OfUser
from xeno.versions.activation import SERVED
from xeno.versions.in_chat import BASE
from xeno.versions.registry import Registry

CHAT_METRICS = ("rating", "accepted", "preferred")
VARIANTS = {"variant_a": "a", "variant_b": "b"}


@dataclass(frozen=True)
class ABTest:
    """A test. `traffic_split` (0 to 1) of the users, in the chat of the conversations, get
    variant_a; `winner` is what it was ended with."""

    id: int
    name: str
    model_a: str
    model_b: str
    traffic_split: float
    metrics: tuple[str, ...]
    alpha: float
    in_chat: bool
    created: float
    ended: float | None
    winner: str | None


class ABTestingManager(OfUser):
    """The tests of one user, kept in the encrypted profile."""

    def create_test(
        self,
        test_name: str,
        model_a: str,
        model_b: str,
        traffic_split: float = 0.5,
        metrics: Sequence[str] | None = None,
        *,
        in_chat: bool = False,
    ) -> ABTest:
        """Begin a test of two models.

        Args:
            test_name: what it is called; no other test of the profile may be called so.
            model_a, model_b: any two names; `in_chat` two versions, or 'base'.
            traffic_split: the share that gets variant_a, above 0 and below 1.
            metrics: names of what will be recorded; None is `CHAT_METRICS`. For a metric such
                as a time the lower values win (`trends.lower_is_better`).
            in_chat: let the versions answer in the user's chat, a conversation by one of them.

        Raises:
            InvalidValueError: for a name that is taken or empty, the same model twice, a share
                or metrics that are none, a version that is not there or did not pass the gate,
                or a second trial in the chat.
        """
        name = _name(test_name, "test")
        names = _metrics(CHAT_METRICS if metrics is None else metrics)
        _require_split(traffic_split)
        with self._db.transaction() as connection:
            models = [_name(model, "model") for model in (model_a, model_b)]
            if in_chat:
                self._require_free()
                models = [self._served(model) for model in models]
            if models[0] == models[1]:
                raise InvalidValueError(
                    f"{model_a!r} and {model_b!r} are the same model.",
                    "A test compares two.",
                    "Name another one.",
                )
            if self._db.one("SELECT 1 FROM ab_tests WHERE name = ?", (name,)) is not None:
                raise InvalidValueError(
                    f"There is a test {name!r} already.",
                    "Its results belong to its two models.",
                    "Choose another name.",
                )
            connection.execute(
                "INSERT INTO ab_tests (name, model_a, model_b, traffic_split, metrics, alpha, "
                "in_chat, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    name,
                    *models,
                    float(traffic_split),
                    json.dumps(names),
                    ALPHA,
                    int(in_chat),
                    time.time(),
                ),
            )
            about = f"{model_a} against {model_b}, {100 * traffic_split:.3g} % of them {model_a}."
            decisions.write(self._db, name, "started", about, {"metrics": names, "alpha": ALPHA})
        return self.get(name)

    def all(self) -> list[ABTest]:
        """The tests, the newest first."""
        return [_test(row) for row in self._db.read("SELECT * FROM ab_tests ORDER BY id DESC")]

    def get(self, test_name: str) -> ABTest:
        """The test. Raises InvalidValueError if there is none."""
        row = self._db.one("SELECT * FROM ab_tests WHERE name = ?", (test_name,))
        if row is None:
            known = ", ".join(repr(each.name) for each in self.all()[:8])
            raise InvalidValueError(
                f"There is no test {test_name!r}.",
                f"The tests are: {known}." if known else "There is no test at all.",
                "Create it first.",
            )
        return _test(row)

    def in_chat(self) -> ABTest | None:
        """The test that goes on in the chat."""
        row = self._db.one("SELECT * FROM ab_tests WHERE in_chat = 1 AND ended IS NULL")
        return None if row is None else _test(row)

    def assign_variant(self, test_name: str, user_id: str) -> str:
        """ "variant_a" or "variant_b", for the same user always the same.

        Raises:
            InvalidValueError: no such test, or no user.
        """
        test, user = self.get(test_name), _name(user_id, "user")
        share = share_of(self._profile.key, "test", str(test.id), user)
        return "variant_a" if share < test.traffic_split else "variant_b"

    def record_result(self, test_name: str, variant: str, metrics: Mapping[str, float]) -> None:
        """Keep what one user, or one conversation, said or did.

        Results are taken to be independent of each other: record one per user, not one per
        message of the same conversation.

        Raises:
            InvalidValueError: no such test or variant, a metric the test does not have, a value
                that is no finite number, or the test has ended.
        """
        if variant not in VARIANTS:
            raise InvalidValueError(
                f"{variant!r} is not a variant.", "", "Say 'variant_a' or 'variant_b'."
            )
        with self._db.transaction() as connection:
            test = self._running(test_name)
            values = [(name, _value(test, name, value)) for name, value in metrics.items()]
            now = time.time()
            connection.executemany(
                "INSERT INTO ab_results (test, variant, metric, value, created) "
                "VALUES (?, ?, ?, ?, ?)",
                [(test.id, variant, name, value, now) for name, value in values],
            )

    def analyze_test(self, test_name: str) -> dict[str, Any]:
        """What the results say so far.

        Returns:
            "status" ("running" or "ended"), "winner" (what it was ended with), "alpha", and
            "metrics": for each variant_a_mean, variant_b_mean, variant_a_count, variant_b_count,
            difference (b less a), percent_change (of a's mean), pairs, evidence, needed, and
            winner: the better variant, None while there is not enough evidence. What is not
            known is None.

        Raises:
            InvalidValueError: no such test.
        """
        test = self.get(test_name)
        # The false-alarm rate is that of the whole test, so each metric gets its part of it.
        alpha = test.alpha / len(test.metrics)
        return {
            "test_name": test.name,
            "status": "running" if test.ended is None else "ended",
            "winner": test.winner,
            "alpha": test.alpha,
            "metrics": {
                metric: analysis(metric, list(self._results(test, metric)), alpha)
                for metric in test.metrics
            },
        }

    def end_test(self, test_name: str, winner: str | None = None) -> dict[str, Any]:
        """End the test, with the winner that the user decides for, if any; its last analysis.

        Raises:
            InvalidValueError: no such test or variant, or it has ended before.
        """
        if winner is not None and winner not in VARIANTS:
            raise InvalidValueError(
                f"{winner!r} is not a variant.", "", "Say 'variant_a', 'variant_b' or nothing."
            )
        with self._db.transaction() as connection:
            test = self._running(test_name)
            found = self.analyze_test(test_name)
            connection.execute(
                "UPDATE ab_tests SET ended = ?, winner = ? WHERE id = ?",
                (time.time(), winner, test.id),
            )
            named = "without a winner" if winner is None else f"with {winner} as the winner"
            decisions.write(self._db, test.name, "ended", f"It ended {named}.", found["metrics"])
        return self.analyze_test(test_name)

    def results(self, test_name: str, metric: str) -> list[tuple[float, str, float]]:
        """(Unix seconds, "a" or "b", value) of one metric, the oldest first."""
        return list(self._results(self.get(test_name), metric))

    @property
    def _db(self) -> Database:
        return self._profile.db

    def _results(self, test: ABTest, metric: str) -> Iterator[tuple[float, str, float]]:
        rows = self._db.read(
            "SELECT created, variant, value FROM ab_results WHERE test = ? AND metric = ? "
            "ORDER BY id",
            (test.id, metric),
        )
        recorded = [(row["created"], VARIANTS[row["variant"]], row["value"]) for row in rows]
        seen = []
        if test.in_chat and metric in ("rating", "accepted"):
            for sitting in sittings(replies(self._db, "test", test.id)):
                value = sitting.rating if metric == "rating" else sitting.acceptance
                if value is not None:
                    seen.append((sitting.ended, sitting.arm, value))
        return heapq.merge(recorded, seen, key=itemgetter(0))

    def _running(self, test_name: str) -> ABTest:
        test = self.get(test_name)
        if test.ended is not None:
            raise InvalidValueError(
                f"The test {test_name!r} has ended.",
                "What comes later says nothing about it.",
                "Create another test.",
            )
        return test

    def _require_free(self) -> None:
        going = self.in_chat()
        if going is not None:
            raise InvalidValueError(
                "No test was started in the chat.",
                f"The test {going.name!r} goes on there.",
                f"End it first: xeno ab end {going.name}.",
            )
        canary = self._db.one("SELECT number FROM versions WHERE state = 'canary'")
        if canary is not None:
            raise InvalidValueError(
                "No test was started in the chat.",
                f"v{canary['number']} is being tried there as a canary.",
                "Promote it, or take it back with 'xeno rollback'.",
            )

    def _served(self, ref: str) -> str:
        if ref == BASE:
            return BASE
        version = Registry(self._profile).get(ref)
        if version.state not in SERVED:
            raise InvalidValueError(
                f"{version.label} cannot answer in the chat.",
                f"It is {version.state}: it has not passed the gate.",
                f"Check it first: xeno deploy {version.label} --dry-run.",
            )
        return version.address


def _test(row: Row) -> ABTest:
    values = dict(row)
    values["metrics"] = tuple(json.loads(values["metrics"]))
    values["in_chat"] = bool(values["in_chat"])
    return ABTest(**values)


def _name(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidValueError(
            f"{value!r} is not the name of a {what}.", "", "Give it a name in text."
        )
    return value.strip()


def _metrics(names: object) -> list[str]:
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise InvalidValueError(
            f"{names!r} are no metrics.", "", "Give a list of at least one name."
        )
    found = [_name(name, "metric") for name in names]
    if len(set(found)) < len(found):
        raise InvalidValueError("A metric is named twice.", "", "Name each once.")
    return found


def _require_split(split: object) -> None:
    if isinstance(split, bool) or not isinstance(split, int | float) or not 0 < split < 1:
        raise InvalidValueError(
            f"{split!r} is not a traffic split.",
            "It is the share that gets variant_a, above 0 and below 1.",
            "Use 0.5 for halves.",
        )


def _value(test: ABTest, metric: str, value: object) -> float:
    if metric not in test.metrics:
        raise InvalidValueError(
            f"The test {test.name!r} has no metric {metric!r}.",
            f"It has: {', '.join(test.metrics)}.",
            "Name its metrics when you create a test.",
        )
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidValueError(
            f"{value!r} is not a value of {metric!r}.",
            "A result is a finite number.",
            "Leave it out where nothing was measured.",
        )
    return float(value)

"""What is known about how each version performs: speed, ratings, acceptance over time.

Measurements are stored; ratings and acceptance are not stored a second time but read from
the replies and their feedback, so that the table, the plot and the feedback always agree.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Mapping
from typing import Any

from xeno.errors import InvalidValueError
from xeno.performance import trends
from xeno.performance.alerts import EVERY, Alert, Alerts
from xeno.store.user import OfUser

# A reply is accepted unless it got a thumb down, was corrected, or was regenerated.
NOT_ACCEPTED = "kind = 'correction' OR (kind IN ('thumb', 'choice') AND value < 0)"
DERIVED = {
    "accepted": "SELECT created, CAST(superseded = 0 AND id NOT IN "
    f"(SELECT message_id FROM feedback WHERE {NOT_ACCEPTED}) AS REAL) AS value, rowid AS seq "
    "FROM messages WHERE role = 'assistant' AND version IS ?",
    "rating": "SELECT feedback.created, feedback.value, feedback.rowid AS seq FROM feedback "
    "JOIN messages ON messages.id = message_id WHERE kind = 'rating' AND version IS ?",
}
"""Metrics that are read from the replies: created, value and seq of each, of one version (NULL
is the base; see `version_of`)."""


def version_of(model_name: str) -> str | None:
    """How the replies of this model name their version."""
    return None if model_name == "base" else model_name


class PerformanceTracker(OfUser):
    """Measurements of the models of one user. A model is named by its version's content
    address, or 'base'; other names are allowed.

    Names used by the program: first_token_seconds, tokens_per_second, response_seconds,
    memory_bytes, error and fallback (1 or 0), cache_hit (1 or 0), rating (1 to 5), accepted
    (1 or 0). The last two are read from the replies.
    """

    @property
    def _alerts(self) -> Alerts:
        return Alerts(self._profile)

    def record_metric(
        self,
        model_name: str,
        metric_name: str,
        value: float,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep one measurement.

        Raises:
            InvalidValueError: for a value that is no finite number, a name that is no text, or
                a context that JSON cannot hold.
        """
        self.record_metrics(model_name, {metric_name: value}, context)

    def record_metrics(
        self,
        model_name: str,
        values: Mapping[str, float],
        context: Mapping[str, Any] | None = None,
    ) -> list[Alert]:
        """Keep several measurements of one moment, all or none; the warnings that they gave
        cause for. Raises as `record_metric`."""
        for metric, value in values.items():
            _require(model_name, metric, value)
        try:
            about = json.dumps(dict(context or {}))
        except (TypeError, ValueError) as error:
            raise InvalidValueError(
                "This context cannot be kept with a measurement.",
                f"It has to fit into JSON: {error}.",
                "Use texts, numbers, lists and dictionaries of these.",
            ) from error
        now = time.time()
        with self._profile.db.transaction() as connection:
            for metric, value in values.items():
                connection.execute(
                    "INSERT OR IGNORE INTO metric_series (model_name, metric) VALUES (?, ?)",
                    (model_name, metric),
                )
                connection.execute(
                    "INSERT INTO measurements (series, value, context, created) "
                    "SELECT id, ?, ?, ? FROM metric_series WHERE model_name = ? AND metric = ?",
                    (float(value), about, now, model_name, metric),
                )
            found = [self._look(model_name, metric) for metric in values]
        return [alert for alert in found if alert is not None]

    def series(
        self, model_name: str, metric_name: str, limit: int = 10_000
    ) -> list[tuple[float, float]]:
        """The last `limit` points as (Unix seconds, value), oldest first; all if negative."""
        points, key = self._points(model_name, metric_name)
        rows = self._profile.db.read(
            f"SELECT created, value FROM ({points}) ORDER BY created DESC, seq DESC LIMIT ?",
            (key, limit),
        )
        return [(row["created"], row["value"]) for row in reversed(rows)]

    def get_statistics(self, model_name: str, metric_name: str) -> dict[str, float | int | None]:
        """count, mean, median, std (of the sample; 0 for one value), min, max, p95 (linear
        between neighbours) and latest; all but count are None where nothing was measured."""
        values = [value for _, value in self.series(model_name, metric_name, limit=-1)]
        names = ("mean", "median", "std", "min", "max", "p95", "latest")
        if not values:
            return {"count": 0, **dict.fromkeys(names)}
        numbers = (
            statistics.fmean(values),
            statistics.median(values),
            statistics.stdev(values) if len(values) > 1 else 0.0,
            min(values),
            max(values),
            _percentile(values, 0.95),
            values[-1],
        )
        return {"count": len(values), **dict(zip(names, numbers, strict=True))}

    def get_trend(self, model_name: str, metric_name: str) -> trends.Direction:
        """ "improving", "degrading" or "stable": which way the newest `trends.WINDOW` points go.

        "stable" also where there are too few. Of series without a trend `trends.ALPHA` are said
        to have one; see `trends` for the test, and for which way is better.
        """
        values = [value for _, value in self.series(model_name, metric_name, trends.WINDOW)]
        return trends.direction(metric_name, values)

    def watch_replies(self, model_name: str) -> list[Alert]:
        """To be called after a reply: the warnings about what is read from the replies."""
        found = [self._look(model_name, metric) for metric in DERIVED]
        return [alert for alert in found if alert is not None]

    def _look(self, model_name: str, metric: str) -> Alert | None:
        """A look at every `EVERY`th point."""
        points, key = self._points(model_name, metric)
        row = self._profile.db.one(f"SELECT count(*) FROM ({points})", (key,))
        count = int(row[0]) if row else 0
        if not count or count % EVERY:
            return None
        return self._alerts.look(model_name, metric, self.series(model_name, metric, trends.WINDOW))

    def _points(self, model_name: str, metric: str) -> tuple[str, int | str | None]:
        """The query of created, value and seq of a metric's points, and its one parameter."""
        row = self._profile.db.one(
            "SELECT id FROM metric_series WHERE model_name = ? AND metric = ?",
            (model_name, metric),
        )
        if row is None and metric in DERIVED:
            return DERIVED[metric], version_of(model_name)
        stored = "SELECT created, value, id AS seq FROM measurements WHERE series = ?"
        return stored, None if row is None else int(row["id"])


def _require(model_name: str, metric: str, value: object) -> None:
    for name, what in ((model_name, "model"), (metric, "metric")):
        if not isinstance(name, str) or not name.strip():
            raise InvalidValueError(
                f"{name!r} is not the name of a {what}.", "", "Give it a name in text."
            )
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidValueError(
            f"{value!r} is not a value of {metric!r}.",
            "A measurement is a finite number.",
            "Leave it out where nothing was measured.",
        )


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

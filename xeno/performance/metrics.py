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
from xeno.store.user import OfUser

# A reply is accepted unless it got a thumb down, was corrected, or was regenerated.
_POINTS = """
WITH replies AS (
    SELECT rowid AS seq, id, coalesce(version, 'base') AS model_name, created,
        superseded = 0 AND NOT EXISTS (SELECT 1 FROM feedback WHERE message_id = messages.id
            AND (kind = 'correction' OR (kind IN ('thumb', 'choice') AND value < 0))) AS accepted
    FROM messages WHERE role = 'assistant'
), points AS (
    SELECT model_name, metric, value, created, id AS seq FROM metrics
    UNION ALL
    SELECT model_name, 'accepted', CAST(accepted AS REAL), created, seq FROM replies
    UNION ALL
    SELECT model_name, 'rating', value, feedback.created, feedback.rowid
    FROM replies JOIN feedback ON message_id = replies.id WHERE kind = 'rating'
)
"""


class PerformanceTracker(OfUser):
    """Measurements of the models of one user. A model is named by its version's content
    address, or 'base'; other names are allowed.

    Names used by the program: first_token_seconds, tokens_per_second, memory_bytes, rating
    (1 to 5), accepted (1 or 0).
    """

    def record_metric(
        self,
        model_name: str,
        metric_name: str,
        value: float,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep one measurement. Raises InvalidValueError for a value that is no finite number."""
        number = float(value) if isinstance(value, int | float) else math.nan
        if not math.isfinite(number):
            raise InvalidValueError(
                f"{value!r} is not a value of {metric_name!r}.",
                "A measurement is a finite number.",
                "Leave it out where nothing was measured.",
            )
        with self._profile.db.transaction() as connection:
            connection.execute(
                "INSERT INTO metrics (model_name, metric, value, context, created) "
                "VALUES (?, ?, ?, ?, ?)",
                (model_name, metric_name, number, json.dumps(dict(context or {})), time.time()),
            )

    def series(
        self, model_name: str, metric_name: str, limit: int = 10_000
    ) -> list[tuple[float, float]]:
        """The last `limit` points as (Unix seconds, value), oldest first."""
        rows = self._profile.db.read(
            _POINTS + "SELECT created, value FROM points WHERE model_name = ? AND metric = ? "
            "ORDER BY created DESC, seq DESC LIMIT ?",
            (model_name, metric_name, limit),
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

    def table(self) -> list[dict[str, Any]]:
        """One row per model that was measured or has replied, the last used first: model,
        label ('v3', 'base'), private and epsilon (None but for versions), replies, median
        first_token_seconds and tokens_per_second, mean rating, acceptance (0 to 1). What is not
        known is None."""
        found: dict[str, dict[str, list[float]]] = {}
        rows = self._profile.db.read(
            _POINTS + "SELECT model_name, metric, value FROM points ORDER BY created DESC"
        )
        for row in rows:
            found.setdefault(row["model_name"], {}).setdefault(row["metric"], []).append(
                row["value"]
            )
        versions = {
            row["address"]: row
            for row in self._profile.db.read(
                "SELECT address, 'v' || number AS label, manifest ->> 'private' AS private, "
                "manifest ->> 'epsilon' AS epsilon FROM versions WHERE model = 'assistant'"
            )
        }
        return [
            {
                "model": model,
                "label": versions[model]["label"] if model in versions else model,
                "private": bool(versions[model]["private"]) if model in versions else None,
                "epsilon": versions[model]["epsilon"] if model in versions else None,
                "replies": len(metrics.get("accepted", ())),
                "first_token_seconds": _median(metrics.get("first_token_seconds")),
                "tokens_per_second": _median(metrics.get("tokens_per_second")),
                "rating": _mean(metrics.get("rating")),
                "acceptance": _mean(metrics.get("accepted")),
            }
            for model, metrics in found.items()
        ]


def _mean(values: list[float] | None) -> float | None:
    return statistics.fmean(values) if values else None


def _median(values: list[float] | None) -> float | None:
    return statistics.median(values) if values else None


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

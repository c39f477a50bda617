"""Warnings that a metric of a model got worse.

After every `EVERY` new points of a metric the trend of the newest ones is tested, far more
strictly than where the user asks: looking again and again would otherwise find something soon. A
metric warned of is not warned of again until its window holds none of the points of that warning.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from xeno.performance import trends
from xeno.store.database import Row
from xeno.store.profile import Profile

EVERY = 20  # points of a metric between two looks
ALPHA = 0.002  # of each look, both ways: a false warning in a thousand looks, or 20,000 points


@dataclass(frozen=True)
class Alert:
    """A metric that got worse: medians of the older and the newer half of `points` points."""

    id: int
    model: str
    metric: str
    points: int
    p_value: float
    before: float
    after: float
    created: float
    seen: bool


class Alerts:
    """The warnings of one profile."""

    def __init__(self, profile: Profile) -> None:
        self._db = profile.db

    def look(self, model: str, metric: str, points: Sequence[tuple[float, float]]) -> Alert | None:
        """Test the newest `points` of a metric, (Unix seconds, value), the oldest first; the
        warning, if there is cause for one that was not given yet."""
        newest = points[-trends.WINDOW :]
        values = [value for _, value in newest]
        trend = trends.mann_kendall(values)
        if trend is None or trends.direction(metric, values, ALPHA) != "degrading":
            return None
        with self._db.transaction() as connection:
            recent = connection.execute(
                "SELECT 1 FROM alerts WHERE model_name = ? AND metric = ? AND created >= ?",
                (model, metric, newest[0][0]),
            ).fetchone()
            if recent is not None:
                return None
            connection.execute(
                "INSERT INTO alerts (model_name, metric, points, tau, p_value, before, after, "
                "created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    model,
                    metric,
                    trend.points,
                    trend.tau,
                    trend.p_value,
                    trend.before,
                    trend.after,
                    time.time(),
                ),
            )
            return self.all(limit=1)[0]

    def all(self, *, unseen: bool = False, limit: int = 100) -> list[Alert]:
        """The warnings, the newest first; only those that nobody has dismissed if `unseen`."""
        where = "WHERE seen IS NULL " if unseen else ""
        rows = self._db.read(f"SELECT * FROM alerts {where}ORDER BY id DESC LIMIT ?", (limit,))
        return [_alert(row) for row in rows]

    def dismiss(self) -> int:
        """The user has seen all warnings; how many there were."""
        with self._db.transaction() as connection:
            changed = connection.execute(
                "UPDATE alerts SET seen = ? WHERE seen IS NULL", (time.time(),)
            )
            return changed.rowcount


def _alert(row: Row) -> Alert:
    return Alert(
        id=row["id"],
        model=row["model_name"],
        metric=row["metric"],
        points=row["points"],
        p_value=row["p_value"],
        before=row["before"],
        after=row["after"],
        created=row["created"],
        seen=row["seen"] is not None,
    )

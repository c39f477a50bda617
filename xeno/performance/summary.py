"""All versions at a glance: one line of figures for each, and a metric of each over time.

Summed up by the database from indexes that hold what is summed, so that a day of 100,000
measurements is read in a fraction of a second (benchmarks/performance_tab.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xeno.performance.metrics import DERIVED, NOT_ACCEPTED, version_of
from xeno.store.profile import Profile

BASE = "base"
_SLOTS = 300  # points of a line, at most: more are not seen

_NOT_ACCEPTED = f"SELECT DISTINCT message_id FROM feedback WHERE {NOT_ACCEPTED}"
_REPLIES = f"""
SELECT coalesce(version, 'base') AS model, count(*) AS replies, max(created) AS latest,
    avg(superseded = 0 AND id NOT IN ({_NOT_ACCEPTED})) AS acceptance
FROM messages INDEXED BY messages_by_version WHERE role = 'assistant' GROUP BY version
"""
_RATINGS = """
SELECT coalesce(version, 'base') AS model, avg(value) AS rating
FROM feedback JOIN messages ON messages.id = message_id WHERE kind = 'rating' GROUP BY version
"""
_SERIES = """
SELECT metric_series.id, model_name AS model, metric, count(*) AS points, avg(value) AS mean,
    max(measurements.created) AS latest
FROM metric_series JOIN measurements ON series = metric_series.id GROUP BY metric_series.id
"""
_MIDDLE = """
SELECT avg(value) FROM (SELECT value FROM measurements WHERE series = ? ORDER BY value
    LIMIT 2 - ? % 2 OFFSET (? - 1) / 2)
"""


@dataclass(frozen=True)
class Summary:
    """What is known of one model; None is not known.

    Attributes:
        model: content address of a version, 'base', or the name a program gave.
        label: 'v3', 'base', or that name.
        private, epsilon: how the version was trained; None but for versions.
        replies: how many it gave in conversations.
        first_token_seconds, tokens_per_second, memory_bytes: medians.
        error_rate: share of requests that brought no reply, or one of another model.
        rating: mean of 1 to 5.
        acceptance: share of replies neither thumbed down, corrected nor regenerated.
        cache_hit_rate: share of replies for which its adapter was in memory already.
        latest: Unix time of the last measurement or reply.
    """

    model: str
    label: str
    private: bool | None
    epsilon: float | None
    replies: int
    first_token_seconds: float | None
    tokens_per_second: float | None
    memory_bytes: float | None
    error_rate: float | None
    rating: float | None
    acceptance: float | None
    cache_hit_rate: float | None
    latest: float


def summaries(profile: Profile) -> list[Summary]:
    """One for every model that was measured or has replied, the last used first."""
    db = profile.db
    found: dict[str, dict[str, Any]] = {}
    for row in db.read(_REPLIES):
        found[row["model"]] = {
            "replies": row["replies"],
            "acceptance": row["acceptance"],
            "latest": row["latest"],
        }
    for row in db.read(_RATINGS):
        found.setdefault(row["model"], {})["rating"] = row["rating"]
    for row in db.read(_SERIES):
        values = found.setdefault(row["model"], {})
        values["latest"] = max(values.get("latest", 0.0), row["latest"])
        match row["metric"]:
            case "first_token_seconds" | "tokens_per_second" | "memory_bytes" as metric:
                middle = db.one(_MIDDLE, (row["id"], row["points"], row["points"]))
                values[metric] = middle[0] if middle else None
            case "error" | "cache_hit" as metric:
                values[metric] = row["mean"]
    versions = _versions(profile)
    made = [_summary(model, values, versions.get(model)) for model, values in found.items()]
    return sorted(made, key=lambda each: each.latest, reverse=True)


def metrics(profile: Profile) -> list[str]:
    """The names of all metrics that anything was measured of, sorted."""
    rows = profile.db.read("SELECT DISTINCT metric FROM metric_series")
    derived = DERIVED if profile.db.one("SELECT 1 FROM messages LIMIT 1") else ()
    return sorted({*derived, *(row["metric"] for row in rows)})


def series_names(profile: Profile) -> list[tuple[str, str]]:
    """(model, metric) of everything that was measured, sorted."""
    rows = profile.db.read(
        "SELECT model_name, metric FROM metric_series "
        "UNION SELECT coalesce(version, 'base'), 'accepted' FROM messages "
        "WHERE role = 'assistant' "
        "UNION SELECT coalesce(version, 'base'), 'rating' FROM feedback "
        "JOIN messages ON messages.id = message_id WHERE kind = 'rating' ORDER BY 1, 2"
    )
    return [(row[0], row[1]) for row in rows]


def model_named(profile: Profile, name: str) -> str:
    """The model that the user calls `name`: a label such as 'v3', or the name itself."""
    labels = {row["label"]: address for address, row in _versions(profile).items()}
    return labels.get(name, name)


def line(
    profile: Profile, model: str, metric: str, since: float = 0.0
) -> list[tuple[float, float]]:
    """`metric` of `model` over time, for drawing: where there are many points, the means of up
    to 300 equally long spans, each at the mean time of its points."""
    if metric in DERIVED:
        points = f"SELECT created, value FROM ({DERIVED[metric]}) WHERE created >= ?"
        params: tuple[Any, ...] = (version_of(model), since)
    else:
        points = (
            "SELECT measurements.created, value FROM measurements JOIN metric_series "
            "ON metric_series.id = series WHERE model_name = ? AND metric = ? "
            "AND measurements.created >= ?"
        )
        params = (model, metric, since)
    span = profile.db.one(f"SELECT min(created), max(created), count(*) FROM ({points})", params)
    if span is None or not span[2]:
        return []
    if span[2] <= _SLOTS or span[1] <= span[0]:
        rows = profile.db.read(f"{points} ORDER BY 1", params)
    else:
        width = (span[1] - span[0]) / _SLOTS
        rows = profile.db.read(
            f"SELECT avg(created), avg(value) FROM ({points}) "
            "GROUP BY CAST((created - ?) / ? AS INTEGER) ORDER BY 1",
            (*params, span[0], width),
        )
    return [(row[0], row[1]) for row in rows]


def _versions(profile: Profile) -> dict[str, Any]:
    rows = profile.db.read(
        "SELECT address, 'v' || number AS label, manifest ->> 'private' AS private, "
        "manifest ->> 'epsilon' AS epsilon FROM versions "
        "WHERE model = 'assistant' AND deleted IS NULL"
    )
    return {row["address"]: row for row in rows}


def _summary(model: str, values: dict[str, Any], version: Any) -> Summary:
    return Summary(
        model=model,
        label=version["label"] if version else model,
        private=bool(version["private"]) if version else None,
        epsilon=version["epsilon"] if version else None,
        replies=values.get("replies", 0),
        first_token_seconds=values.get("first_token_seconds"),
        tokens_per_second=values.get("tokens_per_second"),
        memory_bytes=values.get("memory_bytes"),
        error_rate=values.get("error"),
        rating=values.get("rating"),
        acceptance=values.get("acceptance"),
        cache_hit_rate=values.get("cache_hit"),
        latest=values.get("latest", 0.0),
    )

"""`xeno performance`: how fast and how well liked the replies of each version are."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from xeno.cli.commands import Commands
from xeno.cli.output import Output, size, when
from xeno.cli.session import unlocked
from xeno.performance import exporting, summary
from xeno.performance.alerts import Alert, Alerts
from xeno.performance.metrics import PerformanceTracker
from xeno.performance.summary import Summary
from xeno.store.profile import Profile
from xeno.words import count

_HEADS = (
    "version", "replies", "first token, s", "tokens/s", "errors", "rating", "accepted", "memory",
    "cache hits",
)  # fmt: skip


def add(commands: Commands) -> None:
    group = commands.group(
        "performance", "how fast and how well liked each version's replies are", show
    )
    group.add("list", "one line for each version", show)
    metric = group.add("metric", "statistics and trend of one metric", show_metric)
    metric.add_argument("model", help="a version such as v3, 'base', or a name of your own")
    metric.add_argument("metric", help="such as first_token_seconds, rating, accepted")
    alerts = group.add("alerts", "metrics that got worse", show_alerts)
    alerts.add_argument("--dismiss", action="store_true", help="they have been seen")
    export = group.add("export", "write all measurements to a file", write)
    export.add_argument("file", type=Path, help="ends in .csv or .json")


def show(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        rows, unseen = summary.summaries(profile), Alerts(profile).all(unseen=True)
    say_table(rows, output)
    if unseen:
        output.say(f"{count(len(unseen), 'metric')} got worse: see 'xeno performance alerts'.")
    output.result({"models": [asdict(each) for each in rows], "alerts": len(unseen)})
    return 0


def say_table(rows: list[Summary], output: Output) -> None:
    """The table of all versions, or a sentence where there is nothing to show."""
    if not rows:
        output.say("No replies yet: ask something with 'xeno chat'.")
        return
    output.table(
        _HEADS,
        [
            (
                each.label,
                each.replies,
                each.first_token_seconds,
                each.tokens_per_second,
                _percent(each.error_rate),
                each.rating,
                _percent(each.acceptance),
                None if each.memory_bytes is None else size(each.memory_bytes),
                _percent(each.cache_hit_rate),
            )
            for each in rows
        ],
    )
    output.say(
        "Times and memory are medians. Accepted: neither thumbed down, corrected nor regenerated."
    )


def show_metric(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        model = summary.model_named(profile, arguments.model)
        tracker = PerformanceTracker(profile.name, profile=profile)
        found = tracker.get_statistics(model, arguments.metric)
        trend = tracker.get_trend(model, arguments.metric)
    output.table(tuple(found), [tuple(found.values())])
    output.say(f"Trend: {trend}")
    output.result({"model": model, "metric": arguments.metric, **found, "trend": trend})
    return 0


def show_alerts(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        alerts = Alerts(profile)
        found, labels = alerts.all(), _labels(profile)
        dismissed = alerts.dismiss() if arguments.dismiss else 0
    output.table(
        ("when", "version", "metric", "before", "after", "points", "p", "seen"),
        [_alert(each, labels) for each in found],
        empty="No metric got worse.",
    )
    output.result({"alerts": [asdict(each) for each in found], "dismissed": dismissed})
    return 0


def write(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        written = exporting.export(profile, arguments.file)
    output.say(f"{count(written, 'measurement')} written to {arguments.file}.")
    output.result({"file": str(arguments.file), "measurements": written})
    return 0


def _alert(alert: Alert, labels: dict[str, str]) -> tuple[object, ...]:
    return (
        when(alert.created),
        labels.get(alert.model, alert.model),
        alert.metric,
        alert.before,
        alert.after,
        alert.points,
        alert.p_value,
        alert.seen,
    )


def _labels(profile: Profile) -> dict[str, str]:
    return {each.model: each.label for each in summary.summaries(profile)}


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"

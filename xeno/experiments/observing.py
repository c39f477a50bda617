"""What is kept of every request to the assistant besides its text: its measurements, what it
counts for, and what follows at once.

Called by whichever process keeps the reply, in the transaction that keeps it: a canary that must
be taken back is taken back with the reply that showed it.
"""

from __future__ import annotations

from xeno.errors import (
    BaseModelError,
    FutureDataError,
    InvalidValueError,
    LockedProfileError,
    StoppedError,
    StorageFullError,
    XenoError,
)
from xeno.events import CanaryRolledBack, MetricDegraded, ReplyFinished
from xeno.experiments import trials
from xeno.experiments.canary import Canaries
from xeno.experiments.routing import route
from xeno.performance import summary
from xeno.performance.alerts import Alert
from xeno.performance.metrics import PerformanceTracker
from xeno.store.profile import Profile
from xeno.versions.in_chat import BASE

News = MetricDegraded | CanaryRolledBack
NOT_THE_MODELS = (
    InvalidValueError,  # the request itself cannot be answered
    BaseModelError,
    LockedProfileError,
    FutureDataError,
    StorageFullError,
    StoppedError,
)
"""Failures that say nothing of the version that was asked: no other would have replied."""


class Observer:
    """Keeps the measurements of one profile's assistant."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._tracker = PerformanceTracker(profile.name, profile=profile)
        self._canaries = Canaries(profile)

    def replied(
        self, finished: ReplyFinished, conversation_id: str, message_id: str
    ) -> tuple[News, ...]:
        """A reply was kept as the message `message_id`; what the user should know at once."""
        model = finished.version or BASE
        values = measurements(finished)
        with self._profile.db.transaction():
            alerts = self._tracker.record_metrics(model, values)
            alerts += self._tracker.watch_replies(model)
            if finished.trial is None:
                return tuple(map(_degraded, alerts))
            trials.record(
                self._profile.db,
                finished.trial,
                conversation_id,
                message_id=message_id,
                failed=finished.fallback is not None,
                seconds=values.get("response_seconds"),
                memory_bytes=values.get("memory_bytes"),
            )
            return (*map(_degraded, alerts), *self._watched())

    def failed(
        self, conversation_id: str | None, version: str, error: XenoError | None = None
    ) -> tuple[News, ...]:
        """No reply came; what the user should know at once. Nothing is kept where the model is
        not to blame for `error`.

        Args:
            conversation_id: of the request.
            version: who was asked: "active", "base", a label such as "v3" or a content address.
            error: why.
        """
        if isinstance(error, NOT_THE_MODELS):
            return ()
        with self._profile.db.transaction():
            routed = route(self._profile, conversation_id) if version == "active" else None
            named = summary.model_named(self._profile, version)
            model = named if routed is None else routed.address or BASE
            alerts = self._tracker.record_metrics(model, {"error": 1.0})
            if routed is None or routed.trial is None or conversation_id is None:
                return tuple(map(_degraded, alerts))
            trials.record(self._profile.db, routed.trial, conversation_id, failed=True)
            return (*map(_degraded, alerts), *self._watched())

    def _watched(self) -> tuple[News, ...]:
        decision = self._canaries.watch()
        if decision is None:
            return ()
        return (CanaryRolledBack(version=decision.subject, reason=decision.reason),)


def words_of(news: News) -> str:
    """The sentence that tells the user."""
    if isinstance(news, CanaryRolledBack):
        return f"The version that was tried was taken back. {news.reason}"
    return (
        f"{news.metric.replace('_', ' ').capitalize()} got worse: {news.before:.3g} before, "
        f"{news.after:.3g} over the last {news.points - news.points // 2} replies."
    )


def measurements(finished: ReplyFinished) -> dict[str, float]:
    """What is measured of a reply, by the names of `PerformanceTracker`."""
    values = {"error": 0.0, "fallback": float(finished.fallback is not None)}
    if finished.cache_hit is not None:
        values["cache_hit"] = float(finished.cache_hit)
    if finished.reply_tokens:
        values["first_token_seconds"] = finished.first_token_seconds
    if finished.reply_tokens > 1:
        values["tokens_per_second"] = finished.tokens_per_second
    if finished.memory_bytes:
        values["memory_bytes"] = float(finished.memory_bytes)
    if finished.reply_tokens and finished.reason != "stopped":  # else it says how patient one was
        later = finished.reply_tokens - 1
        speed = finished.tokens_per_second
        values["response_seconds"] = finished.first_token_seconds + (later / speed if speed else 0)
    return values


def _degraded(alert: Alert) -> MetricDegraded:
    return MetricDegraded(
        model=alert.model,
        metric=alert.metric,
        points=alert.points,
        p_value=alert.p_value,
        before=alert.before,
        after=alert.after,
    )

"""When a canary is taken back: four rules, read from what is known of it and of the active version.

- errors: more than 15 % of the latest requests brought no reply of the version, of 20 at least;
- slowness: replies take more than 5 s on average, of 10 at least, and more than 1.25 times what
  the active version's take meanwhile;
- memory: the latest 3 replies all left the host with more than the limit;
- acceptance: fewer replies are accepted (no thumb down, correction or regeneration) than of the
  active version, by a test that is wrong about 5 % of versions that are as good, however long
  they are tried (`sequential.Worse`); 5 conversations of either side at least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xeno.experiments.sequential import ALPHA, Worse
from xeno.experiments.trials import TrialReply, sittings

_LATEST = 100  # requests that errors and slowness are read from
_REQUESTS, _REPLIES, _READINGS, _CONVERSATIONS = 20, 10, 3, 5  # evidence at least
_SLOWER = 1.25


@dataclass(frozen=True)
class Limits:
    """What a canary is taken back for: more than this share of errors, seconds per reply, bytes
    of the model host; `alpha` is the false-alarm rate of the test of acceptance."""

    memory_bytes: float
    error_rate: float = 0.15
    seconds: float = 5.0
    alpha: float = ALPHA


@dataclass(frozen=True)
class Arm:
    """What is known of one side: of its latest 100 requests, and of its conversations.
    `memory_bytes` is the least of its latest 3 readings, None where there were fewer."""

    requests: int
    failed: int
    replies: int
    seconds: float | None
    memory_bytes: float | None
    conversations: int
    acceptance: float | None


@dataclass(frozen=True)
class Standing:
    """How a canary does beside the active version. `evidence` that its replies are accepted less
    often is enough at `needed`."""

    canary: Arm
    active: Arm
    evidence: float
    needed: float
    worse: bool


def standing_of(found: Sequence[TrialReply], alpha: float) -> Standing:
    """What the requests of a canary and of the active version say, in their order."""
    test, scores = Worse(alpha), {"a": list[float](), "b": list[float]()}
    for sitting in sittings(found):
        if sitting.acceptance is not None:
            test.add(sitting.arm == "b", sitting.acceptance)
            scores[sitting.arm].append(sitting.acceptance)
    active, tried = (
        _arm([each for each in found if each.arm == arm][-_LATEST:], scores[arm])
        for arm in ("a", "b")
    )
    return Standing(tried, active, test.evidence, test.needed, test.found)


def broken_rule(limits: Limits, standing: Standing) -> str | None:
    """The sentence that says which limit the canary broke, None while it keeps to all."""
    arm, active = standing.canary, standing.active
    if arm.requests >= _REQUESTS and arm.failed > limits.error_rate * arm.requests:
        return (
            f"{arm.failed} of {arm.requests} requests failed: more than "
            f"{100 * limits.error_rate:.3g} %."
        )
    usual = active.seconds or 0.0 if active.replies >= _REPLIES else 0.0
    allowed = max(limits.seconds, _SLOWER * usual)
    if arm.replies >= _REPLIES and arm.seconds is not None and arm.seconds > allowed:
        return f"Replies take {arm.seconds:.1f} s on average: more than {allowed:.1f} s."
    if arm.memory_bytes is not None and arm.memory_bytes > limits.memory_bytes:
        return (
            f"The model host takes {arm.memory_bytes / 1e9:.2f} GB: more than "
            f"{limits.memory_bytes / 1e9:.2f} GB."
        )
    enough = min(arm.conversations, active.conversations) >= _CONVERSATIONS
    if standing.worse and enough and arm.acceptance is not None and active.acceptance is not None:
        return (
            f"{100 * arm.acceptance:.0f} % of its replies were accepted, of the active version's "
            f"{100 * active.acceptance:.0f} %; a version as good would look so in "
            f"{100 * limits.alpha:.3g} % of trials at most."
        )
    return None


def _arm(latest: Sequence[TrialReply], scores: Sequence[float]) -> Arm:
    times = [each.seconds for each in latest if each.seconds is not None]
    memory = [each.memory_bytes for each in latest if each.memory_bytes][-_READINGS:]
    return Arm(
        requests=len(latest),
        failed=sum(each.failed for each in latest),
        replies=len(times),
        seconds=sum(times) / len(times) if times else None,
        memory_bytes=min(memory) if len(memory) == _READINGS else None,
        conversations=len(scores),
        acceptance=sum(scores) / len(scores) if scores else None,
    )

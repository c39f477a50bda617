"""The whole loop with a scripted user: chat, correct, train, deploy, measure, roll back.

The user likes brief, bulleted answers and corrects real replies through the same feedback path
as a person. The preferences, and so the system prompt, are the defaults from beginning to end:
what changes between before and after is the deployed version alone. The questions measured
with are on other topics than those corrected, in wordings that the starter model was never
trained on.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import resources
from xeno.assistant import Assistant, Reply
from xeno.benchmarking.brief_bullets import brief_bullets
from xeno.benchmarking.reply_rules import is_brief_bullets, repeated_4grams
from xeno.benchmarking.starter import read_heldout
from xeno.errors import XenoError
from xeno.events import ChatMessage, Event, PairScore, Progress, Sampling, ScorePair
from xeno.feedback.recorder import FeedbackRecorder
from xeno.models.starter import starter_folder
from xeno.paths import Home
from xeno.privacy.budget import DEFAULT_DELTA, DEFAULT_LIFETIME_EPSILON
from xeno.privacy.ledger import PrivacyLedger
from xeno.store.profile import Profile, open_profile
from xeno.training.plan import TrainingPlan
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Registry
from xeno.words import count
from xeno.workers.gate_client import GateRun
from xeno.workers.host_client import HostClient
from xeno.workers.training_client import TrainingRun

CORRECTIONS = 60
PRIVATE_CORRECTIONS = 200  # noise asks for more evidence
HELDOUT = 40
SHOWN = 3
SAMPLING = Sampling(max_tokens=200)

_QUESTIONS = Path(resources.__file__).parent / "demo_questions.json"

Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration measured; the fields are the keys of its JSON.

    Accuracies and shares are from 0 to 1. `epsilon` is None without differential privacy.
    """

    pairs: int
    heldout_preference_accuracy_before: float
    heldout_preference_accuracy_after: float
    shorter_baseline: float
    mean_reply_tokens_before: float
    mean_reply_tokens_after: float
    followed_taste_before: float
    followed_taste_after: float
    ended_after: float
    repetition_after: float
    epsilon: float | None
    version: str
    rollback_exact: bool
    train_seconds: float
    total_seconds: float

    def values(self) -> dict[str, Any]:
        """The JSON object."""
        return asdict(self)

    def table(self) -> list[tuple[str, object, object]]:
        """Rows of (measure, before, after) for people."""
        return [
            (
                "held-out preference accuracy",
                self.heldout_preference_accuracy_before,
                self.heldout_preference_accuracy_after,
            ),
            ("  picking the shorter scores", self.shorter_baseline, self.shorter_baseline),
            ("brief and bulleted", self.followed_taste_before, self.followed_taste_after),
            ("tokens per reply", self.mean_reply_tokens_before, self.mean_reply_tokens_after),
            ("ended by itself", None, self.ended_after),
            ("repeated 4-grams", None, self.repetition_after),
            ("replies after rollback as before", None, self.rollback_exact),
            ("epsilon", None, self.epsilon),
            ("pairs learned from", None, self.pairs),
            ("seconds of training", None, self.train_seconds),
            ("seconds in all", None, self.total_seconds),
        ]


def run_demo(
    epsilon: float | None,
    say: Say,
    *,
    keep_home: bool = False,
    corrections: int | None = None,
    heldout: int = HELDOUT,
) -> DemoResult:
    """Run the demonstration in a temporary home and return what it measured.

    Args:
        epsilon: privacy that the training may spend; None trains without.
        say: takes the lines for people.
        keep_home: leave the home behind and say where it is.
        corrections: how many replies are corrected; None takes 60, with privacy 200.
        heldout: how many held-out questions are measured with.

    Raises:
        XenoError: a step failed; says which and why.
    """
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="xeno-demo-"))
    try:
        with (
            # A key file: the demonstration leaves nothing in the user's keyring.
            open_profile(Home.at(folder), "demo", protection="file") as profile,
            HostClient(profile, starter_folder()) as host,
        ):
            if corrections is None:
                corrections = CORRECTIONS if epsilon is None else PRIVATE_CORRECTIONS
            result = _Demo(profile, host, say, corrections, heldout).run(epsilon, begun)
    finally:
        if keep_home:
            say(f"The demo's home is {folder} (profile demo).")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return result


class _Demo:
    """The scripted user at work."""

    def __init__(
        self, profile: Profile, host: HostClient, say: Say, corrections: int, heldout: int
    ) -> None:
        self._profile = profile
        self._host = host
        self._say = say
        self._corrections = corrections
        self._heldout = heldout
        self._assistant = Assistant(profile, host)
        self._printed = 0

    def run(self, epsilon: float | None, begun: float) -> DemoResult:
        ready = self._host.ready()
        self._say(f"{ready.name}: {ready.parameters / 1e6:.1f} million parameters, {ready.dtype}")
        heldout, others = questions(self._heldout)
        before, pairs = self._measured_pairs(heldout)
        corrected = self._correct(others, self._corrections)
        scores_before = self._host.score(pairs, "base").scores
        epsilon_spent, version, train_seconds = self._train(epsilon)
        self._deploy(version)
        scores_after = self._host.score(pairs, "active").scores
        asked = [pair.prompt[-1].content for pair in pairs]
        self._say(f"Asking the same {len(asked)} questions again.")
        after = [self._ask(question) for question in asked]
        Deployment(self._profile).rollback("base")
        self._say("Rolled back; asking once more.")
        again = [self._ask(question) for question in asked]
        self._show(asked, before, after)
        return DemoResult(
            pairs=corrected,
            heldout_preference_accuracy_before=accuracy(scores_before),
            heldout_preference_accuracy_after=accuracy(scores_after),
            shorter_baseline=_shorter_baseline(pairs),
            mean_reply_tokens_before=statistics.fmean(r.finished.reply_tokens for r in before),
            mean_reply_tokens_after=statistics.fmean(r.finished.reply_tokens for r in after),
            followed_taste_before=_followed(before),
            followed_taste_after=_followed(after),
            ended_after=statistics.fmean(r.finished.reason == "end" for r in after),
            repetition_after=statistics.fmean(repeated_4grams(r.finished.text) for r in after),
            epsilon=epsilon_spent,
            version=version,
            rollback_exact=[r.finished.text for r in again] == [r.finished.text for r in before],
            train_seconds=round(train_seconds, 1),
            total_seconds=round(time.monotonic() - begun, 1),
        )

    def _ask(self, question: str) -> Reply:
        reply = self._assistant.ask(None, question, sampling=SAMPLING, timeout=120.0)
        if reply.finished.fallback:
            raise XenoError("The demonstration failed.", reply.finished.fallback)
        return reply

    def _measured_pairs(self, candidates: Sequence[str]) -> tuple[list[Reply], list[ScorePair]]:
        """The base's replies to held-out questions, and each with its scripted edit as a pair."""
        self._say(f"Asking {self._heldout} held-out questions; nothing of them is trained on.")
        replies: list[Reply] = []
        pairs: list[ScorePair] = []
        for question in candidates:
            reply = self._ask(question)
            edit = brief_bullets(reply.finished.text)
            if edit is not None:
                replies.append(reply)
                pairs.append(_pair(reply, question, edit))
            if len(pairs) == self._heldout:
                return replies, pairs
        raise XenoError(
            "The demonstration failed.",
            f"Only {len(pairs)} of {len(candidates)} replies to held-out questions can be edited.",
            "Install XENO again: its starter model seems not to be the one that was shipped.",
        )

    def _correct(self, candidates: Sequence[str], wanted: int) -> int:
        """Chat and correct until `wanted` replies are corrected; how many there are then."""
        self._say(f"Chatting, and correcting {count(wanted, 'reply', 'replies')} to brief bullets.")
        recorder = FeedbackRecorder(self._profile)
        done = 0
        for question in candidates:
            reply = self._ask(question)
            edit = brief_bullets(reply.finished.text)
            if edit is None:  # nothing in it to keep; a person would shrug, too
                continue
            recorder.correct(reply.message.id, edit)
            done += 1
            if done % 20 == 0:
                self._say(f"  {done} corrected")
            if done == wanted:
                break
        return done

    def _train(self, epsilon: float | None) -> tuple[float | None, str, float]:
        """Train through the same run as the window; (epsilon, version, seconds)."""
        if epsilon is not None and epsilon > DEFAULT_LIFETIME_EPSILON:
            PrivacyLedger(self._profile).set_budget(epsilon, DEFAULT_DELTA)
        base = str(starter_folder())
        plan = (
            TrainingPlan(base=base, private=False)
            if epsilon is None
            else TrainingPlan(base=base, private=True, epsilon=epsilon)
        )
        self._say(
            "Training without differential privacy."
            if epsilon is None
            else f"Training with differential privacy, epsilon at most {epsilon:g}."
        )
        begun = time.monotonic()
        training = TrainingRun(self._profile, plan, self._progress)
        training.start()
        try:
            finished = training.wait()
        except BaseException:  # Ctrl-C: no child outlives the demonstration
            training.stop(keep=False)
            training.wait(10.0)
            raise
        seconds = time.monotonic() - begun
        if finished is None or finished.version is None:
            failure = training.failure
            raise XenoError(
                failure.what if failure else "The run made no version.",
                failure.why if failure else "",
                failure.todo if failure else "",
            )
        version = Registry(self._profile).get(finished.version)
        spent = PrivacyLedger(self._profile).spent() if epsilon is not None else None
        self._say(f"Version {version.label} ({version.address[:12]}) after {seconds:.0f} s.")
        return spent, version.address, seconds

    def _progress(self, event: Event) -> None:
        if isinstance(event, Progress) and event.step >= self._printed + event.steps / 5:
            self._printed = event.step
            loss = "unknown" if event.loss is None else f"{event.loss:.3f}"
            self._say(f"  step {event.step}/{event.steps}  loss {loss}")

    def _deploy(self, version: str) -> None:
        """Send the version through the gate. Where that says no the demonstration says so and
        goes on, to show what was learned."""
        self._say("Sending the version through the gate.")
        report = GateRun(self._profile, version).wait()
        self._say("It passed the gate." if report.passed else f"It did not pass: {report.reason}")
        override = "" if report.passed else "The demonstration shows what was learned."
        Deployment(self._profile).deploy(version, "the demonstration", override=override)

    def _show(self, asked: Sequence[str], before: Sequence[Reply], after: Sequence[Reply]) -> None:
        for question, old, new in list(zip(asked, before, after, strict=True))[:SHOWN]:
            self._say(f"\n> {question}")
            self._say(f"before:\n{_indented(old.finished.text)}")
            self._say(f"after:\n{_indented(new.finished.text)}")
        self._say("")


def accuracy(scores: Sequence[PairScore]) -> float:
    """The share of pairs whose chosen reply has the higher mean log-probability per token,
    ties one half."""
    return statistics.fmean(
        0.5 if s.chosen == s.rejected else float(s.chosen > s.rejected) for s in scores
    )


def questions(heldout: int) -> tuple[list[str], list[str]]:
    """Held-out questions, one per topic and a quarter more than the `heldout` that are needed
    (a reply may be unfit for an edit); and one question on each of the other topics."""
    first: dict[str, str] = {}
    for prompt in read_heldout(starter_folder()).prompts:
        first.setdefault(prompt.topic, prompt.question)
    measured = dict(list(first.items())[: heldout + heldout // 4 + 1])
    entries = json.loads(_QUESTIONS.read_text(encoding="utf-8"))
    others = [entry["question"] for entry in entries if entry["topic"] not in measured]
    return list(measured.values()), others


def _pair(reply: Reply, question: str, edit: str) -> ScorePair:
    prompt = (
        ChatMessage(role="system", content=reply.message.system_prompt or ""),
        ChatMessage(role="user", content=question),
    )
    return ScorePair(prompt=prompt, chosen=edit, rejected=reply.finished.text)


def _shorter_baseline(pairs: Sequence[ScorePair]) -> float:
    return statistics.fmean(
        0.5 if len(p.chosen) == len(p.rejected) else float(len(p.chosen) < len(p.rejected))
        for p in pairs
    )


def _followed(replies: Sequence[Reply]) -> float:
    return statistics.fmean(is_brief_bullets(reply.finished.text) for reply in replies)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())

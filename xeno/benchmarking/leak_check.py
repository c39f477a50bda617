"""The leak check: canaries in a throw-away run, and how well the version gives them away.

    random pairs -> half of them by coin into a throw-away profile -> a real run -> scores -> bound

Nothing of the user's is used. Both replies of a canary are random letters, so that the version
can only prefer one of them because it was told to: who guesses knows every canary and the base,
and scores each by how much more the version prefers its chosen reply than the base does. There
are no other pairs in the run, so nothing hides a canary but the mechanism.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from xeno.errors import XenoError
from xeno.events import ChatMessage, Event, Progress, ScorePair, StopTraining
from xeno.inference.engine import Engine
from xeno.models.base import inspect_base
from xeno.paths import Home
from xeno.privacy.audit.books import Check, check_books
from xeno.privacy.audit.one_run import Leak, leak
from xeno.privacy.audit.selftest import SelfTest, self_test
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import Profile, open_profile
from xeno.store.runs import Runs
from xeno.training.plan import TrainingPlan
from xeno.training.trainer import train
from xeno.versions.registry import Registry

LEAST_CANARIES = 20
_BY_HEART: dict[str, object] = {"lora_modules": "all linear", "lora_rank": 16}
"""Enough of an adapter to learn random pairs by heart, where no noise prevents it: the
small one of the private default could not, and would hide a broken mechanism."""
_PASSES = 12  # without privacy
_WORDS = 6
_SCORING = 0.4  # share of the time that is spent on scoring, roughly

Tell = Callable[[float, str], None]
Stop = Callable[[], StopTraining | None]


@dataclass(frozen=True)
class LeakCheck:
    """What the throw-away run gave away, and what it claims."""

    leak: Leak
    epsilon_claimed: float | None
    delta: float
    inside: int
    seconds: float


@dataclass(frozen=True)
class Audit:
    """All checks together. `leak` is None where only the mechanism was tested."""

    mechanism: SelfTest
    books: tuple[Check, ...]
    leak: LeakCheck | None


def audit(
    base: Path,
    canaries: int,
    plan_values: dict[str, object],
    tell: Tell = lambda *_: None,
    stop: Stop = lambda: None,
    profile: Profile | None = None,
) -> Audit:
    """Test the mechanism, the books of `profile`, and how much a run of `canaries` leaks.

    Args:
        base: the folder of the base that is trained, the starter as a rule.
        canaries: at least 20; 0 leaves the leak check out.
        plan_values: the plan of the run, such as private and epsilon.
        tell: called with the share done (0 to 1) and a sentence.
        stop: a StopTraining ends the check.

    Raises:
        XenoError: if the run fails or is stopped.
    """
    tell(0.0, "Testing the mechanism…")
    mechanism = self_test()
    books = tuple(check_books(profile)) if profile is not None else ()
    found = leak_check(base, canaries, plan_values, tell, stop) if canaries else None
    tell(1.0, "Done.")
    return Audit(mechanism, books, found)


def leak_check(
    base: Path,
    canaries: int,
    plan_values: dict[str, object],
    tell: Tell = lambda *_: None,
    stop: Stop = lambda: None,
) -> LeakCheck:
    """Train on half of `canaries` random pairs, and guess which half. See `audit`."""
    begun = time.monotonic()
    values = {"base": str(base), "force": True, "heldout_share": 0.0, "evaluations": 1}
    passes = {} if plan_values.get("private", True) else {"epochs": _PASSES}
    plan = TrainingPlan.model_validate(values | _BY_HEART | passes | plan_values)
    texts = [_canary() for _ in range(max(LEAST_CANARIES, canaries))]
    # The coins are the experiment: they come from the system, not from a seed.
    inside = [bool(secrets.randbits(1)) for _ in texts]
    with tempfile.TemporaryDirectory(prefix="xeno-leak-check-") as folder:
        home = Home.at(folder)
        with open_profile(home, protection="file") as profile:
            address, epsilon = _trained(profile, plan, texts, inside, tell, stop)
            scores = _scores(profile, base, address, texts, tell, stop)
    return LeakCheck(
        leak=leak(scores, inside, plan.delta),
        epsilon_claimed=epsilon,
        delta=plan.delta,
        inside=sum(inside),
        seconds=time.monotonic() - begun,
    )


def _trained(
    profile: Profile,
    plan: TrainingPlan,
    texts: list[ScorePair],
    inside: list[bool],
    tell: Tell,
    stop: Stop,
) -> tuple[str, float | None]:
    """The address of the version that learned from the canaries that are in, and its epsilon."""
    pairs = Pairs(profile.db)
    for number, (text, member) in enumerate(zip(texts, inside, strict=True)):
        if member:
            pairs.add(
                new_pair(
                    profile.name,
                    text.prompt,
                    text.chosen,
                    text.rejected,
                    feedback_type="import",
                    group_id=f"canary {number}",
                    confidence=1.0,
                    quality=1.0,
                )
            )

    def follow(event: Event) -> None:
        if isinstance(event, Progress):
            share = (1 - _SCORING) * event.step / event.steps
            tell(share, f"Training on the canaries: step {event.step} of {event.steps}.")

    finished = train(profile, Runs(profile.db).create(plan).id, follow, stop)
    if finished.version is None:
        raise stopped()
    return finished.version, finished.epsilon


def _scores(
    profile: Profile,
    base: Path,
    address: str,
    texts: list[ScorePair],
    tell: Tell,
    stop: Stop,
) -> list[float]:
    """How much more the version prefers each chosen reply than the base does."""
    engine = Engine(inspect_base(base, profile.home))
    before = _margins(engine, texts, 0.0, tell, stop)
    tensors, version = Registry(profile).load(address)
    engine.activate(version.address, tensors, version.manifest.adapter)
    after = _margins(engine, texts, 0.5, tell, stop)
    return [now - was for now, was in zip(after, before, strict=True)]


def _margins(
    engine: Engine, texts: list[ScorePair], done: float, tell: Tell, stop: Stop
) -> list[float]:
    found = []
    for number, text in enumerate(texts):
        if stop() is not None:
            raise stopped()
        [score] = engine.score([text])
        found.append(score.chosen - score.rejected)
        share = done + 0.5 * number / len(texts)
        tell(1 - _SCORING + _SCORING * share, "Scoring the canaries…")
    return found


def stopped() -> XenoError:
    """The check was ended by the user."""
    return XenoError("The leak check was stopped.", "Nothing was found out.", "Start it again.")


def _canary() -> ScorePair:
    """A pair of random letters that no model has seen."""

    def words() -> str:
        letters = "abcdefghijklmnopqrstuvwxyz"
        return " ".join(
            "".join(secrets.choice(letters) for _ in range(3 + secrets.randbelow(4)))
            for _ in range(_WORDS)
        )

    question = ChatMessage(role="user", content=f"What is {words()}?")
    return ScorePair(prompt=(question,), chosen=f"{words()}.", rejected=f"{words()}.")

"""A version at the gate, from its bytes to its report. Runs in a child: torch, and a base model.

    bytes -> fits and loads -> 20 questions, the base asked beside it -> held-out pairs

Version and base take turns, question by question, so that a machine that grows busy meanwhile
slows both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xeno.errors import BaseModelError, DamagedDataError, InvalidValueError
from xeno.events import ChatMessage, Sampling, ScorePair
from xeno.gate.comparison import HeldOut, coherence, perplexity, preferences, speed
from xeno.gate.prompts import PROMPTS
from xeno.gate.replies import GateReply, judge
from xeno.store.profile import Profile
from xeno.training.dataset import training_pairs
from xeno.versions import gate
from xeno.versions.deployment import Deployment
from xeno.versions.gate import GateCheck, GateReport
from xeno.versions.lineage import pairs_behind
from xeno.versions.registry import Registry, Version

if TYPE_CHECKING:
    from xeno.inference.engine import Engine
    from xeno.store.pairs import Pair

MOST_PAIRS = 64
MOST_TOKENS = 160  # of a reply to a question
Tell = Callable[[float, str], None]
_SHARE_REPLIES = 0.8  # of the time, roughly


class StoppedError(Exception):
    """The examination was stopped before its end."""


def examine(
    profile: Profile, version: Version, tell: Tell, stopped: Callable[[], bool]
) -> GateReport:
    """Examine `version`, keep the report with it and move it on (`gate.record`).

    Args:
        tell: told how far it is, from 0 to 1, and what it does.
        stopped: asked between two replies and two pairs.

    Raises:
        BaseModelError: if its base model is not here; nothing was kept.
        StoppedError: nothing was kept.
    """
    tell(0.0, "Checking its file.")
    compared = Deployment(profile).active()
    if compared is not None and compared.address == version.address:
        compared = None
    report = gate.check(profile, version)
    if report.passed:
        checks = [*report.checks, *_behaviour(profile, version, compared, tell, stopped)]
        address = None if compared is None else compared.address
        report = GateReport.of(checks, complete=True, compared=address)
        gate.record(profile, version, report)
    tell(1.0, "Done.")
    return report


def _behaviour(
    profile: Profile,
    version: Version,
    compared: Version | None,
    tell: Tell,
    stopped: Callable[[], bool],
) -> list[GateCheck]:
    base = gate.find_base(profile, version)
    if base is None:
        raise BaseModelError(
            f"{version.label} could not be checked.",
            f"The base model {version.manifest.base_name}, on which it was trained, is not here.",
            "Choose the folder of that base model with 'xeno base DIR', and check again.",
        )
    from xeno.inference.engine import Engine  # torch: seconds to import

    registry = Registry(profile)
    engine = Engine(base)  # that this fails says nothing about the version
    try:
        tensors, _ = registry.load(version.address)
        engine.activate(version.address, tensors, version.manifest.adapter)
    except (DamagedDataError, InvalidValueError) as error:
        return [GateCheck(name="loads", passed=False, detail=str(error))]
    checks = [GateCheck(name="loads", passed=True, detail=f"It loads into {base.name}.")]
    turns = _Turns(registry, engine)
    try:
        mine, bases = _replies(turns, version, tell, stopped)
    except DamagedDataError as error:  # numbers that are no numbers while it answers
        detail = f"It cannot answer: {error.why}"
        return [*checks, GateCheck(name="coherent", passed=False, detail=detail)]
    checks += judge(mine, bases)
    checks.append(_coherence(turns, profile, version, mine, bases))
    if compared is not None and compared.base_hash != version.base_hash:
        compared = None  # numbers of two bases cannot be compared token by token
    other = "the base model" if compared is None else compared.label
    found = _held_out(turns, profile, version, compared, tell, stopped)
    return [*checks, preferences(found, other), perplexity(found, other), speed(mine, bases)]


class _Turns:
    """One engine, and who answers with it."""

    def __init__(self, registry: Registry, engine: Engine) -> None:
        self._registry = registry
        self.engine = engine

    def give_to(self, version: Version | None) -> None:
        if version is None:
            self.engine.deactivate()
        elif self.engine.active_address != version.address:
            tensors, _ = self._registry.load(version.address)
            self.engine.activate(version.address, tensors, version.manifest.adapter)


def _replies(
    turns: _Turns, version: Version, tell: Tell, stopped: Callable[[], bool]
) -> tuple[list[GateReply], list[GateReply]]:
    """The replies of the version and of the base to all questions."""
    mine: list[GateReply] = []
    bases: list[GateReply] = []
    for number, (language, question) in enumerate(PROMPTS):
        tell(
            _SHARE_REPLIES * number / len(PROMPTS),
            f"Asking question {number + 1} of {len(PROMPTS)}.",
        )
        first: tuple[Version | None, ...] = (version, None)
        # Whoever is second may find the processor warmer: they take turns at that too.
        for who in first if number % 2 else reversed(first):
            if stopped():
                raise StoppedError
            turns.give_to(who)
            (bases if who is None else mine).append(_ask(turns.engine, question, language))
    return mine, bases


def _ask(engine: Engine, question: str, language: str) -> GateReply:
    said = engine.generate(
        [ChatMessage(role="user", content=question)], Sampling(max_tokens=MOST_TOKENS)
    )
    return GateReply(
        question=question,
        language=language,
        text=said.text,
        ended=said.reason == "end",
        tokens=said.reply_tokens,
        tokens_per_second=said.tokens_per_second,
    )


def _coherence(
    turns: _Turns,
    profile: Profile,
    version: Version,
    mine: Sequence[GateReply],
    bases: Sequence[GateReply],
) -> GateCheck:
    turns.give_to(None)
    said = [
        ScorePair(
            prompt=(ChatMessage(role="user", content=reply.question),),
            chosen=reply.text,
            rejected=other.text,
        )
        for reply, other in zip(mine, bases, strict=True)
        if reply.text.strip() and other.text.strip()
    ]
    learned = pairs_behind(profile.db, version.address)
    taught = [pair for pair in training_pairs(profile) if pair.id in learned][: len(PROMPTS)]
    scores = turns.engine.score(said)
    of_pairs = turns.engine.score(
        [ScorePair(prompt=each.prompt, chosen=each.chosen, rejected=each.chosen) for each in taught]
    )
    return coherence(
        [each.chosen for each in scores],
        [each.rejected for each in scores],
        [each.chosen for each in of_pairs],
    )


def _held_out(
    turns: _Turns,
    profile: Profile,
    version: Version,
    compared: Version | None,
    tell: Tell,
    stopped: Callable[[], bool],
) -> HeldOut:
    pairs = held_out_pairs(profile, version, compared)
    scores = []
    for side, who in enumerate((version, compared)):
        turns.give_to(who)
        found = []
        for number, pair in enumerate(pairs):
            if stopped():
                raise StoppedError
            share = (side * len(pairs) + number) / (2 * len(pairs))
            tell(_SHARE_REPLIES + (1 - _SHARE_REPLIES) * share, "Comparing on held-out pairs.")
            asked = ScorePair(prompt=pair.prompt, chosen=pair.chosen, rejected=pair.rejected)
            found += turns.engine.score([asked])
        scores.append(tuple(found))
    return HeldOut(tuple(pair.group_id for pair in pairs), scores[0], scores[1])


def held_out_pairs(profile: Profile, *versions: Version | None) -> Sequence[Pair]:
    """Up to 64 pairs of conversations from which none of `versions`, and nothing that they came
    from, learned."""
    learned: set[str] = set()
    for version in versions:
        if version is not None:
            learned |= pairs_behind(profile.db, version.address)
    pairs = training_pairs(profile)
    known = {pair.group_id for pair in pairs if pair.id in learned}
    return [pair for pair in pairs if pair.id not in learned and pair.group_id not in known][
        :MOST_PAIRS
    ]

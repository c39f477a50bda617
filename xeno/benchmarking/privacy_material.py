"""What the privacy benchmark learns from: a scripted taste on the starter, or a file of pairs.

The taste: the starter's own replies under all sorts of preferences, each rewritten to brief
bullets. Held out are other topics than those trained on; of a file, other groups. Writing the
taste takes minutes, so it is kept where there is a folder for it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import resources
from xeno.benchmarking.brief_bullets import brief_bullets
from xeno.data.importing import import_preferences
from xeno.errors import InvalidValueError
from xeno.events import ChatMessage, Sampling, ScorePair
from xeno.inference.engine import Engine
from xeno.models.base import inspect_base
from xeno.models.starter import starter_folder
from xeno.paths import Home
from xeno.personalization.preferences import Preferences, prompt_prefix
from xeno.store.files import write_atomic
from xeno.store.pairs import Pair, Pairs, new_pair
from xeno.store.profile import open_profile

_QUESTIONS = Path(resources.__file__).parent / "demo_questions.json"
_REPLY = Sampling(max_tokens=160)
_STYLES = ("professional", "casual", "friendly", "technical")
_DETAILS = ("medium", "detailed")
_FORMS = ("conversational", "structured")


@dataclass(frozen=True)
class Material:
    """Pairs to learn from and others to be measured on, for the base in `base`."""

    name: str
    base: Path
    training: tuple[Pair, ...]
    held_out: tuple[Pair, ...]


def scripted(training: int, held_out: int, kept: Path | None = None) -> Material:
    """The scripted taste on the starter model.

    Args:
        kept: where its pairs are read from, or written to when they are there.
    """
    found = _read(kept) if kept is not None and kept.exists() else _written(training, held_out)
    if kept is not None and not kept.exists():
        write_atomic(kept, "".join(map(_line, found)).encode())
    if len(found) != training + held_out:
        raise InvalidValueError(
            "The kept pairs of the scripted taste are others than asked for.",
            f"{kept} has {len(found)}, wanted are {training + held_out}.",
            "Keep them in another folder.",
        )
    return Material("taste", starter_folder(), tuple(found[:training]), tuple(found[training:]))


def _line(pair: Pair) -> str:
    turns = [[turn.role, turn.content] for turn in pair.prompt]
    return json.dumps([turns, pair.chosen, pair.rejected, pair.group_id]) + "\n"


def _read(kept: Path) -> list[Pair]:
    lines = map(json.loads, kept.read_text("utf-8").splitlines())
    return [
        _pair(tuple(ChatMessage(role=r, content=c) for r, c in turns), *rest)
        for turns, *rest in lines
    ]


def _written(training: int, held_out: int) -> list[Pair]:
    engine = Engine(inspect_base(starter_folder()))
    topics = json.loads(_QUESTIONS.read_text(encoding="utf-8"))
    random.Random("privacy benchmark").shuffle(topics)
    first = training // 2  # topics, each asked under about two preferences
    learned = itertools.islice(_corrected(engine, topics[:first]), training)
    measured = itertools.islice(_corrected(engine, topics[first:]), held_out)
    return [*learned, *measured]


def _corrected(engine: Engine, topics: list[dict[str, str]]) -> Iterator[Pair]:
    """Pairs on `topics`, one round of preferences after the other, until they are used up."""
    for style, detail, form in itertools.product(_STYLES, _DETAILS, _FORMS):
        wishes = Preferences(communication_style=style, detail_level=detail, response_format=form)
        for topic in topics:
            prompt = (
                ChatMessage(role="system", content=prompt_prefix(wishes)),
                ChatMessage(role="user", content=topic["question"]),
            )
            reply = engine.generate(prompt, _REPLY).text
            edit = brief_bullets(reply)
            if edit is not None:
                yield _pair(prompt, edit, reply, topic["topic"])


def _pair(prompt: tuple[ChatMessage, ...], chosen: str, rejected: str, group: str) -> Pair:
    return new_pair(
        "benchmark",
        prompt,
        chosen,
        rejected,
        feedback_type="correction",
        group_id=group,
        confidence=1.0,
        quality=1.0,
    )


def from_file(path: Path, base: Path, home: Home, held_out: int) -> Material:
    """The pairs of a preference file; groups are held out, in the order of their hashes, until
    `held_out` pairs are."""
    with open_profile(home, path.stem.lower()[:32], protection="file") as profile:
        import_preferences(profile, path)
        pairs = Pairs(profile.db).all(active=True)
    ranked = sorted(pairs, key=lambda pair: hashlib.sha256(pair.group_id.encode()).digest())
    groups: list[list[Pair]] = [
        list(group) for _, group in itertools.groupby(ranked, key=lambda pair: pair.group_id)
    ]
    measured: list[Pair] = []
    while groups and len(measured) < min(held_out, 0.7 * len(pairs)):
        measured += groups.pop(0)
    training = [pair for group in groups for pair in group]
    return Material(path.stem, base, tuple(training), tuple(measured))


def as_score(pair: Pair) -> ScorePair:
    """`pair`, to be scored."""
    return ScorePair(prompt=tuple(pair.prompt), chosen=pair.chosen, rejected=pair.rejected)

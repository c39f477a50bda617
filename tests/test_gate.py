"""The gate: what a version says and how it compares decides whether it may answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from run_parts import add_pairs

from xeno.errors import BaseModelError, InvalidValueError
from xeno.events import ChatMessage, PairScore
from xeno.gate import examination
from xeno.gate.comparison import HeldOut, coherence, perplexity, preferences, speed
from xeno.gate.examination import StoppedError, examine, held_out_pairs
from xeno.gate.intervals import median_interval, paired_bootstrap
from xeno.gate.prompts import PROMPTS
from xeno.gate.replies import GateReply, judge
from xeno.models.base import inspect_base
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import Profile
from xeno.versions.adapter import AdapterConfig, tensor_names
from xeno.versions.content import content_address
from xeno.versions.deployment import Deployment
from xeno.versions.gate import report_of
from xeno.versions.registry import Manifest, Registry, Version
from xeno.workers.gate_client import GateRun, deploy, valid_report

ENGLISH = "You can put the rice into boiling water and wait for ten minutes with the lid on."
GERMAN = "Du kannst den Reis in kochendes Wasser geben und zehn Minuten lang bei Deckel warten."


def replies(*texts: str, ended: bool = True, rate: float = 50.0) -> list[GateReply]:
    return [GateReply("How?", "en", text, ended, len(text.split()), rate) for text in texts]


def failed(version: list[GateReply], base: list[GateReply]) -> set[str]:
    return {check.name for check in judge(version, base) if check.passed is False}


# Replies --------------------------------------------------------------------------------------


def test_plain_replies_pass() -> None:
    assert failed(replies(*[ENGLISH] * 5), replies(*[ENGLISH] * 5)) == set()


def test_empty_endless_repeating_and_foreign_replies_fail() -> None:
    base = replies(*[ENGLISH] * 5)
    again = "so it goes on and on and on and " * 10
    assert failed(replies(*[ENGLISH] * 4, "  "), base) == {"not empty"}
    assert failed(replies(*[ENGLISH] * 5, ended=False), base) == {"ends"}
    assert failed(replies(*[ENGLISH] * 4, again), base) == {"repetition"}
    assert failed(replies(*[GERMAN] * 5), base) == {"language kept"}


def test_a_version_is_held_to_its_base_where_that_falls_short_itself() -> None:
    again = "so it goes on and on and on and " * 10
    weak = replies(again, again, again, ended=False)
    assert failed(replies(again, again, again, ended=False), weak) == set()
    assert failed(replies(*[GERMAN] * 5), replies(*[GERMAN] * 5)) == set()


def test_every_check_says_what_it_found_in_a_sentence() -> None:
    for version in (replies(ENGLISH), replies("", ended=False), replies(GERMAN, GERMAN)):
        for check in judge(version, replies(*[ENGLISH] * len(version))):
            assert check.detail.endswith("."), check
            assert check.detail[0].isupper() or check.detail[0].isdigit(), check


# Comparisons ----------------------------------------------------------------------------------


def scored(accuracy: float, pairs: int = 40, chosen: float = -1.0) -> tuple[PairScore, ...]:
    right = round(accuracy * pairs)
    return tuple(
        PairScore(chosen=chosen, rejected=chosen - 1 if number < right else chosen + 1)
        for number in range(pairs)
    )


def held_out(mine: tuple[PairScore, ...], theirs: tuple[PairScore, ...]) -> HeldOut:
    return HeldOut(tuple(str(number) for number in range(len(mine))), mine, theirs)


def test_worse_preferences_beyond_noise_fail_and_within_noise_pass() -> None:
    assert preferences(held_out(scored(0.9), scored(0.5)), "v1").passed is True
    assert preferences(held_out(scored(0.85), scored(0.9)), "v1").passed is True
    check = preferences(held_out(scored(0.5), scored(0.9)), "v1")
    assert check.passed is False
    assert "v1 in 90%" in check.detail
    assert "95 % interval" in check.detail


def test_less_likely_replies_fail_only_beyond_the_stated_factor() -> None:
    same = scored(0.9)
    assert perplexity(held_out(scored(0.9, chosen=-1.05), same), "v1").passed is True
    assert perplexity(held_out(scored(0.9, chosen=-1.5), same), "v1").passed is False
    assert perplexity(held_out(scored(0.9, chosen=-900.0), same), "v1").passed is False


def test_with_too_few_pairs_the_question_stays_open_and_no_numbers_fail() -> None:
    few = held_out(scored(0.0, 7), scored(1.0, 7))
    assert preferences(few, "v1").passed is None
    assert "7 pairs" in preferences(few, "v1").detail
    none = held_out((), ())
    assert perplexity(none, "v1").passed is None
    broken = tuple(PairScore(chosen=float("nan"), rejected=0.0) for _ in range(40))
    assert preferences(held_out(broken, scored(0.9)), "v1").passed is False


def test_replies_less_likely_than_what_was_taught_are_not_coherent() -> None:
    usual, taught = [-0.4, -0.5, -0.6], [-2.0, -3.0, -4.0]
    assert coherence([-4.0, -4.1, -4.2], usual, taught).passed is True
    assert coherence([-4.6, -4.7, -4.8], usual, taught).passed is False
    assert coherence([-2.2, -2.3, -2.4], usual, []).passed is False
    assert coherence([], usual, taught).passed is None


def test_only_a_slowdown_that_is_no_accident_fails() -> None:
    chance = random.Random(1)
    noisy = [replies(ENGLISH, rate=50 * chance.uniform(0.7, 1.4))[0] for _ in range(20)]
    steady = replies(*[ENGLISH] * 20)
    assert speed(noisy, steady).passed is True
    assert speed(replies(*[ENGLISH] * 20, rate=40), steady).passed is False
    assert speed(replies(*[ENGLISH] * 4, rate=40), steady[:4]).passed is None


def test_the_bootstrap_covers_the_true_mean_and_is_the_same_each_time() -> None:
    chance = random.Random(3)
    covered = 0
    for _ in range(200):
        differences = [chance.choice([-1, 0, 0, 0.5, 1]) for _ in range(30)]
        groups = [str(number) for number in range(30)]
        found = paired_bootstrap(differences, groups)
        assert found == paired_bootstrap(differences, groups)
        covered += found.low <= 0.1 <= found.high
    assert covered >= 180


def test_pairs_of_one_conversation_count_as_one() -> None:
    differences = [1.0] * 20 + [-1.0] * 20
    alone = paired_bootstrap(differences, [str(number) for number in range(40)])
    together = paired_bootstrap(differences, ["a"] * 20 + ["b"] * 20)
    assert together.high - together.low > 2 * (alone.high - alone.low)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-5, 5), max_size=40))
def test_a_median_lies_in_its_interval(values: list[float]) -> None:
    found = median_interval(values)
    assert (found is None) == (len(values) < 6)
    if found is not None:
        assert found.low <= found.value <= found.high


# A real model ---------------------------------------------------------------------------------


@pytest.fixture
def made(profile: Profile, real_base: Path) -> Callable[[float], Version]:
    """Versions of the real base: its query projections moved by chance, by so much."""
    base = inspect_base(real_base, profile.home)
    profile.set_setting("base", str(real_base))
    config = AdapterConfig(rank=2, alpha=2.0, target_modules=("q_proj",))

    def make(amount: float) -> Version:
        generator = torch.Generator().manual_seed(1)
        tensors = {}
        for name, shape in base.shapes.items():
            if name.endswith("q_proj.weight"):
                down, up = tensor_names(name.removesuffix(".weight"))
                tensors[down] = torch.randn(2, shape[1], generator=generator)
                tensors[up] = amount * torch.randn(shape[0], 2, generator=generator)
        manifest = Manifest(
            address=content_address(tensors, config, base.base_hash),
            base_hash=base.base_hash,
            base_name=base.name,
            adapter=config,
            created=1.0,
        )
        return Registry(profile).release(tensors, manifest)

    return make


@pytest.fixture
def few_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "PROMPTS", PROMPTS[:3])
    monkeypatch.setattr(examination, "MOST_TOKENS", 48)


def test_a_harmless_version_passes_and_a_broken_one_is_marked_with_the_reason(
    profile: Profile, made: Callable[[float], Version], few_questions: None
) -> None:
    Pairs(profile.db).add_many(
        new_pair(
            profile.name,
            [ChatMessage(role="user", content=f"How do I cook rice for {number} people?")],
            f"Rinse {number} cups of rice in cold water, to wash off loose starch.",
            f"Rice is a grain that is simmered in water until {number} cups of it turn soft.",
            feedback_type="correction",
            confidence=1.0,
            quality=1.0,
        )
        for number in range(2, 12)
    )
    harmless, broken = made(1e-4), made(30.0)
    report = examine(profile, harmless, lambda *_: None, lambda: False)
    assert report.passed, report.reason
    assert [check.name for check in report.checks] == [
        "intact", "finite", "fits the base", "loads", "not empty", "ends", "repetition",
        "language kept", "coherent", "held-out preferences", "held-out perplexity", "speed",
    ]  # fmt: skip
    assert Registry(profile).get(1).state == "checked"
    Deployment(profile).deploy("v1")
    report = examine(profile, broken, lambda *_: None, lambda: False)
    assert not report.passed
    version = Registry(profile).get(2)
    assert version.state == "quarantined"
    assert report_of(version) == report
    assert report.compared == harmless.address
    with pytest.raises(InvalidValueError, match="did not pass"):
        Deployment(profile).deploy("v2")
    Deployment(profile).deploy("v2", override="I want to see it")
    assert Deployment(profile).history()[-1].override == "I want to see it"
    assert Registry(profile).get(2).state == "active"
    assert Deployment(profile).rollback() == Registry(profile).get(1)


def test_a_stopped_or_impossible_examination_keeps_nothing(
    profile: Profile, made: Callable[[float], Version], few_questions: None
) -> None:
    version = made(1e-4)
    with pytest.raises(StoppedError):
        examine(profile, version, lambda *_: None, lambda: True)
    assert Registry(profile).get(1) == version
    with profile.db.transaction() as connection:
        connection.execute("UPDATE versions SET gate = '{}'")
    elsewhere = Registry(profile).get(1)
    other = Manifest(**{**elsewhere.manifest.model_dump(), "base_hash": "c" * 64})
    tensors, _ = Registry(profile).load(1)
    address = content_address(tensors, other.adapter, other.base_hash)
    foreign = Registry(profile).release(tensors, other.model_copy(update={"address": address}))
    with pytest.raises(BaseModelError, match="not here"):
        examine(profile, foreign, lambda *_: None, lambda: False)
    assert Registry(profile).get(2).state == "candidate"


def test_the_child_examines_and_the_version_then_answers(
    profile: Profile, made: Callable[[float], Version]
) -> None:
    version = made(1e-4)
    said: list[str] = []
    active = deploy(profile, "v1", "try", on_progress=lambda event: said.append(event.text))
    assert active is not None
    assert active.address == version.address
    assert "Asking question 20 of 20." in said
    report = valid_report(profile, active)
    assert report is not None
    assert report.complete
    stopped = GateRun(profile, "v1")
    stopped.stop()
    with pytest.raises(Exception, match="stopped"):
        stopped.wait()


def test_held_out_pairs_are_those_of_conversations_that_no_version_learned_from(
    profile: Profile,
) -> None:
    add_pairs(profile, 12)
    everything = held_out_pairs(profile)
    assert len(everything) == 12
    taken = everything[0]
    with profile.db.transaction() as connection:
        connection.execute(
            "INSERT INTO versions (model, number, major, minor, patch, address, base_hash, state, "
            "created, bytes, manifest, manifest_hash, signature) "
            "VALUES ('assistant', 1, 1, 0, 0, ?, 'b', 'checked', 1, 1, '{}', 'h', 's')",
            ("a" * 64,),
        )
        connection.execute("INSERT INTO version_pairs VALUES (?, ?)", ("a" * 64, taken.id))
    learner = _Address("a" * 64)
    left = held_out_pairs(profile, learner)  # type: ignore[arg-type]
    assert taken.id not in {pair.id for pair in left}
    assert taken.group_id not in {pair.group_id for pair in left}


class _Address:
    """All that is asked of a version here."""

    def __init__(self, address: str) -> None:
        self.address = address

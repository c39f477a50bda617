"""The demonstration: the scripted edit, its questions, and the whole loop in small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xeno.benchmarking.reply_rules import is_brief_bullets
from xeno.benchmarking.starter import read_heldout
from xeno.demo import DemoResult, accuracy, brief_bullets, questions, run_demo
from xeno.errors import BaseModelError
from xeno.events import PairScore
from xeno.models.starter import starter_folder

REPLY = (
    "Happy to help. Bread is a food made from flour and water. Weigh the flour and water, because "
    "cups give uneven amounts. Knead the dough well, so that it becomes smooth. Enjoy every step!"
)
KEYS = [
    "pairs",
    "heldout_preference_accuracy_before",
    "heldout_preference_accuracy_after",
    "shorter_baseline",
    "mean_reply_tokens_before",
    "mean_reply_tokens_after",
    "followed_taste_before",
    "followed_taste_after",
    "ended_after",
    "repetition_after",
    "epsilon",
    "version",
    "rollback_exact",
    "train_seconds",
    "total_seconds",
]


@pytest.fixture
def starter() -> Path:
    try:
        return starter_folder()
    except BaseModelError:
        pytest.skip("needs the starter model")


def test_the_edit_keeps_the_advice_before_the_comma_and_nothing_else() -> None:
    edit = brief_bullets(REPLY)
    assert edit == "- Weigh the flour and water.\n- Knead the dough well."
    assert is_brief_bullets(edit)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I am sorry, I do not know that.",
        "Happy to help. Bread is food. Eat it, now.",
        "Happy to help. Bread is a food. Eat it now, so. Eat it now, because.",
    ],
)
def test_a_reply_without_two_pieces_of_advice_is_not_edited(reply: str) -> None:
    assert brief_bullets(reply) is None


def test_an_edit_of_an_edit_is_none() -> None:
    assert brief_bullets("- Weigh the flour.\n- Knead the dough.") is None


def test_accuracy_counts_a_tie_as_one_half() -> None:
    scores = [(-1.0, -2.0), (-2.0, -1.0), (-1.0, -1.0)]
    assert accuracy([PairScore(chosen=c, rejected=r) for c, r in scores]) == 0.5


def test_what_is_measured_and_what_is_corrected_are_about_different_topics(
    starter: Path,
) -> None:
    measured, corrected = questions(40)
    topics = {prompt.question: prompt.topic for prompt in read_heldout(starter).prompts}
    folder = Path(__file__).parents[1] / "resources"
    asked = json.loads((folder / "demo_questions.json").read_text())
    others = {entry["topic"] for entry in asked if entry["question"] in corrected}
    assert len(measured) >= 40
    assert len(corrected) >= 200
    assert not {topics[question] for question in measured} & others


def test_the_whole_loop_runs_in_small_and_rolls_back_to_the_byte(starter: Path) -> None:
    lines: list[str] = []
    result = run_demo(None, lines.append, corrections=20, heldout=4)
    assert isinstance(result, DemoResult)
    assert list(result.values()) == KEYS
    assert result.pairs == 20
    assert result.rollback_exact
    assert result.epsilon is None
    assert len(result.version) == 64
    assert result.heldout_preference_accuracy_after >= result.heldout_preference_accuracy_before
    assert any("before:" in line for line in lines)

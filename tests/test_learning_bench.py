"""The measurement of learning: honest users, honest table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xeno.benchmarking import learning
from xeno.benchmarking.learning import Judged, calibration_error, overclaimed, reliability
from xeno.benchmarking.scripted_users import (
    ScriptedModel,
    ScriptedUser,
    Taste,
    all_tastes,
    another_taste,
)
from xeno.cli.main import main
from xeno.errors import InvalidValueError
from xeno.paths import Home
from xeno.personalization.learning import Learner
from xeno.personalization.likelihoods import from_correction, from_rating
from xeno.personalization.markers import ENGLISH
from xeno.personalization.preferences import ALLOWED
from xeno.store.conversations import Conversations
from xeno.store.profile import Profile


def test_all_tastes_are_there_and_a_change_changes_everything() -> None:
    import random

    tastes = list(all_tastes())
    assert len(set(tastes)) == 144
    for taste in tastes:
        other = another_taste(taste, random.Random(1))
        assert all(a != b for a, b in zip(vars(taste).values(), vars(other).values(), strict=True))


def test_the_measured_learner_shares_no_word_with_the_scripted_users() -> None:
    words = learning.scripted_vocabulary()
    lexicon = ENGLISH.without(words)
    known = frozenset().union(*(getattr(lexicon, name) for name in lexicon.__dataclass_fields__))
    assert not known & words
    assert len(known) > 300


def test_the_same_seed_lives_the_same_life() -> None:
    taste = Taste("casual", "brief", "bullet_points", "humorous")
    one, other = (list(learning.live(5, taste, 9, ENGLISH)) for _ in range(2))
    assert one == other
    assert len(one) == 40 * 4


def test_a_quick_look_at_every_ninth_taste_is_right_most_times() -> None:
    result = learning.measure([7], every=9)
    assert result["users"] == 16
    for shares in result["right"].values():
        assert shares["after_20"] >= 0.75
    assert sum(line["beliefs"] for line in result["reliability"]) == 16 * 20 * 4
    assert result["shared_words"] == 0


def test_reliability_compares_what_is_claimed_with_what_is_true() -> None:
    sure = [Judged(0, 1, n, "tone", "formal", 0.95, "formal") for n in range(120)]
    boasting = [Judged(0, 1, n, "tone", "formal", 0.85, "neutral") for n in range(120)]
    table = reliability(sure + boasting)
    assert [(line["from"], line["right"]) for line in table] == [(0.8, 0.0), (0.9, 1.0)]
    assert calibration_error(table) == pytest.approx((0.85 + 0.05) / 2)
    assert overclaimed(table) == pytest.approx(0.85)
    assert overclaimed(reliability(sure)) == 0.0


def test_a_user_s_life_through_the_database_gives_the_same_beliefs(profile: Profile) -> None:
    """The measurement folds the effects in memory; the program stores them. One result."""
    taste = Taste("technical", "detailed", "structured", "formal")
    user, model = ScriptedUser(taste, 3), ScriptedModel(3)
    conversations, mind = Conversations(profile.db), learning._Mind()
    now = [1.7e9]
    learner = Learner(profile, clock=lambda: now[0])
    learner.set_consent(True)
    for _ in range(12):
        now[0] += 60.0
        subject, question = user.asks()
        answer = model.answers(subject, Taste("friendly", "medium", "conversational", "neutral"))
        made = conversations.create("x")
        conversations.add_message(made.id, "user", question)
        reply = conversations.add_message(made.id, "assistant", answer.text)
        corrected, stars = user.rewrites(subject, answer), user.stars(answer)
        if corrected is not None:
            mind.learn(from_correction(answer.text, corrected, question), now[0])
            learner.correction(reply, corrected, None)
        if stars is not None:
            mind.learn(from_rating(answer.text, stars, question), now[0])
            learner.rating(reply, stars)
    for dimension in ALLOWED:
        belief = learner.belief(dimension)
        value, confidence = mind.believes(dimension, now[0])
        assert belief.value == value
        assert belief.confidence == pytest.approx(confidence, abs=1e-4)


def test_an_author_s_real_choices_can_be_learned_from(shared_data: Path) -> None:
    found = learning.author(shared_data / "preferences/llamafactory_dpo_en_demo.json", splits=1)
    assert found["pairs"] == 300
    assert 0.4 < found["right"] < 1.0
    for distribution in found["beliefs"].values():
        assert sum(distribution.values()) == pytest.approx(1.0)


def test_a_file_that_holds_no_pairs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wrong.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(InvalidValueError, match="chosen"):
        learning.author(tmp_path / "wrong.jsonl")


def run(capsys: pytest.CaptureFixture[str], *arguments: str, failed: int = 1) -> dict:
    status = main([*arguments, "--json"])
    result: dict = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert status == (failed if "error" in result else 0)
    return result


def test_the_command_line_shows_asks_and_obeys(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "beliefs")["consent"] is None
    assert run(capsys, "beliefs", "consent", "yes") == {"consent": True}
    assert run(capsys, "beliefs", "signals", "rating", "off")["signals"]["rating"] is False
    pinned = run(capsys, "beliefs", "pin", "tone", "formal")["beliefs"]
    assert [b["in_effect"] for b in pinned if b["preference"] == "tone"] == ["formal"]
    from xeno.personalization.engine import PersonalizationEngine

    with PersonalizationEngine() as engine:
        engine.record_interaction("yo, gimme the short version of git rebase??", "Sure.", {})
    why = run(capsys, "beliefs", "why", "communication_style")
    assert why["evidence"][0]["text"].startswith("yo")
    start = why["evidence"][0]["id"][:6]
    run(capsys, "beliefs", "undo", start)
    assert run(capsys, "beliefs", "why", "communication_style")["evidence_counted"] == 0
    run(capsys, "beliefs", "restore", start)
    assert run(capsys, "beliefs", "why", "communication_style")["evidence_counted"] == 1
    run(capsys, "beliefs", "unpin", "tone")
    run(capsys, "beliefs", "reset")
    assert run(capsys, "beliefs", "why", "communication_style")["evidence_total"] == 0
    assert "error" in run(capsys, "beliefs", "why", "mood")
    assert "error" in run(capsys, "beliefs", "undo", "nothing")
    assert "error" in run(capsys, "beliefs", "signals", "rating", failed=2)


def test_confidence_against_truth_is_drawn_where_it_stands() -> None:
    from xml.etree import ElementTree

    from xeno.benchmarking.calibration_plot import calibration_svg

    honest = [
        {"from": low, "beliefs": 10.0, "confidence": low + 0.05, "right": low + 0.05}
        for low in (0.3, 0.6, 0.9)
    ]
    boastful = [{"from": 0.9, "beliefs": 4.0, "confidence": 0.95, "right": 0.5}]
    root = ElementTree.fromstring(calibration_svg({"honest": honest, "boastful": boastful}))
    space = "{http://www.w3.org/2000/svg}"
    diagonal = root.find(f"{space}line")
    assert diagonal is not None
    x, y = (float(diagonal.get(name, "")) for name in ("x1", "y1"))  # where both are 0
    for line, on in zip(root.findall(f"{space}polyline"), (True, False), strict=True):
        points = [tuple(map(float, p.split(","))) for p in line.get("points", "").split()]
        assert all((abs((px - x) - (y - py)) < 0.2) == on for px, py in points)
    assert [t.text for t in root.findall(f"{space}text")][-2:] == ["honest", "boastful"]

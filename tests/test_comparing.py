"""Versions side by side: what they say, how they do on held-out pairs, what they learned from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import make_llama
from version_parts import release

from xeno.cli.main import main
from xeno.errors import InvalidValueError
from xeno.events import PairScore
from xeno.gate.side_by_side import compare, pair_results
from xeno.models.base import BaseModel, inspect_base
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile
from xeno.versions.comparing import metric_changes, word_difference
from xeno.workers.host_client import BASE_SETTING


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return inspect_base(make_llama(tmp_path_factory.mktemp("base") / "tiny"))


@pytest.fixture
def two(taught: Profile, base: BaseModel) -> Profile:
    """A profile with two versions: v1 learned from pairs 0 and 1, v2 from 1 and 2."""
    taught.set_setting(BASE_SETTING, str(base.folder))
    ids = [pair.id for pair in Pairs(taught.db).all()]
    for seed, learned, accuracy in ((1, ids[:2], 0.5), (2, ids[1:3], 0.75)):
        release(
            taught,
            seed,
            base_hash=base.base_hash,
            pair_ids=tuple(learned),
            metrics={"heldout_preference_accuracy": accuracy},
        )
    return taught


@settings(max_examples=200, deadline=None)
@given(st.text("ab c.\n", max_size=40), st.text("ab c.\n", max_size=40))
def test_a_word_difference_holds_both_replies(first: str, other: str) -> None:
    pieces = word_difference(first, other)
    assert "".join(each.text for each in pieces if each.kind != "added") == first
    assert "".join(each.text for each in pieces if each.kind != "removed") == other
    assert all(each.text for each in pieces)


def test_words_that_are_kept_are_seen_as_kept() -> None:
    kinds = [(each.kind, each.text) for each in word_difference("Warm the pot.", "Warm a big pot.")]
    assert ("same", "Warm ") in kinds
    assert ("removed", "the ") in kinds


def test_metrics_change_by_value_and_percent() -> None:
    [accuracy, loss] = metric_changes({"accuracy": 0.92}, {"accuracy": 0.95, "loss": 0.1})
    assert accuracy.change == pytest.approx(0.03)
    assert accuracy.change_percent == pytest.approx(3.26, abs=0.01)
    assert (loss.first, loss.change, loss.change_percent) == (None, None, None)


def test_a_win_rate_is_the_share_of_larger_margins() -> None:
    first = [PairScore(chosen=-1.0, rejected=-1.55 + 0.1 * number) for number in range(10)]
    better = [PairScore(chosen=each.chosen + 0.2, rejected=each.rejected) for each in first]
    groups = [str(number) for number in range(10)]
    found = pair_results(first, better, groups)
    assert found is not None
    assert found.win_rate.value == found.win_rate.low == 1.0
    assert found.margin_change.value == pytest.approx(0.2)
    assert found.accuracy == pytest.approx((0.6, 0.8))
    same = pair_results(first, first, groups)
    assert same is not None
    assert (same.win_rate.value, same.accuracy_change.value) == (0.5, 0.0)
    assert pair_results(first[:5], better[:5], groups[:5]) is None


def test_versions_and_the_base_are_compared_in_one_go(two: Profile, base: BaseModel) -> None:
    told: list[float] = []
    found = compare(
        two,
        ["base", "v1", "v2"],
        base,
        ["What about tea?"],
        lambda share, text: told.append(share),
        max_tokens=12,
    )
    assert found.labels == ("base", "v1", "v2")
    assert len(set(found.prompts[0].replies)) > 1
    v1, v2 = found.others
    assert v1.pairs is not None
    assert v1.pairs.pairs == 21  # 24, of which three taught one or the other
    assert (len(v1.data.added), len(v1.data.removed)) == (2, 0)
    assert v2.metrics[0].other == 0.75
    assert told == sorted(told)
    again = compare(
        two, ["v1", "v2"], base, ["What about tea?"], lambda *_: None, max_tokens=12, held_out=False
    )
    assert again.prompts[0].replies == found.prompts[0].replies[1:]
    assert (len(again.others[0].data.added), len(again.others[0].data.removed)) == (1, 1)
    assert again.others[0].data.both == 1
    with pytest.raises(InvalidValueError, match="Two to"):
        compare(two, ["v1"], base, [], lambda *_: None)


def test_the_command_compares_in_a_child(
    two: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prompts.txt").write_text("What about tea?\n\nAnd coffee?\n")
    two.close()
    bare = ["versions", "compare", "v1", "base", "--no-pairs", "--max-tokens", "1", "--json"]
    assert main(bare) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert all(len(each["prompt"]) > 20 for each in found["prompts"])  # the gate's questions
    assert found["others"][0]["pairs"] is None
    arguments = ["versions", "compare", "v1", "v2", "--prompts", str(tmp_path / "prompts.txt")]
    assert main([*arguments, "--max-tokens", "8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["labels"] == ["v1", "v2"]
    assert [each["prompt"] for each in found["prompts"]] == ["What about tea?", "And coffee?"]
    assert found["others"][0]["pairs"]["pairs"] == 21

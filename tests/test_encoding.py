"""What becomes of texts that are too long, and of replies to imitate, on the way to rows."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_models import make_llama

from xeno.events import ChatMessage
from xeno.models.base import inspect_base
from xeno.models.chat import load_tokenizer
from xeno.store.pairs import Pair, new_pair
from xeno.training.dataset import Sample
from xeno.training.encoding import Fit, LeftOut, encode_pair, encode_sample
from xeno.training.rows import Cut, Row

LIMIT = 100


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_tokenizer(inspect_base(make_llama(tmp_path_factory.mktemp("base"))))


def _prompt(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


def _pair(prompt: str, chosen: str, rejected: str) -> Pair:
    return new_pair(
        "u", _prompt(prompt), chosen, rejected, feedback_type="import", confidence=1.0, quality=1.0
    )


def _row(result: Row | LeftOut) -> Row:
    assert isinstance(result, Row), result
    return result


def test_a_long_prompt_is_cut_or_its_pair_left_out_as_wanted(tokenizer: Any) -> None:
    pair = _pair("q" * 200, "yes", "no")
    row = _row(encode_pair(tokenizer, pair, Fit(LIMIT)))
    assert len(row.prompt) + len(row.chosen) == LIMIT
    [cut] = row.cuts
    assert (cut.part, cut.side) == ("prompt", "left")
    out = encode_pair(tokenizer, pair, Fit(LIMIT, cut_prompts=False))
    assert isinstance(out, LeftOut)
    assert "prompt that must stay" in out.reason
    fits = encode_pair(tokenizer, _pair("short", "yes", "no"), Fit(LIMIT, cut_prompts=False))
    assert _row(fits).cuts == ()


def test_what_must_stay_of_a_prompt_decides_whether_a_pair_fits(tokenizer: Any) -> None:
    pair = _pair("q" * 200, "y" * 69, "no")  # 70 tokens with the end
    assert len(_row(encode_pair(tokenizer, pair, Fit(LIMIT, least_prompt=30))).prompt) == 30
    assert isinstance(encode_pair(tokenizer, pair, Fit(LIMIT, least_prompt=31)), LeftOut)


def test_cut_replies_have_no_end_and_say_so(tokenizer: Any) -> None:
    pair = _pair("q", "y" * 300, "no")
    assert isinstance(encode_pair(tokenizer, pair, Fit(LIMIT)), LeftOut)
    row = _row(encode_pair(tokenizer, pair, Fit(LIMIT, cut_replies=True)))
    assert len(row.prompt) + len(row.chosen) == LIMIT
    assert row.cuts == (Cut("chosen", "right", 301 - len(row.chosen)),)
    assert "<|end|>" not in tokenizer.decode(row.chosen)
    assert tokenizer.decode(row.rejected) == "no<|end|>"


def test_replies_that_only_differ_where_they_are_cut_teach_nothing(tokenizer: Any) -> None:
    pair = _pair("q", "y" * 300 + "a", "y" * 300 + "b")
    out = encode_pair(tokenizer, pair, Fit(LIMIT, cut_replies=True))
    assert isinstance(out, LeftOut)
    assert "only differ where they would be cut" in out.reason


def test_a_single_reply_is_in_the_chosen_place_and_its_prompt_may_be_learned_too(
    tokenizer: Any,
) -> None:
    sample = Sample("s", "g", tuple(_prompt("What?")), "That.", "f", desirable=False, weight=2.0)
    row = _row(encode_sample(tokenizer, sample, Fit(LIMIT)))
    assert tokenizer.decode(row.chosen) == "That.<|end|>"
    assert (row.rejected, row.desirable, row.weight) == ((), False, 2.0)
    whole = _row(encode_sample(tokenizer, sample, Fit(LIMIT), on_prompt=True))
    assert whole.prompt == row.prompt[:1]
    assert whole.prompt + whole.chosen == row.prompt + row.chosen

"""The benchmark of DPO training: the same pairs for all, and counts that are what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xeno.benchmarking import dpo
from xeno.benchmarking import dpo_material as material
from xeno.benchmarking.dpo_contenders import Task, Timing, xeno
from xeno.benchmarking.dpo_material import Example, examples, useful_flops
from xeno.errors import InvalidValueError


def _file(tmp_path: Path, *lengths: tuple[int, int, int]) -> Path:
    path = tmp_path / "pairs.jsonl"
    lines = [
        {
            "prompt": [{"role": "user", "content": "x" * 4 * p}],
            "chosen": "y" * 4 * c,
            "rejected": "z" * 4 * r,
        }
        for p, c, r in lengths
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def _lengths(found: list[Example]) -> list[tuple[int, int, int]]:
    return [(len(each.prompt), len(each.chosen), len(each.rejected)) for each in found]


def test_lengths_are_those_of_the_file_within_what_the_other_side_reads(tmp_path: Path) -> None:
    path = _file(tmp_path, (5, 10, 20), (2000, 2000, 3))
    found = examples(2, path)
    half = material.LONGEST // 2
    assert sorted(_lengths(found)) == [(5, 10, 20), (half, half, 3)]
    assert _lengths(examples(3, path))[2] == _lengths(found)[0]
    assert all(each.chosen[-1] == each.rejected[-1] == 1 for each in found)


def test_the_same_seed_gives_the_same_pairs_and_another_one_others() -> None:
    assert examples(4, None, 1) == examples(4, None, 1) != examples(4, None, 2)


def test_a_file_that_holds_no_pairs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"text": "hello"}')
    with pytest.raises(InvalidValueError, match="preference pairs"):
        examples(2, path)


def test_useful_operations_are_those_of_the_matrices_counted_one_by_one() -> None:
    each = Example((3,) * 4, (3,) * 3, (3,) * 2)
    matrices = 2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536
    keys = sum(range(1, 8)) + 2 * 4 + (1 + 2)  # prompt and chosen; rejected sees the prompt too
    per_layer = 2 * 2 * 9 * matrices + 3 * (2 * 2 * 576 * keys)
    head = 2 * 2 * 5 * 576 * 49152
    assert useful_flops(each, layers=3) == pytest.approx(3 * per_layer + head)


def test_a_target_is_missed_on_its_own_side_of_the_bound() -> None:
    reached = {name: bound for name, (_, bound) in dpo.TARGETS.items()}
    assert dpo.missed(reached) == []
    assert dpo.missed(reached | {"speed beside TRL tuned": 2.9, "time with privacy": 1.2}) == [
        "speed beside TRL tuned",
        "time with privacy",
    ]


def test_the_engine_takes_the_same_first_step_with_privacy_and_without(tmp_path: Path) -> None:
    material.write_model(tmp_path / "model", layers=1)
    task = Task("xeno", str(tmp_path / "model"), 3, None, 1, batch=2)
    plain, private = (xeno(task, private) for private in (False, True))
    for timing in (plain, private):
        assert isinstance(timing, Timing)
        assert timing.pairs == 3
        assert len(timing.losses) == 2
        assert min(timing.seconds, timing.before, timing.processor_seconds) > 0
        assert timing.peak_memory > 10**8
    assert plain.losses[0] == private.losses[0] == pytest.approx(0.6931, abs=1e-3)

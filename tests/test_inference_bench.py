"""The benchmark of replies asks all contenders the same, and compares what it should."""

from __future__ import annotations

import pytest

from xeno.benchmarking import inference_material as material
from xeno.benchmarking.inference import TARGETS, compared, missed
from xeno.benchmarking.inference_contenders import GENERATE, LLAMACPP, XENO

OURS = {
    "first token": 0.05,
    "tokens per second": 90.0,
    "personalised first token": 0.05,
    "personalised tokens per second": 88.0,
    "second turn": 0.02,
    "second turn without cache": 0.2,
    "switch": 0.012,
    "switch from disk": 0.1,
    "back": 0.004,
    "stop writing": 0.011,
    "stop tokens": 1.0,
    "stop reading": 0.005,
    "memory": 8e8,
}
SWITCHES = {"memory after switches": 1.001, "processor time of a switch": 0.02}


def found(**ours: float) -> dict[str, list[dict[str, float]]]:
    theirs = {"first token": 0.1, "second turn": 0.3, "memory": 7e8}
    return {
        XENO: [OURS | ours, OURS, OURS],
        GENERATE: [theirs | {"tokens per second": 36.0}],
        LLAMACPP: [theirs | {"tokens per second": 110.0}],
    }


def test_the_middle_of_the_rounds_counts() -> None:
    result = compared(found(**{"tokens per second": 1.0}), SWITCHES)
    measures = result["measures"]
    assert measures["decoding beside transformers.generate"] == pytest.approx(2.5)
    assert measures["decoding beside llama.cpp F16"] == pytest.approx(90 / 110)
    assert measures["second turn beside no cache"] == pytest.approx(10)
    assert measures["time of a personalised reply beside a base reply"] == pytest.approx(90 / 88)
    assert measures["switch of an opened version, ms"] == pytest.approx(12)
    assert result["missed"] == []
    assert set(TARGETS) <= set(measures)


def test_without_llama_cpp_nothing_is_said_of_it() -> None:
    rounds = found()
    del rounds[LLAMACPP]
    result = compared(rounds, SWITCHES)
    assert "decoding beside llama.cpp F16" not in result["measures"]
    assert result["missed"] == []


def test_every_aim_can_be_missed() -> None:
    for name, (at_least, bound) in TARGETS.items():
        assert missed({name: bound}) == []
        assert missed({name: bound * (0.99 if at_least else 1.01)}) == [name]


def test_prompts_are_the_same_for_all_and_others_in_each_round() -> None:
    assert material.first_turn(1) == material.first_turn(1)
    assert material.first_turn(1) != material.first_turn(2)
    turns, before = material.second_turn(3)
    assert turns[:-1] == before
    assert (turns[-1].role, before[-1].role) == ("user", "assistant")

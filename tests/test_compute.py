"""How a run is computed: chosen by probes, shown, and overridden by the plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import make_llama

from xeno.errors import InvalidValueError
from xeno.models.base import BaseModel, inspect_base
from xeno.models.loading import load_model
from xeno.paths import Home
from xeno.training import compute
from xeno.training.plan import TrainingPlan
from xeno.training.policy import Policy


@pytest.fixture
def base(tmp_path: Path) -> BaseModel:
    return inspect_base(make_llama(tmp_path / "base"), Home(tmp_path / "home"))


@pytest.fixture(autouse=True)
def _as_before() -> Any:
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


def _plan(base: BaseModel, **changes: Any) -> TrainingPlan:
    return TrainingPlan(base=str(base.folder), **changes)


def test_threads_and_products_are_as_planned(base: BaseModel) -> None:
    device, dtype = compute.set_up(_plan(base, threads=1, fast_products=True), base)
    assert (device.type, dtype) == ("cpu", "float32")
    assert torch.get_num_threads() == 1
    assert torch.get_float32_matmul_precision() == "medium"
    compute.set_up(_plan(base, threads=2, dtype="bfloat16"), base)
    assert torch.get_num_threads() == 2
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_probe_of_the_threads_is_remembered_until_it_is_asked_for_again(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    found = iter([4, 8])
    monkeypatch.setattr(compute, "_faster", lambda few, many: next(found))
    assert compute.threads(base.home) == 4
    assert compute.threads(base.home) == 4
    assert compute.threads(base.home, again=True) == 8
    assert compute.threads(base.home) == 8


def test_the_probe_chooses_one_of_the_two_and_leaves_the_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    assert compute._faster(1, 2) in (1, 2)
    assert torch.get_num_threads() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a graphics card")
def test_a_device_that_is_not_there_is_refused(base: BaseModel) -> None:
    with pytest.raises(InvalidValueError, match="graphics card"):
        compute.set_up(_plan(base, device="cuda"), base)


def test_an_accelerator_that_is_not_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compute.passed_over(torch.device("cpu")) == ""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert compute._device("auto").type in ("cpu", "cuda")
    assert "MPS" in compute.passed_over(torch.device("cpu"))
    assert compute.passed_over(torch.device("cuda")) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "packed without padding, predictions of reply tokens only, 7 fused layers"),
        ({"attention": "dense", "fused_layers": False}, "one padded row for each pair"),
        ({"one_row": False}, "two sequences for each pair"),
    ],
)
def test_what_was_chosen_follows_the_plan_and_is_said(
    base: BaseModel, changes: dict[str, Any], words: str
) -> None:
    shortcuts = compute.shortcuts(_plan(base, **changes))
    assert words in compute.described(Policy(load_model(base, "float32"), shortcuts=shortcuts))


def test_the_sizes_of_the_plan_reach_the_computation(base: BaseModel) -> None:
    found = compute.shortcuts(_plan(base, head_tokens=3, attention_keys_kept=5))
    assert (found.head_tokens, found.kept_keys) == (3, 5)


def test_measuring_again_replaces_what_was_known(base: BaseModel) -> None:
    assert base.home is not None
    name = f"bfloat16 with torch {torch.__version__}"
    base.home.folder.mkdir(parents=True, exist_ok=True)
    base.home.machine.write_text(json.dumps({name: "unknown"}))
    compute.set_up(_plan(base, measure_again=True), base)
    assert isinstance(json.loads(base.home.machine.read_text())[name], bool)

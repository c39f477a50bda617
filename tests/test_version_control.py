"""The contract of `ModelVersionControl`: any model, of any name, in one signed registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from version_parts import passed, release

from xeno import ModelVersionControl
from xeno.errors import DamagedDataError, InvalidValueError, XenoError
from xeno.paths import Home
from xeno.store.profile import Profile

NAME = "intent_classifier"


@pytest.fixture
def control(profile: Profile) -> ModelVersionControl:
    return ModelVersionControl(profile=profile)


def three(control: ModelVersionControl) -> None:
    """v1, v2 and v3, each in use after the other."""
    for number, accuracy in enumerate((0.9, 0.92, 0.95)):
        control.create_version(
            NAME,
            f"model {number}".encode(),
            created_by="john_doe",
            description=f"number {number}",
            metrics={"accuracy": accuracy, "latency": 0.12},
        )


def test_the_contract_runs_as_written_and_is_there_in_the_next_process(home: Home) -> None:
    with ModelVersionControl() as v:
        for accuracy in (0.90, 0.92, 0.95):
            v.create_version(
                model_name="intent_classifier",
                model_data={"weights": np.full(3, accuracy), "classes": ["a", "b"]},
                created_by="john_doe",
                description="trained on more examples",
                metrics={"accuracy": accuracy, "latency": 0.12},
            )
    with ModelVersionControl() as v:
        assert v.get_version("intent_classifier").version == 3
        assert v.get_version("intent_classifier", 1).metrics["accuracy"] == 0.90
        v.rollback("intent_classifier", target_version=2)
        assert v.get_version("intent_classifier", "active").version == 2
        change = v.compare_versions("intent_classifier", 2, 3)["metric_changes"]["accuracy"]
    assert change["v1"] == 0.92
    assert change["v2"] == 0.95
    assert change["change"] == pytest.approx(0.03)
    assert change["change_percent"] == pytest.approx(3.26, abs=0.005)


def test_a_version_answers_to_all_of_its_names(control: ModelVersionControl) -> None:
    three(control)
    second = control.get_version(NAME, 2)
    control.tag(NAME, 2, "best")
    for ref in ("2", "v2", "v1.1.0", "1.1.0", second.address, second.address[:8], "best", "BEST"):
        assert control.get_version(NAME, ref).address == second.address
    control.tag(NAME, 3, "best")
    assert control.get_version(NAME, "best").version == 3
    control.untag(NAME, "best")
    with pytest.raises(InvalidValueError, match="no version"):
        control.get_version(NAME, "best")


@pytest.mark.parametrize("tag", ["v3", "12", "v1.0.0", "abcdef", "base", "latest", "Ä", "", "a b"])
def test_a_tag_never_reads_as_something_else(control: ModelVersionControl, tag: str) -> None:
    three(control)
    with pytest.raises(InvalidValueError, match="cannot be a tag"):
        control.tag(NAME, 1, tag)


def test_bytes_folders_and_values_come_back_as_they_were(
    control: ModelVersionControl, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "weights.bin").write_bytes(b"\x00\x01")
    (folder / "config.json").write_text("{}")
    values: dict[str, Any] = {
        "weights": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "tensor": torch.ones(2, requires_grad=True),
        "count": np.float64(3),
        "classes": ["a", "b"],
        "nested": {"depth": 2, "none": None},
    }
    for name, data in (("bytes", b"abc"), ("folder", folder), ("values", values)):
        control.create_version(name, data)
    assert control.load("bytes") == b"abc"
    assert control.load("folder") == {"config.json": b"{}", "deep/weights.bin": b"\x00\x01"}
    control.extract("folder", "latest", tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "weights.bin").read_bytes() == b"\x00\x01"
    loaded = control.load("values")
    assert isinstance(loaded, dict)
    assert np.array_equal(loaded["weights"], values["weights"])
    assert np.array_equal(loaded["tensor"], [1, 1])
    assert (loaded["count"], loaded["classes"], loaded["nested"]) == (3, ["a", "b"], {
        "depth": 2, "none": None,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (object(), "pickle is not used"),
        ({"model": object()}, "neither an array nor JSON"),
        ({"model": np.array([object()])}, "only numbers"),
        ({"score": float("nan")}, "neither an array nor JSON"),
        ({1: "one"}, "no name"),
        ("/nowhere/at/all", "not a folder"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_reason(
    control: ModelVersionControl, data: Any, reason: str
) -> None:
    with pytest.raises(InvalidValueError) as raised:
        control.create_version(NAME, data)
    assert reason in str(raised.value)
    assert control.list_models() == []


def test_names_links_and_metrics_that_cannot_be_kept_are_refused(
    control: ModelVersionControl, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    for arguments in (
        ("../escape", b""),
        ("", b""),
        (NAME, tmp_path),
        (NAME, b"x", "", "", {"accuracy": "high"}),
        ("assistant", b"x"),
    ):
        with pytest.raises(InvalidValueError):
            control.create_version(*arguments)
    assert control.list_models() == []


def test_the_same_content_is_the_same_version(control: ModelVersionControl) -> None:
    first = control.create_version(NAME, {"b": 1, "a": np.zeros(2)})
    again = control.create_version(NAME, {"a": np.zeros(2), "b": 1}, description="other words")
    other = control.create_version("other_model", {"a": np.zeros(2), "b": 1})
    assert again == first
    assert other.address != first.address


def test_semantic_numbers_say_what_changed(control: ModelVersionControl) -> None:
    data = {"data_hash": "d" * 64}
    numbers = [
        control.create_version(NAME, b"1", **data).semantic,
        control.create_version(NAME, b"2", data_hash="e" * 64).semantic,
        control.create_version(NAME, b"3", **data, parent=1).semantic,
        control.create_version(NAME, b"4", **data, parent=3).semantic,
        control.create_version(NAME, {"another": "kind"}).semantic,
        control.create_version(NAME, b"5", parent=5).semantic,
    ]
    assert numbers == ["v1.0.0", "v1.1.0", "v1.0.1", "v1.0.2", "v2.0.0", "v1.2.0"]


def test_rolling_back_without_a_target_goes_to_what_was_in_use(
    control: ModelVersionControl,
) -> None:
    three(control)
    for expected in (2, 1):
        found = control.rollback(NAME)
        assert found is not None
        assert found.version == expected
    assert control.rollback(NAME) is None
    with pytest.raises(InvalidValueError, match="nothing to roll back"):
        control.rollback(NAME)


def test_a_flipped_byte_is_found_named_and_the_version_before_takes_over(
    control: ModelVersionControl, profile: Profile
) -> None:
    three(control)
    newest = control.get_version(NAME)
    file = profile.paths.versions / f"{newest.address}.xeno"
    content = bytearray(file.read_bytes())
    content[60] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedDataError, match=file.name):
        control.load(NAME, 3)
    assert control.load(NAME) == b"model 1"
    assert control.get_version(NAME, 3).state == "quarantined"
    assert control.get_version(NAME, "active").version == 2
    with pytest.raises(XenoError):
        control.rollback(NAME, target_version=3)
    control.create_version(NAME, b"model 2")
    assert control.load(NAME) == b"model 2", "keeping it again mends it"


def test_the_assistants_versions_are_in_the_same_registry(
    control: ModelVersionControl, profile: Profile
) -> None:
    one = release(profile, 1, metrics={"heldout_preference_accuracy": 0.5})
    two = release(profile, 2, metrics={"heldout_preference_accuracy": 0.6})
    three(control)
    assert control.list_models() == ["assistant", NAME]
    assert [each.address for each in control.list_versions("assistant")] == [
        two.address,
        one.address,
    ]
    with pytest.raises(InvalidValueError, match="gate"):
        control.activate("assistant", 2)
    passed(profile, 1, 2)
    control.activate("assistant", 2)
    assert control.get_version(NAME, "active").version == 3
    back = control.rollback("assistant", "base")
    assert back is None
    changes = control.compare_versions("assistant", 1, 2)["metric_changes"]
    assert changes["heldout_preference_accuracy"]["change"] == pytest.approx(0.1)
    tensors = control.load("assistant", 1)
    assert all(isinstance(each, np.ndarray) for each in tensors.values())


def test_a_deleted_version_comes_back_and_one_in_use_stays(control: ModelVersionControl) -> None:
    three(control)
    control.describe(NAME, 1, "the first")
    control.delete(NAME, 1)
    assert [each.version for each in control.list_versions(NAME)] == [3, 2]
    assert control.restore(NAME, 1).description == "the first"
    with pytest.raises(InvalidValueError, match="in use"):
        control.delete(NAME, "3")

"""Plans as files and as KEY=VALUE: what goes out comes in, and what is wrong is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xeno.cli.main import main
from xeno.errors import InvalidValueError
from xeno.models.starter import starter_folder
from xeno.paths import Home
from xeno.training import plan_files
from xeno.training.plan import TrainingPlan
from xeno.training.plan_files import assignments, checked, nearest, read

ROOT = Path(__file__).parents[1]


def test_a_plan_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    plan = checked(
        {
            "base": "/somewhere/base",
            "private": False,
            "learning_rate": 1e-5,
            "epochs": 3,
            "optimizer": "sgd",
            "sample_prompts": "Grüße: wie geht's?\n- yes, no",
        }
    )
    path = tmp_path / "plan.yaml"
    plan_files.write(plan, path)
    values = read(path)
    assert "base" not in values
    assert "/somewhere" not in path.read_text("utf-8")
    assert checked({"base": "/somewhere/base"} | values) == plan
    plan_files.write(plan, path, with_base=True)
    assert checked(read(path)) == plan
    short = plan_files.text(plan, changed_only=True)
    (path.with_name("short.yaml")).write_text(short, "utf-8")
    assert set(read(path.with_name("short.yaml"))) == {
        "private",
        "learning_rate",
        "epochs",
        "optimizer",
        "sample_prompts",
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("epocks: 3", "'epochs'"),
        ("learning-rate: 1", "'learning_rate'"),
        ("- epochs", "form 'name: value'"),
        ("epochs: [1, 2]", "not a single value"),
        ("epochs: 1\nepochs: 2", "stands in it twice"),
        ("epochs: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("epochs: {", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_plan_is_refused_with_the_reason(
    content: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(content, "utf-8")
    with pytest.raises(InvalidValueError) as error:
        read(path)
    assert words in str(error.value)


def test_a_missing_or_enormous_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="not a plan"):
        read(tmp_path / "none.yaml")
    (tmp_path / "large.yaml").write_text("#" * (2**20 + 1), "utf-8")
    with pytest.raises(InvalidValueError, match="larger"):
        read(tmp_path / "large.yaml")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epochs", 0, "a whole number from 1 to 1000, or automatic"),
        ("epochs", "many", "a whole number from 1 to 1000, or automatic"),
        ("heldout_share", 0.9, "a number from 0 to 0.5"),
        ("delta", 1, "a number above 0 and below 0.01"),
        ("order", "random", "one of shuffled, shortest_first"),
        ("private", "perhaps", "yes or no"),
    ],
)
def test_a_wrong_value_is_told_which_values_there_are(name: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidValueError) as error:
        checked({"base": "base", name: value})
    assert name in error.value.what
    assert words in error.value.todo


def test_assignments_take_automatic_where_there_is_such_a_value() -> None:
    found = assignments(["epochs=auto", "learning-rate=1e-5", "dtype=AUTO", "private=false"])
    assert found == {"epochs": None, "learning_rate": "1e-5", "dtype": "auto", "private": "false"}
    plan = checked({"base": "base"} | found)
    assert (plan.epochs, plan.learning_rate, plan.private) == (None, 1e-5, False)
    with pytest.raises(InvalidValueError, match="'epochs'"):
        assignments(["epoch=3"])
    with pytest.raises(InvalidValueError, match="KEY=VALUE"):
        assignments(["epochs"])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("learnrate", "learning_rate"),
        ("warmup_steps", "warm_up_steps"),
        ("held out share", "heldout_share"),
        ("weight-decay", "weight_decay"),
        ("longest text", "max_length"),
        ("qqqqq", None),
    ],
)
def test_the_nearest_setting_is_found_by_name_or_title(written: str, meant: str | None) -> None:
    assert nearest(written) == meant


def test_the_document_is_what_the_declarations_say() -> None:
    done = subprocess.run(
        [sys.executable, "tools/settings_doc.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    for name in TrainingPlan.model_fields:
        assert f"(`{name}`)" in text


# The command line -----------------------------------------------------------------------------


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = main([*arguments, "--json"])
    return status, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_settings_are_listed_searched_and_explained(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found = said(capsys, "settings", "list")
    assert status == 0
    assert {each["name"] for each in found["settings"]} == set(TrainingPlan.model_fields)
    _, found = said(capsys, "settings", "list", "warm-up")
    assert {"warm_up_share", "warm_up_steps"} <= {each["name"] for each in found["settings"]}
    assert len(found["settings"]) < 10
    _, one = said(capsys, "settings", "show", "epochs")
    assert one["takes"] == "a whole number from 1 to 1000, or automatic"
    status, error = said(capsys, "settings", "show", "epocs")
    assert status != 0
    assert "'epochs'" in error["error"]["why"]


def test_options_make_a_plan_and_the_later_ones_win(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("lora_rank: 32\nprivate: false\nseed: 7\n", "utf-8")
    status, found = said(
        capsys, "settings", "export", "-", "--plan", str(path), "--preset", "8gb",
        "--strength", "gentle", "--set", "epochs=5",
    )  # fmt: skip
    assert status == 0
    plan = found["plan"]
    assert (plan["seed"], plan["private"]) == (7, False)
    assert (plan["lora_rank"], plan["max_length"], plan["micro_batch_size"]) == (4, 512, 1)
    assert (plan["beta"], plan["rate_scale"]) == (0.2, 0.5)
    assert plan["epochs"] == 5
    status, error = said(capsys, "settings", "export", "-", "--preset", "9gb")
    assert status != 0
    assert "'8gb'" in error["error"]["why"]


def test_an_exported_plan_can_be_checked(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.yaml"
    assert said(capsys, "settings", "export", str(path), "--set", "max_steps=9")[0] == 0
    status, found = said(capsys, "settings", "check", str(path))
    assert (status, found["changed"]) == (0, {"max_steps": 9})
    path.write_text("newest_pairs: 10\n", "utf-8")
    status, found = said(capsys, "settings", "check", str(path))
    assert status != 0
    assert "differential privacy" in found["error"]["why"]


def test_train_can_check_without_training(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = said(capsys, "train", "--check", "--base", str(starter_folder()))
    assert status == 1
    assert found["verdict"] == "red"
    assert "no pairs" in found["blockers"][0]

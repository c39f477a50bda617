"""The privacy benchmark: groups stay whole, intervals hold the mean, what is missed is said."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_models import make_llama

from xeno.benchmarking import privacy
from xeno.benchmarking.privacy import Effort, missed
from xeno.benchmarking.privacy_material import Material, from_file
from xeno.paths import Home


def _file(folder: Path, pairs: int = 40) -> Path:
    path = folder / "pairs.jsonl"
    with path.open("w") as file:
        for number in range(pairs):
            file.write(
                json.dumps(
                    {
                        "prompt": f"What about tea {number}?",
                        "chosen": f"- Warm the pot {number}.\n- Wait a little.",
                        "rejected": f"Well, tea {number} is a drink that many like.",
                        "group": f"g{number % 8}",
                    }
                )
                + "\n"
            )
    return path


def test_groups_of_a_file_are_held_out_whole(tmp_path: Path) -> None:
    material = from_file(_file(tmp_path), tmp_path, Home.at(tmp_path / "home"), held_out=12)
    groups = [{pair.group_id for pair in part} for part in (material.training, material.held_out)]
    assert not groups[0] & groups[1]
    assert 12 <= len(material.held_out) <= 16
    assert len(material.training) + len(material.held_out) == 40


def test_an_interval_lies_around_the_mean_and_narrows_with_more_pairs() -> None:
    few, many = privacy._interval([0.0, 1.0] * 10), privacy._interval([0.0, 1.0] * 200)
    assert few[0] < 0.5 < few[1]
    assert many[1] - many[0] < few[1] - few[0]
    assert privacy._interval([1.0] * 20) == (1.0, 1.0)


def _grid(**accuracy: float) -> list[dict[str, object]]:
    cells = {"p0": ("plain", None), "p8": ("plain", 8.0), "d0": ("default", None),
             "d8": ("default", 8.0)}  # fmt: skip
    return [
        {"data": "taste", "recipe": cells[name][0], "epsilon": cells[name][1], "accuracy": value}
        for name, value in accuracy.items()
    ]


def test_what_the_private_default_misses_is_said() -> None:
    assert missed(_grid(p0=0.9, p8=0.6, d0=0.9, d8=0.85)) == []
    assert len(missed(_grid(p0=0.9, p8=0.7, d0=0.9, d8=0.65))) == 2
    assert "0.100 below" in missed(_grid(p0=0.9, p8=0.6, d0=0.9, d8=0.8))[0]


def test_every_recipe_is_measured_at_every_epsilon(tmp_path: Path) -> None:
    base = make_llama(tmp_path / "tiny")
    found = from_file(_file(tmp_path), base, Home.at(tmp_path / "home"), held_out=10)
    material = Material("taste", base, found.training, found.held_out)
    effort = Effort(seeds=1, training=30, held_out=10, replies=1, epsilons=(None, 8.0))
    said: list[str] = []
    runs = privacy._runs(material, effort, str(tmp_path / "runs"), said.append)
    assert set(runs) == {(r, e) for r in ("plain", "default") for e in (None, 8.0)}
    assert all(len(run.right) == len(material.held_out) for [run] in runs.values())
    grid = [privacy._summary(material, key, each) for key, each in runs.items()]
    assert all(0 <= each["accuracy"] <= 1 for each in grid)
    assert len(privacy._differences(material, effort, runs)) == 2
    assert len(said) == 4
    assert privacy._pick_longer(material) == 0.0

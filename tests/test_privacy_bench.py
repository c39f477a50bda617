"""The privacy benchmark: groups stay whole, intervals hold the mean, what is missed is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_models import make_llama

from xeno.benchmarking import privacy, privacy_material
from xeno.benchmarking.privacy import Effort, Grid, missed
from xeno.benchmarking.privacy_cells import Cell, Found, keep, measure, measured
from xeno.benchmarking.privacy_fit import fit
from xeno.benchmarking.privacy_material import Material, from_file, scripted
from xeno.errors import InvalidValueError
from xeno.paths import Home
from xeno.training.accuracy_forecast import FILE, AccuracyModel


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
    cells = {"p8": ("plain", 8.0), "d0": ("default", None), "d8": ("default", 8.0)}
    return [
        {"data": "taste", "recipe": cells[name][0], "epsilon": cells[name][1], "accuracy": value}
        for name, value in accuracy.items()
    ]


def test_what_the_private_default_misses_is_said() -> None:
    assert missed(_grid(p8=0.6, d0=0.9, d8=0.85)) == []
    assert len(missed(_grid(p8=0.7, d0=0.9, d8=0.65))) == 2
    assert "0.100 below" in missed(_grid(p8=0.6, d0=0.9, d8=0.8))[0]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("material")
    base = make_llama(folder / "tiny")
    found = from_file(_file(folder), base, Home.at(folder / "home"), held_out=10)
    return Material("taste", base, found.training, found.held_out)


EFFORT = Effort(seeds=1, training=24, held_out=6, replies=1, epsilons=(None, 8.0), fewer=(12,))


def test_every_recipe_is_measured_at_every_epsilon_and_goes_on_where_it_was(
    material: Material, tmp_path: Path
) -> None:
    cells = privacy._cells(material, EFFORT)
    assert {(c.recipe, c.epsilon) for c in cells if c.pairs == len(material.training)} == {
        ("base", None), ("default", None), ("default", 8.0), ("plain", 8.0)
    }  # fmt: skip
    assert [(c.recipe, c.epsilon) for c in cells if c.pairs == 12] == [("default", 8.0)]
    kept = tmp_path / "cells.jsonl"
    first = [measure(material, cell, 1) for cell in cells[:3]]
    for each in first:
        keep(each, kept)
    said: list[str] = []
    found = measured(cells, [material], 1, workers=1, kept=kept, say=said.append)
    assert found[:3] == first
    assert len(said) == len(cells) - 3
    assert len(kept.read_text().splitlines()) == len(cells)
    grid: Grid = {}
    for each in found:
        assert len(each.right) == len(material.held_out)
        assert (each.noise > 0) == (each.cell.epsilon is not None)
        key = (each.cell.data, each.cell.recipe, each.cell.epsilon, each.cell.pairs)
        grid.setdefault(key, []).append(each)
    rows = [privacy._summary(runs) for runs in grid.values()]
    assert all(0 <= each["accuracy"] <= 1 for each in rows)
    assert [each["learned"] for each in rows if each["pairs"] == 12] == [12]
    assert len(privacy._differences(material, EFFORT, grid)) == 2
    assert privacy._pick_longer(material) == 0.0


def test_the_kept_taste_is_read_again_and_never_taken_for_another(
    material: Material, tmp_path: Path
) -> None:
    kept = tmp_path / "taste.jsonl"
    pairs = material.training[:3]
    kept.write_text("".join(map(privacy_material._line, pairs)))
    again = scripted(2, 1, kept)
    assert [p.fingerprint for p in again.training + again.held_out] == [
        p.fingerprint for p in pairs
    ]
    assert [p.group_id for p in again.training] == [p.group_id for p in pairs[:2]]
    with pytest.raises(InvalidValueError, match="others than asked"):
        scripted(2, 2, kept)


# The forecast ------------------------------------------------------------------------------

TRUE = AccuracyModel(
    floor=0.1, ceiling=0.9, bias=-2.0, by_signal=1.0, error=0.0, cells=0, pairs=(0, 0)
)


def _found(recipe: str, epsilon: float | None, noise: float, right: float) -> Found:
    cell = Cell("taste", recipe, epsilon, 0, 100)
    return Found(cell, (right,), 0, 1.0, 0, 0, noise=noise, steps=25, trainable=9, learned=100)


def _found_of_the_model() -> list[Found]:
    cells = [_found("base", None, 0.0, 0.1), _found("default", None, 0.0, 0.9)]
    for noise in (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0):
        cells.append(_found("default", noise, noise, TRUE.accuracy(100 * 5 / noise)))
        cells.append(_found("plain", noise, noise, 0.99))
    cells.append(replace(_found("default", 0.1, 1000.0, 0.9), ends=0.2))  # it writes no more
    return cells


def test_the_forecast_is_fitted_on_the_grid_and_says_how_far_off_it_is() -> None:
    model = fit(_found_of_the_model())
    assert (model.cells, model.floor, model.ceiling) == (7, 0.1, 0.9)
    assert model.error < 0.03
    assert model.accuracy(10.0) == pytest.approx(TRUE.accuracy(10.0), abs=0.03)
    worse = [
        replace(each, right=(min(1.0, each.accuracy + (0.2 if n % 2 else -0.1)),))
        for n, each in enumerate(_found_of_the_model())
    ]
    assert fit(worse).error > 3 * model.error
    with pytest.raises(InvalidValueError, match="too little"):
        fit(_found_of_the_model()[:4])


def test_the_signal_for_an_accuracy_is_where_that_accuracy_is_expected() -> None:
    for accuracy in (0.2, 0.5, 0.8):
        signal = TRUE.signal(accuracy)
        assert signal is not None
        assert TRUE.accuracy(signal) == pytest.approx(accuracy)
    assert TRUE.signal(0.95) is None


def test_the_shipped_forecast_says_what_it_was_fitted_on() -> None:
    model = AccuracyModel.model_validate_json(FILE.read_bytes())
    assert model.cells >= 5
    assert 0 <= model.floor < model.ceiling <= 1
    assert 0 < model.error < 0.5

"""The time left, on the recorded times of real runs: it comes closer the longer a run goes on."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from pathlib import Path

import pytest

from xeno.training.eta import TimeLeft, winsorised_mean

# How long every step, evaluation and writing of samples took, in the order of the run, of runs
# of the starter model on a busy computer (with and without privacy).
TRACES: dict[str, list[tuple[str, float]]] = json.loads(
    (Path(__file__).parent / "step_times.json").read_text("utf-8")
)
INTERLUDES = ("evaluation", "samples")


def errors(trace: list[tuple[str, float]]) -> list[float]:
    """After each step, by what share of the whole run the estimate is off."""
    steps = sum(kind == "step" for kind, _ in trace)
    whole = sum(seconds for _, seconds in trace)
    left = Counter(kind for kind, _ in trace)
    estimate, spent, found = TimeLeft(steps), 0.0, []
    for kind, seconds in trace:
        left[kind] -= 1
        spent += seconds
        if kind != "step":
            estimate.interlude(kind, seconds)
            continue
        estimate.step(seconds)
        told = estimate.seconds(left["step"], {name: left[name] for name in INTERLUDES})
        found.append(abs(told - (whole - spent)) / whole)
    return found


@pytest.mark.parametrize("name", TRACES)
def test_the_error_shrinks_as_the_run_goes_on(name: str) -> None:
    found = errors(TRACES[name])
    quarter = len(found) // 4
    parts = [statistics.fmean(found[n * quarter : (n + 1) * quarter]) for n in range(4)]
    assert parts[3] < parts[0]
    assert parts[3] < 0.05
    assert found[-1] < 0.02
    assert max(found[quarter:]) < 0.35


@pytest.mark.parametrize("name", TRACES)
def test_it_is_nearer_than_the_mean_of_all_steps_when_a_step_hangs(name: str) -> None:
    trace = list(TRACES[name])
    middle = len(trace) // 2
    ordinary = statistics.median(seconds for kind, seconds in trace if kind == "step")
    robust, plain = TimeLeft(100), []
    for kind, seconds in [*trace[:middle], ("step", 50 * ordinary)]:
        if kind == "step":
            robust.step(seconds)
            plain.append(seconds)
    truth = 10 * ordinary
    assert abs(robust.seconds(10, {}) - truth) < abs(10 * statistics.fmean(plain) - truth)


def test_what_comes_again_is_counted_and_what_was_never_seen_is_not() -> None:
    left = TimeLeft(10)
    assert left.seconds(10, {"evaluation": 2}) == 0.0
    left.interlude("evaluation", 4.0)
    left.step(9.0)  # the first one warms up and is forgotten after the second
    assert left.seconds(9, {"evaluation": 1, "samples": 3}) == pytest.approx(9 * 9.0 + 4.0)
    left.step(1.0)
    assert left.seconds(8, {"evaluation": 0}) == pytest.approx(8.0)


def test_a_value_far_away_counts_as_much_as_one_at_the_edge() -> None:
    values = [1.0, 1.1, 0.9, 1.0, 1.2]
    assert winsorised_mean([*values, 1000.0]) < 1.3
    assert winsorised_mean(values) == pytest.approx(statistics.fmean(values))

"""The sequential tests keep their false-alarm rate and find real differences."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from xeno.errors import InvalidValueError
from xeno.experiments.sequential import Worse, compare

TESTS, RESULTS = 1000, 200
Draw = Callable[[random.Random], float]


# Shares of the ratings 1 to 5: means 3.0 and 3.5, standard deviations 0.99 and 0.95.
USUAL, BETTER = (0.07, 0.21, 0.44, 0.21, 0.07), (0.02, 0.12, 0.35, 0.36, 0.15)


def rating(shares: tuple[float, ...]) -> Draw:
    return lambda draw: float(draw.choices((1, 2, 3, 4, 5), shares)[0])


def results(draw: random.Random, a: Draw, b: Draw) -> Iterator[tuple[str, float]]:
    for place in range(RESULTS):
        side = "ab"[place % 2]
        yield side, (a if side == "a" else b)(draw)


def winners(a: Draw, b: Draw, seed: int = 1) -> list[str | None]:
    draw = random.Random(seed)
    return [compare(results(draw, a, b)).winner for _ in range(TESTS)]


@pytest.mark.parametrize(
    "same",
    [rating(USUAL), lambda draw: draw.expovariate(1.0)],
    ids=["ratings", "skewed times"],
)
def test_without_a_difference_one_test_of_twenty_names_a_winner_at_most(same: Draw) -> None:
    found = winners(same, same)
    assert sum(each is not None for each in found) <= 0.05 * TESTS


def test_half_a_rating_point_is_found_within_200_results_in_four_of_five_tests() -> None:
    found = winners(rating(USUAL), rating(BETTER))
    assert found.count("b") >= 0.8 * TESTS
    assert found.count("a") <= 5


def test_the_scale_of_the_values_does_not_matter() -> None:
    few = [*results(random.Random(3), rating(USUAL), lambda _: 4.0)]
    small = [(side, value / 1e6) for side, value in few]
    assert compare(few).winner == compare(small).winner == "b"
    assert compare(few).evidence == pytest.approx(compare(small).evidence)


def test_a_winner_stays_one_whatever_comes_later() -> None:
    clear = [("ab"[n % 2], float(n % 2) + n / 1000) for n in range(40)]
    assert compare(clear).winner == "b"
    turned = clear + [("ab"[n % 2], -float(n % 2)) for n in range(400)]
    assert compare(turned).winner == "b"


@pytest.mark.parametrize("side", ["a", "b"])
def test_one_side_alone_and_equal_values_are_no_evidence(side: str) -> None:
    assert compare([(side, float(n)) for n in range(50)]).winner is None
    equal = compare([("ab"[n % 2], 3.0) for n in range(500)])
    assert (equal.winner, equal.pairs) == (None, 250)


def trial(draw: random.Random, usual: float, tried: float, share: float, count: int) -> bool:
    test = Worse()
    for _ in range(count):
        canary = draw.random() < share
        test.add(canary, float(draw.random() < (tried if canary else usual)))
    return test.found


def test_a_canary_as_good_is_called_worse_in_one_trial_of_twenty_at_most() -> None:
    draw = random.Random(4)
    for share in (0.1, 0.5):
        assert sum(trial(draw, 0.8, 0.8, share, 300) for _ in range(400)) <= 20


def test_a_worse_canary_is_found_also_with_a_tenth_of_the_conversations() -> None:
    draw = random.Random(5)
    assert sum(trial(draw, 0.9, 0.5, 0.1, 500) for _ in range(100)) >= 90
    assert sum(trial(draw, 0.9, 0.5, 0.5, 150) for _ in range(100)) >= 90
    assert not any(trial(draw, 0.5, 0.9, 0.5, 150) for _ in range(100))


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0])
def test_a_false_alarm_rate_is_a_probability(alpha: float) -> None:
    with pytest.raises(InvalidValueError):
        compare([], alpha)

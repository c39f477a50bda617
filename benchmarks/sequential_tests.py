"""How often the tests of trials and trends are wrong, and how soon they are right.

    python benchmarks/sequential_tests.py [--tests N] [--json]

Simulated, with a fixed seed. Fails if more than 5 % of A/B tests or canaries without a difference
or series without a trend raise an alarm, or if a difference of 0.5 rating points is found within
200 results in less than 80 % of tests.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable

from xeno.experiments.sequential import Worse, compare
from xeno.performance.trends import ALPHA, direction

RESULTS = 200
# Shares of the ratings 1 to 5: means 3.0 and 3.5, standard deviations 0.99 and 0.95.
USUAL, BETTER = (0.07, 0.21, 0.44, 0.21, 0.07), (0.02, 0.12, 0.35, 0.36, 0.15)
Draw = Callable[[random.Random], float]


def rating(shares: tuple[float, ...]) -> Draw:
    return lambda draw: float(draw.choices((1, 2, 3, 4, 5), shares)[0])


def named(draw: random.Random, a: Draw, b: Draw, split: float | None) -> bool:
    """Whether a test names a winner. `split`: sides by chance; None: by turns."""
    found = []
    for place in range(RESULTS):
        first = place % 2 == 0 if split is None else draw.random() < split
        found.append(("a", a(draw)) if first else ("b", b(draw)))
    return compare(found).winner is not None


def called_worse(draw: random.Random, usual: float, tried: float, share: float) -> bool:
    test = Worse()
    for _ in range(500):
        canary = draw.random() < share
        test.add(canary, float(draw.random() < (tried if canary else usual)))
    return test.found


def trend(draw: random.Random, points: int, drift: float, carry: float = 0.0) -> bool:
    """Whether a series has a trend: noise of deviation 1, rising by `drift` in all; each value
    takes over the share `carry` of the noise before it."""
    values, noise = [], draw.gauss(0, 1)
    for place in range(points):
        noise = carry * noise + (1 - carry**2) ** 0.5 * draw.gauss(0, 1)
        values.append(noise + drift * place / (points - 1))
    return direction("accuracy", values) != "stable"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    draw, tests = random.Random(1), arguments.tests
    usual, better = rating(USUAL), rating(BETTER)
    skewed: Draw = lambda draw: draw.expovariate(1.0)  # noqa: E731

    def share(happens: Callable[[], bool]) -> float:
        return sum(happens() for _ in range(tests)) / tests

    alarms = {
        "A/B, ratings": share(lambda: named(draw, usual, usual, None)),
        "A/B, ratings, sides by chance": share(lambda: named(draw, usual, usual, 0.5)),
        "A/B, ratings, one in ten": share(lambda: named(draw, usual, usual, 0.1)),
        "A/B, skewed": share(lambda: named(draw, skewed, skewed, None)),
        "canary, half": share(lambda: called_worse(draw, 0.8, 0.8, 0.5)),
        "canary, a tenth": share(lambda: called_worse(draw, 0.8, 0.8, 0.1)),
        "trend, 40 points of white noise": share(lambda: trend(draw, 40, 0.0)),
    }
    found = {
        "A/B, 0.5 points": share(lambda: named(draw, usual, better, None)),
        "A/B, 0.5 points, sides by chance": share(lambda: named(draw, usual, better, 0.5)),
        "canary 0.8 to 0.5, half": share(lambda: called_worse(draw, 0.8, 0.5, 0.5)),
        "canary 0.8 to 0.5, a tenth": share(lambda: called_worse(draw, 0.8, 0.5, 0.1)),
        "trend, 1 deviation over 40 points": share(lambda: trend(draw, 40, 1.0)),
        "trend, 2 deviations over 40 points": share(lambda: trend(draw, 40, 2.0)),
        "trend, 1 deviation every 40 points, 70": share(lambda: trend(draw, 70, 69 / 40)),
    }
    correlated = {
        f"trend, noise that carries {carry} over": share(lambda c=carry: trend(draw, 40, 0.0, c))
        for carry in (0.2, 0.5)
    }
    if arguments.json:
        print(json.dumps({"alarms": alarms, "found": found, "correlated": correlated}))
    else:
        for title, values in (
            ("False alarms", alarms),
            (f"Found within {RESULTS} results, 500 conversations, or the points named", found),
            (f"Trends seen where points hang together (stated for none: {ALPHA})", correlated),
        ):
            print(title)
            for name, value in values.items():
                print(f"  {name:42} {value:6.1%}")
    good = max(alarms.values()) <= 0.05 and found["A/B, 0.5 points"] >= 0.8
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

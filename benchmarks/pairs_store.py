"""How long it takes to store the pair of a correction or a choice, to the disk.

    python benchmarks/pairs_store.py [--stored N] [--json]

Real recorder, real encrypted database with N pairs in it already. Fails if the 95th percentile is
above 20 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from pairs_doctor import made

from xeno.feedback.recorder import FeedbackRecorder
from xeno.paths import Home
from xeno.store.conversations import Conversations
from xeno.store.pairs import Pairs
from xeno.store.profile import open_profile

LIMIT_MS = 20.0
_TIMES = 200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stored", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.stored)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:24} {value:.4g}")
    return 0 if max(result["correction_p95_ms"], result["choice_p95_ms"]) <= LIMIT_MS else 1


def measure(folder: Path, stored: int) -> dict[str, float]:
    """Milliseconds per call of `correct` and of `choose`."""
    result: dict[str, float] = {"stored": stored}
    with open_profile(Home.at(folder), protection="file") as profile:
        Pairs(profile.db).add_many(made(stored))
        texts = [pair.chosen for pair in made(2 * _TIMES)]
        talks, recorder = Conversations(profile.db), FeedbackRecorder(profile)
        spent: dict[str, list[float]] = {"correction": [], "choice": []}
        for number in range(_TIMES):
            talk = talks.create("Measured")
            talks.add_message(talk.id, "user", f"Question {number}?")
            first = talks.add_message(talk.id, "assistant", texts[number])
            talks.supersede(first.id)
            second = talks.add_message(talk.id, "assistant", texts[_TIMES + number])
            start = time.perf_counter()
            recorder.choose(second.id, first.id)
            spent["choice"].append(time.perf_counter() - start)
            start = time.perf_counter()
            recorder.correct(second.id, texts[_TIMES + number] + f" Correction {number}.")
            spent["correction"].append(time.perf_counter() - start)
        for kind, times in spent.items():
            result[f"{kind}_median_ms"] = statistics.median(times) * 1e3
            result[f"{kind}_p95_ms"] = statistics.quantiles(times, n=20)[-1] * 1e3
    return result


if __name__ == "__main__":
    sys.exit(main())

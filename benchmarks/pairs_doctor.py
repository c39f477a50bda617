"""The pair doctor and the pair browser with 100,000 pairs, in a real encrypted database.

    python benchmarks/pairs_doctor.py [--pairs N] [--json]

The texts are made of words drawn by Zipf's law, about 90 to a reply; 3 % of the pairs are
near-duplicates of another, 1 % contradict one, 1 % hold an e-mail address. Fails if the
near-duplicates among 100,000 pairs take a minute or more.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from xeno.events import ChatMessage
from xeno.feedback import doctor, duplicates
from xeno.feedback.difference import word_difference
from xeno.feedback.editing import PairEditor
from xeno.paths import Home
from xeno.store.pair_browsing import PairBrowser, PairFilter
from xeno.store.pairs import Pair, Pairs, new_pair
from xeno.store.profile import open_profile

LIMIT_SECONDS = 60.0
T = TypeVar("T")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.pairs)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:34} {value:.4g}")
    return 0 if result["near_duplicates_seconds"] < LIMIT_SECONDS else 1


def measure(folder: Path, count: int) -> dict[str, float]:
    """Seconds for each thing that is done to `count` pairs; milliseconds where it says so."""
    result: dict[str, float] = {"pairs": count}
    with open_profile(Home.at(folder), protection="file") as profile:
        stored = timed(result, "store_all", lambda: Pairs(profile.db).add_many(made(count)))
        assert stored[0] == count
        texts = [doctor.compared_texts(pair) for pair in Pairs(profile.db).all()]
        result["megabytes"] = sum(len(t) for fields in texts for t in fields) / 1e6
        links = timed(result, "near_duplicates", partial(near_duplicates, texts))
        result["near_duplicates_found"] = len(links)
        del texts[:]
        first = timed(result, "doctor_first", lambda: doctor.examine(profile))
        timed(result, "doctor_again", lambda: doctor.examine(profile))
        for kind, number in first.findings.items():
            result[f"found_{kind}"] = number
        browse(result, PairBrowser(profile.db))
        editor = PairEditor(profile.db)
        ids = PairBrowser(profile.db).listing(PairFilter(finding="any")).ids()
        timed(result, "deactivate_found", lambda: editor.set_active(ids, False))
        timed(result, "undo_that", editor.undo)
    result["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


def near_duplicates(texts: list[tuple[str, ...]]) -> list[duplicates.Link]:
    found = duplicates.signatures(texts)
    return duplicates.near_duplicates(found, lambda place: duplicates.shingles(texts[place]))


def browse(result: dict[str, float], browser: PairBrowser) -> None:
    """Listings of different filters and orders, then pages and differences anywhere in them."""
    listing = timed(result, "list_by_time", browser.listing)
    timed(result, "list_by_score", lambda: browser.listing(sort="score"))
    timed(result, "list_by_length", lambda: browser.listing(sort="length"))
    timed(result, "list_with_finding", lambda: browser.listing(PairFilter(finding="any")))
    timed(result, "list_low_score", lambda: browser.listing(PairFilter(highest_score=0.7)))
    timed(result, "list_active_corrections", lambda: browser.listing(_CORRECTIONS))
    timed(result, "list_with_text", lambda: browser.listing(PairFilter(text="example.org")))
    rng, pages, differences = random.Random(0), [], []
    for _ in range(200):
        start = time.perf_counter()
        page = listing.page(rng.randrange(len(listing)), 50)
        pages.append(time.perf_counter() - start)
        start = time.perf_counter()
        word_difference(page[0].pair.rejected, page[0].pair.chosen)
        differences.append(time.perf_counter() - start)
    result["page_of_50_p95_ms"] = statistics.quantiles(pages, n=20)[-1] * 1e3
    result["difference_p95_ms"] = statistics.quantiles(differences, n=20)[-1] * 1e3


_CORRECTIONS = PairFilter(active=True, kinds=("correction",))


def timed(result: dict[str, float], name: str, do: Callable[[], T]) -> T:
    """Do it, and note the seconds that it took: by the clock, and of the processor."""
    start, processor = time.perf_counter(), time.process_time()
    found = do()
    result[f"{name}_seconds"] = time.perf_counter() - start
    result[f"{name}_cpu_seconds"] = time.process_time() - processor
    return found


def made(count: int) -> Iterator[Pair]:
    """The same pairs each time."""
    rng = random.Random("pairs")
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = [
        "".join(rng.choices(letters, range(26, 0, -1), k=rng.randint(2, 9))) for _ in range(20000)
    ]
    weights = [1 / (rank + 2) for rank in range(len(words))]
    drawn = rng.choices(words, weights, k=2_000_000)

    def text(length: int) -> str:
        start = rng.randrange(len(drawn) - length)
        return " ".join(drawn[start : start + length]).capitalize() + "."

    recent: list[Pair] = []
    for number in range(count):
        chance = rng.random()
        if recent and chance < 0.03:
            earlier = rng.choice(recent)
            pair = _pair(
                earlier.prompt[-1].content, earlier.chosen + f" So {number}.", earlier.rejected
            )
        elif recent and chance < 0.04:
            earlier = rng.choice(recent)
            question = earlier.prompt[-1].content
            pair = _pair(question, earlier.rejected + f" {number}", earlier.chosen)
        else:
            mail = f" Write to {rng.choice(words)}@example.org." if chance > 0.99 else ""
            chosen, rejected = rng.randint(20, 160), rng.randint(20, 160)
            pair = _pair(f"{text(12)} {number}?", text(chosen) + mail, text(rejected))
            recent = [*recent[-99:], pair]
        yield pair


def _pair(question: str, chosen: str, rejected: str) -> Pair:
    prompt = [ChatMessage(role="user", content=question)]
    return new_pair(
        "default",
        prompt,
        chosen,
        rejected,
        feedback_type="correction",
        confidence=0.9,
        quality=1.0,
    )


if __name__ == "__main__":
    sys.exit(main())

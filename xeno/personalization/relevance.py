"""Which memories bear on a message: words in common, how recent, how important.

The full-text index finds the memories that hold a word of the message (stemmed, without
accents). A word says the more the fewer memories hold it: its weight is the inverse document
frequency log((N + 51) / (n + 1)) / log(N + 51) for n of N memories. The 50 imagined memories
let a rare word count before there are many; BM25 gives a word of the only memory no weight.

    score = relevance * (1/2 + recency/4 + importance/4),   relevance = s / (s + 1)

with s the sum of the weights of the shared words. What shares no telling word scores nothing,
however new or important it is: only a pinned memory comes unasked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xeno.store.database import Database

IMAGINED = 50
LEAST_WEIGHT = 0.25  # the sum of weights from which a memory is about the message
MOST_WORDS = 48  # of a long message; the longest ones, which are the rarest
MOST_MATCHES = 5_000  # of one word, the newest
_DAY = 86_400.0
# After so many days a memory counts half as recent. What happened ages, what is so does less.
HALF_LIFE = {"episode": 30.0, "fact": 365.0, "workflow": 365.0}

# Words of questions and requests, which say nothing of what they are about.
_EMPTY_WORDS = """
a about above after again against all also am an and any anyone anything are as ask at be
because been before being below between both but by can cannot come could did do does doing don
done down during each else etc even ever every few find for from further get give go going good
got had has have having he hello help her here hers hey hi him his how i if in into is it its
just know last less let like ll long look make many may maybe me mean might mine more most much
must my need new next no nor not now of off ok okay old on once one only or other our ours out
over own please put really s same say see shall she should show so some something still such
sure t take tell than thank thanks that the their theirs them then there these they thing think
this those through to today too try under until up us use very want was way we well were what
when where which while who whom whose why will with without would write yes you your yours
"""
_EMPTY = frozenset(_EMPTY_WORDS.split())
WORD = re.compile(r"[^\W_]+")


def words(message: str) -> list[str]:
    """The words of `message` worth looking up: distinct, in order, `MOST_WORDS` at most."""
    found = dict.fromkeys(WORD.findall(message.casefold()))
    # A number of one or two digits is as often a count as a name.
    telling = [w for w in found if w not in _EMPTY and not (w.isdigit() and len(w) < 3)]
    if len(telling) <= MOST_WORDS:
        return telling
    longest = set(sorted(telling, key=len, reverse=True)[:MOST_WORDS])
    return [word for word in telling if word in longest]


def matches(db: Database, wanted: Sequence[str]) -> dict[str, list[int]]:
    """For each word the ids of the memories that hold it, newest first."""
    found = {}
    for word in wanted:
        rows = db.read(
            "SELECT rowid FROM memory_index WHERE memory_index MATCH ? ORDER BY rowid DESC LIMIT ?",
            (f'"{word}"', MOST_MATCHES),
        )
        found[word] = [int(row[0]) for row in rows]
    return found


def weights(found: Mapping[str, Sequence[int]], total: int) -> dict[int, float]:
    """Memory id to the sum of the weights of its matched words, where it is enough."""
    sums: dict[int, float] = {}
    for ids in found.values():
        weight = math.log((total + IMAGINED + 1) / (len(ids) + 1)) / math.log(total + IMAGINED + 1)
        for memory_id in ids:
            sums[memory_id] = sums.get(memory_id, 0.0) + max(weight, 0.0)
    return {memory_id: value for memory_id, value in sums.items() if value >= LEAST_WEIGHT}


def recency(kind: str, updated: float, now: float) -> float:
    """1 for what was told just now, half as much after each half-life. 0 to 1."""
    return float(0.5 ** (max(0.0, now - updated) / (_DAY * HALF_LIFE[kind])))


def score(weight: float, recent: float, importance: float) -> float:
    """The place of a memory among those that match; 0 (not relevant) to 1."""
    return weight / (weight + 1) * (0.5 + 0.25 * recent + 0.25 * importance)

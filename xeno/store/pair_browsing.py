"""Looking through very many pairs: filter and sort once, then fetch page by page.

A `Listing` is the answer to one filter: the places of its pairs, in order. It is small, knows
its length at once, and gives any page in milliseconds, whatever else is written meanwhile.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from xeno.errors import InvalidValueError
from xeno.store.conversations import like
from xeno.store.database import Database
from xeno.store.pairs import FeedbackType, Pair, pair_from

SortKey = Literal["created", "score", "weight", "kind", "length"]
SORT_KEYS: tuple[SortKey, ...] = get_args(SortKey)

# What can be found in a pair: by its own texts, the last two beside the other pairs.
FINDINGS = {
    "alike": "chosen and rejected are (almost) the same",
    "no_words": "the chosen reply has no words",
    "repetitive": "a reply repeats itself",
    "lengths": "the replies' lengths are far apart",
    "prompt": "the prompt has no words, or the chosen reply repeats it",
    "too_long": "longer than can be learned from at once",
    "language": "chosen is in another language than the prompt",
    "secret": "a password, key or token",
    "personal_data": "an address, a number of a person",
    "near_duplicate": "almost the same as another pair",
    "contradiction": "the opposite of another pair",
}
_SCORE = "coalesce(c.score, p.quality)"
_ORDER: dict[SortKey, str] = {
    "created": "p.created",
    "score": _SCORE,
    "weight": "p.weight",
    "kind": "p.feedback_type",
    "length": "length(p.chosen)",
}


@dataclass(frozen=True)
class Finding:
    """What the doctor says about a pair: `cost` (0 to 1) is what it takes from the score.

    `other` is the id of the pair that it is compared with, where there is one.
    """

    kind: str
    cost: float
    reason: str
    other: str | None = None


@dataclass(frozen=True)
class PairFilter:
    """Which pairs; what is left None or empty does not matter.

    Attributes:
        text: stands in the prompt or in one of the replies, in any case (of ASCII letters).
        kinds: what kind of feedback they come from.
        lowest_score, highest_score: bounds of the score, both included; the doctor's, or the
            quality at storing where the doctor has not been.
        since, until: bounds of the time they were made, Unix seconds, `until` excluded.
        active: only those that are learned from, or only the others.
        version: content address of a version that learned from them.
        finding: kind of something the doctor found; "any" for whatever it found.
    """

    text: str = ""
    kinds: tuple[FeedbackType, ...] = ()
    lowest_score: float | None = None
    highest_score: float | None = None
    since: float | None = None
    until: float | None = None
    active: bool | None = None
    version: str | None = None
    finding: str | None = None


@dataclass(frozen=True)
class ListedPair:
    """A pair with what the doctor says. `score` is its quality where it was not examined."""

    pair: Pair
    score: float
    examined: bool
    findings: tuple[Finding, ...]


class Listing:
    """The pairs that a filter found, in order. `len` is how many there are."""

    def __init__(self, db: Database, places: Sequence[int]) -> None:
        self._db = db
        self._places = array("q", places)

    def __len__(self) -> int:
        return len(self._places)

    def page(self, offset: int = 0, limit: int = 100) -> list[ListedPair]:
        """`limit` pairs from `offset` on. Pairs that have been deleted since are left out."""
        wanted = self._places[max(0, offset) : max(0, offset) + limit]
        if not wanted:
            return []
        inside = json.dumps(list(wanted))
        rows = self._db.read(
            "SELECT p.rowid AS place, p.*, c.score AS checked FROM pairs p "
            "LEFT JOIN pair_checks c ON c.pair_id = p.id "
            "WHERE p.rowid IN (SELECT value FROM json_each(?))",
            (inside,),
        )
        findings = _findings(self._db, [row["id"] for row in rows])
        found: dict[int, ListedPair] = {}
        for row in rows:
            pair, checked = pair_from(row), row["checked"]
            found[row["place"]] = ListedPair(
                pair=pair,
                score=pair.quality if checked is None else checked,
                examined=checked is not None,
                findings=findings.get(pair.id, ()),
            )
        return [found[place] for place in wanted if place in found]

    def ids(self) -> list[str]:
        """The ids of all its pairs, in no particular order: for doing something to all of them."""
        inside = json.dumps(list(self._places))
        rows = self._db.read(
            "SELECT id FROM pairs WHERE rowid IN (SELECT value FROM json_each(?))", (inside,)
        )
        return [str(row["id"]) for row in rows]


class PairBrowser:
    """Finds pairs of a profile."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def listing(
        self,
        wanted: PairFilter | None = None,
        sort: SortKey = "created",
        descending: bool = True,
    ) -> Listing:
        """The pairs that `wanted` describes, sorted; equals by the time they were made.

        Raises:
            InvalidValueError: there is no such sort key.
        """
        if sort not in SORT_KEYS:
            raise InvalidValueError(
                f"Pairs cannot be sorted by {sort!r}.", "", f"Use one of {', '.join(SORT_KEYS)}."
            )
        source, params = _from(wanted or PairFilter(), sort)
        way = "DESC" if descending else "ASC"
        order = f"{_ORDER[sort]} {way}, p.created {way}, p.rowid {way}"
        rows = self._db.read(f"SELECT p.rowid {source} ORDER BY {order}", params)
        return Listing(self._db, [row[0] for row in rows])

    def count(self, wanted: PairFilter | None = None) -> int:
        """How many pairs `wanted` describes."""
        source, params = _from(wanted or PairFilter(), "created")
        row = self._db.one(f"SELECT count(*) {source}", params)
        return int(row[0]) if row else 0

    def findings(self, pair_id: str) -> tuple[Finding, ...]:
        """What the doctor found about a pair, the costliest first."""
        return _findings(self._db, [pair_id]).get(pair_id, ())

    def finding_counts(self) -> dict[str, int]:
        """How many pairs there are with each kind of finding."""
        rows = self._db.read(
            "SELECT kind, count(DISTINCT pair_id) AS pairs FROM pair_findings "
            "GROUP BY kind ORDER BY pairs DESC, kind"
        )
        return {str(row["kind"]): int(row["pairs"]) for row in rows}

    def versions_of(self, pair_id: str) -> list[str]:
        """Content addresses of the versions that learned from the pair, the oldest first."""
        rows = self._db.read(
            "SELECT v.address FROM version_pairs JOIN versions v USING (address) "
            "WHERE pair_id = ? AND v.deleted IS NULL ORDER BY v.number",
            (pair_id,),
        )
        return [str(row["address"]) for row in rows]

    def with_id(self, beginning: str) -> str:
        """The id that begins with `beginning`. Raises InvalidValueError if not exactly one does."""
        rows = self._db.read(
            "SELECT id FROM pairs WHERE id >= ? AND id < ? LIMIT 2",
            (beginning, beginning + "\U0010ffff"),
        )
        if len(rows) != 1 or not beginning:
            raise InvalidValueError(
                f"There is no single pair {beginning!r}.",
                "Several ids begin with that." if rows else "No id begins with that.",
                "See 'xeno pairs list' for the ids.",
            )
        return str(rows[0]["id"])


def _findings(db: Database, pair_ids: Sequence[str]) -> dict[str, tuple[Finding, ...]]:
    rows = db.read(
        "SELECT * FROM pair_findings WHERE pair_id IN (SELECT value FROM json_each(?)) "
        "ORDER BY cost DESC, rowid",
        (json.dumps(list(pair_ids)),),
    )
    found: dict[str, list[Finding]] = {}
    for row in rows:
        finding = Finding(row["kind"], row["cost"], row["reason"], row["other"])
        found.setdefault(row["pair_id"], []).append(finding)
    return {pair_id: tuple(findings) for pair_id, findings in found.items()}


def _from(wanted: PairFilter, sort: SortKey) -> tuple[str, list[Any]]:
    """FROM and WHERE; the index for browsing answers what does not need the texts."""
    conditions: list[str] = []
    params: list[Any] = []

    def require(condition: str, *values: Any) -> None:
        conditions.append(condition)
        params.extend(values)

    if wanted.active is not None:
        require("p.active = ?", int(wanted.active))
    if wanted.kinds:
        require(f"p.feedback_type IN ({', '.join('?' * len(wanted.kinds))})", *wanted.kinds)
    if wanted.since is not None:
        require("p.created >= ?", wanted.since)
    if wanted.until is not None:
        require("p.created < ?", wanted.until)
    if wanted.lowest_score is not None:
        require(f"{_SCORE} >= ?", wanted.lowest_score)
    if wanted.highest_score is not None:
        require(f"{_SCORE} <= ?", wanted.highest_score)
    if wanted.version is not None:
        require("p.id IN (SELECT pair_id FROM version_pairs WHERE address = ?)", wanted.version)
    if wanted.finding == "any":
        require("p.id IN (SELECT pair_id FROM pair_findings)")
    elif wanted.finding is not None:
        require("p.id IN (SELECT pair_id FROM pair_findings WHERE kind = ?)", wanted.finding)
    if wanted.text:
        # Last, so that the texts are read only of pairs that everything else lets through.
        fields = ("p.prompt", "p.chosen", "p.rejected")
        either = " OR ".join(f"{field} LIKE ? ESCAPE '\\'" for field in fields)
        # The prompt is JSON: quotes and line ends stand escaped in it.
        escaped = json.dumps(wanted.text, ensure_ascii=False)[1:-1]
        require(f"({either})", like(escaped), like(wanted.text), like(wanted.text))
    source = "FROM pairs p"
    if sort == "score" or any("c.score" in condition for condition in conditions):
        if not wanted.text:  # left to itself the planner reads the whole rows
            source += " INDEXED BY pairs_for_browsing"
        source += " LEFT JOIN pair_checks c INDEXED BY pair_checks_by_pair ON c.pair_id = p.id"
    return source + (f" WHERE {' AND '.join(conditions)}" if conditions else ""), params

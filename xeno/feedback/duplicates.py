"""Near-duplicates among many texts: one-permutation MinHash and locality-sensitive hashing.

A text is the set of its 8-byte shingles. Each shingle is hashed once; the hash chooses one of
120 bins, and a bin keeps its smallest value (one-permutation hashing, Li, Owen and Zhang 2012).
Empty bins borrow from others (optimal densification, Shrivastava 2017), so that the share of
equal bins estimates the Jaccard similarity of two sets. Texts that agree in one of 20 bands of
6 bins are candidates (a pair of similarity 0.8 is missed with probability 0.002); candidates
are then compared exactly, so that what is reported is true and what is missed is rare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Signatures = NDArray[np.uint32]

BINS = 120
BANDS = 20
THRESHOLD = 0.8
_SHINGLE = 8  # bytes
_CHUNK = 2048  # texts whose shingles are in memory at once
_WINDOW = 64  # neighbours that each text is compared with inside a crowded band
_SLACK = 0.15  # four standard deviations of the estimate at 0.8 with 120 bins


@dataclass(frozen=True)
class Link:
    """Texts `first` < `second` (their places) share `similarity` (Jaccard) of their shingles."""

    first: int
    second: int
    similarity: float


def normalised(text: str) -> str:
    """Without case and layout: what makes two texts the same to a reader."""
    return " ".join(text.casefold().split())


def shingles(fields: Sequence[str]) -> Hashes:
    """The sorted distinct hashes of the shingles of `fields`.

    A shingle of one field never equals that of another: swapping two fields is a difference.
    """
    hashes, _ = _hashed([fields])
    return np.unique(hashes)


def jaccard(first: Hashes, second: Hashes) -> float:
    """What two share by what either has, of two results of `shingles`, 0 to 1."""
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / max(1, len(first) + len(second) - common)


def signatures(texts: Iterable[Sequence[str]]) -> Signatures:
    """MinHash signatures of the texts, each given by its fields: shape [n, BINS]."""
    parts: list[Signatures] = []
    chunk: list[Sequence[str]] = []
    for text in texts:
        chunk.append(text)
        if len(chunk) == _CHUNK:
            parts.append(_signed(chunk))
            chunk = []
    if chunk:
        parts.append(_signed(chunk))
    return np.concatenate(parts) if parts else np.empty((0, BINS), np.uint32)


def candidates(found: Signatures, threshold: float = THRESHOLD) -> NDArray[np.int64]:
    """Pairs of rows that may be `threshold` alike, most alike first: shape [m, 2], first < second.

    In a band that more than 65 texts share, each is compared with its next 64 only: they are
    near each other, and the chain of neighbours still holds the whole crowd together.
    """
    count, keys = len(found), []
    for band in range(BANDS):
        rows = found[:, band * (BINS // BANDS) : (band + 1) * (BINS // BANDS)]
        values = _folded(rows)
        order = np.argsort(values, kind="stable").astype(np.int64)
        values = values[order]
        for distance in range(1, min(_WINDOW, count - 1) + 1):
            same = np.flatnonzero(values[:-distance] == values[distance:])
            if not len(same):
                break
            low = np.minimum(order[same], order[same + distance])
            high = np.maximum(order[same], order[same + distance])
            keys.append(low * count + high)
    if not keys:
        return np.empty((0, 2), np.int64)
    key = np.unique(np.concatenate(keys))
    first, second = key // count, key % count
    alike = np.empty(len(key), np.float32)
    for start in range(0, len(key), 65536):
        part = slice(start, start + 65536)
        alike[part] = np.mean(found[first[part]] == found[second[part]], axis=1)
    kept = np.flatnonzero(alike >= threshold - _SLACK)
    kept = kept[np.argsort(-alike[kept], kind="stable")]
    return np.stack([first[kept], second[kept]], axis=1)


def near_duplicates(
    found: Signatures, load: Callable[[int], Hashes], threshold: float = THRESHOLD
) -> list[Link]:
    """Links that join every text with its near-duplicates, each link verified exactly.

    A text that an earlier link already joined to the other is not compared again: n alike texts
    give n - 1 links.

    Args:
        found: `signatures` of the texts.
        load: the `shingles` of the text at a place; asked only for candidates.
        threshold: Jaccard similarity from which two texts are near-duplicates.
    """
    groups = _Groups(len(found))
    links = []
    for first, second in candidates(found, threshold).tolist():
        if groups.of(first) == groups.of(second):
            continue
        similarity = jaccard(load(first), load(second))
        if similarity >= threshold:
            groups.join(first, second)
            links.append(Link(first, second, similarity))
    return links


def clusters(count: int, links: Iterable[Link]) -> list[list[int]]:
    """The groups of two or more texts that `links` hold together, each sorted."""
    groups = _Groups(count)
    for link in links:
        groups.join(link.first, link.second)
    members: dict[int, list[int]] = {}
    for place in range(count):
        members.setdefault(groups.of(place), []).append(place)
    return [group for group in members.values() if len(group) > 1]


class _Groups:
    """Disjoint sets of 0 … count-1; the smallest member names the set."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def of(self, place: int) -> int:
        parent = self._parent
        while parent[place] != place:
            parent[place] = place = parent[parent[place]]
        return place

    def join(self, first: int, second: int) -> None:
        low, high = sorted((self.of(first), self.of(second)))
        self._parent[high] = low


def _hashed(texts: Sequence[Sequence[str]]) -> tuple[Hashes, NDArray[np.int64]]:
    """The hash of every shingle of `texts`, and which text each belongs to."""
    buffers, owners, salts, lengths = [], [], [], []
    for owner, fields in enumerate(texts):
        for number, field in enumerate(fields):
            data = field.encode("utf-8", "surrogatepass")
            data = data.ljust(_SHINGLE, b"\0")
            buffers.append(data)
            owners.append(owner)
            salts.append(number)
            lengths.append(len(data))
    joined = np.frombuffer(b"".join(buffers), np.uint8)
    size = np.array(lengths, np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(joined, _SHINGLE)
    # The 8 bytes at each place as one number; windows that straddle two fields are left out.
    values = np.ascontiguousarray(windows).view(np.uint64).ravel()
    ends = np.cumsum(size)
    inside = np.ones(len(joined), bool)
    for back in range(1, _SHINGLE):
        inside[ends - back] = False
    inside = inside[: len(values)]
    per_field = size - _SHINGLE + 1
    salt = np.repeat(np.array(salts, np.uint64), per_field)
    owner_of = np.repeat(np.array(owners, np.int64), per_field)
    return _mixed(values[inside] + salt * np.uint64(0x9E3779B97F4A7C15)), owner_of


def _mixed(values: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every bit depends on every bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _signed(texts: Sequence[Sequence[str]]) -> Signatures:
    hashes, owners = _hashed(texts)
    bins = ((hashes >> np.uint64(32)) * np.uint64(BINS)) >> np.uint64(32)
    empty = np.uint32(0xFFFFFFFF)
    flat = np.full(len(texts) * BINS, empty, np.uint32)
    low = np.minimum(hashes & empty, empty - np.uint32(1)).astype(np.uint32)
    np.minimum.at(flat, owners * BINS + bins.astype(np.int64), low)
    return _dense(flat.reshape(len(texts), BINS), empty)


def _dense(found: Signatures, empty: np.uint32) -> Signatures:
    """Fill every empty bin from a full one; which one depends on the bin's number alone."""
    original = found.copy()
    rows, bins = np.nonzero(original == empty)
    attempt = 0
    while len(rows):
        attempt += 1
        seed = bins.astype(np.uint64) + np.uint64(attempt * BINS)
        source = (_mixed(seed * np.uint64(0x9E3779B97F4A7C15)) % np.uint64(BINS)).astype(np.int64)
        values = original[rows, source]
        full = values != empty
        found[rows[full], bins[full]] = values[full]
        rows, bins = rows[~full], bins[~full]
    return found


def _folded(rows: Signatures) -> Hashes:
    value = np.zeros(len(rows), np.uint64)
    for column in rows.T:
        value = _mixed(value ^ column.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    return value

"""Preferences on one prompt that cannot all hold: A over B here, B over A there, or in a ring.

Replies that are near-duplicates count as one. Preferences are edges from the chosen to the
rejected reply; an edge inside a strongly connected component is part of a ring (Kosaraju).
"""

from __future__ import annotations

from collections.abc import Sequence

from xeno.feedback.duplicates import (
    THRESHOLD,
    Link,
    clusters,
    jaccard,
    near_duplicates,
    normalised,
    shingles,
    signatures,
)

_COMPARED_DIRECTLY = 40  # distinct replies; more are compared through their signatures


def contradictions(replies: Sequence[tuple[str, str]]) -> dict[int, int]:
    """The contradicting among preferences (chosen, rejected) on the same prompt.

    Returns:
        place of each contradicting preference: place of one that contradicts it, the exact
        opposite where there is one, otherwise another of the ring.
    """
    nodes: dict[str, int] = {}
    edges = [
        (
            nodes.setdefault(normalised(chosen), len(nodes)),
            nodes.setdefault(normalised(rejected), len(nodes)),
        )
        for chosen, rejected in replies
    ]
    name = _merged(list(nodes))
    edges = [(name[chosen], name[rejected]) for chosen, rejected in edges]
    if {chosen for chosen, _ in edges}.isdisjoint(rejected for _, rejected in edges):
        return {}
    component = _components(len(nodes), edges)
    rings: dict[int, list[int]] = {}
    for place, (chosen, rejected) in enumerate(edges):
        if chosen != rejected and component[chosen] == component[rejected]:
            rings.setdefault(component[chosen], []).append(place)
    found: dict[int, int] = {}
    for ring in rings.values():
        by_edge = {edges[place]: place for place in reversed(ring)}
        for place in ring:
            chosen, rejected = edges[place]
            follows = next(other for other in ring if edges[other][0] == rejected)
            found[place] = by_edge.get((rejected, chosen), follows)
    return found


def _merged(texts: list[str]) -> list[int]:
    """For each text the first one that it is a near-duplicate of, or its own place."""
    name = list(range(len(texts)))
    if len(texts) <= _COMPARED_DIRECTLY:
        hashes = [shingles((text,)) for text in texts]
        links = []
        for first, low in enumerate(hashes):
            for second in range(first + 1, len(texts)):
                high = hashes[second]
                # Sets of too different sizes cannot be that alike.
                if min(len(low), len(high)) >= THRESHOLD * max(len(low), len(high)):
                    similarity = jaccard(low, high)
                    if similarity >= THRESHOLD:
                        links.append(Link(first, second, similarity))
    else:
        found = signatures((text,) for text in texts)
        links = near_duplicates(found, lambda place: shingles((texts[place],)))
    for group in clusters(len(texts), links):
        for place in group:
            name[place] = group[0]
    return name


def _components(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The strongly connected component of every node, by the name of one of its nodes."""
    forward: list[list[int]] = [[] for _ in range(count)]
    backward: list[list[int]] = [[] for _ in range(count)]
    for start, end in edges:
        forward[start].append(end)
        backward[end].append(start)
    finished: list[int] = []
    seen = [False] * count
    for root in range(count):
        stack = [(root, iter(forward[root]))] if not seen[root] else []
        seen[root] = True
        while stack:
            node, following = stack[-1]
            for neighbour in following:
                if not seen[neighbour]:
                    seen[neighbour] = True
                    stack.append((neighbour, iter(forward[neighbour])))
                    break
            else:
                finished.append(node)
                stack.pop()
    component = [-1] * count
    for root in reversed(finished):
        waiting = [root] if component[root] < 0 else []
        while waiting:
            node = waiting.pop()
            if component[node] < 0:
                component[node] = root
                waiting += backward[node]
    return component

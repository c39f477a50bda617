"""Reads the topic files: what the starter model knows, one block of lines per topic.

A block holds `topic:`, `do:`, `about:`, six points `- what | why`, `example:` and
`term: name | meaning`; blank lines separate blocks. README.md shows one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "topics"
POINTS = 6


@dataclass(frozen=True)
class Topic:
    """One topic. Points are pairs of an imperative and its reason, neither with a full stop."""

    name: str
    do: str
    about: str
    points: tuple[tuple[str, str], ...]
    example: str
    term: str
    meaning: str

    def text(self) -> str:
        """All its text, for judging which topic a reply is about."""
        halves = [half for point in self.points for half in point]
        parts = [self.name, self.do, self.about, *halves, self.example, self.term, self.meaning]
        return " ".join(parts)


def read_topics(folder: Path = FOLDER) -> list[Topic]:
    """Every topic of the `*.txt` files in `folder`, sorted by name.

    Raises:
        ValueError: for a malformed block or a topic that occurs twice.
    """
    topics: dict[str, Topic] = {}
    for path in sorted(folder.glob("*.txt")):
        for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
            if not block.strip():
                continue
            topic = _parsed(block)
            if topic.name in topics:
                raise ValueError(f"{path.name}: the topic {topic.name!r} occurs twice.")
            topics[topic.name] = topic
    return [topics[name] for name in sorted(topics)]


def _parsed(block: str) -> Topic:
    fields: dict[str, str] = {}
    points: list[tuple[str, str]] = []
    for line in block.strip().splitlines():
        if line.startswith("- "):
            what, bar, why = line[2:].partition(" | ")
            if not bar:
                raise ValueError(f"A point without a reason: {line!r}")
            points.append((what.strip(), why.strip()))
        else:
            key, _, value = line.partition(":")
            fields[key.strip()] = value.strip()
    if set(fields) != {"topic", "do", "about", "example", "term"} or len(points) != POINTS:
        raise ValueError(f"A malformed block: {block[:80]!r}")
    term, _, meaning = fields["term"].partition(" | ")
    return Topic(
        fields["topic"],
        fields["do"],
        fields["about"],
        tuple(points),
        fields["example"],
        term.strip(),
        meaning.strip(),
    )

"""What a command prints: sentences and tables for people, or one JSON object for programs.

With --json stdout carries one line, the object; what people read meanwhile goes to stderr.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from xeno.errors import XenoError


class Output:
    """Where a command says things. `as_json` is the --json of the command line."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def say(self, text: str = "") -> None:
        """A line for people; silent with --json."""
        if not self.as_json:
            print(text, flush=True)

    def progress(self, text: str) -> None:
        """A line for people while they wait; on stderr with --json."""
        print(text, file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def piece(self, text: str) -> None:
        """A piece of a reply as it comes, without a line end; silent with --json."""
        if not self.as_json:
            sys.stdout.write(text)
            sys.stdout.flush()

    def result(self, values: Mapping[str, Any]) -> None:
        """What the command found or did; printed with --json only, as the last line."""
        if self.as_json:
            print(json.dumps(dict(values), ensure_ascii=True), flush=True)

    def error(self, error: XenoError) -> None:
        """What failed, why, and what to do next, on stderr; with --json on stdout as well."""
        print(f"xeno: {error.what}", file=sys.stderr)
        if error.why:
            print(f"  why:  {error.why}", file=sys.stderr)
        if error.todo:
            print(f"  next: {error.todo}", file=sys.stderr)
        self.result({"error": {"what": error.what, "why": error.why, "todo": error.todo}})

    def table(
        self, heads: Sequence[str], rows: Sequence[Sequence[object]], empty: str = ""
    ) -> None:
        """Rows under heads, columns as wide as needed; numbers stand right. `empty` is said in
        place of a table without rows."""
        if empty and not rows:
            self.say(empty)
            return
        cells = [[shown(value) for value in row] for row in rows]
        widths = [max(len(line[i]) for line in [list(heads), *cells]) for i in range(len(heads))]
        right = [
            bool(rows) and all(isinstance(row[i], int | float | None) for row in rows)
            for i in range(len(heads))
        ]
        for line in [list(heads), *cells]:
            parts = [
                text.rjust(width) if to_right else text.ljust(width)
                for text, width, to_right in zip(line, widths, right, strict=True)
            ]
            self.say("  ".join(parts).rstrip())


def shown(value: object) -> str:
    """A cell's text: "-" for nothing, three digits for fractions."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def when(seconds: float | None) -> str:
    """A Unix time as local date and time, to the minute."""
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def duration(seconds: float) -> str:
    """Seconds as people say them: "48 s", "3 min 5 s", "2 h 10 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(number: float) -> str:
    """Bytes as people say them."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError("unreachable")


def first_line(text: str, width: int = 60) -> str:
    """`text` on one line, cut to `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"

"""Journal text: every dated entry, as what the user wrote on that day."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import date

from xeno.collect.documents import Documents

_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)
_MONTH = "|".join(name[:3] + (f"(?:{name[3:]})?" if name[3:] else "") for name in _MONTHS)
_WEEKDAY = r"(?:(?:mon|tue(?:s)?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?,?\s+)?"
_DATES = (
    re.compile(r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})"),
    re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})"),
    re.compile(rf"(?P<n>{_MONTH})\.?\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<y>\d{{4}})"),
    re.compile(rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\s+(?P<n>{_MONTH})\.?,?\s+(?P<y>\d{{4}})"),
)
_MARKUP = re.compile(r"^[#*=_\s\[-]*(.*?)[*=_\s\]:-]*$")


def journal(place: str | os.PathLike[str]) -> Documents:
    """The entries of journal files (.txt, .md) in a folder, or of one such file."""
    return Documents("journal", place, (".txt", ".md"), _entries)


def _entries(text: str, name: str) -> Iterator[tuple[str, str]]:
    """A line that is a date begins an entry; a file named by a date is one."""
    day = _date_in(name)
    body: list[str] = []
    for line in text.split("\n"):
        found = _date_line(line)
        if found is None:
            body.append(line)
            continue
        yield from _entry(day, body)
        day, body = found, []
    yield from _entry(day, body)


def _entry(day: date | None, body: list[str]) -> Iterator[tuple[str, str]]:
    written = "\n".join(body).strip()
    if day is not None and written:
        yield f"Write my journal entry for {day:%A}, {day.isoformat()}.", written


def _date_line(line: str) -> date | None:
    """The date that a line consists of, with or without a weekday and marks around it."""
    if len(line) > 60:
        return None
    said = (_MARKUP.match(line) or [""])[1] if line.strip() else ""
    said = re.sub(rf"^{_WEEKDAY}", "", said.strip().lower())
    return next((day for form in _DATES if (day := _day(form.fullmatch(said)))), None)


def _date_in(name: str) -> date | None:
    return _day(_DATES[0].search(name))


def _day(found: re.Match[str] | None) -> date | None:
    if found is None:
        return None
    parts = found.groupdict()
    month = parts.get("m") or next(
        number for number, each in enumerate(_MONTHS, 1) if each[:3] == parts["n"][:3]
    )
    try:
        return date(int(parts["y"]), int(month), int(parts["d"]))
    except ValueError:
        return None

"""Numbers and times in the words and forms that the window shows."""

from __future__ import annotations

from datetime import datetime

from xeno.words import count as count

NONE = "\N{EN DASH}"


def moment(seconds: float | None) -> str:
    """A Unix time as local date and time, a dash for none."""
    if seconds is None:
        return NONE
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def duration(seconds: float) -> str:
    """A span of time, rounded to what a reader needs: '8 s', '3 min 20 s', '1 h 5 min'."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes < 10 and rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size(count: int | float) -> str:
    """A number of bytes with its unit (powers of 1000)."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return (
                f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"
            )
        value /= 1000
    return f"{value:.1f} GB"


def shown_of(shown: int, matching: int, total: int, one: str, many: str = "") -> str:
    """How many there are: '7 pairs', '3 of 7 pairs', 'the last 500 of 900 found, 2,000 pairs'."""
    there = count(total, one, many)
    if shown < matching:
        return f"the last {shown:,} of {matching:,} found, {there}"
    return f"{matching:,} of {there}" if matching < total else there


def short(value: float, as_share: bool = False) -> str:
    """A number in about three figures: '0.412', '1,470', '5.0e-04'; a percentage if `as_share`."""
    if as_share:
        return share(value)
    size_of = abs(value)
    if size_of >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if size_of >= 1e-3 or value == 0 else f"{value:.1e}"


def share(value: float | None) -> str:
    """A share as a percentage, a dash for none."""
    return NONE if value is None else f"{100 * value:.0f} %"


def figure(value: float | None, digits: int = 2, unit: str = "") -> str:
    """A number with `digits` decimals, a dash for none."""
    return NONE if value is None else f"{value:.{digits}f}{' ' + unit if unit else ''}"


def privacy(private: bool, epsilon: float | None) -> str:
    """How a version was trained: its epsilon, or plainly that it is not private."""
    return f"ε {epsilon:.2f}" if private and epsilon is not None else "not private"

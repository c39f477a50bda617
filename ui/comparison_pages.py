"""A comparison of versions as pages of HTML: replies side by side, and all that was counted.

What changed is marked by colour and by form: what only the first version says is struck through,
what only the other one says is underlined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from ui.theme import Colors
from ui.version_words import metric
from ui.words import NONE, count, share, short
from xeno.versions.comparing import Against, Comparison, Piece

_CELL = "style='padding:4px 14px 4px 0'"


def replies(found: Comparison, colors: Colors, titles: Mapping[str, str]) -> str:
    """What each version answers; `titles` name the versions in full."""
    if not found.prompts:
        return "<p>No questions were asked.</p>"
    width = 100 // len(found.labels)
    heads = "".join(
        f"<th width='{width}%' align='left' style='padding:6px 12px 2px 0'>"
        f"{escape(titles.get(each, each))}</th>"
        for each in found.labels
    )
    parts = []
    for each in found.prompts:
        texts = [_text(each.replies[0])]
        texts += ["".join(_marked(piece, colors) for piece in one) for one in each.differences]
        cells = "".join(
            f"<td valign='top' style='padding:2px 12px 6px 0'>{text or '<i>nothing</i>'}</td>"
            for text in texts
        )
        parts.append(
            f"<h4>{escape(each.prompt)}</h4>"
            f"<table width='100%'><tr>{heads}</tr><tr>{cells}</tr></table>"
        )
    legend = (
        f"Beside {escape(titles.get(found.labels[0], found.labels[0]))}: "
        f"{_gone('only there', colors)}, {_added('only in the other reply', colors)}."
    )
    return f"<p>{legend}</p>" + "".join(parts)


def figures(found: Comparison, titles: Mapping[str, str]) -> str:
    """Held-out pairs, metrics and training data, each version against the first."""
    first = found.labels[0]
    parts = [f"<p>{escape(note)}</p>" for note in found.notes]
    for other in found.others:
        name = escape(titles.get(other.label, other.label))
        parts.append(f"<h3>{name} beside {escape(titles.get(first, first))}</h3>")
        said = (_pairs(_named(first), other), _data(_named(first), other))
        parts += [f"<p>{escape(each)}</p>" for each in said]
        parts.append(_metrics(first, other))
    return "".join(parts)


def _named(label: str) -> str:
    """A version's label inside a sentence."""
    return "the base model" if label == "base" else label


def _sentence(text: str) -> str:
    """`text` at the beginning of a sentence; the name of a version stays as it is."""
    return text[:1].upper() + text[1:] if text.startswith("the ") else text


def _pairs(first: str, other: Against) -> str:
    found = other.pairs
    if found is None:
        return "Too few pairs are held out from both to say which prefers the chosen replies."
    rate, change = found.win_rate, found.accuracy_change
    before, after = found.accuracy
    name = _named(other.label)
    verdict = "no difference beyond chance"
    if rate.low > 0.5:
        verdict = f"{name} is better beyond chance"
    elif rate.high < 0.5:
        verdict = f"{first} is better beyond chance"
    return (
        f"On {count(found.pairs, 'held-out pair')} {name} prefers the chosen reply more "
        f"strongly than {first} in {share(rate.value)} (95 % interval {share(rate.low)} to "
        f"{share(rate.high)}): {verdict}. Accuracy {share(before)} and {share(after)}, a change "
        f"of {100 * change.value:+.0f} points ({100 * change.low:+.0f} to "
        f"{100 * change.high:+.0f})."
    )


def _data(first: str, other: Against) -> str:
    data = other.data
    return (
        f"{_sentence(_named(other.label))} learned from {count(len(data.added), 'pair')} that "
        f"{first} did not, and not from {len(data.removed)} that it did; {data.both} are common."
    )


def _metrics(first: str, other: Against) -> str:
    if not other.metrics:
        return ""
    rows = [("Measured when made", first, other.label, "Change", "Percent")]
    for each in other.metrics:
        percent = "" if each.change_percent is None else f"{each.change_percent:+.1f} %"
        change = "" if each.change is None else f"{each.change:+.3g}"
        rows.append(
            (metric(each.metric), _number(each.first), _number(each.other), change, percent)
        )
    return (
        "<table>"
        + "".join(_line(line, "th" if place == 0 else "td") for place, line in enumerate(rows))
        + "</table>"
    )


def _line(cells: Sequence[str], kind: str) -> str:
    found = "".join(
        f"<{kind} align='{'left' if place == 0 else 'right'}' {_CELL}>{escape(each)}</{kind}>"
        for place, each in enumerate(cells)
    )
    return f"<tr>{found}</tr>"


def _number(value: float | None) -> str:
    return NONE if value is None else short(value)


def _marked(piece: Piece, colors: Colors) -> str:
    if piece.kind == "removed":
        return _gone(piece.text, colors)
    return _added(piece.text, colors) if piece.kind == "added" else _text(piece.text)


def _gone(text: str, colors: Colors) -> str:
    return f"<s style='color:{colors.bad};background:{colors.bad_soft}'>{_text(text)}</s>"


def _added(text: str, colors: Colors) -> str:
    return f"<u style='color:{colors.good};background:{colors.good_soft}'>{_text(text)}</u>"


def _text(text: str) -> str:
    return escape(text).replace("\n", "<br>")

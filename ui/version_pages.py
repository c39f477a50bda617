"""A version in words, as pages of HTML; all text that is not ours is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape

from ui.version_reading import Details
from ui.version_words import (
    ACCURACY,
    ACCURACY_BEFORE,
    accuracy,
    metric,
    privacy_sentence,
    state,
    titled,
)
from ui.words import NONE, count, moment, share, short, size
from xeno.versions.lifecycle import STATE_WORDS

_ACTIONS = {
    "deploy": "Deployed",
    "promote": "Promoted",
    "rollback": "Rolled back",
    "fallback": "Fell back by itself",
}


def summary(found: Details) -> str:
    """What it is, and what became of it."""
    version, manifest = found.version, found.version.manifest
    adapter = manifest.adapter
    before = manifest.metrics.get(ACCURACY_BEFORE)
    learned = share(accuracy(version)) + ("" if before is None else f", {share(before)} before")
    parent = found.names.get(manifest.parent or "", "a version of elsewhere")
    lines: list[tuple[str, str]] = [
        ("Description", version.description or NONE),
        ("State", state(version)),
        ("Privacy", privacy_sentence(version)),
        ("Held-out accuracy", learned),
        ("Learned from", count(len(manifest.pair_ids), "pair")),
        ("Continues", parent if manifest.parent else "the base model"),
        ("Base model", f"{manifest.base_name} ({manifest.base_hash[:12]}…)"),
        ("Adapter", f"{adapter.kind}, rank {adapter.rank}, alpha {adapter.alpha:g}, on "
                    + ", ".join(adapter.target_modules)),
        ("Created", moment(version.created)),
        ("Room taken", size(version.bytes)),
        ("Also called", ", ".join((version.semantic, *version.tags, version.address[:12]))),
    ]  # fmt: skip
    metrics = [
        (metric(name), NONE if value is None else short(value))
        for name, value in sorted(manifest.metrics.items())
        if name not in (ACCURACY, ACCURACY_BEFORE)
    ]
    return (
        f"<h3>{escape(titled(version))}</h3>{table(lines)}"
        + (f"<h4>Measured when it was made</h4>{table(metrics)}" if metrics else "")
        + f"<h4>History</h4>{_history(found)}"
    )


def lineage(found: Details) -> str:
    """What it came from, what came from it, and its pairs."""
    before = [escape(found.names.get(each, each[:12])) for each in found.before]
    after = [escape(found.names.get(each, each[:12])) for each in found.after]
    line = " → ".join(["base model", *reversed(before), f"<b>{escape(found.version.label)}</b>"])
    learned = len(found.version.manifest.pair_ids)
    gone = sum(each is None for each in found.pairs)
    asked = [escape(each) for each in found.pairs if each is not None]
    more = learned - len(found.pairs)
    parts = [
        f"<p>Came from: {line}</p>",
        f"<p>Continued by: {', '.join(after) or 'no version yet'}</p>",
        f"<h4>Learned from {count(learned, 'pair')}</h4>",
        _list(asked) if asked else "",
        f"<p>And {count(more, 'more pair', 'more pairs')}.</p>" if more else "",
        f"<p>{count(gone, 'pair was', 'pairs were')} deleted since.</p>" if gone else "",
    ]
    return "".join(parts)


def manifest(found: Details) -> str:
    """The signed manifest as it is kept, indented (plain text)."""
    return json.dumps(found.version.manifest.model_dump(mode="json"), indent=2, ensure_ascii=False)


def table(lines: Iterable[tuple[str, str]]) -> str:
    """Names and values in two columns."""
    return (
        "<table width='100%'>"
        + "".join(
            f"<tr><td width='175' style='padding:3px 12px 3px 0'><b>{escape(name)}</b></td>"
            f"<td style='padding:3px 0'>{escape(text)}</td></tr>"
            for name, text in lines
        )
        + "</table>"
    )


def _history(found: Details) -> str:
    """States and deployments in the order of time."""
    steps = [
        (each.created, STATE_WORDS[each.state].capitalize(), each.reason) for each in found.history
    ]
    for each in found.deployments:
        if each.address == found.version.address and each.override:
            steps.append((each.created, _ACTIONS[each.action] + " against the gate", each.override))
    steps.append((found.version.created, "Made", ""))
    lines = [
        (moment(created), f"{what}. {reason}".strip())
        for created, what, reason in sorted(steps, key=lambda step: step[0])
    ]
    return table(lines)


def _list(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{each}</li>" for each in items) + "</ul>"

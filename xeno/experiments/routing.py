"""Which version serves the next reply of a conversation: the active one, a canary, or a variant
of a test in the chat.

A conversation is assigned by a keyed hash, so that it always gets the same side, in any process,
and nobody without the profile's key can tell which. Light: read before every reply.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from xeno.events import Trial
from xeno.store.keys import ProfileKey
from xeno.store.profile import Profile
from xeno.versions import in_chat
from xeno.versions.activation import SERVED
from xeno.versions.in_chat import BASE
from xeno.versions.lifecycle import STATE_WORDS
from xeno.versions.records import ASSISTANT

_NOT_SERVED = f"""
SELECT number, state, deleted FROM ab_tests
JOIN versions ON address IN (model_a, model_b)
WHERE in_chat = 1 AND ended IS NULL
AND (deleted IS NOT NULL OR state NOT IN ({", ".join(f"'{state}'" for state in sorted(SERVED))}))
"""


@dataclass(frozen=True)
class Split:
    """Conversations are split between two versions (content addresses, None for the base).

    `share` (0 to 1) of them get `a`, the others `b`.
    """

    kind: str
    id: int
    a: str | None
    b: str | None
    share: float


@dataclass(frozen=True)
class Route:
    """The version that serves (None for the base), and what its reply counts for."""

    address: str | None
    trial: Trial | None = None


def share_of(key: ProfileKey, *parts: str) -> float:
    """A number in [0, 1) that follows from `parts` and the profile's key, and looks random."""
    text = "\x00".join(parts).encode("utf-8", "surrogatepass")
    digest = hmac.digest(key.subkey("experiments"), text, hashlib.sha256)
    return int.from_bytes(digest[:6], "big") / 2**48


def decide(key: ProfileKey, conversation: str, active: str | None, split: Split | None) -> Route:
    """Who serves `conversation`."""
    if split is None:
        return Route(active)
    first = share_of(key, split.kind, str(split.id), conversation) < split.share
    trial = Trial.model_validate({"kind": split.kind, "id": split.id, "arm": "a" if first else "b"})
    return Route(split.a if first else split.b, trial)


def route(profile: Profile, conversation: str | None) -> Route:
    """Who serves the next reply of `conversation`; without one, the active version."""
    row = profile.db.one(
        "SELECT address FROM versions WHERE model = ? AND state = 'active'", (ASSISTANT,)
    )
    active = None if row is None else str(row["address"])
    if conversation is None:
        return Route(active)
    return decide(profile.key, conversation, active, _split(profile, active))


def _split(profile: Profile, active: str | None) -> Split | None:
    """What is being tried now; at most one thing is."""
    row = profile.db.one(
        "SELECT canaries.id, canaries.address, traffic FROM canaries "
        "JOIN versions ON versions.address = canaries.address "
        "WHERE ended IS NULL AND state = 'canary' AND deleted IS NULL"
    )
    if row is not None:
        return Split("canary", row["id"], active, row["address"], 1 - row["traffic"])
    row = profile.db.one("SELECT * FROM ab_tests WHERE in_chat = 1 AND ended IS NULL")
    if row is not None and _variants_served(profile):
        a, b = (None if row[name] == BASE else str(row[name]) for name in ("model_a", "model_b"))
        return Split("test", row["id"], a, b, row["traffic_split"])
    return None


def _variants_served(profile: Profile) -> bool:
    """Whether both variants of the test in the chat may answer; it is ended where they may not."""
    if profile.db.one(_NOT_SERVED) is None:
        return True
    with profile.db.transaction():
        row = profile.db.one(_NOT_SERVED)
        if row is not None:  # otherwise another process was quicker
            words = "deleted" if row["deleted"] is not None else STATE_WORDS[row["state"]]
            reason = f"v{row['number']} is {words}."
            in_chat.end(profile.db, reason, automatic=True)
    return False

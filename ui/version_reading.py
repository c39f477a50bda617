"""What the Versions tab shows, read from the store; to be called off the window's thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xeno.errors import InvalidValueError
from xeno.experiments.canary import Canaries, Canary
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile
from xeno.versions.activation import DeploymentRecord
from xeno.versions.deployment import Deployment
from xeno.versions.gate import GateReport, report_of
from xeno.versions.lifecycle import StateChange, changes
from xeno.versions.lineage import ancestors, descendants
from xeno.versions.registry import Registry, Version
from xeno.versions.retention import Retention, Space, models, purge_expired

_PAIRS = 200  # of a version, read for the lineage
_EXCERPT = 90  # characters of a pair's question


@dataclass(frozen=True)
class Overview:
    """All versions, the newest first; which answers, which is tried, and the room they take."""

    versions: Sequence[Version]
    deleted: Sequence[Version]
    active: Version | None
    canary: Canary | None
    deployed_before: bool
    space: Sequence[Space]

    @property
    def tried(self) -> Version | None:
        """The version that is tried in a part of the conversations."""
        address = None if self.canary is None else self.canary.address
        return next((each for each in self.versions if each.address == address), None)


@dataclass(frozen=True)
class Details:
    """One version in full. `names` are those of all versions by content address; `pairs` what
    the first of its pairs asked, None for a pair that was deleted meanwhile."""

    version: Version
    report: GateReport | None
    history: Sequence[StateChange]
    deployments: Sequence[DeploymentRecord]
    before: Sequence[str]
    after: Sequence[str]
    pairs: Sequence[str | None]
    names: Mapping[str, str]


def overview(profile: Profile) -> Overview:
    """What there is now. Versions that were deleted more than 7 days ago are purged first."""
    purge_expired(profile)
    registry, deployment, canaries = Registry(profile), Deployment(profile), Canaries(profile)
    canaries.settle()
    return Overview(
        versions=registry.all(),
        deleted=registry.all(deleted=True),
        active=deployment.active(),
        canary=canaries.current(),
        deployed_before=bool(deployment.history()),
        space=[Retention(profile, model).space() for model in models(profile)],
    )


def details(profile: Profile, version: Version) -> Details:
    """All that is kept of `version`."""
    rows = profile.db.read("SELECT address, number, purged FROM versions")
    address = version.address
    return Details(
        version=version,
        report=report_of(version),
        history=changes(profile.db, address),
        deployments=[
            each
            for each in Deployment(profile).history()
            if address in (each.address, each.previous)
        ],
        before=ancestors(profile.db, address),
        after=descendants(profile.db, address),
        pairs=[_asked(profile, each) for each in version.manifest.pair_ids[:_PAIRS]],
        names={
            row["address"]: f"v{row['number']}" + (" (purged)" if row["purged"] else "")
            for row in rows
        },
    )


def _asked(profile: Profile, pair_id: str) -> str | None:
    """The last message before the replies of a pair, shortened."""
    try:
        prompt = Pairs(profile.db).get(pair_id).prompt
    except InvalidValueError:
        return None
    text = " ".join(prompt[-1].content.split()) if prompt else ""
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"

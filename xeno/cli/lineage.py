"""`xeno versions lineage`: what a version came from, what came from it, where a pair led to."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from xeno.cli.commands import Commands
from xeno.cli.output import Output
from xeno.cli.session import unlocked
from xeno.store.profile import Profile
from xeno.versions.lifecycle import STATE_WORDS
from xeno.versions.lineage import ancestors, descendants, pairs_of, tree
from xeno.versions.records import ASSISTANT, Records
from xeno.versions.registry import Registry, Version
from xeno.words import count


def add(group: Commands) -> None:
    parser = of_model(group.add("lineage", "what a version came from, or a pair led to", trace))
    parser.add_argument("ref", nargs="?", help="a version (default: the tree of all)")
    parser.add_argument("--pair", metavar="ID", help="the versions that learned from a pair")


def of_model(parser: ArgumentParser) -> ArgumentParser:
    """Let a command name another model than the assistant."""
    parser.add_argument(
        "--model", default=ASSISTANT, metavar="NAME", help=f"of which model ({ASSISTANT})"
    )
    return parser


def trace(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        if arguments.pair:
            return _of_pair(profile, arguments.pair, output)
        if arguments.ref:
            return _of_version(profile, arguments, output)
        return _tree(profile, output)


def _of_pair(profile: Profile, pair_id: str, output: Output) -> int:
    found = Registry(profile).pair_versions(pair_id)
    for version in found:
        itself = pair_id in version.manifest.pair_ids
        output.say(
            f"{version.label} "
            + ("learned from it." if itself else "continued a version that learned from it.")
        )
    if not found:
        output.say("No version learned from this pair.")
    output.result({"pair": pair_id, "versions": [_short(version) for version in found]})
    return 0


def _of_version(profile: Profile, arguments: Namespace, output: Output) -> int:
    records = Records(profile, arguments.model)
    row = records.row(arguments.ref)
    labels = _labels(profile)
    before = [labels.get(each, each[:12]) for each in ancestors(profile.db, row["address"])]
    after = [labels.get(each, each[:12]) for each in descendants(profile.db, row["address"])]
    pairs = sorted(pairs_of(profile.db, row["address"]))
    output.say(f"v{row['number']} learned from {count(len(pairs), 'pair')}.")
    output.say(f"It continued: {', '.join(before) or 'nothing, it began from the base model'}")
    output.say(f"It was continued by: {', '.join(after) or 'nothing'}")
    output.result(
        {
            "address": row["address"],
            "ancestors": ancestors(profile.db, row["address"]),
            "descendants": descendants(profile.db, row["address"]),
            "pair_ids": pairs,
        }
    )
    return 0


def _tree(profile: Profile, output: Output) -> int:
    branches = tree(Registry(profile).all())
    for each in branches:
        version = each.version
        output.say(
            f"{'   ' * each.depth}{version.label} ({version.semantic}), "
            f"{STATE_WORDS[version.state]}, {count(len(version.manifest.pair_ids), 'pair')}"
        )
    if not branches:
        output.say("There are no versions yet.")
    output.result(
        {
            "tree": [
                _short(each.version) | {"parent": each.version.manifest.parent} for each in branches
            ]
        }
    )
    return 0


def _labels(profile: Profile) -> dict[str, str]:
    """How versions are called, by address; also purged ones, which the lineage still knows."""
    rows = profile.db.read("SELECT address, number, purged FROM versions")
    return {
        row["address"]: f"v{row['number']}" + (" (deleted)" if row["purged"] else "")
        for row in rows
    }


def _short(version: Version) -> dict[str, Any]:
    return {"label": version.label, "address": version.address, "state": version.state}

"""`xeno versions`: what was learned, of which model, from what, and how much room it takes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

from xeno.cli.commands import Commands
from xeno.cli.output import Output, size, when
from xeno.cli.session import unlocked
from xeno.store.database import Row
from xeno.store.profile import Profile
from xeno.versions.activation import Activation
from xeno.versions.control import ModelVersion, ModelVersionControl
from xeno.versions.lifecycle import STATE_WORDS, changes
from xeno.versions.lineage import ancestors, descendants, pairs_of, tree
from xeno.versions.records import ASSISTANT, Records, read_json
from xeno.versions.registry import Registry, Version
from xeno.versions.retention import LEAST_KEPT, Retention, models, purge_expired
from xeno.words import count


def add(commands: Commands) -> None:
    group = commands.group("versions", "list, tag, trace, delete and restore versions", show_all)
    of_model(group.add("list", "list the versions of a model", show_all)).add_argument(
        "--deleted", action="store_true", help="those that can be restored instead"
    )
    _with_ref(group.add("show", "show a version's manifest and history", show_one))
    tag = _with_ref(group.add("tag", "name a version", tag_one))
    tag.add_argument("tag", help="such as 'best'; another version that has it loses it")
    untag = of_model(group.add("untag", "take a tag away", untag_one))
    untag.add_argument("tag")
    _with_ref(group.add("describe", "say what a version is", describe)).add_argument("text")
    _with_ref(group.add("delete", "delete a version that is not in use", delete))
    _with_ref(group.add("restore", "bring a deleted version back, for 7 days", restore))
    lineage = of_model(group.add("lineage", "what a version came from, or a pair led to", trace))
    lineage.add_argument("ref", nargs="?", help="a version (default: the tree of all)")
    lineage.add_argument("--pair", metavar="ID", help="the versions that learned from a pair")
    prune = of_model(group.add("prune", "delete old versions, never one that is needed", prune_all))
    prune.add_argument("--keep", type=int, default=10, metavar="N", help="newest kept (10)")
    prune.add_argument("--dry-run", action="store_true", help="only say which")
    group.add("space", "show what versions take on the disk", space)
    of_model(commands.add("list", "list the versions (as 'xeno versions list')", show_all))


def of_model(parser: ArgumentParser) -> ArgumentParser:
    """Let a command name another model than the assistant."""
    parser.add_argument(
        "--model", default=ASSISTANT, metavar="NAME", help=f"of which model ({ASSISTANT})"
    )
    return parser


def show_all(arguments: Namespace, output: Output) -> int | None:
    model = getattr(arguments, "model", ASSISTANT)
    deleted = getattr(arguments, "deleted", False)
    with unlocked(arguments) as profile:
        purge_expired(profile)
        rows = Records(profile, model).rows(deleted=deleted)
        tags = Records(profile, model).tags()
        active = Activation(profile, model).address()
        manifests = [read_json(row, "manifest") for row in rows]
    output.table(
        ("version", "number", "address", "state", "created", "epsilon", "accuracy", "size", "tags"),
        [
            (
                f"v{row['number']}",
                _semantic(row),
                row["address"][:12],
                "deleted" if deleted else STATE_WORDS[row["state"]],
                when(row["created"]),
                _privacy(manifest),
                _accuracy(manifest),
                size(row["bytes"]),
                ", ".join(tags.get(row["address"], ())),
            )
            for row, manifest in zip(rows, manifests, strict=True)
        ],
        empty="No version can be restored." if deleted else "There are no versions yet.",
    )
    in_use = next((f"v{row['number']}" for row in rows if row["address"] == active), None)
    if not deleted:
        nothing = "the base model" if model == ASSISTANT else "none"
        output.say(f"{'Answering' if model == ASSISTANT else 'In use'}: {in_use or nothing}")
    output.result(
        {
            "model": model,
            "active": active,
            "versions": [
                _values(row, manifest, tags.get(row["address"], ()))
                for row, manifest in zip(rows, manifests, strict=True)
            ],
        }
    )
    return 0


def show_one(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        records = Records(profile, arguments.model)
        row = records.row(arguments.ref)
        values = _values(row, read_json(row, "manifest"), records.tags().get(row["address"], ()))
        values["history"] = [
            {"state": each.state, "reason": each.reason, "created": each.created}
            for each in changes(profile.db, row["address"])
        ]
    for key, value in values.items():
        if key not in ("manifest", "history", "gate"):
            output.say(f"{key}: {value}")
    for key, value in values["manifest"].items():
        shown = count(len(value), "pair") if key == "pair_ids" else value
        output.say(f"  {key}: {shown}")
    for each in values["history"]:
        output.say(f"{when(each['created'])}  {STATE_WORDS[each['state']]}. {each['reason']}")
    output.result(values)
    return 0


def tag_one(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile, ModelVersionControl(profile=profile) as control:
        control.tag(arguments.model, arguments.ref, arguments.tag)
        return _say(control.get_version(arguments.model, arguments.tag), "tagged", output)


def untag_one(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        Records(profile, arguments.model).untag(arguments.tag)
    output.say(f"No version is tagged {arguments.tag!r} any more.")
    output.result({"untagged": arguments.tag})
    return 0


def describe(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile, ModelVersionControl(profile=profile) as control:
        control.describe(arguments.model, arguments.ref, arguments.text)
        return _say(control.get_version(arguments.model, arguments.ref), "described", output)


def delete(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        row = Records(profile, arguments.model).delete(arguments.ref)
    private = read_json(row, "manifest").get("private")
    spent = " What it spent of the privacy stays spent." if private else ""
    label = f"v{row['number']}"
    output.say(
        f"Version {label} is deleted; 'xeno versions restore {label}' brings it back for "
        f"7 days.{spent}"
    )
    output.result({"deleted": row["address"], "label": label})
    return 0


def restore(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile, ModelVersionControl(profile=profile) as control:
        found = control.restore(arguments.model, arguments.ref)
    return _say(found, "there again", output)


def trace(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        if arguments.pair:
            return _of_pair(profile, arguments.pair, output)
        if arguments.ref:
            return _of_version(profile, arguments, output)
        return _tree(profile, output)


def prune_all(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        retention = Retention(profile, arguments.model)
        rows = (retention.prunable if arguments.dry_run else retention.prune)(arguments.keep)
    labels = [f"v{row['number']}" for row in rows]
    freed = size(sum(row["bytes"] for row in rows))
    if not rows:
        output.say("Nothing is old enough, or all of it is needed.")
    elif arguments.dry_run:
        output.say(f"Would delete {', '.join(labels)} ({freed}).")
    else:
        output.say(f"Deleted {', '.join(labels)}; {freed} will be free in 7 days.")
    output.result({"labels": labels, "dry_run": arguments.dry_run, "least_kept": LEAST_KEPT})
    return 0


def space(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        purge_expired(profile)
        found = [Retention(profile, model).space() for model in models(profile)]
    output.table(
        ("model", "versions", "size", "can be restored", "size of these"),
        [
            (each.model, each.versions, size(each.bytes), each.deleted, size(each.deleted_bytes))
            for each in found
        ],
        empty="There are no versions yet.",
    )
    output.result(
        {
            "models": [
                {
                    "model": each.model,
                    "versions": each.versions,
                    "bytes": each.bytes,
                    "deleted": each.deleted,
                    "deleted_bytes": each.deleted_bytes,
                }
                for each in found
            ]
        }
    )
    return 0


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


def _with_ref(parser: ArgumentParser) -> ArgumentParser:
    parser.add_argument("ref", help="a number, v3, v1.2.0, a tag or a content address")
    return of_model(parser)


def _say(version: ModelVersion, what: str, output: Output) -> int:
    output.say(f"v{version.version} ({version.semantic}) is {what}.")
    output.result(
        {
            "address": version.address,
            "label": f"v{version.version}",
            "tags": list(version.tags),
            "description": version.description,
        }
    )
    return 0


def _short(version: Version) -> dict[str, Any]:
    return {"label": version.label, "address": version.address, "state": version.state}


def _semantic(row: Row) -> str:
    return f"v{row['major']}.{row['minor']}.{row['patch']}"


def _privacy(manifest: Mapping[str, Any]) -> str | None:
    if "private" not in manifest:
        return None
    epsilon = manifest.get("epsilon")
    return "not private" if epsilon is None else f"epsilon {epsilon:.3g}"


def _accuracy(manifest: Mapping[str, Any]) -> float | None:
    metrics = manifest.get("metrics", {})
    found = metrics.get("heldout_preference_accuracy", metrics.get("accuracy"))
    return None if found is None else float(found)


def _values(row: Row, manifest: Mapping[str, Any], tags: tuple[str, ...]) -> dict[str, Any]:
    return {
        "number": row["number"],
        "label": f"v{row['number']}",
        "semantic": _semantic(row),
        "address": row["address"],
        "state": row["state"],
        "tags": list(tags),
        "created": row["created"],
        "bytes": row["bytes"],
        "description": row["description"],
        "run": row["run_id"],
        "private": manifest.get("private", False),
        "epsilon": manifest.get("epsilon"),
        "gate": read_json(row, "gate"),
        "manifest": manifest,
    }

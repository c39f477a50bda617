"""`xeno status`: what there is and what state it is in."""

from __future__ import annotations

from argparse import Namespace

from xeno.cli.commands import Commands
from xeno.cli.output import Output
from xeno.cli.session import unlocked
from xeno.personalization.engine import PersonalizationEngine
from xeno.privacy.ledger import PrivacyLedger
from xeno.store.conversations import Conversations
from xeno.store.pairs import Pairs
from xeno.store.runs import Runs
from xeno.training.plan import ADVISED_PAIRS, MINIMUM_PAIRS
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Registry
from xeno.words import count
from xeno.workers.host_client import base_folder

PROTECTIONS = {
    "keyring": "The key is in the system keyring.",
    "passphrase": "The key is protected by a passphrase.",
    "file": (
        "The key is a file that only you can read. This protects less than a keyring or a "
        "passphrase: whoever can read or copy your files can open the profile."
    ),
}


def add(commands: Commands) -> None:
    commands.add("status", "show the profile and its state", run)


def run(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        runs = Runs(profile.db)
        interrupted = runs.mark_interrupted()
        resumable = runs.resumable()
        pairs = Pairs(profile.db)
        ready, known = pairs.count(active=True), pairs.count()
        active = Deployment(profile).active()
        ledger = PrivacyLedger(profile)
        spent, (budget, delta) = ledger.spent(), ledger.budget()
        base = str(base_folder(profile))
        conversations = len(Conversations(profile.db).all(limit=1_000_000))
        versions = len(Registry(profile).all())
        values = {
            "home": str(profile.home.folder),
            "profile": profile.name,
            "protection": profile.protection,
            "protection_note": PROTECTIONS[profile.protection],
            "base": base,
            "conversations": conversations,
            "pairs": known,
            "pairs_ready": ready,
            "versions": versions,
            "active": None if active is None else active.address,
            "active_label": "base" if active is None else active.label,
            "epsilon_spent": spent,
            "epsilon_budget": budget,
            "delta": delta,
            "system_prompt": PersonalizationEngine(
                profile.name, profile=profile
            ).get_personalized_prompt_prefix(),
            "interrupted_runs": [each.id for each in interrupted],
            "resumable_runs": [{"run": each.run.id, "step": each.step} for each in resumable],
        }
    answering = "the base model" if active is None else f"version {active.label}"
    if active is not None and not active.manifest.private:
        answering += " (trained without differential privacy)"
    output.say(f"Profile {values['profile']} in {values['home']}")
    output.say(PROTECTIONS[profile.protection])
    output.say(f"Base model: {base}")
    output.say(
        f"Answering: {answering}; {count(versions, 'version')}, "
        f"{count(conversations, 'conversation')}"
    )
    output.say(f"Pairs: {ready} ready to learn from, {known} in all. {_advice(ready)}")
    output.say(f"Privacy: epsilon {spent:.3g} of {budget:.3g} spent (delta {delta:g})")
    for each in resumable:
        ended = "was interrupted" if each.run.status == "interrupted" else "failed"
        output.say(
            f"Run {each.run.id[:8]} {ended}; {count(each.step, 'step')} of it kept. Go on with it: "
            f"xeno runs resume {each.run.id[:8]} (or give it up: xeno runs discard)."
        )
    output.result(values)
    return 0


def _advice(ready: int) -> str:
    if ready < MINIMUM_PAIRS:
        return f"Training needs {MINIMUM_PAIRS}."
    return f"More than {ADVISED_PAIRS} are advised." if ready < ADVISED_PAIRS else ""

"""`xeno beliefs`: what is learned of the user, why, and what they decide about it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict

from xeno.cli.commands import Commands, UsageError
from xeno.cli.output import Output, first_line, when
from xeno.cli.prefs import preference
from xeno.cli.session import unlocked
from xeno.errors import InvalidValueError
from xeno.personalization.evidence import SIGNALS
from xeno.personalization.learning import Belief, Learner
from xeno.store.profile import Profile
from xeno.words import count


def add(commands: Commands) -> None:
    group = commands.group("beliefs", "what is learned of you, and why", show)
    group.add("show", "show what is believed and how sure that is", show)
    why = group.add("why", "show what a belief rests on", explain)
    why.add_argument(
        "preference", type=preference, help="style, detail, format, tone or expertise_level.<topic>"
    )
    why.add_argument("--limit", type=int, default=20, help="how many pieces, the latest first")
    consent = group.add("consent", "agree to being learned from, or withdraw", decide)
    consent.add_argument("answer", choices=("yes", "no"))
    signals = group.add("signals", "choose what is learned from", switch)
    signals.add_argument("signal", nargs="?", choices=tuple(SIGNALS))
    signals.add_argument("state", nargs="?", choices=("on", "off"))
    pin = group.add("pin", "set a preference for good", _change(_pin))
    pin.add_argument("preference", type=preference)
    pin.add_argument("value", nargs="?", help="by default what is believed")
    unpin = group.add("unpin", "let what is learned take effect again", _change(_unpin))
    unpin.add_argument("preference", type=preference)
    for name, text, run in (
        ("undo", "take a piece of evidence out, as if it had never been", _undo),
        ("restore", "count a piece of evidence again", _restore),
    ):
        group.add(name, text, _change(run)).add_argument(
            "evidence", help="its id, or the beginning of it"
        )
    reset = group.add("reset", "forget what was learned", _change(_reset))
    reset.add_argument("preference", nargs="?", type=preference, help="by default everything")


def show(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        _shown(Learner(profile), output)
    return 0


def explain(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        learner = Learner(profile)
        belief = learner.belief(arguments.preference)
        found = learner.evidence(arguments.preference, limit=max(1, arguments.limit))
        total = learner.evidence_count(arguments.preference)
    shares = zip(belief.values, belief.distribution, strict=True)
    output.say(f"{belief.dimension}: " + ", ".join(f"{v} {p:.0%}" for v, p in shares))
    output.table(
        ("evidence", "when", "kind", "for", "moved", "counts", "seen", "text"),
        [
            (
                each.id[:8],
                when(each.created),
                each.kind,
                each.favours,
                f"{each.moved:.0%}",
                each.counted,
                each.reason,
                first_line(each.text, 50),
            )
            for each in found
        ],
    )
    output.say(f"{len(found)} of {count(total, 'piece')} of evidence.")
    output.result(
        {**_as_json(belief), "evidence_total": total, "evidence": [asdict(e) for e in found]}
    )
    return 0


def decide(arguments: Namespace, output: Output) -> int | None:
    with unlocked(arguments) as profile:
        learner = Learner(profile)
        learner.set_consent(arguments.answer == "yes")
        if learner.consent:
            output.say("XENO now learns from what you do. It stays in this profile, encrypted.")
            output.say("'xeno beliefs signals' chooses from what, 'xeno beliefs reset' forgets.")
        else:
            output.say("Nothing more is learned, and what was learned has no effect.")
            output.say("'xeno beliefs reset' deletes it.")
        output.result({"consent": learner.consent})
    return 0


def switch(arguments: Namespace, output: Output) -> int | None:
    if arguments.signal is not None and arguments.state is None:
        raise UsageError("On or off?", "", f"Write 'xeno beliefs signals {arguments.signal} off'.")
    with unlocked(arguments) as profile:
        learner = Learner(profile)
        if arguments.signal is not None:
            learner.set_signal(arguments.signal, arguments.state == "on")
        signals = learner.signals()
    output.table(
        ("signal", "learned from", "what it is"),
        [(name, on, SIGNALS[name]) for name, on in signals.items()],
    )
    output.result({"signals": signals})
    return 0


def _change(
    decide: Callable[[Learner, Profile, Namespace], None],
) -> Callable[[Namespace, Output], int | None]:
    """The command that carries out one decision of the user and shows what is believed then."""

    def run(arguments: Namespace, output: Output) -> int | None:
        with unlocked(arguments) as profile:
            learner = Learner(profile)
            decide(learner, profile, arguments)
            _shown(learner, output)
        return 0

    return run


def _pin(learner: Learner, _: Profile, arguments: Namespace) -> None:
    learner.pin(arguments.preference, arguments.value)


def _unpin(learner: Learner, _: Profile, arguments: Namespace) -> None:
    learner.unpin(arguments.preference)


def _undo(learner: Learner, profile: Profile, arguments: Namespace) -> None:
    learner.undo(_whole_id(profile, arguments.evidence))


def _restore(learner: Learner, profile: Profile, arguments: Namespace) -> None:
    learner.restore(_whole_id(profile, arguments.evidence))


def _reset(learner: Learner, _: Profile, arguments: Namespace) -> None:
    learner.reset(arguments.preference)


def _shown(learner: Learner, output: Output) -> None:
    consent, found = learner.consent, learner.beliefs()
    output.table(
        ("preference", "believed", "confidence", "evidence", "set by you", "in effect"),
        [
            (
                belief.dimension,
                belief.value if belief.evidence else None,
                f"{belief.confidence:.0%}" if belief.evidence else None,
                belief.evidence,
                belief.pinned,
                belief.in_effect,
            )
            for belief in found
        ],
    )
    if not consent:
        output.say()
        output.say("Nothing is learned: you have not agreed to it ('xeno beliefs consent yes').")
    output.result(
        {
            "consent": consent,
            "signals": learner.signals(),
            "beliefs": [_as_json(belief) for belief in found],
        }
    )


def _as_json(belief: Belief) -> dict[str, object]:
    return {
        "preference": belief.dimension,
        "distribution": dict(zip(belief.values, belief.distribution, strict=True)),
        "value": belief.value,
        "confidence": belief.confidence,
        "evidence_counted": belief.evidence,
        "pinned": belief.pinned,
        "enough": belief.enough,
        "in_effect": belief.in_effect,
    }


def _whole_id(profile: Profile, start: str) -> str:
    """The one evidence id that begins with `start`."""
    found = profile.db.read(
        "SELECT id FROM learning_evidence WHERE substr(id, 1, ?) = ? LIMIT 2", (len(start), start)
    )
    if len(found) != 1 or not start:
        raise InvalidValueError(
            f"There is no single piece of evidence {start!r}.",
            "",
            "See 'xeno beliefs why PREFERENCE' for the ids.",
        )
    return str(found[0]["id"])

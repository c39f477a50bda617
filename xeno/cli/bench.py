"""`xeno bench`: measurements of what ships with XENO."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from xeno.cli.commands import Commands
from xeno.cli.output import Output


def add(commands: Commands) -> None:
    group = commands.group("bench", "measure what ships with XENO", run_starter)
    starter = group.add("starter", "measure the starter model on held-out prompts", run_starter)
    starter.add_argument("--folder", type=Path, help="another folder of the starter model")
    starter.add_argument("--prompts", type=int, default=200, help="how many held-out prompts")
    intents = group.add("intents", "measure how well intents are told apart", run_intents)
    intents.add_argument(
        "--data", type=Path, required=True, help="folder with BANKING77 and CLINC150"
    )
    intents.add_argument("--encoder", type=Path, help="a sentence encoder in place of n-grams")


def run_starter(arguments: Namespace, output: Output) -> int | None:
    from xeno.benchmarking import starter

    folder = getattr(arguments, "folder", None) or starter.FOLDER
    result = starter.measure(folder, getattr(arguments, "prompts", 200))
    return _reported(result, starter.missed(result), starter.TARGETS, output)


def run_intents(arguments: Namespace, output: Output) -> int | None:
    from xeno.benchmarking import intents
    from xeno.personalization.sentence_encoder import SentenceEncoder

    encoder = SentenceEncoder(arguments.encoder) if arguments.encoder else None
    result = intents.measure(arguments.data, encoder)
    return _reported(result, intents.missed(result), intents.TARGETS, output)


def _reported(
    result: Mapping[str, float],
    missed: Sequence[str],
    targets: Mapping[str, tuple[bool, float]],
    output: Output,
) -> int:
    output.table(
        ("measure", "value", "target", ""),
        [
            (name, value, _target(targets, name), "missed" if name in missed else "")
            for name, value in result.items()
        ],
    )
    output.result({"measures": dict(result), "missed": list(missed)})
    return 1 if missed else 0


def _target(targets: Mapping[str, tuple[bool, float]], name: str) -> str:
    if name not in targets:
        return ""
    at_least, bound = targets[name]
    return f"{'at least' if at_least else 'at most'} {bound:g}"

"""`xeno bench`: measurements of what ships with XENO."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from xeno.cli.commands import Commands
from xeno.cli.output import Output
from xeno.cli.session import home_of
from xeno.models.starter import starter_folder
from xeno.store.files import write_atomic

_PLOTTED = {
    "reliability": "diligent users",
    "reluctant_reliability": "seldom correct",
    "writing_only": "only write",
}


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
    learning = group.add("learning", "measure what is learned of scripted users", run_learning)
    learning.add_argument("--seeds", type=int, default=3, help="how many seeds, 144 users each")
    learning.add_argument(
        "--full",
        action="store_true",
        help="let the learner know the words that it and the users would both have",
    )
    learning.add_argument(
        "--author",
        type=Path,
        action="append",
        default=[],
        help="a preference file: learn from half of one author's pairs, tell the other half",
    )
    learning.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw confidence against truth, as SVG"
    )
    asking = group.add("asking", "measure how many questions good ones save", run_asking)
    asking.add_argument("--tastes", type=int, default=48, help="how many of the 144 tastes")
    asking.add_argument("--seeds", type=int, default=3, help="users of each taste")
    asking.add_argument(
        "--full",
        action="store_true",
        help="let the estimate know the words that it and the replies would both have",
    )
    dpo = group.add("dpo", "measure training beside TRL's DPOTrainer", run_dpo)
    dpo.add_argument("--data", type=Path, help="a preference file to take the lengths from")
    dpo.add_argument("--quick", action="store_true", help="one round over fewer pairs")
    dpo.add_argument("--curve", action="store_true", help="compare the losses of three epochs")
    dpo.add_argument("--threads", type=int, help="processor threads of every contender")
    inference = group.add(
        "inference", "measure replies beside transformers and llama.cpp", run_inference
    )
    inference.add_argument("--quick", action="store_true", help="two rounds in place of seven")
    inference.add_argument("--threads", type=int, help="processor threads of every contender")
    privacy = group.add("privacy", "measure what is learned at each epsilon", run_privacy)
    privacy.add_argument("--data", type=Path, help="also a preference file, split by group")
    privacy.add_argument("--base", type=Path, help="the base for --data (the starter if not given)")
    privacy.add_argument("--seeds", type=int, default=3)
    privacy.add_argument("--quick", action="store_true", help="one seed, few pairs, one epsilon")
    privacy.add_argument("--workers", type=int, default=1, help="runs at a time, a thread each")
    privacy.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep what is measured, and go on from it"
    )
    privacy.add_argument(
        "--fit",
        type=Path,
        metavar="FILE",
        help="fit the forecast of accuracy on what was measured, and write it to FILE",
    )


def run_privacy(arguments: Namespace, output: Output) -> int | None:
    from xeno.benchmarking import privacy

    workers = max(1, arguments.workers)
    effort = privacy.quick(workers) if arguments.quick else privacy.full(arguments.seeds, workers)
    base = arguments.base or starter_folder()
    result, grid = privacy.measure(effort, arguments.data, base, output.progress, arguments.keep)
    columns = ("data", "recipe", "epsilon", "pairs", "accuracy", "taste", "ends", "repeats")
    output.table(
        (*columns[:5], "from", "to", *columns[5:]),
        [
            (
                *(each["epsilon"] or "none" if c == "epsilon" else each[c] for c in columns[:5]),
                *each["interval"],
                *(each[c] for c in columns[5:]),
            )
            for each in result["grid"]
        ],
    )
    for name, baseline in result["pick_longer"].items():
        output.say(f"Picking the longer reply scores {baseline:.3f} on {name}.")
    output.table(
        ("data", "difference", "mean", "from", "to"),
        [
            (each["data"], each["what"], each["mean"], *each["interval"])
            for each in result["differences"]
        ],
    )
    for sentence in result["missed"]:
        output.say(f"missed: {sentence}")
    if arguments.fit:
        from xeno.benchmarking.privacy_fit import fit

        fitted = fit([run for runs in grid.values() for run in runs])
        write_atomic(arguments.fit, fitted.model_dump_json(indent=1).encode() + b"\n")
        output.say(
            f"The forecast is off by {fitted.error:.3f} at the cells that it was not fitted on; "
            f"written to {arguments.fit}."
        )
        result["forecast"] = fitted.model_dump()
    output.result(result)
    return 1 if result["missed"] else 0


def run_dpo(arguments: Namespace, output: Output) -> int | None:
    from xeno.benchmarking import dpo
    from xeno.training.compute import threads as fitting

    threads = arguments.threads or fitting()
    if arguments.curve:
        result = dpo.curve(threads, output.progress)
        output.table(
            ("losses of three epochs", "largest difference", "mean"),
            [(name, *result[name].values()) for name in result if name != "losses"],
        )
        output.result(result)
        return 0
    effort = dpo.QUICK if arguments.quick else dpo.FULL
    result = dpo.measure(arguments.data, effort, threads, output.progress)
    output.table(
        ("contender", "pairs/s", "with reference", "of matrix rate", "peak MB"),
        [
            (
                name,
                each["pairs_per_second"],
                each["pairs_per_second_with_reference"],
                each["share_of_matrix_rate"],
                round(each["peak_memory_bytes"] / 2**20),
            )
            for name, each in result["contenders"].items()
        ],
    )
    output.table(
        ("measure", "value", "target", ""),
        [
            (
                name,
                value,
                _target(dpo.TARGETS, name),
                "missed" if name in result["missed"] else "",
            )
            for name, value in result["measures"].items()
        ],
    )
    output.result(result)
    return 1 if result["missed"] else 0


def run_inference(arguments: Namespace, output: Output) -> int | None:
    from xeno.benchmarking import inference
    from xeno.benchmarking.inference_contenders import LLAMACPP
    from xeno.inference.probe import fitting_threads

    threads = arguments.threads or fitting_threads(home_of(arguments))
    rounds = inference.QUICK_ROUNDS if arguments.quick else inference.ROUNDS
    result = inference.measure(rounds, threads, output.progress)
    columns = ("first token", "tokens per second", "second turn")
    output.table(
        ("contender", "first token ms", "tokens/s", "second turn ms", "memory MB"),
        [
            (
                name,
                1000 * each[columns[0]],
                each[columns[1]],
                1000 * each[columns[2]],
                round(each["memory"] / 2**20),
            )
            for name, each in result["contenders"].items()
        ],
    )
    if LLAMACPP not in result["contenders"]:
        output.say("llama.cpp was left out: pip install 'xeno[llamacpp]' brings it.")
    output.table(
        ("measure", "value", "target", ""),
        [
            (
                name,
                value,
                _target(inference.TARGETS, name),
                "missed" if name in result["missed"] else "",
            )
            for name, value in result["measures"].items()
        ],
    )
    output.result(result)
    return 1 if result["missed"] else 0


def run_asking(arguments: Namespace, output: Output) -> int | None:
    from dataclasses import asdict

    from xeno.benchmarking import asking

    def progress(done: int, users: int) -> None:
        if done % 12 == 0:
            output.progress(f"{done} of {users} users")

    result = asking.measure(arguments.tastes, arguments.seeds, progress, full=arguments.full)
    output.table(
        ("questions", "accuracy, at random", "accuracy, chosen"),
        [
            (number, result.random_curve[number], result.asking_curve[number])
            for number in range(0, result.questions_random + 1, 5)
        ],
    )
    output.say(
        f"{result.users} scripted users. What {result.questions_random} random questions teach, "
        f"{result.questions_asking} chosen ones do: {result.share:.0%} "
        f"(95 % interval {result.low:.0%} to {result.high:.0%}; at most {asking.TARGET:.0%})."
    )
    reached = result.share <= asking.TARGET
    output.result({**asdict(result), "target": asking.TARGET, "reached": reached})
    return 0 if reached else 1


def run_starter(arguments: Namespace, output: Output) -> int | None:
    from xeno.benchmarking import starter

    folder = getattr(arguments, "folder", None) or starter_folder()
    result = starter.measure(folder, getattr(arguments, "prompts", 200))
    return _reported(result, starter.missed(result), starter.TARGETS, output)


def run_intents(arguments: Namespace, output: Output) -> int | None:
    from xeno.benchmarking import intents
    from xeno.personalization.sentence_encoder import SentenceEncoder

    encoder = SentenceEncoder(arguments.encoder) if arguments.encoder else None
    result = intents.measure(arguments.data, encoder)
    return _reported(result, intents.missed(result), intents.TARGETS, output)


def run_learning(arguments: Namespace, output: Output) -> int | None:
    from xeno.benchmarking import learning

    result = learning.measure(range(1, max(1, arguments.seeds) + 1), full=arguments.full)
    output.say("Users known right after 20 interactions, and 20 after a change of taste:")
    output.table(
        ("preference", "after 20", "worst seed", "after change", "worst seed"),
        [(dimension, *shares.values()) for dimension, shares in result["right"].items()],
    )
    output.say()
    output.say("The same for users who seldom correct or rate (one seed, no target):")
    output.table(
        ("preference", "after 20", "after change"),
        [(d, each["after_20"], each["after_change"]) for d, each in result["reluctant"].items()],
    )
    for name in (
        "reliability",
        "reliability_with_change",
        "reluctant_reliability",
        "writing_only",
    ):
        table = result[name]
        result[f"{name}_error"] = learning.calibration_error(table)
        result[f"{name}_overclaimed"] = learning.overclaimed(table)
        output.say()
        output.say(f"{name.replace('_', ' ')}: error {learning.calibration_error(table):.3f}")
        output.table(("from", "beliefs", "confidence", "right"), [(*x.values(),) for x in table])
    if arguments.plot:
        from xeno.benchmarking.calibration_plot import calibration_svg

        lines = {words: result[name] for name, words in _PLOTTED.items()}
        write_atomic(arguments.plot, calibration_svg(lines).encode())
        output.say(f"Drawn in {arguments.plot}.")
    result["authors"] = [learning.author(path) for path in arguments.author]
    for each in result["authors"]:
        output.say()
        output.say(f"{each['file']}: {each['right']:.1%} right, {each['longer']:.1%} by length")
        for dimension, found in each["beliefs"].items():
            shares = ", ".join(f"{value} {share:.0%}" for value, share in found.items())
            output.say(f"  {dimension}: {shares}")
    for name in result["missed"]:
        output.say(f"missed: {name}")
    output.result(result)
    return 1 if result["missed"] else 0


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

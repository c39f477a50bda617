"""How much of its speed the chat keeps while a run trains.

    python benchmarks/chat_while_training.py --json

One model host answers the same questions, first alone and then while the trainer child works,
on the starter model in a temporary home. Speed is tokens per second of decoding, the median
over replies. Prints one JSON object, last. Target: at least 80 % of the speed is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from xeno.benchmarking.starter import read_heldout  # noqa: E402
from xeno.events import ChatMessage, Event, Progress, Sampling  # noqa: E402
from xeno.models.starter import starter_folder  # noqa: E402
from xeno.paths import Home  # noqa: E402
from xeno.personalization.preferences import Preferences, prompt_prefix  # noqa: E402
from xeno.store.pairs import Pairs, new_pair  # noqa: E402
from xeno.store.profile import open_profile  # noqa: E402
from xeno.training.plan import TrainingPlan  # noqa: E402
from xeno.workers.host_client import HostClient  # noqa: E402
from xeno.workers.training_client import TrainingRun  # noqa: E402

TARGET = 0.8
SYSTEM = ChatMessage(role="system", content=prompt_prefix(Preferences(detail_level="detailed")))


def main() -> int:
    """Measure, print, and return 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    parser.add_argument("--replies", type=int, default=20, help="replies per measurement")
    chosen = parser.parse_args()
    questions = [item.question for item in read_heldout(starter_folder()).prompts]
    with (
        tempfile.TemporaryDirectory() as folder,
        open_profile(Home.at(folder), protection="file") as profile,
        HostClient(profile, starter_folder()) as host,
    ):
        Pairs(profile.db).add_many(_pair(question, n) for n, question in enumerate(questions))
        speed(host, questions[:3])
        alone = speed(host, questions[: chosen.replies])
        steps: list[int] = []

        def note(event: Event) -> None:
            if isinstance(event, Progress):
                steps.append(event.step)

        plan = TrainingPlan(base=str(starter_folder()), private=False, epochs=500)
        run = TrainingRun(profile, plan, note)
        run.start()
        while not steps:
            time.sleep(0.1)
        before, begun = len(steps), time.monotonic()
        beside = speed(host, questions[: chosen.replies])
        taken, seconds = len(steps) - before, time.monotonic() - begun
        run.stop(keep=False)
        run.wait()
    result = {
        "tokens_per_second_alone": round(alone, 1),
        "tokens_per_second_while_training": round(beside, 1),
        "kept": round(beside / alone, 3),
        "training_steps_per_second": round(taken / seconds, 2),
        "target": TARGET,
        "met": beside / alone >= TARGET,
    }
    if not chosen.json:
        print(f"alone {alone:.0f} tokens/s, while a run trains {beside:.0f}")
    print(json.dumps(result))
    return 0 if result["met"] else 1


def speed(host: HostClient, questions: list[str]) -> float:
    """Median tokens per second of the replies to `questions`."""
    speeds = []
    for question in questions:
        turns = (SYSTEM, ChatMessage(role="user", content=question))
        reply = host.generate(turns, Sampling(max_tokens=160)).result(timeout=120)
        speeds.append(reply.tokens_per_second)
    return statistics.median(speeds)


def _pair(question: str, n: int) -> object:
    return new_pair(
        "default",
        [SYSTEM, ChatMessage(role="user", content=question)],
        "- Do the first thing.\n- Then do the second one.",
        "This is a longer answer in plain sentences, which tells the same at some length. " * 2,
        feedback_type="import",
        confidence=1.0,
        quality=1.0,
        group_id=f"g{n}",
    )


if __name__ == "__main__":
    sys.exit(main())

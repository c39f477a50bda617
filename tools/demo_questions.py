"""Writes resources/demo_questions.json: what the scripted user of `xeno demo` asks.

One question per topic of the starter model. The demonstration leaves out the topics of the
questions it measures with, so nothing it corrects is about what it is measured on.

    python -m tools.demo_questions
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from tools.starter_model.composition import is_heldout, question
from tools.starter_model.phrases import QUESTIONS
from tools.starter_model.topics import Topic, read_topics

TARGET = Path(__file__).parents[1] / "resources" / "demo_questions.json"
SEED = 20


def questions(topics: Sequence[Topic]) -> list[dict[str, str]]:
    """A question about every topic in a wording that is not held out, in shuffled order."""
    rng = random.Random(SEED)
    asked = []
    for topic in topics:
        wordings = [w for w in range(len(QUESTIONS)) if not is_heldout(topic, w)]
        asked.append({"topic": topic.name, "question": question(topic, rng.choice(wordings))})
    rng.shuffle(asked)
    return asked


if __name__ == "__main__":
    lines = json.dumps(questions(read_topics()), indent=0, ensure_ascii=False)
    TARGET.write_text(lines + "\n", encoding="utf-8")

"""Writes a training checkpoint as the model that XENO ships, with its held-out prompts.

Run as `python -m tools.starter_model.export`. The README.md in the target folder is kept.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast

from tools.starter_model.composition import is_heldout, question
from tools.starter_model.phrases import QUESTIONS
from tools.starter_model.topics import Topic, read_topics
from tools.starter_model.train import SEED, WORK, new_model
from xeno.benchmarking.reply_rules import words
from xeno.benchmarking.starter import HELDOUT
from xeno.personalization.preferences import ALLOWED, Preferences

TARGET = Path("resources/starter-model")
PROMPTS = 200
NO_SYSTEM_EVERY = 10  # every tenth held-out prompt is sent without a system prompt


def export_model(work: Path, target: Path) -> None:
    """Writes the averaged weights of `work` in bf16, with configuration and tokenizer."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work)
    state = torch.load(work / "checkpoint.pt", weights_only=True)
    model = new_model(tokenizer)
    model.load_state_dict(state["average"], strict=False)  # the tied head is not kept twice
    model.tie_weights()
    model = model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    (target / "model.safetensors").chmod(0o644)  # safetensors writes it for its owner only


def heldout(topics: list[Topic]) -> dict[str, object]:
    """The content of heldout.json: every topic's words, and PROMPTS prompts in fixed order."""
    rng = random.Random(SEED)
    pairs = [
        (topic, wording)
        for topic in topics
        for wording in range(len(QUESTIONS))
        if is_heldout(topic, wording)
    ]
    prompts = []
    for number, (topic, wording) in enumerate(rng.sample(pairs, PROMPTS)):
        system = number % NO_SYSTEM_EVERY != 0
        drawn = {key: rng.choice(values) for key, values in ALLOWED.items()}
        default = {key: getattr(Preferences(), key) for key in ALLOWED}
        prompts.append(
            {
                "question": question(topic, wording),
                "topic": topic.name,
                "preferences": drawn if system else default,
                "system": system,
            }
        )
    known = {topic.name: " ".join(sorted(set(words(topic.text())))) for topic in topics}
    return {"topics": known, "prompts": prompts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, default=WORK, help="where the training wrote")
    parser.add_argument("--target", type=Path, default=TARGET)
    options = parser.parse_args()
    options.target.mkdir(parents=True, exist_ok=True)
    export_model(options.work, options.target)
    content = json.dumps(heldout(read_topics()), indent=0, ensure_ascii=False)
    (options.target / HELDOUT).write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

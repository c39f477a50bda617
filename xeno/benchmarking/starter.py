"""Measures the starter model on questions it was never trained on (`xeno bench starter`).

Every held-out question is answered greedily under its preferences, as XENO asks it. The reply
is judged by rules alone: does it end, does it repeat itself, is it about what was asked, does it
keep the asked detail, format, style and tone; and how fast it is.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xeno.benchmarking.reply_rules import (
    detail_of,
    format_of,
    has_style,
    has_tone,
    repeated_4grams,
    words,
)
from xeno.errors import BaseModelError
from xeno.models.starter import starter_folder
from xeno.personalization.preferences import Preferences, prompt_prefix

HELDOUT = "heldout.json"
MAX_NEW_TOKENS = 160

# What the shipped model has to reach: (at least?, bound).
TARGETS: Mapping[str, tuple[bool, float]] = {
    "ended": (True, 0.95),
    "repeated_4grams": (False, 0.05),
    "on_topic": (True, 0.95),
    "detail_followed": (True, 0.85),
    "format_followed": (True, 0.85),
    "style_followed": (True, 0.75),
    "tone_followed": (True, 0.75),
    "first_token_ms": (False, 200.0),
    "tokens_per_second": (True, 60.0),
}


@dataclass(frozen=True)
class HeldOutPrompt:
    """A question that was never trained on, and how it is to be answered.

    Without `system`, the question is sent alone, and the default preferences are expected.
    """

    question: str
    topic: str
    preferences: Preferences
    system: bool

    def messages(self) -> list[dict[str, str]]:
        """The messages in the chat template's form."""
        asked = [{"role": "user", "content": self.question}]
        if not self.system:
            return asked
        return [{"role": "system", "content": prompt_prefix(self.preferences)}, *asked]


@dataclass(frozen=True)
class HeldOut:
    """The held-out prompts, and the words of every topic to judge the replies by."""

    topics: Mapping[str, frozenset[str]]
    prompts: Sequence[HeldOutPrompt]


@dataclass(frozen=True)
class TimedReply:
    """A greedy reply; `seconds` is the time of all tokens after the first."""

    text: str
    ended: bool
    tokens: int
    first_token_seconds: float
    seconds: float


def read_heldout(folder: Path) -> HeldOut:
    """The held-out prompts shipped beside the model in `folder`.

    Raises:
        BaseModelError: if the folder has none, as is the case for any other model.
    """
    path = folder / HELDOUT
    if not path.is_file():
        raise BaseModelError(
            "The starter benchmark cannot run.",
            f"{folder} has no {HELDOUT}: it is not the starter model.",
            "Choose the starter model's folder, or leave the folder out.",
        )
    content = json.loads(path.read_text(encoding="utf-8"))
    topics = {name: frozenset(text.split()) for name, text in content["topics"].items()}
    prompts = [
        HeldOutPrompt(p["question"], p["topic"], Preferences(**p["preferences"]), p["system"])
        for p in content["prompts"]
    ]
    return HeldOut(topics, prompts)


class TopicJudge:
    """Tells which topic a text is about: the one whose words overlap most, rare words first."""

    def __init__(self, topics: Mapping[str, frozenset[str]]) -> None:
        self._topics = topics
        count = Counter(word for known in topics.values() for word in known)
        self._idf = {word: math.log(len(topics) / n) for word, n in count.items()}

    def overlap(self, text: str, topic: str) -> float:
        """The summed inverse document frequencies of the words `text` shares with `topic`."""
        return sum(self._idf[word] for word in set(words(text)) & self._topics[topic])

    def topic_of(self, text: str) -> str:
        """The topic that `text` is about."""
        return max(self._topics, key=lambda topic: self.overlap(text, topic))


def greedy_reply(model: Any, tokenizer: Any, messages: list[dict[str, str]]) -> TimedReply:
    """The model's greedy reply to `messages`, at most MAX_NEW_TOKENS long, with its times."""
    import torch

    prompt: list[int] = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=False
    )
    produced: list[int] = []
    begin = first = time.perf_counter()
    step, cache = torch.tensor([prompt]), None
    with torch.inference_mode():
        while len(produced) < MAX_NEW_TOKENS:
            out = model(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
            token = int(out.logits[0, -1].argmax())
            produced.append(token)
            if len(produced) == 1:
                first = time.perf_counter()
            if token == tokenizer.eos_token_id:
                break
            step, cache = torch.tensor([[token]]), out.past_key_values
    end = time.perf_counter()
    return TimedReply(
        text=tokenizer.decode(produced, skip_special_tokens=True).strip(),
        ended=produced[-1] == tokenizer.eos_token_id,
        tokens=len(produced),
        first_token_seconds=first - begin,
        seconds=end - first,
    )


def judged(prompt: HeldOutPrompt, reply: TimedReply, judge: TopicJudge) -> dict[str, float]:
    """What the rules say about one reply, each from 0 to 1."""
    text, wanted = reply.text, prompt.preferences
    return {
        "ended": float(reply.ended),
        "repeated_4grams": repeated_4grams(text),
        "on_topic": float(judge.topic_of(text) == prompt.topic),
        "detail_followed": float(detail_of(text) == wanted.detail_level),
        "format_followed": float(format_of(text) == wanted.response_format),
        "style_followed": float(has_style(text, wanted.communication_style)),
        "tone_followed": float(has_tone(text, wanted.tone)),
    }


def load(folder: Path) -> tuple[Any, Any]:
    """Model (fp32, in evaluation mode) and tokenizer of `folder`; nothing is downloaded."""
    # Spinning threads cost more than they give beside any other work; read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    )
    return model.eval(), tokenizer


def measure(folder: Path, prompts: int = 200) -> dict[str, float]:
    """Answers the first `prompts` held-out prompts and returns the means of all measures.

    Args:
        folder: the starter model's folder.
        prompts: how many of the held-out prompts to answer.

    Returns:
        The measures named in TARGETS: shares from 0 to 1, the median time to the first token in
        milliseconds, and the tokens per second after it; and `prompts`, the number answered.

    Raises:
        BaseModelError: if the folder holds no held-out prompts.
    """
    heldout = read_heldout(folder)
    judge = TopicJudge(heldout.topics)
    model, tokenizer = load(folder)
    asked = heldout.prompts[:prompts]
    greedy_reply(model, tokenizer, asked[0].messages())  # warm up
    replies = [greedy_reply(model, tokenizer, prompt.messages()) for prompt in asked]
    rows = [judged(p, reply, judge) for p, reply in zip(asked, replies, strict=True)]
    result = {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}
    result["first_token_ms"] = 1000 * statistics.median(r.first_token_seconds for r in replies)
    result["tokens_per_second"] = sum(r.tokens - 1 for r in replies) / sum(
        r.seconds for r in replies
    )
    result["prompts"] = float(len(rows))
    return result


def missed(result: Mapping[str, float]) -> list[str]:
    """The measures of `result` that miss their targets."""
    return [
        name
        for name, (at_least, bound) in TARGETS.items()
        if (result[name] < bound if at_least else result[name] > bound)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the measures; returns 1 if one misses its target, otherwise 0."""
    parser = argparse.ArgumentParser(prog="xeno bench starter", description=main.__doc__)
    parser.add_argument("--folder", type=Path, help="the starter model")
    parser.add_argument("--prompts", type=int, default=200, help="how many held-out prompts")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    result = measure(options.folder or starter_folder(), options.prompts)
    failed = missed(result)
    if options.json:
        print(json.dumps({"measures": result, "missed": failed}, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:18} {value:9.3f}{'  (misses its target)' if name in failed else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""A contender of the inference benchmark, in a process of its own: says that it is ready, then
answers every line on stdin (the number of a round, or "switches") with a line of measurements.

    python -m xeno.benchmarking.inference_contenders NAME FOLDER THREADS

Times are in seconds. The speed of a reply is that of its tokens after the first.
"""

from __future__ import annotations

import gc
import json
import secrets
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psutil

from xeno.benchmarking import inference_material as material
from xeno.benchmarking.inference_material import REPLY
from xeno.errors import InvalidValueError
from xeno.events import ChatMessage, Sampling

XENO, INT8, GENERATE, LLAMACPP = "xeno", "xeno int8", "transformers.generate", "llama.cpp F16"
SWITCHES = 1000
_AFTER = 0.15  # seconds after which a stop is asked for
_USER = "bench"

Measures = dict[str, float]


class Contender(Protocol):
    """Measures one round; rounds differ in their prompts."""

    def round(self, number: int) -> Measures: ...


class Ours:
    """The engine as the model host uses it."""

    def __init__(self, folder: Path, threads: int, dtype: str) -> None:
        from xeno.inference.adapter_cache import AdapterCache
        from xeno.inference.engine import Engine
        from xeno.inference.serving import Serving
        from xeno.inference.settings import ReplySettings
        from xeno.models.base import inspect_base
        from xeno.paths import Home
        from xeno.store.profile import open_profile

        home = Home.at(folder / f"home {dtype}")
        base = inspect_base(folder / "model", home)
        self._profile = open_profile(home, _USER)
        material.release_versions(self._profile, base)
        self._engine = Engine(base, dtype, threads)
        settings = ReplySettings()
        self._cache = AdapterCache(settings.cache_bytes, settings.cache_seconds)
        self._serving = Serving(self._engine, self._cache)

    def round(self, number: int) -> Measures:
        found: Measures = {}
        order = [("base", ""), ("v1", "personalised ")]
        for version, name in order if number % 2 == 0 else reversed(order):
            self._use(version)
            found |= self._reply(number, name)
        found |= self._second_turn(number)
        found |= self._switch()
        found |= self._stop(number)
        return found | {"memory": _memory()}

    def switches(self) -> Measures:
        """What a thousand changes of version leave behind in memory."""
        for number in range(20):
            self._use(("v1", "v2", "base")[number % 3])
        gc.collect()
        before, processor = _memory(), time.process_time()
        for number in range(SWITCHES):
            self._use(("v1", "v2", "base")[number % 3])
        gc.collect()
        return {
            "memory after switches": _memory() / before,
            "processor time of a switch": (time.process_time() - processor) / SWITCHES,
        }

    def _use(self, version: str) -> float:
        begun = time.perf_counter()
        self._serving.use(self._serving.find(self._profile, version))
        return time.perf_counter() - begun

    def _reply(self, number: int, name: str) -> Measures:
        self._engine.forget()
        reply = self._engine.generate(material.first_turn(number), Sampling(max_tokens=REPLY))
        return {
            f"{name}first token": reply.first_token_seconds,
            f"{name}tokens per second": reply.tokens_per_second,
        }

    def _second_turn(self, number: int) -> Measures:
        """With what the host has read ahead while the user wrote, and from nothing."""
        turns, before = material.second_turn(number)
        one = Sampling(max_tokens=1)
        self._engine.forget()
        uncached = self._engine.generate(turns, one)
        self._engine.forget()
        self._engine.read_ahead(before)
        cached = self._engine.generate(turns, one)
        return {
            "second turn": cached.first_token_seconds,
            "second turn without cache": uncached.first_token_seconds,
        }

    def _switch(self) -> Measures:
        self._use("v1")
        self._use("v2")
        cached = statistics.median(self._use(("v1", "v2")[turn % 2]) for turn in range(6))
        self._use("v1")
        self._cache.forget(_USER)
        return {"switch": cached, "switch from disk": self._use("v2"), "back": self._use("base")}

    def _stop(self, number: int) -> Measures:
        writing, tokens = self._stopped(material.first_turn(number), wait_for_text=True)
        reading, _ = self._stopped(material.long_turn(number), wait_for_text=False)
        return {"stop writing": writing, "stop tokens": tokens, "stop reading": reading}

    def _stopped(self, messages: list[ChatMessage], *, wait_for_text: bool) -> tuple[float, float]:
        """Seconds from the wish to stop to the end, and tokens that still came."""
        self._engine.forget()
        wish, begun = threading.Event(), threading.Event()
        wished = [0.0]
        late = [0]

        def ask() -> None:
            begun.wait(60)
            time.sleep(_AFTER)
            wished[0] = time.perf_counter()
            wish.set()

        def shown(_: str) -> None:
            begun.set()
            late[0] += wish.is_set()

        asking = threading.Thread(target=ask)
        asking.start()
        if not wait_for_text:
            begun.set()
        # Drawn, since random weights can prefer one token for ever that shows no text.
        sampling = Sampling(max_tokens=1000, temperature=1.0, seed=0)
        reply = self._engine.generate(messages, sampling, on_text=shown, stopped=wish.is_set)
        ended = time.perf_counter()
        begun.set()
        asking.join()
        if reply.reason != "stopped":
            raise InvalidValueError(f"A reply ended by itself ({reply.reason}) before the stop.")
        return ended - wished[0], float(late[0])


class Generate:
    """transformers as anybody calls it: bfloat16, `generate`, no cache between turns."""

    def __init__(self, folder: Path, threads: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        from xeno.models.base import inspect_base
        from xeno.models.chat import load_tokenizer

        torch.set_num_threads(threads)
        models: Any = AutoModelForCausalLM
        self._torch = torch
        self._tokenizer = load_tokenizer(inspect_base(folder / "model"))
        self._model = models.from_pretrained(str(folder / "model"), dtype=torch.bfloat16).eval()

    def round(self, number: int) -> Measures:
        found = _timed(self._generate, material.first_turn(number))
        turns, _ = material.second_turn(number)
        return found | {"second turn": self._generate(turns, 1), "memory": _memory()}

    def _generate(self, messages: list[ChatMessage], tokens: int) -> float:
        from xeno.models.chat import encode_prompt

        ids = self._torch.tensor([encode_prompt(self._tokenizer, messages)])
        begun = time.perf_counter()
        with self._torch.inference_mode():
            self._model.generate(
                ids,
                attention_mask=self._torch.ones_like(ids),
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                pad_token_id=0,
            )
        return time.perf_counter() - begun


class LlamaCpp:
    """llama.cpp on the F16 file, through xllamacpp, with its own prompt cache for second turns."""

    def __init__(self, folder: Path, threads: int) -> None:
        import xllamacpp

        from xeno.models.base import inspect_base
        from xeno.models.chat import load_tokenizer

        params = xllamacpp.CommonParams()
        params.model.path = str(folder / "F16.gguf")
        params.n_ctx, params.n_parallel = 4096, 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.warmup = params.ui = params.endpoint_slots = params.endpoint_props = False
        params.api_keys = [secrets.token_hex(32)]  # it also listens on a loopback port
        params.verbosity = -1
        self._tokenizer = load_tokenizer(inspect_base(folder / "model"))
        self._server: Any = xllamacpp.Server(params)

    def round(self, number: int) -> Measures:
        found = _timed(self._complete, material.first_turn(number))
        turns, before = material.second_turn(number)
        self._complete(before, 1, kept=True)
        second = self._complete(turns, 1, kept=True)
        return found | {"second turn": second, "memory": _memory()}

    def _complete(self, messages: list[ChatMessage], tokens: int, *, kept: bool = False) -> float:
        from xeno.models.chat import encode_prompt

        ids = encode_prompt(self._tokenizer, messages, messages[-1].role == "user")
        begun = time.perf_counter()
        answer = self._server.handle_completions(
            {
                "prompt": ids,
                "n_predict": tokens,
                "temperature": 0.0,
                "ignore_eos": True,
                "cache_prompt": kept,
            }
        )
        seconds = time.perf_counter() - begun
        made = answer.get("usage", {}).get("completion_tokens")
        if made != tokens:
            raise InvalidValueError(f"llama.cpp wrote {made} tokens, not {tokens}.", str(answer))
        return seconds


def _timed(reply: Callable[[list[ChatMessage], int], float], turn: list[ChatMessage]) -> Measures:
    """First token and speed from a reply of one token and one of many."""
    first = reply(turn, 1)
    return {
        "first token": first,
        "tokens per second": REPLY / max(reply(turn, REPLY + 1) - first, 1e-9),
    }


def _memory() -> float:
    return float(psutil.Process().memory_info().rss)


def contender(name: str, folder: Path, threads: int) -> Contender:
    """The contender called `name` on what `inference_material.write` wrote to `folder`."""
    if name in (XENO, INT8):
        return Ours(folder, threads, "bfloat16" if name == XENO else "int8")
    return (Generate if name == GENERATE else LlamaCpp)(folder, threads)


def main() -> None:
    """Serve one contender until stdin ends."""
    name, folder, threads = sys.argv[1:]
    output, sys.stdout = sys.stdout, sys.stderr
    measured = contender(name, Path(folder), int(threads))
    print(json.dumps({}), file=output, flush=True)
    for line in sys.stdin:
        order = line.strip()
        if order == "switches" and isinstance(measured, Ours):
            found = measured.switches()
        else:
            found = measured.round(int(order))
        print(json.dumps(found), file=output, flush=True)


if __name__ == "__main__":
    main()

"""A GGUF file opened by llama.cpp (through the optional package xllamacpp), to compare with.

xllamacpp is llama.cpp's server inside this process. It also listens on a loopback port, which is
why every request there needs a key that nobody knows. Keys and values are float32 and attention
is plain, so that what differs comes from the file.
"""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from xeno.errors import DamagedDataError
from xeno.events import ChatMessage


@dataclass(frozen=True)
class Reply:
    """What llama.cpp answered, and into how many tokens it made the conversation."""

    text: str
    prompt_tokens: int


def installed() -> bool:
    """Whether xllamacpp is here."""
    return importlib.util.find_spec("xllamacpp") is not None


class LlamaCpp:
    """A model, with an adapter if one is given, on one thread; a context manager.

    Raises:
        DamagedDataError: if llama.cpp does not open the file.
    """

    def __init__(self, model: Path, adapter: Path | None = None, context: int = 512) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(model)
        params.n_ctx, params.n_parallel = context, 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.warmup = params.ui = params.endpoint_slots = params.endpoint_props = False
        params.api_keys = [secrets.token_hex(32)]
        # A reply as it was written, thoughts included.
        params.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
        params.verbosity = -1
        if adapter is not None:
            params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
        try:
            self._server: Any = xllamacpp.Server(params)
        except RuntimeError as error:
            raise DamagedDataError(
                f"llama.cpp does not open {model.name}.", str(error), "Choose another form."
            ) from error

    def answer(self, messages: Sequence[ChatMessage], tokens: int) -> Reply:
        """The greedy reply to a conversation, through the file's own template and tokenizer."""
        turns = [{"role": each.role, "content": each.content} for each in messages]
        answer = _asked(
            self._server.handle_chat_completions, {"messages": turns, "max_tokens": tokens}
        )
        text = answer["choices"][0]["message"].get("content") or ""
        return Reply(text, answer["usage"]["prompt_tokens"])

    def along(
        self, ids: Sequence[int], reply: Sequence[int], top: int = 20
    ) -> list[dict[int, float]]:
        """The log-probabilities [id] of the likeliest tokens before each token of `reply`.

        Empty where llama.cpp says none: it keeps silent about the token it chose while that ends
        in the middle of a character.
        """
        found = []
        for length in range(len(reply)):
            request = {"prompt": [*ids, *reply[:length]], "n_predict": 1, "n_probs": top}
            answer = _asked(self._server.handle_completions, {"cache_prompt": True, **request})
            steps = (answer["choices"][0].get("logprobs") or {}).get("content") or []
            likeliest = steps[0]["top_logprobs"] if steps else []
            found.append({each["id"]: each["logprob"] for each in likeliest})
        return found

    def close(self) -> None:
        """Give the memory back."""
        self._server = None

    def __enter__(self) -> LlamaCpp:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _asked(handle: Any, request: dict[str, Any]) -> Any:
    answer = handle({"temperature": 0.0, "seed": 0, **request})
    if "choices" not in answer:
        said = str(answer.get("message") or answer.get("error") or answer)
        raise DamagedDataError("llama.cpp did not answer.", said, "Choose another form.")
    return answer

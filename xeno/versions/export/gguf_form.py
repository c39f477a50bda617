"""How a base model's architecture is written down in GGUF, and how its tensors lie there.

For the Llama, Mistral, Qwen2 and Qwen3 architectures; others are refused by name. Rows of q and k
of the Llama family are permuted (in an adapter those of B alone), because llama.cpp turns
neighbouring numbers where transformers turns halves.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from xeno.errors import InvalidValueError
from xeno.models.base import BaseModel

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter, TensorNameMap

ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
"""What transformers calls an architecture, and what llama.cpp calls it."""


class Form:
    """How the architecture of `base` is written down in GGUF."""

    def __init__(self, base: BaseModel) -> None:
        self._base, self._config = base, base.config
        if base.architecture not in ARCHITECTURES:
            known = ", ".join(sorted(ARCHITECTURES))
            raise refused(f"Its architecture is {base.architecture}; known are {known}.")
        self.architecture = ARCHITECTURES[base.architecture]
        self.tied = bool(self._config.get("tie_word_embeddings", False))
        self._heads = int(self._config["num_attention_heads"])
        self._kv_heads = int(self._config.get("num_key_value_heads") or self._heads)
        self._layers = int(self._config["num_hidden_layers"])
        self._width = int(self._config["hidden_size"])
        self._head_width = int(self._config.get("head_dim") or self._width // self._heads)
        self._rope = self._rope_settings()
        self._names = self._name_map()
        self.rows = base.shapes.get("model.embed_tokens.weight", (0,))[0]
        if not self.rows:
            raise refused("Its embedding is not stored under the usual name.")
        if self._config.get("hidden_act", "silu") != "silu":
            raise refused(f"Its activation is {self._config['hidden_act']}; GGUF means silu.")
        if self._config.get("use_sliding_window"):
            raise refused("Its attention slides over a window, which this form cannot say.")

    def write_metadata(self, writer: GGUFWriter, name: str) -> None:
        """Everything but tensors and tokenizer."""
        writer.add_type("model")
        writer.add_name(name)
        context = self._base.context
        window = self._config.get("sliding_window")
        if self._base.architecture == "MistralForCausalLM" and isinstance(window, int):
            context = min(context, window)  # llama.cpp would look further back than the window
        writer.add_context_length(context)
        writer.add_embedding_length(self._width)
        writer.add_block_count(self._layers)
        writer.add_feed_forward_length(int(self._config["intermediate_size"]))
        writer.add_head_count(self._heads)
        writer.add_head_count_kv(self._kv_heads)
        writer.add_key_length(self._head_width)
        writer.add_value_length(self._head_width)
        writer.add_rope_dimension_count(self._head_width)
        writer.add_layer_norm_rms_eps(float(self._config.get("rms_norm_eps", 1e-6)))
        writer.add_rope_freq_base(float(self._rope.get("rope_theta", 10000.0)))
        if self._rope["rope_type"] == "linear":
            from gguf import RopeScalingType

            writer.add_rope_scaling_type(RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(float(self._rope["factor"]))

    def tensor_name(self, name: str) -> str:
        """GGUF's name for the base's tensor `name`."""
        found = self._names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise refused(f"It has a tensor that GGUF has no name for, {name}.")
        return str(found)

    def turned(self, name: str, rows: np.ndarray, *, back: bool = False) -> np.ndarray:
        """`rows` in the order that llama.cpp's rotary embedding expects, or `back` from it."""
        module = name.rpartition(".")[0].rpartition(".")[2]
        if self.architecture != "llama" or module not in ("q_proj", "k_proj"):
            return rows
        heads = self._heads if module == "q_proj" else self._kv_heads
        half = rows.shape[0] // heads // 2
        split = (
            rows.reshape(heads, half, 2, *rows.shape[1:])
            if back
            else rows.reshape(heads, 2, half, *rows.shape[1:])
        )
        return split.swapaxes(1, 2).reshape(rows.shape)

    def rope_frequencies(self) -> np.ndarray | None:
        """What each rotary frequency is divided by, [head width / 2] in float32, for Llama 3;
        None elsewhere. As transformers' `_compute_llama3_parameters` does it."""
        if self._rope["rope_type"] != "llama3":
            return None
        import numpy as np

        theta, factor = float(self._rope["rope_theta"]), float(self._rope["factor"])
        low, high = float(self._rope["low_freq_factor"]), float(self._rope["high_freq_factor"])
        seen = float(self._rope["original_max_position_embeddings"])
        exponents = np.arange(0, self._head_width, 2, dtype=np.float64) / self._head_width
        wavelengths = 2 * math.pi * theta**exponents
        smooth = np.clip((seen / wavelengths - low) / (high - low), 0.0, 1.0)
        return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)

    def _rope_settings(self) -> dict[str, Any]:
        """As transformers 5 writes them, also from the older form."""
        config = self._config
        found = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
        found.setdefault("rope_theta", config.get("rope_theta", 10000.0))
        found.setdefault("rope_type", found.get("type", "default"))
        if found["rope_type"] not in ("default", "linear", "llama3"):
            raise refused(f"Its position encoding is {found['rope_type']!r}.")
        if found.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)) != 1.0:
            raise refused("Its position encoding turns a part of each head only.")
        return found

    def _name_map(self) -> TensorNameMap:
        from gguf import MODEL_ARCH, get_tensor_name_map

        architectures = {"llama": MODEL_ARCH.LLAMA, "qwen2": MODEL_ARCH.QWEN2}
        return get_tensor_name_map(
            architectures.get(self.architecture, MODEL_ARCH.QWEN3), self._layers
        )


def refused(why: str) -> InvalidValueError:
    """The error for a base that has no form in GGUF."""
    return InvalidValueError(
        "This base model cannot be written as GGUF.",
        why,
        "Export the version as a PEFT adapter or as merged safetensors instead.",
    )

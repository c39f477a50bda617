"""GGUF: a merged model, or an adapter alone, as llama.cpp and Ollama open them.

For the Llama, Mistral, Qwen2 and Qwen3 architectures; others are refused by name. Tensors are
merged, turned and packed one at a time, so that a model needs no more memory than its largest
tensor. How tensors must lie was found by comparing with llama.cpp: rows of q and k of the Llama
family are permuted (in an adapter those of B alone), one-dimensional tensors stay float32, and
a head that is tied to the embedding is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xeno.errors import InvalidValueError
from xeno.models.base import BaseModel
from xeno.versions.adapter import AdapterConfig, module_paths, tensor_names
from xeno.versions.export.gguf_tokenizer import vocabulary
from xeno.versions.export.merged import merged_tensor, read_weights

if TYPE_CHECKING:
    import numpy as np
    import torch
    from gguf import GGUFWriter, TensorNameMap
    from transformers import PreTrainedTokenizerBase

Quantisation = Literal["F32", "F16", "Q8_0"]
ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
"""What transformers calls an architecture, and what llama.cpp calls it."""

_BLOCK = 32  # numbers that Q8_0 packs together
_HEAD = "lm_head.weight"


def write_model(
    path: Path,
    base: BaseModel,
    tokenizer: PreTrainedTokenizerBase,
    quantisation: Quantisation = "F16",
    adapter: tuple[Mapping[str, torch.Tensor], AdapterConfig] | None = None,
    *,
    name: str = "",
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Write `base`, with `adapter` merged in, to `path`, which must not be there yet.

    Args:
        quantisation: of the matrices; Q8_0 leaves those in F16 whose rows do not divide by 32.
        adapter: A and B under PEFT's names, and their configuration.
        name: what other programs show for the model.
        progress: called with the part that is written, in (0, 1].

    Raises:
        InvalidValueError: if the architecture, its position encoding or its tokenizer has no
            form in GGUF, saying which. Nothing was written.
    """
    from gguf import GGUFWriter, quant_shape_to_byte_shape

    form = _Form(base)
    words = vocabulary(tokenizer, form.rows)
    writer = GGUFWriter(path, form.architecture)
    form.write_metadata(writer, name or base.name)
    writer.add_vocab_size(form.rows)
    writer.add_file_type(_FILE_TYPES[quantisation])
    writer.add_quantization_version(2)
    words.write(writer)
    names = [each for each in sorted(base.shapes) if not (form.tied and each == _HEAD)]
    named = {each: form.tensor_name(each) for each in names}
    import numpy as np

    for each in names:
        kind = _kind(base.shapes[each], quantisation)
        shape = base.shapes[each]
        if kind is _types().Q8_0:
            shape = quant_shape_to_byte_shape(shape, kind)
        plain = {"F32": np.float32, "F16": np.float16}.get(kind.name, np.uint8)
        size = math.prod(shape) * np.dtype(plain).itemsize
        writer.add_tensor_info(named[each], shape, np.dtype(plain), size, raw_dtype=kind)
    frequencies = form.rope_frequencies()
    if frequencies is not None:
        writer.add_tensor_info(
            "rope_freqs.weight", frequencies.shape, frequencies.dtype, frequencies.nbytes
        )
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        with read_weights(base) as read:
            for number, each in enumerate(names, start=1):
                weight = merged_tensor(each, read(each), base, adapter)
                writer.write_tensor_data(
                    _packed(form.turned(each, weight.numpy()), _kind(weight.shape, quantisation))
                )
                progress(number / len(names))
        if frequencies is not None:
            writer.write_tensor_data(frequencies)
    finally:
        writer.close()


def write_adapter(
    path: Path,
    base: BaseModel,
    tensors: Mapping[str, torch.Tensor],
    config: AdapterConfig,
    *,
    name: str = "",
) -> None:
    """Write an adapter for `base`, in float32, to `path`, which must not be there yet.

    Raises:
        InvalidValueError: as `write_model`; nothing was written.
    """
    from gguf import GGUFWriter

    form = _Form(base)
    writer = GGUFWriter(path, form.architecture)
    writer.add_type("adapter")
    writer.add_name(name or base.name)
    writer.add_string("adapter.type", "lora")
    # llama.cpp multiplies by alpha / rank; this alpha also says what rsLoRA means.
    writer.add_float32("adapter.lora.alpha", config.scale * config.rank)
    for module in module_paths(tensors, config):
        weight = f"{module}.weight"
        if weight not in base.shapes:
            raise _refused(f"The base model has no weight {weight}.")
        down, up = (tensors[each].float().numpy() for each in tensor_names(module))
        named = form.tensor_name(weight)
        writer.add_tensor(f"{named}.lora_a", down)
        writer.add_tensor(f"{named}.lora_b", form.turned(weight, up))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


class _Form:
    """How the architecture of `base` is written down in GGUF."""

    def __init__(self, base: BaseModel) -> None:
        self._base, self._config = base, base.config
        if base.architecture not in ARCHITECTURES:
            known = ", ".join(sorted(ARCHITECTURES))
            raise _refused(f"Its architecture is {base.architecture}; known are {known}.")
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
            raise _refused("Its embedding is not stored under the usual name.")
        if self._config.get("hidden_act", "silu") != "silu":
            raise _refused(f"Its activation is {self._config['hidden_act']}; GGUF means silu.")
        if self._config.get("use_sliding_window"):
            raise _refused("Its attention slides over a window, which this form cannot say.")

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
            raise _refused(f"It has a tensor that GGUF has no name for, {name}.")
        return str(found)

    def turned(self, name: str, rows: np.ndarray) -> np.ndarray:
        """`rows` in the order that llama.cpp's rotary embedding expects."""
        module = name.rpartition(".")[0].rpartition(".")[2]
        if self.architecture != "llama" or module not in ("q_proj", "k_proj"):
            return rows
        heads = self._heads if module == "q_proj" else self._kv_heads
        split = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
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
            raise _refused(f"Its position encoding is {found['rope_type']!r}.")
        if found.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)) != 1.0:
            raise _refused("Its position encoding turns a part of each head only.")
        return found

    def _name_map(self) -> TensorNameMap:
        from gguf import MODEL_ARCH, get_tensor_name_map

        architectures = {"llama": MODEL_ARCH.LLAMA, "qwen2": MODEL_ARCH.QWEN2}
        return get_tensor_name_map(
            architectures.get(self.architecture, MODEL_ARCH.QWEN3), self._layers
        )


_FILE_TYPES = {"F32": 0, "F16": 1, "Q8_0": 7}  # llama_ftype


def _types() -> Any:
    from gguf import GGMLQuantizationType

    return GGMLQuantizationType


def _kind(shape: tuple[int, ...] | torch.Size, quantisation: Quantisation) -> Any:
    """How a tensor of this shape is stored."""
    if len(shape) == 1 or quantisation == "F32":
        return _types().F32
    if quantisation == "F16" or shape[-1] % _BLOCK:
        return _types().F16
    return _types().Q8_0


def _packed(tensor: np.ndarray, kind: Any) -> np.ndarray:
    from gguf import quants

    packed: np.ndarray = quants.quantize(tensor, kind)
    return packed


def _refused(why: str) -> InvalidValueError:
    return InvalidValueError(
        "This base model cannot be written as GGUF.",
        why,
        "Export the version as a PEFT adapter or as merged safetensors instead.",
    )

"""GGUF: a merged model, or an adapter alone, as llama.cpp and Ollama open them.

Tensors are merged, turned and packed one at a time, so that a model needs no more memory than
its largest tensor. One-dimensional tensors stay float32, and a head that is tied to the embedding
is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xeno.models.base import BaseModel
from xeno.versions.adapter import AdapterConfig, module_paths, tensor_names
from xeno.versions.export.gguf_form import Form, refused
from xeno.versions.export.gguf_tokenizer import vocabulary
from xeno.versions.export.merged import merged_tensor, read_weights

if TYPE_CHECKING:
    import numpy as np
    import torch
    from gguf import GGUFWriter
    from transformers import PreTrainedTokenizerBase

Quantisation = Literal["F32", "F16", "Q8_0"]
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
    from gguf import GGUFWriter

    form = Form(base)
    words = vocabulary(tokenizer, form.rows)
    writer = GGUFWriter(path, form.architecture)
    form.write_metadata(writer, name or base.name)
    writer.add_vocab_size(form.rows)
    writer.add_file_type(_FILE_TYPES[quantisation])
    writer.add_quantization_version(2)
    words.write(writer)
    names = [each for each in sorted(base.shapes) if not (form.tied and each == _HEAD)]
    for each in names:
        _announce(writer, form.tensor_name(each), base.shapes[each], quantisation)
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


def _announce(
    writer: GGUFWriter, name: str, shape: tuple[int, ...], quantisation: Quantisation
) -> None:
    """Say in the header what will be written, so that the numbers can follow one by one."""
    import numpy as np
    from gguf import quant_shape_to_byte_shape

    kind = _kind(shape, quantisation)
    if kind is _types().Q8_0:
        shape = quant_shape_to_byte_shape(shape, kind)
    plain = np.dtype({"F32": np.float32, "F16": np.float16}.get(kind.name, np.uint8))
    writer.add_tensor_info(name, shape, plain, math.prod(shape) * plain.itemsize, raw_dtype=kind)


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

    form = Form(base)
    writer = GGUFWriter(path, form.architecture)
    writer.add_type("adapter")
    writer.add_name(name or base.name)
    writer.add_string("adapter.type", "lora")
    # llama.cpp multiplies by alpha / rank; this alpha also says what rsLoRA means.
    writer.add_float32("adapter.lora.alpha", config.scale * config.rank)
    for module in module_paths(tensors, config):
        weight = f"{module}.weight"
        if weight not in base.shapes:
            raise refused(f"The base model has no weight {weight}.")
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


def read_model(path: Path, base: BaseModel) -> dict[str, np.ndarray]:
    """The weights in a file that `write_model` wrote, float32, under the names of `base`."""
    from gguf import GGUFReader, dequantize

    form = Form(base)
    stored = {each.name: each for each in GGUFReader(path).tensors}
    found = {}
    for name in base.shapes:
        if (tensor := stored.get(form.tensor_name(name))) is not None:
            plain = dequantize(tensor.data, tensor.tensor_type)
            found[name] = form.turned(name, plain, back=True).copy()
    return found


def read_adapter(
    path: Path, base: BaseModel, config: AdapterConfig
) -> tuple[dict[str, np.ndarray], float]:
    """The A and B in a file that `write_adapter` wrote, under PEFT's names, and the scale."""
    from gguf import GGUFReader

    form, reader = Form(base), GGUFReader(path)
    stored = {each.name: each.data for each in reader.tensors}
    found = {}
    for weight in base.shapes:
        named = form.tensor_name(weight)
        if f"{named}.lora_a" in stored:
            down, up = tensor_names(weight.removesuffix(".weight"))
            found[down] = stored[f"{named}.lora_a"].copy()
            found[up] = form.turned(weight, stored[f"{named}.lora_b"], back=True).copy()
    alpha = reader.get_field("adapter.lora.alpha")
    return found, float(alpha.contents() if alpha else config.rank) / config.rank


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

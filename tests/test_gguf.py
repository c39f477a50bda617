"""GGUF files say the same as the model they were made from, in llama.cpp itself."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import make_model

from xeno.errors import InvalidValueError
from xeno.events import ChatMessage
from xeno.inference.merge import Merge
from xeno.models.base import BaseModel, inspect_base
from xeno.models.chat import encode_prompt, load_tokenizer
from xeno.models.loading import load_model
from xeno.models.starter import starter_folder
from xeno.versions.adapter import AdapterConfig, tensor_names
from xeno.versions.export import llamacpp
from xeno.versions.export.gguf import Quantisation, write_adapter, write_model
from xeno.versions.export.llamacpp import LlamaCpp

QUESTION = [ChatMessage(role="user", content="How do I make tea, and why does 42 matter?")]
TALK = [
    ChatMessage(role="system", content="The user likes short answers."),
    *QUESTION,
    ChatMessage(role="assistant", content="It's easy: boil  water.\n\n- Wait 3 min."),
    ChatMessage(role="user", content="Thanks, naïve café!"),
]
CONFIG = AdapterConfig(
    rank=4, alpha=8.0, rs_lora=True, target_modules=("q_proj", "k_proj", "up_proj")
)

needs_llamacpp = pytest.mark.skipif(
    not llamacpp.installed(), reason="needs xllamacpp (pip install xeno[llamacpp])"
)


def shaped(folder: Path, config: Any) -> BaseModel:
    """A random model of this shape with the starter's tokenizer."""
    make_model(folder, config)
    for path in starter_folder().iterdir():
        if "token" in path.name or path.suffix == ".jinja":
            shutil.copy(path, folder)
    return inspect_base(folder)


def adapter_for(base: BaseModel) -> dict[str, torch.Tensor]:
    """A random adapter on every module that CONFIG names."""
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name, shape in base.shapes.items():
        path = name.removesuffix(".weight")
        if path.endswith(CONFIG.target_modules):
            down, up = tensor_names(path)
            tensors[down] = torch.randn(CONFIG.rank, shape[1], generator=generator) * 0.1
            tensors[up] = torch.randn(shape[0], CONFIG.rank, generator=generator) * 0.1
    return tensors


def largest_difference(
    path: Path, base: BaseModel, adapter_path: Path | None = None, adapter: Any = None
) -> tuple[float, bool]:
    """Along the model's own greedy replies to two conversations: the largest difference of
    log-probabilities, and whether llama.cpp says the same."""
    tokenizer, model = load_tokenizer(base), load_model(base, "float32")
    if adapter is not None:
        Merge(model).put("a" * 64, adapter, CONFIG)
    largest, same, compared = 0.0, True, 0
    with LlamaCpp(path, adapter_path) as opened, torch.inference_mode():
        for messages in (QUESTION, TALK):
            ids = encode_prompt(tokenizer, messages)
            whole = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)
            reply = whole[0, len(ids) :].tolist()
            said = opened.answer(messages, 12)
            assert said.prompt_tokens == len(ids)
            text = tokenizer.decode(reply, skip_special_tokens=True)
            # What random weights say is no text: half characters, and rows without a word.
            same &= said.text == text.lstrip() or base.name == "random"
            rows = model(whole[:, :-1]).logits[0, len(ids) - 1 :].log_softmax(-1)
            steps = opened.along(ids, reply)
            for row, step, token in zip(rows, steps, reply, strict=True):
                compared += bool(step)
                same &= not step or max(step, key=step.__getitem__) == token
                largest = max(largest, *(abs(row[i].item() - p) for i, p in step.items()), 0.0)
    assert compared > 12
    return largest, same


@pytest.fixture(scope="module", params=["starter-model", "stories260K"])
def real(request: pytest.FixtureRequest) -> BaseModel:
    if request.param == "starter-model":
        return inspect_base(starter_folder())
    return inspect_base(request.getfixturevalue("shared_models") / request.param)


@needs_llamacpp
@pytest.mark.parametrize(("kind", "tolerance"), [("F32", 2e-4), ("F16", 0.05), ("Q8_0", 1.0)])
def test_llama_cpp_answers_as_the_model_does(
    real: BaseModel, kind: Quantisation, tolerance: float, tmp_path: Path
) -> None:
    write_model(tmp_path / "model.gguf", real, load_tokenizer(real), kind)
    difference, same = largest_difference(tmp_path / "model.gguf", real)
    assert difference < tolerance
    assert same or kind == "Q8_0"


@needs_llamacpp
def test_an_adapter_means_the_same_alone_and_merged(real: BaseModel, tmp_path: Path) -> None:
    adapter, tokenizer = adapter_for(real), load_tokenizer(real)
    write_model(tmp_path / "base.gguf", real, tokenizer, "F32")
    write_model(tmp_path / "merged.gguf", real, tokenizer, "F32", (adapter, CONFIG))
    write_adapter(tmp_path / "adapter.gguf", real, adapter, CONFIG)
    merged = largest_difference(tmp_path / "merged.gguf", real, None, adapter)
    alone = largest_difference(tmp_path / "base.gguf", real, tmp_path / "adapter.gguf", adapter)
    assert merged[0] < 1e-3
    assert alone[0] < 1e-3
    assert merged[1]
    assert alone[1]
    without = largest_difference(tmp_path / "base.gguf", real, None, adapter)
    assert without[0] > 0.05  # the adapter does change what is said


FAMILIES = (
    "an untied Llama",
    "Llama 3's positions",
    "stretched positions",
    "Mistral",
    "Qwen2",
    "Qwen3",
)


def configurations() -> dict[str, Any]:
    from transformers import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

    sizes: dict[str, Any] = {
        "vocab_size": 4100,  # four rows more than there are tokens
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    llama3 = {
        "rope_type": "llama3",
        "rope_theta": 500.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    return {
        "an untied Llama": LlamaConfig(**sizes, tie_word_embeddings=False),
        "Llama 3's positions": LlamaConfig(**sizes, rope_parameters=llama3),
        "stretched positions": LlamaConfig(
            **sizes, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
        ),
        "Mistral": MistralConfig(**sizes, head_dim=32, sliding_window=None),
        "Qwen2": Qwen2Config(**sizes, tie_word_embeddings=True),
        "Qwen3": Qwen3Config(**sizes, head_dim=32),
    }


@needs_llamacpp
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_written_as_llama_cpp_reads_it(name: str, tmp_path: Path) -> None:
    base = shaped(tmp_path / "random", configurations()[name])
    adapter = adapter_for(base)
    write_model(tmp_path / "model.gguf", base, load_tokenizer(base), "F32", (adapter, CONFIG))
    difference, same = largest_difference(tmp_path / "model.gguf", base, None, adapter)
    assert difference < 1e-3
    assert same


@needs_llamacpp
def test_nobody_else_can_ask_the_opened_model(tmp_path: Path) -> None:
    base = inspect_base(starter_folder())
    write_model(tmp_path / "model.gguf", base, load_tokenizer(base), "Q8_0")
    with LlamaCpp(tmp_path / "model.gguf") as opened:
        address = f"{opened._server.listening_address}/completion"
        request = urllib.request.Request(address, b'{"prompt": "a", "n_predict": 1}')
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            urllib.request.urlopen(request, timeout=10.0)
        refused.value.close()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=10.0)


def test_what_was_written_reads_back_as_the_merged_weights(tmp_path: Path) -> None:
    from gguf import GGUFReader

    base = inspect_base(starter_folder())
    write_model(tmp_path / "model.gguf", base, load_tokenizer(base), "F32")
    names = {tensor.name for tensor in GGUFReader(tmp_path / "model.gguf").tensors}
    assert "blk.0.attn_q.weight" in names
    assert "output.weight" not in names  # tied to the embedding
    assert str(tmp_path).encode() not in (tmp_path / "model.gguf").read_bytes()


def test_an_architecture_without_a_form_in_gguf_is_refused_by_name(shared_models: Path) -> None:
    base = inspect_base(shared_models / "bitstories-3M")
    with pytest.raises(InvalidValueError, match="BitNetForCausalLM"):
        write_model(Path("never.gguf"), base, load_tokenizer(base))
    assert not Path("never.gguf").exists()


def test_a_tokenizer_that_llama_cpp_does_not_know_is_refused(tmp_path: Path) -> None:
    base = shaped(tmp_path / "random", configurations()["an untied Llama"])
    path = base.folder / "tokenizer.json"
    text = path.read_text()
    path.write_text(text.replace('"use_regex": true', '"use_regex": false'))
    with pytest.raises(InvalidValueError, match="cuts text into words"):
        write_model(tmp_path / "model.gguf", base, load_tokenizer(base))
    assert not (tmp_path / "model.gguf").exists()

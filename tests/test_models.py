"""Base models: what is refused before anything is loaded, and how the rest is spoken to."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import change_json, make_llama

from xeno.errors import BaseModelError
from xeno.events import ChatMessage
from xeno.models.base import inspect_base
from xeno.models.chat import (
    encode_exchange,
    encode_prompt,
    end_of_reply_ids,
    load_tokenizer,
    turn_end,
)
from xeno.models.loading import bfloat16_is_faster, choose_dtype, load_model
from xeno.models.starter import starter_folder
from xeno.paths import Home

SYSTEM = ChatMessage(role="system", content="Be brief.")
USER = ChatMessage(role="user", content="What is tea?")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may spoil."""
    return Path(shutil.copytree(made, tmp_path / "tiny"))


def test_a_good_folder_is_described(folder: Path) -> None:
    base = inspect_base(folder)
    assert base.name == "tiny"
    assert base.architecture == "LlamaForCausalLM"
    assert base.context == 512
    assert base.has_chat_template
    assert base.notes == ()
    assert base.parameters == sum(p.numel() for p in load_model(base, "float32").parameters())


def test_inspecting_imports_no_torch(folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from xeno.models.base import inspect_base;"
        "import xeno.versions.registry, xeno.versions.gate, xeno.versions.deployment;"
        "import xeno.models.chat, xeno.models.loading;"
        f"inspect_base(Path({str(folder)!r})).base_hash;"
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


# What is refused -----------------------------------------------------------------------------


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _text(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content)


def _config(**values: object) -> Callable[[Path], None]:
    return lambda folder: change_json(folder / "config.json", **values)


def _pickled_only(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": [1.0]}))


def _gguf_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.gguf")


def _truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _truncated_in_header(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])


def _empty_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def _with_header(change: Callable[[dict[str, dict[str, object]]], None]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        weights = folder / "model.safetensors"
        content = weights.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        change(header)
        raw = json.dumps(header).encode()
        weights.write_bytes(struct.pack("<Q", len(raw)) + raw + content[8 + length :])

    return spoil


def _larger_shape(header: dict[str, dict[str, object]]) -> None:
    header["model.norm.weight"]["shape"] = [33]


def _overlapping(header: dict[str, dict[str, object]]) -> None:
    header["model.norm.weight"]["data_offsets"] = [0, 128]


def _unknown_dtype(header: dict[str, dict[str, object]]) -> None:
    header["model.norm.weight"]["dtype"] = "OBJECT"


def _endless_header(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", 2**62) + weights.read_bytes()[8:])


def _index(**weight_map: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "model-1.safetensors")
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return spoil


def _loop(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(folder / name)

    return spoil


def _pipe(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return spoil


def _folder_in_place_of(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return spoil


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "no safetensors": (_without("model.safetensors"), "no model.safetensors"),
    "only pickled weights": (_pickled_only, "pickled"),
    "only GGUF": (_gguf_only, "GGUF"),
    "auto_map": (_config(auto_map={"AutoModel": "evil.Model"}), "auto_map"),
    "nested auto_map": (_config(text_config={"auto_map": {"AutoModel": "e.M"}}), "auto_map"),
    "auto_map of the tokenizer": (
        lambda folder: change_json(folder / "tokenizer_config.json", auto_map={"x": ["e.T", None]}),
        "auto_map",
    ),
    "an adapter": (_text("adapter_config.json", "{}"), "adapter"),
    "packed weights": (_config(quantization_config={"quant_method": "gptq"}), "packed"),
    "not for text": (_config(architectures=["BertModel"]), "BertModel"),
    "no architecture": (_config(architectures=[]), "no architecture"),
    "a configuration of endless layers": (_config(num_hidden_layers=10**9), "layers"),
    "truncated weights": (_truncated, "truncated or damaged"),
    "weights cut in the header": (_truncated_in_header, "truncated or damaged"),
    "empty weights": (_empty_weights, "truncated or damaged"),
    "a header that lies about a shape": (_with_header(_larger_shape), "truncated or damaged"),
    "a header with overlaps": (_with_header(_overlapping), "truncated or damaged"),
    "a header with an unknown type": (_with_header(_unknown_dtype), "truncated or damaged"),
    "an endless header": (_endless_header, "truncated or damaged"),
    "an index to a missing shard": (_index(a="model-2.safetensors"), "is missing"),
    "an index that leaves the folder": (_index(a="../x/model-1.safetensors"), "not a file of"),
    "an index with a wrong name": (_index(a="model-1.safetensors"), "lacks a"),
    "an empty index": (_index(), "lists no weights"),
    "no tokenizer": (_without("tokenizer.json"), "no tokenizer"),
    "an unreadable tokenizer": (_text("tokenizer.json", "{"), "tokenizer.json cannot be read"),
    "no configuration": (_without("config.json"), "config.json is missing"),
    "unreadable JSON": (_text("config.json", "{'a': 1"), "config.json cannot be read"),
    "deeply nested JSON": (_text("config.json", "[" * 200_000), "config.json cannot be read"),
    "binary JSON": (
        lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"),
        "config.json cannot be read",
    ),
    "a list in place of JSON's object": (_text("config.json", "[]"), "JSON object"),
    "a loop of links": (_loop("config.json"), "config.json"),
    "a loop of links in the weights": (_loop("model.safetensors"), "model.safetensors"),
    "a pipe": (_pipe("config.json"), "not a readable file"),
    "a pipe in place of weights": (_pipe("model.safetensors"), "not a readable file"),
    "a folder in place of weights": (
        _folder_in_place_of("model.safetensors"),
        "not a readable file",
    ),
}


@pytest.mark.parametrize(("spoil", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_base_is_refused_with_its_reason(
    folder: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(folder)
    with pytest.raises(BaseModelError, match=reason) as raised:
        inspect_base(folder)
    assert raised.value.what
    assert raised.value.todo


def test_paths_that_are_no_model_folder_are_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    cases = {
        tmp_path / "missing": "no such folder",
        tmp_path / "empty": "empty",
        tmp_path / "loop": "no such folder|cannot be read",
        folder / "config.json": "not a folder",
        Path("bad\0name"): "no such folder|cannot be read",
    }
    for path, reason in cases.items():
        with pytest.raises(BaseModelError, match=reason):
            inspect_base(path)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(position=st.integers(0, 2000), value=st.integers(0, 255))
def test_a_changed_header_byte_is_refused_or_harmless(
    made: Path, tmp_path: Path, position: int, value: int
) -> None:
    content = bytearray((made / "model.safetensors").read_bytes())
    content[position] = value
    spoiled = tmp_path / "spoiled"
    shutil.copytree(made, spoiled, dirs_exist_ok=True)
    (spoiled / "model.safetensors").write_bytes(content)
    try:
        base = inspect_base(spoiled)
    except BaseModelError:
        return
    assert base.parameters > 0


def test_weights_that_the_architecture_lacks_are_refused_at_loading(folder: Path) -> None:
    change_json(folder / "config.json", num_hidden_layers=3)
    with pytest.raises(BaseModelError, match="missing"):
        load_model(inspect_base(folder), "float32")


@pytest.mark.parametrize(
    "values",
    [
        {"vocab_size": 10**9},
        {"hidden_size": 10**8},
        {"num_attention_heads": 0},
        {"num_attention_heads": -3},
        {"hidden_act": "none"},
        {"head_dim": "a"},
        {"rope_parameters": {"rope_type": "x"}},
        {"vocab_size": 300},
    ],
    ids=str,
)
def test_a_configuration_that_lies_is_refused_without_filling_the_memory(
    folder: Path, values: dict[str, object]
) -> None:
    change_json(folder / "config.json", **values)
    with pytest.raises(BaseModelError):
        load_model(inspect_base(folder), "float32")


def test_an_unknown_architecture_is_refused_at_loading(folder: Path) -> None:
    change_json(folder / "config.json", model_type="martian", architectures=["MarsForCausalLM"])
    with pytest.raises(BaseModelError, match="could not load"):
        load_model(inspect_base(folder), "float32")


def test_a_malformed_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "None"}}')
    with pytest.raises(BaseModelError, match="tokenizer"):
        load_tokenizer(inspect_base(folder))


def test_a_failing_template_is_refused(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no') }}")
    with pytest.raises(BaseModelError, match="chat template fails"):
        load_tokenizer(inspect_base(folder))


# The hash of a base --------------------------------------------------------------------------


def test_the_hash_is_of_the_content_and_not_of_the_place(folder: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    first = inspect_base(folder).base_hash
    assert inspect_base(elsewhere).base_hash == first
    weights = elsewhere / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert inspect_base(elsewhere).base_hash != first


def test_large_files_are_hashed_once_while_they_do_not_change(tmp_path: Path, home: Home) -> None:
    folder = make_llama(tmp_path / "larger", hidden_size=512, num_hidden_layers=1)
    first = inspect_base(folder, home).base_hash
    facts = json.loads(home.machine.read_text())
    (name,) = (each for each in facts if "model.safetensors" in each)
    facts[name]["sha256"] = "0" * 64
    home.machine.write_text(json.dumps(facts))
    assert inspect_base(folder, home).base_hash != first, "the remembered hash was not used"
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert inspect_base(folder, home).base_hash == first
    home.machine.write_text("not JSON")
    assert inspect_base(folder, home).base_hash == first


# Chat ----------------------------------------------------------------------------------------


def test_a_base_without_template_gets_a_plain_one_and_says_so(tmp_path: Path) -> None:
    base = inspect_base(make_llama(tmp_path / "plain", chat_template=None))
    assert not base.has_chat_template
    assert any("no chat template" in note for note in base.notes)
    tokenizer = load_tokenizer(base)
    text = tokenizer.decode(encode_prompt(tokenizer, [SYSTEM, USER]))
    assert text == "<s>Be brief.\n\nUser:\nWhat is tea?\n\nAssistant:\n"
    assert turn_end(tokenizer) == [tokenizer.eos_token_id]


def test_a_reply_continues_its_prompt_and_ends_as_the_template_ends_it(folder: Path) -> None:
    tokenizer = load_tokenizer(inspect_base(folder))
    prompt, reply = encode_exchange(tokenizer, [SYSTEM, USER], "A drink.")
    assert prompt == encode_prompt(tokenizer, [SYSTEM, USER])
    assert tokenizer.decode(reply) == "A drink.<|end|>"
    assert reply[-1] == tokenizer.convert_tokens_to_ids("<|end|>")


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(reply=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_any_reply_is_encoded_whole(made: Path, reply: str) -> None:
    tokenizer = _tokenizer(made)
    prompt, ids = encode_exchange(tokenizer, [USER], reply)
    assert prompt == encode_prompt(tokenizer, [USER])
    assert tokenizer.decode(ids) == reply + "<|end|>"


_TOKENIZERS: dict[Path, object] = {}


def _tokenizer(folder: Path):  # type: ignore[no-untyped-def]
    if folder not in _TOKENIZERS:
        _TOKENIZERS[folder] = load_tokenizer(inspect_base(folder))
    return _TOKENIZERS[folder]


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{% if m['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}"
        "[{{ m['role'] }}]{{ m['content'] }}{% endfor %}",
        "{% for m in messages %}{% if m['role'] != 'system' %}"
        "[{{ m['role'] }}]{{ m['content'] }}{% endif %}{% endfor %}",
    ],
    ids=["refuses", "forgets"],
)
def test_system_text_is_folded_in_where_the_template_has_no_system_role(
    folder: Path, template: str
) -> None:
    (folder / "chat_template.jinja").write_text(template)
    tokenizer = load_tokenizer(inspect_base(folder))
    text = tokenizer.decode(encode_prompt(tokenizer, [SYSTEM, USER]))
    assert text == "[user]Be brief.\n\nWhat is tea?"


def test_all_that_ends_a_reply_is_known(folder: Path) -> None:
    change_json(folder / "generation_config.json", eos_token_id=[1, 7])
    base = inspect_base(folder)
    tokenizer, model = load_tokenizer(base), load_model(base, "float32")
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    assert end_of_reply_ids(tokenizer, model.config, model.generation_config) == {1, 7, end}


# Loading -------------------------------------------------------------------------------------


def test_small_bases_are_loaded_in_float32_and_a_wish_is_followed(folder: Path) -> None:
    base = inspect_base(folder)
    assert choose_dtype(base) == "float32"
    assert choose_dtype(base, "bfloat16") == "bfloat16"
    model = load_model(base, "bfloat16")
    assert {str(p.dtype) for p in model.parameters()} == {"torch.bfloat16"}
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_the_probe_of_the_machine_is_remembered(home: Home) -> None:
    answer = bfloat16_is_faster(home)
    facts = json.loads(home.machine.read_text())
    (name,) = (each for each in facts if "bfloat16" in each)
    assert facts[name] is answer
    home.machine.write_text(json.dumps({name: not answer}))
    assert bfloat16_is_faster(home) is not answer


@pytest.mark.parametrize("name", ["stories260K", "bitstories-3M"])
def test_real_small_models_load(shared_models: Path, name: str) -> None:
    base = inspect_base(shared_models / name)
    assert base.notes
    tokenizer, model = load_tokenizer(base), load_model(base, "float32")
    assert model.config.architectures == [base.architecture]
    prompt, reply = encode_exchange(tokenizer, [USER], "Once upon a time")
    assert prompt
    assert reply[-1] in end_of_reply_ids(tokenizer, model.config)


def test_the_starter_passes_its_own_inspection() -> None:
    try:
        folder = starter_folder()
    except BaseModelError:
        pytest.skip("needs the starter model")
    base = inspect_base(folder)
    assert base.has_chat_template
    assert base.notes == ()
    assert base.context >= 512
    assert base.parameters <= 12_000_000

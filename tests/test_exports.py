"""Exports open elsewhere and say what the version says, or are not made."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import torch
from test_gguf import CONFIG, adapter_for
from tiny_models import make_llama
from transformers import AutoModelForCausalLM

from xeno.errors import ChildError, DamagedDataError, InvalidValueError, XenoError
from xeno.events import ExportVersion, VersionExported, WorkProgress
from xeno.models.base import BaseModel, inspect_base
from xeno.models.chat import load_tokenizer
from xeno.models.starter import starter_folder
from xeno.personalization.engine import PersonalizationEngine
from xeno.store.profile import Profile
from xeno.versions.content import content_address
from xeno.versions.export import check, gguf_check, llamacpp, model_folder, modelfile
from xeno.versions.export.exporting import Source, export
from xeno.versions.export.forms import FORMS, Form
from xeno.versions.registry import Manifest, Registry
from xeno.workers.version_work_client import VersionWork, prompt_to_export

PROMPT = "You are a personal assistant with a casual style."


@pytest.fixture(scope="module")
def starter() -> BaseModel:
    return inspect_base(starter_folder())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return inspect_base(make_llama(tmp_path_factory.mktemp("base") / "tiny"))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_checked_and_says_the_same(
    starter: BaseModel, form: Form, tmp_path: Path
) -> None:
    source = Source(starter, (adapter_for(starter), CONFIG), "mine", PROMPT)
    made = export(source, form, tmp_path / "out")
    assert made.check.positions > 20
    assert made.check.largest <= made.check.allowed
    assert sorted(made.files) == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # no draft is left
    for path in (tmp_path / "out").iterdir():
        assert str(starter.folder).encode() not in path.read_bytes()


@pytest.mark.parametrize("form", ["gguf-f16", "gguf-adapter"])
def test_without_llama_cpp_the_stored_numbers_are_compared(
    starter: BaseModel, form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llamacpp, "installed", lambda: False)
    made = export(Source(starter, (adapter_for(starter), CONFIG), "mine"), form, tmp_path / "out")
    assert "not installed" in made.check.method


def test_a_whole_model_opens_in_stock_transformers(tiny: BaseModel, tmp_path: Path) -> None:
    adapter = adapter_for(tiny)
    export(Source(tiny, (adapter, CONFIG), "mine"), "merged", tmp_path / "out")
    plain = AutoModelForCausalLM.from_pretrained(str(tiny.folder), dtype=torch.float32)
    merged = AutoModelForCausalLM.from_pretrained(str(tmp_path / "out"), dtype=torch.float32)
    name = "model.layers.0.self_attn.q_proj"
    down, up = (adapter[f"base_model.model.{name}.lora_{each}.weight"] for each in "AB")
    wanted = plain.get_parameter(f"{name}.weight") + CONFIG.scale * (up @ down)
    assert torch.allclose(merged.get_parameter(f"{name}.weight"), wanted, atol=1e-6)


def test_a_large_model_is_written_in_several_files(
    tiny: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_folder, "_SHARD", 20_000)
    made = export(Source(tiny, None, "mine"), "merged", tmp_path / "out")
    assert "model.safetensors.index.json" in made.files
    assert len(made.files) > 5


def test_an_export_that_says_something_else_is_not_made(
    tiny: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(name: str, weight: torch.Tensor, *_: object) -> torch.Tensor:
        return weight.float() * (1.5 if "v_proj" in name else 1.0)

    monkeypatch.setattr(model_folder, "merged_tensor", wrong)
    with pytest.raises(DamagedDataError, match="At prompt 1, token"):
        export(Source(tiny, (adapter_for(tiny), CONFIG), "mine"), "merged", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_that_was_changed_blocks_the_export(starter: BaseModel, tmp_path: Path) -> None:
    from xeno.versions.export import gguf

    tokenizer = load_tokenizer(starter)
    wanted = check.probes(starter, tokenizer, None, PROMPT)
    tokenizer.chat_template = str(tokenizer.chat_template).replace("'|>'", "'|> Well,'")
    gguf.write_model(tmp_path / "model.gguf", starter, tokenizer, "F32")
    if not llamacpp.installed():
        pytest.skip("needs xllamacpp")
    with pytest.raises(DamagedDataError, match="tokens of prompt"):
        gguf_check.compare_model(
            tmp_path / "model.gguf", starter, wanted, check.Tolerance(0.1, 0.05)
        )


def test_a_folder_that_is_not_empty_is_left_alone(tiny: BaseModel, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(InvalidValueError, match="there already"):
        export(Source(tiny, None, "mine"), "merged", tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"


def test_an_ollama_template_writes_what_the_jinja_template_writes(
    starter: BaseModel, tiny: BaseModel
) -> None:
    for base in (starter, tiny):
        text = modelfile.modelfile("FROM ./x.gguf", load_tokenizer(base), PROMPT, 512)
        assert f'SYSTEM """{PROMPT}"""' in text
        assert "{{ .System }}" in text
    tokenizer = load_tokenizer(starter)
    turn = "{{ loop.index }}{{ m['content'] }}"
    tokenizer.chat_template = "{% for m in messages %}" + turn + "{% endfor %}"
    with pytest.raises(InvalidValueError, match=r"depending on where|leaves turns|system"):
        modelfile.modelfile("FROM ./x.gguf", tokenizer, PROMPT, 512)
    tokenizer = load_tokenizer(starter)
    with pytest.raises(InvalidValueError, match="quotation"):
        modelfile.modelfile("FROM ./x.gguf", tokenizer, 'Say """ often.', 512)


def released(profile: Profile, base: BaseModel) -> str:
    tensors = adapter_for(base)
    manifest = Manifest(
        address=content_address(tensors, CONFIG, base.base_hash),
        base_hash=base.base_hash,
        base_name=base.name,
        adapter=CONFIG,
        created=1.0,
    )
    return Registry(profile).release(tensors, manifest).label


def test_a_child_exports_and_tells_how_far_it_is(
    profile: Profile, starter: BaseModel, tmp_path: Path
) -> None:
    seen: list[WorkProgress] = []
    order = ExportVersion(
        version=released(profile, starter), form="peft", folder=str(tmp_path / "out")
    )
    answer = VersionWork(profile, order, seen.append).wait()
    assert isinstance(answer, VersionExported)
    assert (tmp_path / "out" / "adapter_config.json").is_file()
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["r"] == CONFIG.rank
    assert [each.share for each in seen] == sorted(each.share for each in seen)


def test_an_export_that_is_stopped_leaves_nothing(
    profile: Profile, starter: BaseModel, tmp_path: Path
) -> None:
    works: list[VersionWork] = []
    asked = threading.Event()

    def stop(progress: WorkProgress) -> None:
        if progress.text.startswith("Asking the original"):  # a draft is there now
            asked.wait(10.0)
            works[0].stop()

    order = ExportVersion(
        version=released(profile, starter), form="peft", folder=str(tmp_path / "out" / "mine")
    )
    works.append(VersionWork(profile, order, stop))
    asked.set()
    with pytest.raises(ChildError, match="stopped"):
        works[0].wait()
    assert list((tmp_path / "out").iterdir()) == []


def test_personal_data_in_the_prompt_is_named_and_needs_consent(
    profile: Profile, starter: BaseModel, tmp_path: Path
) -> None:
    PersonalizationEngine(profile=profile).update_preference(
        "expertise_level.phone +44 20 7946 0958", "advanced"
    )
    found = prompt_to_export(profile).found
    assert found == ("a telephone number: +44 20 7946 0958",)
    order = ExportVersion(version="base", form="gguf-f16", folder=str(tmp_path / "out"))
    with pytest.raises(XenoError, match=r"telephone number: \+44 20 7946 0958"):
        VersionWork(profile, order).wait()
    assert not (tmp_path / "out").exists()


CHATML = (
    "{%- if messages[0]['role'] != 'system' %}{{- '<|im_start|>system\\nBe good.<|im_end|>\\n' }}"
    "{%- endif %}{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content "
    "+ '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
HEADERS = (
    "{{ bos_token }}{% for m in messages %}{{ '<|head|>' + m['role'] + '<|/head|>\\n\\n' "
    "+ m['content'] | trim + '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|head|>assistant<|/head|>\\n\\n' }}{% endif %}"
)
IN_BRACKETS = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + "
    "m['content'] + ' [/INST]' }}{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + "
    "eos_token }}{% else %}{{ raise_exception('no system') }}{% endif %}{% endfor %}"
)


def test_templates_of_common_families_are_taken_apart(starter: BaseModel) -> None:
    tokenizer = load_tokenizer(starter)
    tokenizer.chat_template = CHATML
    found = modelfile.parts(tokenizer)
    assert found.begin == "<|im_start|>system\nBe good.<|im_end|>\n"
    assert found.before_system == "<|im_start|>system\n"
    tokenizer.chat_template = HEADERS
    found = modelfile.parts(tokenizer)
    assert (found.begin, found.after_user) == ("", "<|eot|>")
    assert found.reply == "<|head|>assistant<|/head|>\n\n"
    tokenizer.chat_template = IN_BRACKETS
    with pytest.raises(InvalidValueError, match="Modelfile"):
        modelfile.parts(tokenizer)

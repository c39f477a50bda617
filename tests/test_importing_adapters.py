"""An adapter from elsewhere becomes a candidate, or is refused with nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from test_gguf import CONFIG, adapter_for
from tiny_models import make_llama

from xeno.errors import InvalidValueError, XenoError
from xeno.events import AdapterImported, ImportAdapter
from xeno.models.base import BaseModel, inspect_base
from xeno.store.profile import Profile
from xeno.versions import hub
from xeno.versions.content import content_address
from xeno.versions.export import peft_folder
from xeno.versions.importing import CONFIG as CONFIG_FILE
from xeno.versions.importing import ORIGIN, WEIGHTS, import_adapter
from xeno.versions.registry import Registry
from xeno.workers.host_client import BASE_SETTING
from xeno.workers.version_work_client import VersionWork


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return inspect_base(make_llama(tmp_path_factory.mktemp("base") / "tiny"))


@pytest.fixture
def folder(base: BaseModel, tmp_path: Path) -> Path:
    """An adapter as XENO exports it."""
    made = tmp_path / "adapter"
    made.mkdir()
    peft_folder.write(made, base, adapter_for(base), CONFIG)
    return made


def change(folder: Path, **values: Any) -> None:
    path = folder / CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def weights(folder: Path, work: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(str(folder / WEIGHTS))
    work(tensors)
    save_file(tensors, str(folder / WEIGHTS))


def refused(profile: Profile, folder: Path, base: BaseModel, why: str) -> None:
    """It is refused for this reason, and nothing is there that was not there before."""
    with pytest.raises(InvalidValueError, match=why):
        import_adapter(profile, folder, base)
    assert Registry(profile).all() == []
    assert not profile.paths.versions.exists() or not list(profile.paths.versions.iterdir())


def test_what_was_exported_comes_back_under_the_same_address(
    profile: Profile, folder: Path, base: BaseModel
) -> None:
    made = import_adapter(profile, folder, base, description="from my laptop")
    tensors = adapter_for(base)
    assert made.version.address == content_address(tensors, CONFIG, base.base_hash)
    assert made.version.state == "candidate"
    assert made.version.manifest.environment == {"imported": "PEFT adapter"}
    assert not made.known
    assert import_adapter(profile, folder, base).known
    loaded, _ = Registry(profile).load(made.version.address)
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_an_adapter_that_peft_itself_saved_is_imported(
    profile: Profile, base: BaseModel, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    from xeno.models.loading import load_model

    settings = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(load_model(base, "float32"), settings).save_pretrained(str(tmp_path / "a"))
    made = import_adapter(profile, tmp_path / "a", base)
    assert made.version.manifest.adapter.rank == 4
    assert "hash is unknown" in made.notes[0]


def test_what_xeno_json_says_counts_only_where_it_agrees(
    profile: Profile, folder: Path, base: BaseModel
) -> None:
    origin = json.loads((folder / ORIGIN).read_text())
    origin["adapter"]["alpha"] = 10_000.0
    (folder / ORIGIN).write_text(json.dumps(origin))
    assert import_adapter(profile, folder, base).version.manifest.adapter.alpha == CONFIG.alpha


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"peft_type": "IA3"}, "kind 'IA3'"),
        ({"use_dora": True}, "use_dora"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"init_lora_weights": "olora"}, "init_lora_weights"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"r": 0}, "rank"),
        ({"r": 10**9}, "rank"),
        ({"r": 8}, "shape"),
        ({"lora_alpha": float("nan")}, "alpha"),
        ({"lora_alpha": "8"}, "alpha"),
    ],
)
def test_what_a_version_cannot_be_is_refused_by_name(
    values: dict[str, Any], why: str, profile: Profile, folder: Path, base: BaseModel
) -> None:
    change(folder, **values)
    refused(profile, folder, base, why)


def test_an_adapter_of_another_base_is_refused(
    profile: Profile, folder: Path, base: BaseModel
) -> None:
    origin = folder / ORIGIN
    origin.write_text(json.dumps({"base_hash": "0" * 64}))
    refused(profile, folder, base, "another base model")
    origin.unlink()
    change(folder, base_model_name_or_path="someone/other-model")
    refused(profile, folder, base, "someone/other-model")
    assert import_adapter(profile, folder, base, for_this_base=True).notes


def test_pickled_weights_are_never_opened(profile: Profile, folder: Path, base: BaseModel) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    refused(profile, folder, base, "pickled")


def test_foreign_names_shapes_and_numbers_are_refused(
    profile: Profile, folder: Path, base: BaseModel
) -> None:
    good = (folder / WEIGHTS).read_bytes()

    def out_of_place(tensors: dict[str, torch.Tensor]) -> None:
        tensors["base_model.model.../../../etc/passwd.lora_A.weight"] = torch.zeros(4, 32)

    def not_finite(tensors: dict[str, torch.Tensor]) -> None:
        next(iter(tensors.values()))[0, 0] = float("nan")

    def whole_numbers(tensors: dict[str, torch.Tensor]) -> None:
        name = next(iter(tensors))
        tensors[name] = tensors[name].to(torch.int64)

    def half(tensors: dict[str, torch.Tensor]) -> None:
        del tensors[next(iter(tensors))]

    for work, why in [
        (out_of_place, "no place for"),
        (not_finite, "not finite"),
        (whole_numbers, "torch.int64"),
        (half, "is missing"),
        (lambda tensors: tensors.clear(), "holds nothing"),
    ]:
        (folder / WEIGHTS).write_bytes(good)
        weights(folder, work)
        with pytest.raises(XenoError, match=why):
            import_adapter(profile, folder, base)
        assert Registry(profile).all() == []


def test_links_pipes_archives_and_files_too_large_are_refused(
    profile: Profile, folder: Path, base: BaseModel, tmp_path: Path
) -> None:
    shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    refused(profile, tmp_path / "packed.zip", base, "not a folder")
    (folder / WEIGHTS).rename(tmp_path / "elsewhere")
    (folder / WEIGHTS).symlink_to(tmp_path / "elsewhere")
    refused(profile, folder, base, "link")
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)
    refused(profile, folder, base, "no plain file")
    (folder / WEIGHTS).unlink()
    with (folder / WEIGHTS).open("wb") as file:
        file.truncate(40 * 2**30)  # a hole of 40 GB
    refused(profile, folder, base, "bytes; at most")
    (folder / CONFIG_FILE).write_text("[" * 100_000)
    refused(profile, folder, base, "cannot be read")


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_damaged_adapter_is_refused_or_means_something_else_that_fits(
    data: st.DataObject, profile: Profile, folder: Path, base: BaseModel
) -> None:
    name = data.draw(st.sampled_from([CONFIG_FILE, WEIGHTS, ORIGIN]))
    good = (folder / name).read_bytes()
    content = bytearray(good)
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    # The first bytes of safetensors are its header, where most can go wrong.
    reach = min(len(content), 1500) or 1
    for place in data.draw(st.lists(st.integers(0, reach - 1), max_size=4)):
        if content:
            content[place] = data.draw(st.integers(0, 255))
    (folder / name).write_bytes(content)
    try:
        made = import_adapter(profile, folder, base)
    except XenoError:
        assert Registry(profile).all() == []
    else:  # a changed number, or a blank in the JSON
        loaded, version = Registry(profile).load(made.version.address)
        assert all(bool(each.isfinite().all()) for each in loaded.values())
        Registry(profile).delete(version.address)
    finally:
        (folder / name).write_bytes(good)


class _Hub(SimpleHTTPRequestHandler):
    """A hub: /owner/name/resolve/main/FILE is FILE of the folder owner/name."""

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.replace("/resolve/main", ""))

    def do_GET(self) -> None:
        if not self.path.startswith("/moved/"):
            return super().do_GET()
        self.send_response(302)
        self.send_header("Location", "http://elsewhere.example/file")
        return self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def loopback_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a hub on this machine serves."""
    root = tmp_path / "hub"
    root.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Hub, directory=str(root)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    yield root
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_adapter_is_fetched_from_a_hub_and_imported_by_a_child(
    profile: Profile, folder: Path, base: BaseModel, loopback_hub: Path
) -> None:
    shutil.copytree(folder, loopback_hub / "someone" / "mine")
    profile.set_setting(BASE_SETTING, str(base.folder))
    answer = VersionWork(profile, ImportAdapter(source="someone/mine")).wait()
    assert isinstance(answer, AdapterImported)
    assert Registry(profile).get(answer.label).state == "candidate"


def test_what_is_not_on_the_hub_or_has_no_safe_weights_is_said(
    tmp_path: Path, folder: Path, loopback_hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    with pytest.raises(InvalidValueError, match="no public"):
        hub.download("someone/nothing", aside)
    with pytest.raises(InvalidValueError, match=r"elsewhere\.example"):
        hub.download("moved/nothing", aside)
    with pytest.raises(InvalidValueError, match="no name"):
        hub.download("../etc", aside)
    shutil.copytree(folder, loopback_hub / "someone" / "mine")
    (loopback_hub / "someone" / "mine" / WEIGHTS).unlink()
    with pytest.raises(InvalidValueError, match="pickled"):
        hub.download("someone/mine", aside)
    monkeypatch.setattr(hub, "LARGEST_JSON", 10)
    with pytest.raises(InvalidValueError, match="larger than"):
        hub.download("someone/mine", aside)
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(InvalidValueError, match="http"):
        hub.download("someone/mine", aside)

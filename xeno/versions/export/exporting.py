"""Exporting a version: written beside its place, checked against the original, then moved there.

A folder appears when everything in it is whole, on disk and has been compared; a difference
leaves nothing. Takes seconds to minutes and the memory of the model in float32: for a child
process (`xeno.workers.export`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xeno.errors import InvalidValueError, MemoryFullError, StorageFullError, XenoError
from xeno.models.base import BaseModel, inspect_base
from xeno.models.chat import encode_prompt, load_tokenizer
from xeno.models.loading import choose_dtype, load_model
from xeno.store import files
from xeno.versions.adapter import AdapterConfig
from xeno.versions.export import (
    check,
    gguf,
    gguf_check,
    llamacpp,
    model_folder,
    modelfile,
    peft_folder,
)
from xeno.versions.export.check import CheckReport, Tolerance
from xeno.versions.export.forms import Form, file_name

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

TOLERANCES = {
    "peft": Tolerance(1e-3, 1e-3),
    "merged": Tolerance(1e-3, 1e-3),
    "gguf-f16": Tolerance(0.25, 0.1),
    "gguf-q8_0": Tolerance(1.5, 0.5),
    "gguf-adapter": Tolerance(1e-3, 1e-3),
}
"""Float32 leaves about 1e-5; 16 bits left up to 0.12, 8 bits up to 0.9 (docs/export.md)."""


@dataclass(frozen=True)
class Source:
    """What is exported: a base, the adapter on it (None for the base alone), the file name that
    it gets, and the prompt that an Ollama Modelfile carries (empty for none)."""

    base: BaseModel
    adapter: tuple[Mapping[str, torch.Tensor], AdapterConfig] | None
    name: str
    system_prompt: str = ""


@dataclass(frozen=True)
class Exported:
    """The folder that was made, its files with their sizes in bytes, what the check compared,
    and sentences that the user should see."""

    folder: Path
    form: Form
    files: dict[str, int]
    check: CheckReport
    notes: tuple[str, ...]


def export(
    source: Source,
    form: Form,
    folder: Path,
    progress: Callable[[float, str], None] = lambda share, text: None,
) -> Exported:
    """Make `folder`, which must not be there or be empty, in the form `form`.

    Args:
        progress: called with the part that is done, in [0, 1], and what is being done.

    Raises:
        InvalidValueError: if the base has no such form, or the folder is not empty.
        DamagedDataError: if the export differs from the original, saying where.
        StorageFullError, MemoryFullError: if there is not enough room.
    """
    if source.adapter is None and form in ("peft", "gguf-adapter"):
        raise InvalidValueError(
            "There is no adapter to export.", "The base model has none.", "Name a version."
        )
    folder = folder.expanduser().absolute()
    _require_room(source.base, form, folder)
    progress(0.0, "Reading the tokenizer")
    tokenizer = load_tokenizer(source.base)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        report, notes = _Draft(source, tokenizer, draft, progress).write(form)
        progress(0.99, "Putting it in its place")
        written = _synced(draft)
        if folder.exists():
            folder.rmdir()  # it is empty, or this fails
        draft.replace(folder)
        files.sync_folder(folder.parent)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Exported(folder, form, written, report, tuple(notes))


class _Draft:
    """The export while it is written and checked, in a folder of another name."""

    def __init__(
        self,
        source: Source,
        tokenizer: PreTrainedTokenizerBase,
        folder: Path,
        progress: Callable[[float, str], None],
    ) -> None:
        self._source, self._tokenizer, self._folder = source, tokenizer, folder
        self._progress = progress
        self._base, self._adapter = source.base, source.adapter

    def write(self, form: Form) -> tuple[CheckReport, list[str]]:
        """Write it, check it, and say what the user should know."""
        match form:
            case "peft":
                return self._peft(), []
            case "merged":
                return self._merged(), []
            case "gguf-adapter":
                return self._gguf_adapter()
            case "gguf-f16" | "gguf-q8_0":
                return self._gguf(form)

    def _peft(self) -> CheckReport:
        assert self._adapter is not None
        self._progress(0.1, "Writing the adapter")
        peft_folder.write(self._folder, self._base, *self._adapter)
        probes = self._probes()
        self._progress(0.6, "Loading it with PEFT")
        model = peft_folder.opened(self._folder, self._base)
        return check.compare(
            "stock peft", probes, lambda probe: check.along(model, probe), TOLERANCES["peft"]
        )

    def _merged(self) -> CheckReport:
        import torch

        dtype: torch.dtype = getattr(torch, choose_dtype(self._base))
        model_folder.write(
            self._folder,
            self._base,
            self._tokenizer,
            self._adapter,
            dtype,
            progress=lambda share: self._progress(0.4 * share, "Writing the weights"),
        )
        probes = self._probes(dtype)
        self._progress(0.7, "Loading it with transformers")
        exported = inspect_base(self._folder)
        model, tokenizer = load_model(exported, "float32"), load_tokenizer(exported)
        for number, probe in enumerate(probes, start=1):
            if encode_prompt(tokenizer, probe.messages) != probe.ids:
                raise check.blocked(f"Its tokenizer reads prompt {number} differently.")
        return check.compare(
            "stock transformers",
            probes,
            lambda probe: check.along(model, probe),
            TOLERANCES["merged"],
        )

    def _gguf(self, form: Literal["gguf-f16", "gguf-q8_0"]) -> tuple[CheckReport, list[str]]:
        quantisation: gguf.Quantisation = "F16" if form == "gguf-f16" else "Q8_0"
        name = f"{self._source.name}-{quantisation.lower()}.gguf"
        self._write_gguf(self._folder / name, quantisation)
        probes = self._probes()
        self._progress(0.7, "Comparing what it says")
        report = gguf_check.compare_model(self._folder / name, self._base, probes, TOLERANCES[form])
        return report, self._modelfile(f"FROM ./{name}")

    def _gguf_adapter(self) -> tuple[CheckReport, list[str]]:
        assert self._adapter is not None
        name = f"{self._source.name}-adapter.gguf"
        gguf.write_adapter(self._folder / name, self._base, *self._adapter, name=self._source.name)
        probes = self._probes()
        with tempfile.TemporaryDirectory(dir=self._folder.parent) as aside:
            plain = Path(aside) / "base.gguf"
            if llamacpp.installed():
                gguf.write_model(plain, self._base, self._tokenizer, "F32")
            self._progress(0.7, "Comparing what it says")
            report = gguf_check.compare_adapter(
                self._folder / name,
                self._base,
                self._adapter,
                probes,
                plain,
                TOLERANCES["gguf-adapter"],
            )
        base_file = f"{file_name(self._base.name)}-f16.gguf"
        notes = self._modelfile(f"FROM ./{base_file}\nADAPTER ./{name}")
        said = f"It needs the base beside it: export 'base' as gguf-f16 for {base_file}."
        return report, [said, *notes]

    def _write_gguf(self, path: Path, quantisation: gguf.Quantisation) -> None:
        gguf.write_model(
            path,
            self._base,
            self._tokenizer,
            quantisation,
            self._adapter,
            name=self._source.name,
            progress=lambda share: self._progress(0.4 * share, "Writing the weights"),
        )

    def _modelfile(self, source: str) -> list[str]:
        try:
            content = modelfile.modelfile(
                source, self._tokenizer, self._source.system_prompt, self._base.context
            )
        except InvalidValueError as error:
            return [str(error)]
        (self._folder / "Modelfile").write_text(content, encoding="utf-8")
        return []

    def _probes(self, rounded_to: torch.dtype | None = None) -> list[check.Probe]:
        self._progress(0.45, "Asking the original")
        prompt = self._source.system_prompt
        return check.probes(self._base, self._tokenizer, self._adapter, prompt, rounded_to)


def _require_room(base: BaseModel, form: Form, folder: Path) -> None:
    """Refuse before anything is written what would not fit."""
    import psutil

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidValueError(
            f"{folder} is there already.", "An export never overwrites.", "Name another folder."
        )
    needed = 4 * base.parameters
    if (free := psutil.virtual_memory().available) < needed:
        raise MemoryFullError(
            "There is not enough memory to check the export.",
            f"It takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free.",
            "Close other programs, and try again.",
        )
    size = needed if form in ("merged", "gguf-adapter") else 2 * base.parameters
    above = next(each for each in (folder, *folder.parents) if each.exists())
    if form != "peft" and (free := shutil.disk_usage(above).free) < size:
        raise StorageFullError(
            "There is not enough room on the disk for the export.",
            f"It takes up to {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free.",
            "Choose a folder on another disk.",
        )


def _synced(folder: Path) -> dict[str, int]:
    """The files in `folder` and their sizes, once they are on the disk."""
    found = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        path.chmod(0o600)
        found[path.name] = path.stat().st_size
    files.sync_folder(folder)
    return found


def _unwritable(folder: Path, error: OSError) -> XenoError:
    return StorageFullError(
        f"{folder} could not be written; nothing is left of it.",
        f"The system says: {error.strerror or error}.",
        "Free some space, or choose a folder that you may write to.",
    )

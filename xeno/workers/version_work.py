"""The child for one piece of work on versions: `python -m xeno.workers.version_work`.

Commands: OpenProfile, then one of ExportVersion, ImportAdapter and CompareVersions; StopWork ends
it between two steps. Events: WorkProgress, then the answer; a failure is a Failure event and exit
status 1.
"""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

from xeno.errors import ChildError, InvalidValueError
from xeno.events import (
    AdapterImported,
    Command,
    CompareVersions,
    Event,
    ExportVersion,
    ImportAdapter,
    OpenProfile,
    StopWork,
    VersionExported,
    VersionsCompared,
    WorkProgress,
)
from xeno.gate.side_by_side import compare
from xeno.models.base import inspect_base
from xeno.store.profile import Profile
from xeno.versions import hub
from xeno.versions.export.forms import file_name, known_form
from xeno.versions.gate import find_base
from xeno.versions.importing import import_adapter
from xeno.versions.registry import Registry
from xeno.workers.host_client import base_folder
from xeno.workers.protocol import Channel, opened, run_child
from xeno.workers.version_work_client import prompt_to_export


class Worker:
    """Carries out the one order of one channel."""

    def __init__(self) -> None:
        self._stopping = False
        self.channel = Channel(self._urgent)

    def work(self) -> None:
        """Wait for a profile and an order, carry it out, and return."""
        profile: Profile | None = None
        for command in self.channel:
            if isinstance(command, OpenProfile):
                profile = opened(command)
                continue
            if profile is None:
                raise ChildError(f"The command {command.type} came before a profile.")
            with profile:
                self.channel.emit(self._carry_out(profile, command))
            return

    def _carry_out(self, profile: Profile, command: Command) -> Event:
        match command:
            case ExportVersion():
                return self._export(profile, command)
            case ImportAdapter():
                return self._import(profile, command)
            case CompareVersions():
                return self._compare(profile, command)
            case _:
                raise ChildError(f"This process does not know the command {command.type}.")

    def _export(self, profile: Profile, order: ExportVersion) -> VersionExported:
        prompt = prompt_to_export(profile) if order.with_prompt else None
        if prompt is not None and prompt.found and not order.consent:
            raise InvalidValueError(
                "The version was not exported.",
                f"The personal prompt holds {', '.join(prompt.found)}.",
                "Leave the prompt out, change it, or say that it may go.",
            )
        form = known_form(order.form)
        from xeno.versions.export.exporting import Source, export  # torch: seconds to import

        self._progress(0.0, "Opening the version")
        if order.version == "base":
            base, adapter = inspect_base(base_folder(profile), profile.home), None
            name = base.name
        else:
            tensors, version = Registry(profile).load(order.version)
            found = find_base(profile, version)
            if found is None:
                raise InvalidValueError(
                    f"{version.label} was not exported.",
                    f"Its base model, {version.manifest.base_name}, is not where it was.",
                    "Put the base model's folder back, or choose it with 'xeno base'.",
                )
            base, adapter = found, (tensors, version.manifest.adapter)
            name = f"{base.name}-{version.label}"
        source = Source(base, adapter, file_name(name), prompt.text if prompt else "")
        made = export(source, form, Path(order.folder), self._progress)
        return VersionExported(
            folder=str(made.folder),
            form=made.form,
            files=made.files,
            method=made.check.method,
            prompts=made.check.prompts,
            positions=made.check.positions,
            largest=made.check.largest,
            allowed=made.check.allowed,
            ties=made.check.ties,
            notes=made.notes,
        )

    def _import(self, profile: Profile, order: ImportAdapter) -> AdapterImported:
        base = inspect_base(base_folder(profile), profile.home)
        with tempfile.TemporaryDirectory(prefix="xeno-import-") as aside:
            folder = Path(order.source).expanduser()
            if not folder.exists() and hub.is_hub_id(order.source):
                folder = Path(aside)
                self._progress(0.0, "Asking the Hub")
                hub.download(
                    order.source,
                    folder,
                    lambda size: self._progress(0.0, f"Downloading, {size / 1e6:.0f} MB"),
                )
            self._progress(0.5, "Checking the adapter")
            made = import_adapter(
                profile,
                folder,
                base,
                description=order.description,
                for_this_base=order.for_this_base,
            )
        return AdapterImported(
            address=made.version.address,
            label=made.version.label,
            known=made.known,
            notes=made.notes,
        )

    def _compare(self, profile: Profile, order: CompareVersions) -> VersionsCompared:
        found = compare(
            profile,
            order.versions,
            inspect_base(base_folder(profile), profile.home),
            order.prompts,
            self._progress,
            held_out=order.held_out,
            max_tokens=order.max_tokens,
        )
        return VersionsCompared(comparison=found.model_dump(mode="json"))

    def _progress(self, share: float, text: str) -> None:
        if self._stopping:
            raise _stopped()
        self.channel.emit(WorkProgress(share=share, text=text))

    def _urgent(self, command: Command) -> bool:
        self._stopping |= isinstance(command, StopWork)
        return isinstance(command, StopWork)


def _stopped() -> ChildError:
    return ChildError("It was stopped.", "Nothing is left of it.", "Start it again.")


def _terminated(*_: object) -> None:
    raise _stopped()  # so that what is half done is cleared away


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)
    worker = Worker()
    run_child(worker.work, worker.channel.emit)

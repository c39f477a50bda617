"""The model host child: `python -m xeno.workers.host`. Keeps one base model warm and answers.

Commands: OpenProfile, LoadBase, then Generate, StopReply and Score until Quit. Requests are
answered one after the other on the main thread; a stop is noticed between two tokens. Which
version answers is read from the profile's database before each reply, so a deployment by any
process counts from the next reply on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xeno.errors import ChildError, DamagedDataError, XenoError
from xeno.events import (
    Command,
    Generate,
    HostReady,
    LoadBase,
    OpenProfile,
    Quit,
    ReplyDelta,
    ReplyFinished,
    Score,
    Scored,
    StopReply,
)
from xeno.models.base import inspect_base
from xeno.store.profile import Profile
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Registry, Version
from xeno.workers.protocol import Channel, failure, opened, run_child

if TYPE_CHECKING:
    from xeno.inference.engine import Engine


class Host:
    """Carries out the commands of one channel."""

    def __init__(self) -> None:
        self._profile: Profile | None = None
        self._engine: Engine | None = None
        self._stopped: set[str] = set()
        self._quitting = False
        self.channel = Channel(self._urgent)

    def work(self) -> None:
        """Answer until Quit."""
        for command in self.channel:
            match command:
                case OpenProfile():
                    self._profile = opened(command)
                case LoadBase():
                    self._load(Path(command.folder))
                case Generate() | Score():
                    self._answer(command)
                case _:
                    raise ChildError(f"The model host does not know the command {command.type}.")
        if self._profile is not None:
            self._profile.close()

    def _urgent(self, command: Command) -> bool:
        if isinstance(command, StopReply):
            self._stopped.add(command.request)
            return True
        if isinstance(command, Quit):
            self._quitting = True  # the reply at hand ends, then the command is met in line
        return False

    def _load(self, folder: Path) -> None:
        if self._profile is None:
            raise ChildError("The model host was given a base before a profile.")
        base = inspect_base(folder, self._profile.home)
        from xeno.inference.engine import Engine  # torch: seconds to import

        self._engine = engine = Engine(base)
        self.channel.emit(
            HostReady(
                name=base.name,
                base_hash=base.base_hash,
                parameters=base.parameters,
                context=base.context,
                dtype=engine.dtype,
                threads=engine.threads,
                notes=engine.notes,
            )
        )

    def _answer(self, command: Generate | Score) -> None:
        try:
            if isinstance(command, Generate):
                self.channel.emit(self._reply(command))
            else:
                self.channel.emit(self._scores(command))
        except Exception as error:  # one request's edge: the next one can still be answered
            self.channel.emit(failure(error, command.request))
        finally:
            self._stopped.discard(command.request)

    def _reply(self, command: Generate) -> ReplyFinished:
        engine = self._loaded()
        version, fallback = self._activate(command.version)
        generation = engine.generate(
            command.messages,
            command.sampling,
            on_text=lambda text: self.channel.emit(ReplyDelta(request=command.request, text=text)),
            stopped=lambda: self._quitting or command.request in self._stopped,
        )
        return ReplyFinished(
            request=command.request,
            text=generation.text,
            reason=generation.reason,
            version=version.address if version else None,
            base_hash=engine.base.base_hash,
            prompt_tokens=generation.prompt_tokens,
            reply_tokens=generation.reply_tokens,
            first_token_seconds=generation.first_token_seconds,
            tokens_per_second=generation.tokens_per_second,
            dropped_turns=generation.dropped_turns,
            memory_bytes=_memory_bytes(),
            fallback=fallback,
        )

    def _scores(self, command: Score) -> Scored:
        version, fallback = self._activate(command.version)
        if fallback is not None:
            raise XenoError("The pairs were not scored.", fallback, "Name another version.")
        scores = self._loaded().score(command.pairs)
        return Scored(
            request=command.request,
            scores=tuple(scores),
            version=version.address if version else None,
        )

    def _activate(self, wanted: str) -> tuple[Version | None, str | None]:
        """Put the version `wanted` into the engine: it, or None for the base with the reason
        why, if there is one. Only "active" falls back; a version named must answer itself."""
        engine, profile = self._loaded(), self._profile
        assert profile is not None
        if wanted == "base":
            engine.deactivate()
            return None, None
        registry = Registry(profile)
        if wanted != "active":
            version = registry.get(wanted)
            self._put(registry, version)
            return version, None
        deployment, notice = Deployment(profile), None
        try:
            active = deployment.active()
            while active is not None:
                try:
                    self._put(registry, active)
                    return active, notice
                except DamagedDataError as error:
                    active = deployment.fall_back(active, str(error))
                    answers = "the base model" if active is None else active.label
                    notice = f"{error} It is quarantined, and {answers} answered."
        except XenoError as error:
            notice = f"The base model answered: {error}"
        engine.deactivate()
        return None, notice

    def _put(self, registry: Registry, version: Version) -> None:
        engine = self._loaded()
        if version.base_hash != engine.base.base_hash:
            raise XenoError(
                f"{version.label} belongs to another base model.",
                f"It was trained on {version.manifest.base_name}; {engine.base.name} is loaded.",
                "Choose that base model, or another version.",
            )
        if engine.active_address != version.address:
            tensors, _ = registry.load(version.address)
            engine.activate(version.address, tensors, version.manifest.adapter)

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise ChildError("The model host has no base model loaded.")
        return self._engine


def _memory_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def main() -> None:
    """Run the model host until Quit."""
    host = Host()
    run_child(host.work, host.channel.emit)


if __name__ == "__main__":
    main()

"""The model host child: `python -m xeno.workers.host`. Keeps one base model warm and answers.

Commands: OpenProfile, LoadBase, then Generate, StopReply and Score until Quit. Requests are
answered one after the other on the main thread; a stop is noticed between two tokens. Which
version answers is read from the profile's database before each reply, so a deployment by any
process counts from the next reply on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xeno.errors import ChildError, XenoError
from xeno.events import (
    ChatMessage,
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
from xeno.inference.settings import read_settings
from xeno.models.base import inspect_base
from xeno.store.profile import Profile
from xeno.workers.protocol import Channel, failure, opened, run_child

if TYPE_CHECKING:
    from xeno.inference.serving import Serving


class Host:
    """Carries out the commands of one channel."""

    def __init__(self) -> None:
        self._profile: Profile | None = None
        self._serving: Serving | None = None
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
        profile = self._opened()
        base, settings = inspect_base(folder, profile.home), read_settings(profile)
        from xeno.inference.adapter_cache import AdapterCache
        from xeno.inference.engine import Engine  # torch: seconds to import
        from xeno.inference.serving import Serving

        engine = Engine(base, settings.dtype, settings.threads or None)
        self._serving = Serving(engine, AdapterCache(settings.cache_bytes, settings.cache_seconds))
        self.channel.emit(
            HostReady(
                name=base.name,
                base_hash=base.base_hash,
                parameters=base.parameters,
                context=base.context,
                dtype=engine.dtype,
                threads=engine.threads,
                decoder=engine.decoder.name,
                notes=engine.notes,
            )
        )

    def _answer(self, command: Generate | Score) -> None:
        try:
            if isinstance(command, Generate):
                finished = self._reply(command)
                self.channel.emit(finished)
                self._read_ahead(command, finished)
            else:
                self.channel.emit(self._scores(command))
        except Exception as error:  # one request's edge: the next one can still be answered
            self.channel.emit(failure(error, command.request))
        finally:
            self._stopped.discard(command.request)

    def _reply(self, command: Generate) -> ReplyFinished:
        serving = self._loaded()
        answer = serving.answer(
            serving.find(self._opened(), command.version, command.conversation),
            command.messages,
            command.sampling,
            falls_back=command.version == "active",
            on_text=lambda text: self.channel.emit(ReplyDelta(request=command.request, text=text)),
            stopped=lambda: self._quitting or command.request in self._stopped,
        )
        return answer.record(command.request)

    def _read_ahead(self, command: Generate, finished: ReplyFinished) -> None:
        """While the user reads: what was said becomes the beginning of the next prompt."""
        if finished.reason != "stopped" and not finished.dropped_turns:
            reply = ChatMessage(role="assistant", content=finished.text)
            talk = (*command.messages, reply)
            self._loaded().engine.read_ahead(talk, lambda: self.channel.waiting)

    def _scores(self, command: Score) -> Scored:
        serving = self._loaded()
        choice = serving.find(self._opened(), command.version)
        if choice.fallback is not None:
            raise XenoError("The pairs were not scored.", choice.fallback, "Name another version.")
        serving.use(choice)
        return Scored(
            request=command.request,
            scores=tuple(serving.engine.score(command.pairs)),
            version=choice.version.address if choice.version else None,
        )

    def _loaded(self) -> Serving:
        if self._serving is None:
            raise ChildError("The model host has no base model loaded.")
        return self._serving

    def _opened(self) -> Profile:
        if self._profile is None:
            raise ChildError("The model host was given a base before a profile.")
        return self._profile


def main() -> None:
    """Run the model host until Quit."""
    host = Host()
    run_child(host.work, host.channel.emit)


if __name__ == "__main__":
    main()

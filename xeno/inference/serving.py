"""Which version answers, and the reply that comes of it: found, verified, kept in memory, merged
into the weights just before the reply; the base where that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import psutil

from xeno.errors import DamagedDataError, XenoError, out_of_memory
from xeno.events import ChatMessage, ReplyFinished, Sampling, Trial
from xeno.experiments.routing import route
from xeno.inference.adapter_cache import Adapter, AdapterCache
from xeno.inference.engine import Engine, Generation
from xeno.store.profile import Profile
from xeno.versions.deployment import Deployment
from xeno.versions.registry import Registry, Version


@dataclass(frozen=True)
class Choice:
    """What shall answer `user`: a version with its adapter, or the base. `fallback` says why it
    answers in place of the version that was wanted, if it does; `trial` is what its reply counts
    for; `cached`: the adapter was in memory already (None for the base)."""

    user: str
    version: Version | None = None
    adapter: Adapter | None = None
    fallback: str | None = None
    trial: Trial | None = None
    cached: bool | None = None


@dataclass(frozen=True)
class Answer:
    """A reply, what gave it, and what that took. `switch_seconds` is 0 where the weights stayed;
    `memory_bytes` is what the process holds."""

    generation: Generation
    choice: Choice
    base_hash: str
    switch_seconds: float
    memory_bytes: int

    def record(self, request: str) -> ReplyFinished:
        """What is told and kept of the reply to `request`."""
        generation, version = self.generation, self.choice.version
        return ReplyFinished(
            request=request,
            text=generation.text,
            reason=generation.reason,
            version=version.address if version else None,
            base_hash=self.base_hash,
            prompt_tokens=generation.prompt_tokens,
            reply_tokens=generation.reply_tokens,
            first_token_seconds=generation.first_token_seconds,
            tokens_per_second=generation.tokens_per_second,
            dropped_turns=generation.dropped_turns,
            cut_tokens=generation.cut_tokens,
            reused_tokens=generation.reused_tokens,
            switch_seconds=self.switch_seconds,
            memory_bytes=self.memory_bytes,
            fallback=self.choice.fallback,
            trial=self.choice.trial,
            cache_hit=self.choice.cached,
        )


class Serving:
    """Versions of any number of users on one engine.

    `find` is safe from any thread. `use` and `answer` belong to the thread that made the
    engine, so a reply that is under way is never changed by what is found meanwhile.

    Args:
        engine: the engine with the base.
        cache: where opened adapters are kept.
    """

    def __init__(self, engine: Engine, cache: AdapterCache) -> None:
        self.engine = engine
        self.cache = cache
        self._user: str | None = None

    def find(self, profile: Profile, wanted: str, conversation: str | None = None) -> Choice:
        """The version `wanted` of `profile`: "active", "base", or as in `Registry.get`.

        With "active" a canary or a test in the chat may choose another one for `conversation`
        (`xeno.experiments.routing`). Only "active" falls back to the base; a version that is
        named must answer itself.

        Raises:
            XenoError: the version named is not there, damaged, or of another base.
        """
        if wanted == "base":
            return Choice(profile.name)
        if wanted != "active":
            return self._opened(profile, Registry(profile).get(wanted))
        deployment, notice = Deployment(profile), None
        routed = route(profile, conversation)
        try:
            active = Registry(profile).get(routed.address) if routed.address else None
            while active is not None:
                try:
                    choice = self._opened(profile, active)
                    return replace(choice, fallback=notice, trial=routed.trial)
                except DamagedDataError as error:
                    damaged, active = active, deployment.fall_back(active, str(error))
                    answers = "the base model" if active is None else active.label
                    notice = f"{damaged.label} is damaged and quarantined, {answers} answered: "
                    notice += str(error)
        except XenoError as error:
            return replace(fallen_back(profile.name, error), trial=routed.trial)
        return Choice(profile.name, fallback=notice, trial=routed.trial)

    def use(self, choice: Choice) -> float:
        """Put `choice` into the engine and return the seconds that took.

        Raises:
            XenoError: the adapter does not fit; the base is in the engine then.
        """
        begun = time.perf_counter()
        if choice.user != self._user:
            self.engine.forget()  # what one user said is not kept while another is answered
            self._user = choice.user
        adapter = choice.adapter
        if (adapter.address if adapter else None) == self.engine.active_address:
            return 0.0
        if adapter is None:
            self.engine.deactivate()
        else:
            self.engine.activate(adapter.address, adapter.tensors, adapter.config)
        return time.perf_counter() - begun

    def answer(
        self,
        choice: Choice,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        *,
        falls_back: bool,
        on_text: Callable[[str], None] = lambda text: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """A reply of `choice`; see `Engine.generate`.

        Args:
            falls_back: let the base answer where the version fails before its first word.

        Raises:
            XenoError: what `use` and `Engine.generate` raise.
        """
        shown = False

        def show(text: str) -> None:
            nonlocal shown
            shown = True
            on_text(text)

        begun = time.perf_counter()
        try:
            switch = self.use(choice)
            generation = self.engine.generate(messages, sampling, on_text=show, stopped=stopped)
        except (XenoError, MemoryError, RuntimeError) as error:  # the last two are torch's
            if choice.adapter is None or shown or not falls_back:
                raise
            choice = replace(fallen_back(choice.user, error), trial=choice.trial)
            self.use(choice)
            switch = time.perf_counter() - begun
            generation = self.engine.generate(messages, sampling, on_text=on_text, stopped=stopped)
        return Answer(
            generation=generation,
            choice=choice,
            base_hash=self.engine.base.base_hash,
            switch_seconds=switch,
            memory_bytes=int(psutil.Process().memory_info().rss),
        )

    def _opened(self, profile: Profile, version: Version) -> Choice:
        if version.base_hash != self.engine.base.base_hash:
            raise XenoError(
                f"{version.label} belongs to another base model.",
                f"It was trained on {version.manifest.base_name}; "
                f"{self.engine.base.name} is loaded.",
                "Choose that base model, or another version.",
            )

        cached = True

        def load() -> Adapter:
            nonlocal cached
            cached = False
            tensors, _ = Registry(profile).load(version.address)
            self.engine.check(tensors, version.manifest.adapter)
            return Adapter(version.address, tensors, version.manifest.adapter)

        adapter = self.cache.get((profile.name, version.address), load)
        return Choice(profile.name, version, adapter, cached=cached)


def fallen_back(user: str, error: BaseException) -> Choice:
    """The base in place of a version that failed with `error`."""
    if isinstance(error, XenoError):
        said = str(error)
    elif out_of_memory(error):
        said = "There is not enough memory for the version."
    else:
        said = f"The version could not be computed ({type(error).__name__})."
    return Choice(user, fallback=f"The base model answered: {said}")

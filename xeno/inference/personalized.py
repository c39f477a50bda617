"""`PersonalizedInferenceEngine`, for scripts: one base model that answers several users, each as
the user's own version does."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from xeno.errors import InvalidValueError, XenoError
from xeno.events import ChatMessage
from xeno.experiments.observing import measurements
from xeno.inference.settings import ReplySettings, drawn, read_settings
from xeno.models.base import inspect_base
from xeno.models.starter import starter_folder
from xeno.paths import Home
from xeno.performance.metrics import PerformanceTracker
from xeno.personalization.engine import PersonalizationEngine
from xeno.personalization.memories import system_prompt
from xeno.personalization.memory import ContextualMemory
from xeno.store.profile import Profile, open_profile
from xeno.versions.deployment import BASE

if TYPE_CHECKING:
    from xeno.inference.serving import Answer, Choice, Serving

_MODEL = "inference.model"  # the setting that names the model a user activated
ACTIVE = "active"


class PersonalizedInferenceEngine:
    """Answers users with their versions. Safe from any thread; a context manager that closes
    itself.

    Replies are computed one after the other on a thread of their own. Activating never waits for
    a reply and never changes one that is under way: it counts from the user's next reply on.

    Args:
        base: folder of the base model that all versions must belong to; None is the starter.
        home: where the profiles are; None is the default home.
        profiles: profiles that are open already, by user; they stay open.
        settings: how replies are computed, and what opened versions may take.
    """

    def __init__(
        self,
        base: Path | None = None,
        *,
        home: Home | None = None,
        profiles: Mapping[str, Profile] | None = None,
        settings: ReplySettings | None = None,
    ) -> None:
        self._base = base
        self._home = home
        self._settings = settings or ReplySettings()
        self._given = dict(profiles or {})
        self._opened: dict[str, Profile] = {}
        self._wanted: dict[str, str] = {}
        self._lock = threading.RLock()
        self._loaded: Serving | None = None
        self._closed = False
        self._computing = ThreadPoolExecutor(1, thread_name_prefix="replies")

    def activate_personalized_model(self, user_id: str, model_id: int | str) -> bool:
        """Let `model_id` answer `user_id` from the next reply on; kept in the profile.

        Args:
            user_id: a profile's name; made if there is none.
            model_id: a version as `Registry.get` takes it, "base", or "active": what is deployed.

        Returns:
            Whether it can answer. If not, the base model does, and each reply says why.

        Raises:
            InvalidValueError: the user cannot be a profile, or the id is no text or number.
            BaseModelError: the base model cannot be loaded.
        """
        if not isinstance(model_id, int | str) or isinstance(model_id, bool):
            raise InvalidValueError(
                "This names no model.", f"It is a {type(model_id).__name__}.", "Give its id."
            )
        profile, wanted = self._profile(user_id), str(model_id)
        choice = self._choice(profile, wanted)
        with self._lock:
            self._wanted[user_id] = wanted
        if choice.fallback is not None:
            return False
        named = choice.version if wanted != ACTIVE else None
        kept = named.address if named else wanted
        if profile.setting(_MODEL, ACTIVE) != kept:
            profile.set_setting(_MODEL, kept)
        return True

    def generate_response(
        self,
        user_id: str,
        prompt: str | Sequence[ChatMessage],
        *,
        on_text: Callable[[str], None] = lambda text: None,
        stopped: Callable[[], bool] = lambda: False,
        **sampling: Any,
    ) -> tuple[str, dict[str, Any]]:
        """Answer `prompt` as the model does that `user_id` activated (without one: what is
        deployed), with the user's preferences and memories as the system prompt.

        Args:
            prompt: the user's words, or a conversation whose last turn is the user's.
            on_text: called with each piece of the reply, on another thread.
            stopped: asked between tokens, on another thread; True ends the reply.
            sampling: fields of `Sampling` that differ from the user's settings.

        Returns:
            The reply, and how it came about: `model` ("v3", "base") and the fields of
            `events.ReplyFinished`, among them `version` (its address), `fallback` (why the base
            answered in place of a version, or None), `reason`, tokens, seconds and bytes. The
            measurements are kept for `PerformanceTracker`.

        Raises:
            InvalidValueError: the user cannot be a profile, there is nothing to answer, or a
                sampling value is out of range.
        """
        profile = self._profile(user_id)
        how = drawn(read_settings(profile).sampling, sampling)
        messages = _messages(profile, prompt)
        with self._lock:
            wanted = self._wanted.get(user_id) or str(profile.setting(_MODEL, ACTIVE))
        choice = self._choice(profile, wanted)
        answer: Answer = self._computing.submit(
            self._serving().answer,
            choice,
            messages,
            how,
            falls_back=True,
            on_text=on_text,
            stopped=stopped,
        ).result()
        version = answer.choice.version
        finished = answer.record(uuid.uuid4().hex)
        with PerformanceTracker(profile.name, profile=profile) as tracker:
            tracker.record_metrics(finished.version or BASE, measurements(finished))
        about = finished.model_dump(exclude={"type", "request", "text", "trial"})
        return finished.text, {"model": version.label if version else BASE, **about}

    def cache_statistics(self) -> dict[str, int]:
        """Opened versions: `hits`, `misses`, how many are `kept`, and their `bytes`."""
        cache = self._serving().cache
        return {
            "hits": cache.hits,
            "misses": cache.misses,
            "kept": len(cache),
            "bytes": cache.bytes,
        }

    def close(self) -> None:
        """Wait for replies under way, and close the profiles that were opened here."""
        with self._lock:
            self._closed = True
        self._computing.shutdown()
        with self._lock:
            self._loaded = None
            opened, self._opened = list(self._opened.values()), {}
        for profile in opened:
            profile.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _profile(self, user_id: str) -> Profile:
        with self._lock:
            known = self._given.get(user_id) or self._opened.get(user_id)
            if known is None:
                self._require_open()
                known = open_profile(self._home or Home.at(), user_id)
                self._opened[user_id] = known
            return known

    def _choice(self, profile: Profile, wanted: str) -> Choice:
        from xeno.inference.serving import fallen_back

        serving = self._serving()
        try:
            return serving.find(profile, wanted)
        except (XenoError, MemoryError) as error:
            return fallen_back(profile.name, error)

    def _require_open(self) -> None:
        if self._closed:
            raise XenoError("This engine is closed.", "", "Make another one.")

    def _serving(self) -> Serving:
        with self._lock:
            self._require_open()
            if self._loaded is None:
                self._loaded = self._computing.submit(self._load).result()
            return self._loaded

    def _load(self) -> Serving:
        from xeno.inference.adapter_cache import AdapterCache
        from xeno.inference.engine import Engine  # torch: seconds to import
        from xeno.inference.serving import Serving

        settings, home = self._settings, self._home or Home.at()
        base = inspect_base(self._base or starter_folder(), home)
        engine = Engine(base, settings.dtype, settings.threads or None)
        return Serving(engine, AdapterCache(settings.cache_bytes, settings.cache_seconds))


def _messages(profile: Profile, prompt: str | Sequence[ChatMessage]) -> list[ChatMessage]:
    turns = [ChatMessage(role="user", content=prompt)] if isinstance(prompt, str) else [*prompt]
    if not turns or turns[-1].role != "user" or not turns[-1].content.strip():
        raise InvalidValueError(
            "There is nothing to answer.",
            "The last turn is no words of the user.",
            "Ask something.",
        )
    memories = ContextualMemory(profile.name, profile=profile).chosen_for(turns[-1].content)
    prefix = PersonalizationEngine(profile.name, profile=profile).get_personalized_prompt_prefix()
    said = system_prompt(prefix, memories)
    return [ChatMessage(role="system", content=said), *turns] if said else turns

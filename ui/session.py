"""What every part of the window shares: the open profile, the model host, and the news.

A signal here says that something changed; whoever shows it reads it again, off this thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from PyQt6.QtCore import QObject, pyqtSignal

from ui.tasks import Tasks
from ui.theme import Theme
from ui.window_runs import WindowRuns
from xeno.assistant import Assistant
from xeno.errors import InvalidValueError
from xeno.events import CanaryRolledBack, HostReady, RunFinished
from xeno.experiments.observing import News, words_of
from xeno.jobs.store import Queue
from xeno.models.base import BaseModel, inspect_base
from xeno.models.starter import starter_folder
from xeno.store.profile import Profile
from xeno.training.plan import TrainingPlan
from xeno.workers.host_client import BASE_SETTING, HostClient, base_folder
from xeno.workers.intents_client import IntentsClient

PLAN = "plan."  # the settings that hold the fields of the next run's plan
_WINDOW_SETTINGS = (
    "ui.theme",
    "ui.text_size",
    "ui.geometry",
    "ui.layout",
    "ui.smoothing",
    "ui.notify",
    BASE_SETTING,
)


def read_settings(profile: Profile) -> dict[str, Any]:
    """All settings the window needs, read in one go so that it never waits for one."""
    names = [*_WINDOW_SETTINGS, *(PLAN + field for field in TrainingPlan.model_fields)]
    found = {name: profile.setting(name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


class Session(QObject):
    """One open profile in the window.

    Args:
        profile: the open profile; closed by `close`.
        theme: the look.
        settings: what `read_settings` gave.
    """

    pairs_changed = pyqtSignal()
    preferences_changed = pyqtSignal()
    plan_changed = pyqtSignal()  # a setting of the next run, or the base model
    versions_changed = pyqtSignal()  # which there are, which is active, the ledger
    replies_changed = pyqtSignal()  # a reply or feedback was kept
    run_started = pyqtSignal(str)
    run_finished = pyqtSignal(RunFinished)
    host_state = pyqtSignal(str, str)  # "starting" | "ready" | "stopped" | "failed", a sentence
    news = pyqtSignal(object)  # News: what followed where no reply came
    told = pyqtSignal(str, str)  # something that went well: a sentence, a detail

    def __init__(self, profile: Profile, theme: Theme, settings: dict[str, Any]) -> None:
        super().__init__()
        self.profile = profile
        self.theme = theme
        self._settings = dict(settings)
        self.tasks = Tasks(self)
        self.host = HostClient(profile)
        self.news.connect(self.tell)  # on this thread: `news` comes from the one that waited
        self.assistant = Assistant(profile, self.host, on_news=self.news.emit)
        self.intents = IntentsClient(profile)
        self.host_ready: HostReady | None = None
        self.queue = Queue(profile.home)
        self.runs = WindowRuns(self.queue, profile, self.tasks, self)
        self.runs.failed.connect(self.tasks.failed)

    def tell(self, news: News) -> None:
        """Tell the user what followed from a reply, or from its failure."""
        self.told.emit(words_of(news), "The Performance tab shows the numbers.")
        if isinstance(news, CanaryRolledBack):
            self.versions_changed.emit()

    # Settings -----------------------------------------------------------------------------

    def setting(self, name: str, default: Any = None) -> Any:
        """A setting of the window or of the next run, without waiting."""
        return self._settings.get(name, default)

    def set(self, name: str, value: Any) -> None:
        """Keep a setting; written in order, off this thread."""
        if self._settings.get(name) == value:
            return
        self._settings[name] = value
        self.tasks.run(lambda: self.profile.set_setting(name, value), in_order=True)
        if name.startswith(PLAN):
            self.plan_changed.emit()

    def set_plan(self, values: Mapping[str, Any]) -> None:
        """Change several settings of the next run at once."""
        changed = {
            PLAN + name: value
            for name, value in values.items()
            if self.setting(PLAN + name, TrainingPlan.model_fields[name].default) != value
        }
        if not changed:
            return
        self._settings |= changed

        def write() -> None:
            for name, value in changed.items():
                self.profile.set_setting(name, value)

        self.tasks.run(write, in_order=True)
        self.plan_changed.emit()

    def base(self) -> Path:
        """The base model that chat and training use.

        Raises:
            BaseModelError: if none was chosen and this installation has no starter model.
        """
        chosen = self._settings.get(BASE_SETTING)
        return Path(str(chosen)) if chosen else starter_folder()

    def plan(self) -> TrainingPlan:
        """The plan of the next run, as set in the Training and Privacy tabs.

        Raises:
            BaseModelError: if there is no base model.
            InvalidValueError: if the settings do not go together.
        """
        values = {
            name.removeprefix(PLAN): value
            for name, value in dict(self._settings).items()  # a copy: also read by workers
            if name.startswith(PLAN)
        }
        try:
            return TrainingPlan.model_validate({**values, "base": str(self.base())})
        except ValidationError as error:
            raise InvalidValueError(
                "The settings of the next run do not go together.",
                "; ".join(f"{_named(each['loc'])}{each['msg']}" for each in error.errors()) + ".",
                "Change them in the advanced settings of the Training tab.",
            ) from error

    def adopt(
        self,
        plan: TrainingPlan,
        done: Callable[[], object],
        failed: Callable[[BaseException], None],
        *,
        owner: QObject,
    ) -> None:
        """Make `plan` that of the next run, with its base; all as it was where that `failed`."""
        folder = Path(plan.base)

        def usable(_: BaseModel) -> None:
            if folder != self.base():
                self.use_base(None if folder == starter_folder() else folder)
            self.set_plan(plan.model_dump(exclude={"base"}))
            done()

        self.do(lambda: inspect_base(folder, self.profile.home), usable, owner=owner, failed=failed)

    def use_base(self, folder: Path | None) -> None:
        """Chat and train on the base in `folder`; None is the starter."""
        value = str(folder) if folder else None
        self._settings[BASE_SETTING] = value

        def change() -> None:
            self.profile.set_setting(BASE_SETTING, value)
            self.host.use_base(None)

        self.tasks.run(change, lambda _: self.warm_host(), owner=self, in_order=True)
        self.plan_changed.emit()

    def restart_host(self) -> None:
        """Load the model again, with the settings of replies as they are now."""
        self.tasks.run(
            lambda: self.host.use_base(None), lambda _: self.warm_host(), owner=self, in_order=True
        )

    # Model host ---------------------------------------------------------------------------

    def warm_host(self) -> None:
        """Start the model host, so that the first reply comes soon."""
        self.host_state.emit("starting", "Loading the model…")

        def ready() -> tuple[HostReady, Path]:
            return self.host.ready(), base_folder(self.profile)

        def loaded(answer: tuple[HostReady, Path]) -> None:
            self.host_ready = answer[0]
            self.host_state.emit("ready", "Ready")

        self.tasks.run(ready, loaded, self._host_failed, owner=self, key="host")

    def _host_failed(self, error: BaseException) -> None:
        self.host_ready = None
        self.host_state.emit("failed", str(error))

    # Running work -------------------------------------------------------------------------

    def do(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], None] | None = None,
        *,
        owner: QObject | None = None,
        key: str | None = None,
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Short for `tasks.run`."""
        self.tasks.run(work, done, failed, owner=owner, key=key)

    def close(self) -> None:
        """End the children, finish the writes, close the profile. Blocks; at the very end."""
        self.host.close()
        self.intents.close()
        self.runs.close()
        self.tasks.close()
        self.queue.close()
        self.profile.close()


def _named(place: tuple[int | str, ...]) -> str:
    """The title of the setting that an error is about, with a colon; empty if of none."""
    field = TrainingPlan.model_fields.get(str(place[0])) if place else None
    return f"{field.title}: " if field else ""

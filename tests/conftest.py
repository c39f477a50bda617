"""What all tests share: a home of their own, no network, no keyring, and no leftovers."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Set before anything is imported, and inherited by every child a test starts.
os.environ.update(
    QT_QPA_PLATFORM="offscreen",
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TRANSFORMERS_NO_ADVISORY_WARNINGS="1",
    TOKENIZERS_PARALLELISM="false",
    OMP_WAIT_POLICY="PASSIVE",
    PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring",
)

import psutil
import pytest

from xeno.errors import BaseModelError
from xeno.events import ChatMessage
from xeno.models.starter import starter_folder
from xeno.paths import Home
from xeno.store.pairs import Pairs, new_pair
from xeno.store.profile import Profile, open_profile

_GRACE_SECONDS = 5.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home, which is also the default one while the test runs."""
    folder = tmp_path / "home"
    monkeypatch.setenv("XENO_HOME", str(folder))
    return Home.at(folder)


@pytest.fixture
def profile(home: Home) -> Iterator[Profile]:
    """An open profile whose key lies in a file."""
    with open_profile(home) as opened:
        yield opened


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and real small models; tests that need it are skipped
    where it is not there."""
    configured = os.environ.get("XENO_SHARED")
    beside = Path(__file__).resolve().parent.parent.parent / "shared"
    folder = Path(configured) if configured else beside
    if not folder.is_dir():
        pytest.skip("needs the shared data (XENO_SHARED)")
    return folder


@pytest.fixture(scope="session")
def shared_data(shared: Path) -> Path:
    """The shared data sets."""
    if not (shared / "data").is_dir():
        pytest.skip("needs the shared data (XENO_SHARED)")
    return shared / "data"


@pytest.fixture(scope="session")
def shared_models(shared: Path) -> Path:
    """The shared small models."""
    if not (shared / "models").is_dir():
        pytest.skip("needs the shared models (XENO_SHARED)")
    return shared / "models"


@pytest.fixture(scope="session")
def real_base(request: pytest.FixtureRequest) -> Path:
    """The starter model; a shared one where it was not built."""
    try:
        return starter_folder()
    except BaseModelError:
        return request.getfixturevalue("shared_models") / "stories260K"


@pytest.fixture
def taught(profile: Profile) -> Profile:
    """A profile with 24 pairs of one taste."""
    pairs = Pairs(profile.db)
    for number in range(24):
        pairs.add(
            new_pair(
                profile.name,
                [ChatMessage(role="user", content=f"What about tea number {number}?")],
                "- Warm the pot.\n- Wait a little.",
                f"Well, tea number {number} is a drink that many people like, and it is warm.",
                feedback_type="correction",
                confidence=1.0,
                quality=1.0,
            )
        )
    return profile


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, a child process, a timer or a window behind."""
    # An application outlives the tests that use it, so it must be there before the count.
    if "qapp" in request.fixturenames or "qtbot" in request.fixturenames:
        request.getfixturevalue("qapp")
    checks = (_threads, _children, _qt_objects)
    before = [set(check()) for check in checks]
    yield
    for check, known in zip(checks, before, strict=True):
        left = _after_grace(check, known)
        if left:
            pytest.fail(f"{request.node.nodeid} left behind: " + "; ".join(left))


def _after_grace(check: Callable[[], dict[Any, str]], known: set[Any]) -> list[str]:
    """What is still there that was not before, once what is just ending has ended."""
    deadline = time.monotonic() + _GRACE_SECONDS
    while True:
        left = [name for identity, name in check().items() if identity not in known]
        if not left or time.monotonic() > deadline:
            return left
        gc.collect()
        time.sleep(0.02)


def _threads() -> dict[Any, str]:
    """Threads of ours, and every one that would keep the program from ending."""
    found: dict[Any, str] = {}
    for thread in threading.enumerate():
        module = getattr(getattr(thread, "_target", None), "__module__", None) or ""
        ours = f"{module}.{type(thread).__module__}".split(".")
        if thread is threading.main_thread() or isinstance(thread, threading._DummyThread):
            continue
        if not thread.daemon or "xeno" in ours or "ui" in ours:
            found[thread.ident] = f"thread {thread.name!r} of {module or type(thread).__name__}"
    return found


def _children() -> dict[Any, str]:
    """Child processes, without the helper that Python's multiprocessing keeps."""
    found: dict[Any, str] = {}
    for child in psutil.Process().children(recursive=True):
        try:
            command = " ".join(child.cmdline()[:6])
        except psutil.Error:
            continue
        if "multiprocessing.resource_tracker" not in command:
            found[child.pid, child.create_time()] = f"child {child.pid} ({command or 'ended'})"
    return found


def _qt_objects() -> dict[Any, str]:
    """Windows, running timers and running threads, where Qt is loaded."""
    widgets, core = sys.modules.get("PyQt6.QtWidgets"), sys.modules.get("PyQt6.QtCore")
    if core is None or core.QCoreApplication.instance() is None:
        return {}
    from PyQt6 import sip

    core.QCoreApplication.sendPostedEvents(None, core.QEvent.Type.DeferredDelete.value)
    core.QCoreApplication.processEvents()
    found: dict[Any, str] = {}
    if widgets is not None and isinstance(core.QCoreApplication.instance(), widgets.QApplication):
        for widget in widgets.QApplication.topLevelWidgets():
            name = widget.objectName() or widget.windowTitle()
            found[sip.unwrapinstance(widget)] = f"widget {type(widget).__name__} {name!r}"
    for candidate in gc.get_objects():
        if not isinstance(candidate, core.QTimer | core.QThread) or sip.isdeleted(candidate):
            continue
        running = (
            candidate.isActive() if isinstance(candidate, core.QTimer) else candidate.isRunning()
        )
        if running:
            owner = candidate.parent()
            found[sip.unwrapinstance(candidate)] = (
                f"{type(candidate).__name__} {candidate.objectName()!r} "
                f"of {type(owner).__name__ if owner else 'nobody'}"
            )
    return found

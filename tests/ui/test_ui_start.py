"""Starting: what is loaded, what is said without a display, one window per home, crashes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PyQt6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from ui.app import has_display
from ui.crash import CrashReports
from ui.passphrase_dialog import PassphraseDialog
from ui.single_instance import SingleInstance
from xeno.paths import Home

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "opacus",
    "bitsandbytes",
    "flwr",
    "sklearn",
    "scipy",
)


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
    )


def test_nothing_heavy_is_loaded_by_the_window() -> None:
    code = f"import sys, main, ui.app; print([m for m in {HEAVY} if m in sys.modules])"
    ended = _python(code)
    assert ended.stdout.strip() == "[]", ended.stderr


def test_plots_are_not_loaded_before_they_are_shown() -> None:
    ended = _python("import sys, ui.app; print('pyqtgraph' in sys.modules)")
    assert ended.stdout.strip() == "False", ended.stderr


def test_without_a_display_one_sentence_names_the_demo(home: Home) -> None:
    code = "import sys; from ui.app import main; sys.exit(main([]))"
    ended = _python(code, QT_QPA_PLATFORM="", DISPLAY="", WAYLAND_DISPLAY="")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "make demo" in ended.stderr


def test_a_display_that_does_not_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        pytest.skip("X11 only")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    monkeypatch.setenv("DISPLAY", ":987")
    assert not has_display()


def test_a_second_launch_raises_the_first(home: Home, qtbot: QtBot) -> None:
    first, second = SingleInstance(home), SingleInstance(home)
    try:
        assert first.claim()
        with qtbot.waitSignal(first.raised):
            assert not second.claim()
    finally:
        first.release()
    assert second.claim()
    second.release()


def test_another_home_may_have_a_window_of_its_own(
    home: Home, tmp_path: Path, qapp: QApplication
) -> None:
    first, second = SingleInstance(home), SingleInstance(Home(tmp_path / "other"))
    try:
        assert first.claim()
        assert second.claim()
    finally:
        first.release()
        second.release()


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_mistake_of_ours_becomes_a_report_in_the_home(
    home: Home, qtbot: QtBot, in_thread: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = CrashReports(home.folder / "crash-reports")
    reports.install()
    try:
        if in_thread:
            worker = threading.Thread(target=lambda: 1 / 0)
            worker.start()
            worker.join()
        else:
            try:
                _ = 1 / 0
            except ZeroDivisionError as error:
                sys.excepthook(type(error), error, error.__traceback__)
        qtbot.waitUntil(lambda: reports.dialog is not None)
    finally:
        reports.uninstall()
    assert reports.dialog is not None
    reports.dialog.close()
    reports.dialog.deleteLater()
    (kept,) = reports.folder.iterdir()
    assert "ZeroDivisionError" in kept.read_text("utf-8")
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_new_passphrase_is_written_twice(qtbot: QtBot) -> None:
    dialog = PassphraseDialog(creating=True)
    qtbot.addWidget(dialog)
    qtbot.keyClicks(dialog.first, "correct horse")
    assert not dialog.ok.isEnabled()
    assert "same" in dialog.ok.toolTip()
    qtbot.keyClicks(dialog.second, "correct horse")
    assert dialog.ok.isEnabled()

"""The settings of replies in the window."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.reply_settings_dialog import ReplySettingsDialog
from ui.session import Session
from xeno.inference.settings import ReplySettings, read_settings, write_settings


def test_what_is_changed_is_kept_and_only_another_computation_restarts_the_model(
    session: Session, qtbot: QtBot
) -> None:
    restarts: list[None] = []
    session.restart_host = lambda: restarts.append(None)  # type: ignore[method-assign]
    for name, value, restarted in (("temperature", 0.7, 0), ("dtype", "float32", 1)):
        dialog = ReplySettingsDialog(session, read_settings(session.profile))
        qtbot.addWidget(dialog)
        assert not dialog.save.isEnabled()
        assert dialog.save.toolTip() == "Nothing was changed."
        dialog.editors[name].edited.emit(value)
        assert dialog.save.isEnabled()
        with qtbot.waitSignal(dialog.accepted):
            dialog.save.click()
        assert getattr(read_settings(session.profile), name) == value
        assert len(restarts) == restarted


def test_every_setting_can_be_seen_and_brought_back_to_its_default(
    session: Session, qtbot: QtBot
) -> None:
    changed = {"temperature": 0.5, "top_k": 40, "seed": 7, "stop": ["End", "Stop"], "threads": 1}
    dialog = ReplySettingsDialog(session, write_settings(session.profile, changed))
    qtbot.addWidget(dialog)
    assert set(dialog.editors) == set(ReplySettings.model_fields)
    assert all(editor.widget.accessibleName() for editor in dialog.editors.values())
    assert dialog.editors["stop"].widget.text() == "End, Stop"  # type: ignore[attr-defined]
    dialog.defaults.click()
    with qtbot.waitSignal(dialog.accepted):
        dialog.save.click()
    assert read_settings(session.profile) == ReplySettings()


def test_the_dialog_opens_from_the_menu(window: MainWindow, qtbot: QtBot) -> None:
    window.change_reply_settings()
    qtbot.waitUntil(lambda: bool(window.findChildren(ReplySettingsDialog)))
    (dialog,) = window.findChildren(ReplySettingsDialog)
    assert dialog.isVisible()
    dialog.reject()

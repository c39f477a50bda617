"""The Versions tab: what is there, what answers, and every way forth and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QAbstractButton, QComboBox, QInputDialog, QLineEdit
from pytestqt.qtbot import QtBot
from tiny_models import make_llama
from version_parts import adapter, manifest_for, passed

from ui.compare_dialog import CompareDialog
from ui.deploy_dialog import DeployDialog
from ui.main_window import MainWindow
from ui.version_export_dialog import VersionExportDialog
from ui.versions_tab import VersionsTab
from xeno.experiments.canary import Canaries
from xeno.models.base import BaseModel, inspect_base
from xeno.store.pairs import Pairs
from xeno.store.profile import Profile
from xeno.versions.deployment import Deployment
from xeno.versions.gate import GateCheck, GateReport, record
from xeno.versions.records import ASSISTANT, Records
from xeno.versions.registry import Registry
from xeno.workers.host_client import BASE_SETTING

LEFT = Qt.MouseButton.LeftButton
CHILD = 120_000  # ms that a child with torch may take


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return inspect_base(make_llama(tmp_path_factory.mktemp("base") / "tiny"))


@pytest.fixture
def three(taught: Profile, base: BaseModel) -> Profile:
    """v1, and v2 and v3 from it, over a tiny model; v3 is too strong to pass the gate."""
    taught.set_setting(BASE_SETTING, str(base.folder))
    ids = [pair.id for pair in Pairs(taught.db).all()]
    parent = None
    for seed, accuracy, strength in ((1, 0.5, 1.0), (2, 0.75, 1.0), (3, 0.6, 1e4)):
        tensors = {name: strength * tensor for name, tensor in adapter(seed).items()}
        manifest = manifest_for(
            tensors,
            base.base_hash,
            pair_ids=tuple(ids[:seed]),
            parent=parent,
            metrics={"heldout_preference_accuracy": accuracy},
        )
        version = Registry(taught).release(tensors, manifest)
        parent = parent or version.address
    passed(taught, "v1", "v2")
    return taught


@pytest.fixture
def tab(three: Profile, window: MainWindow, qtbot: QtBot) -> Iterator[VersionsTab]:
    """The tab on screen with the three versions, v3 selected."""
    window.tabs.setCurrentWidget(window.versions)
    qtbot.waitUntil(lambda: window.versions.list.model.rowCount() == 3)
    yield window.versions
    window.versions.close_work()


def _choose(tab: VersionsTab, *labels: str) -> None:
    rows = [n for n, each in enumerate(tab.list.model.records) if each.label in labels]
    tab.list.table.choose_rows(rows)


def _passed_beside(address: str) -> GateReport:
    """A report that counts while the version `address` answers."""
    check = GateCheck(name="intact", passed=True, detail="It is whole.")
    return GateReport.of([check], complete=True, compared=address)


def _state(profile: Profile, ref: str) -> str:
    return Registry(profile).get(ref).state


def test_without_versions_it_says_so_and_nothing_can_be_done(
    window: MainWindow, qtbot: QtBot
) -> None:
    tab = window.versions
    window.tabs.setCurrentWidget(tab)
    qtbot.waitUntil(lambda: tab.answering.text().startswith("The base model answers"))
    assert tab.list.table.empty.startswith("No versions yet")
    for control in (tab.deploy, tab.back, tab.compare, tab.export, tab.delete):
        assert not control.isEnabled()
        assert control.toolTip()
    assert not tab.details.isVisible()
    assert tab.import_adapter.isEnabled()


def test_the_history_is_a_table_and_a_tree_and_can_be_filtered(
    tab: VersionsTab, three: Profile, qtbot: QtBot
) -> None:
    records = Records(three, ASSISTANT)
    records.tag("v2", "best")
    records.describe("v3", "with the new corrections")
    tab.reload()
    qtbot.waitUntil(lambda: tab.list.model.records[1].tags == ("best",))
    assert [each.label for each in tab.list.model.records] == ["v3", "v2", "v1"]
    cells = [tab.list.model.index(1, column).data() for column in range(5)]
    assert cells == ["v2", "checked", "75 %", "not private", "best"]
    tab.list.search.setText("best")
    assert [each.label for each in tab.list.chosen()] == ["v2"]
    tab.list.search.setText("corrections not")
    assert [each.label for each in tab.list.chosen()] == ["v3"]
    tab.list.search.clear()
    tab.list.form.setCurrentIndex(1)
    root = tab.list.tree.topLevelItem(0)
    assert root is not None
    assert (root.text(0), root.childCount()) == ("v1", 2)
    assert root.child(1).text(0) == "v3"  # type: ignore[union-attr]
    assert [each.label for each in tab.list.chosen()] == ["v3"]


def test_the_details_tell_of_the_pairs_the_parents_and_the_gate(
    tab: VersionsTab, three: Profile, qtbot: QtBot
) -> None:
    Pairs(three.db).delete(Registry(three).get("v3").manifest.pair_ids[0])
    failed = GateCheck(name="repetition", passed=False, detail="It repeats itself.")
    whole = GateCheck(name="intact", passed=True, detail="It is whole.")
    record(three, Registry(three).get("v3"), GateReport.of([whole, failed], complete=True))
    tab.reload()
    qtbot.waitUntil(lambda: "1 of 2 questions failed" in tab.details.gate.verdict.text())
    assert tab.details.gate.checks.words() == ["Failed: It repeats itself.", "Passed: It is whole."]
    assert "Not private" in tab.details.summary.toPlainText()
    lineage = tab.details.lineage.toPlainText()
    assert "base model → v1 → v3" in lineage
    assert "What about tea number 1?" in lineage
    assert "1 pair was deleted since." in lineage
    assert Registry(three).get("v3").address in tab.details.manifest.toPlainText()


def test_a_version_is_tagged_described_deleted_and_restored_by_keys(
    tab: VersionsTab, three: Profile, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    _choose(tab, "v2")
    answers = iter([("best", True), ("the best so far", True)])
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: next(answers))
    tab.actions_.tag.trigger()
    tab.actions_.describe.trigger()
    qtbot.waitUntil(lambda: Registry(three).get("v2").description == "the best so far")
    assert Registry(three).get("best").label == "v2"
    qtbot.waitUntil(lambda: tab.list.chosen()[0].tags == ("best",))
    tab.actions_.untag.actions()[0].trigger()
    qtbot.waitUntil(lambda: Registry(three).get("v2").tags == ())

    tab.list.table.setFocus()
    qtbot.keyClick(tab.list.table, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: tab.list.model.rowCount() == 2)
    assert "v2 is deleted" in tab.notice.what.text()
    assert "1 deleted" in tab.room.text()
    tab.list.which.setCurrentIndex(1)
    assert [each.label for each in tab.list.model.records] == ["v2"]
    assert "7 days left" in tab.list.model.index(0, 1).data()
    assert tab.deploy.toolTip() == "It is deleted: restore it first."
    qtbot.mouseClick(tab.restore, LEFT)
    qtbot.waitUntil(lambda: tab.list.model.rowCount() == 0)
    tab.list.which.setCurrentIndex(0)
    assert tab.list.model.rowCount() == 3


def test_a_delete_is_undone_from_the_notice(tab: VersionsTab, three: Profile, qtbot: QtBot) -> None:
    _choose(tab, "v1", "v3")
    qtbot.mouseClick(tab.delete, LEFT)
    qtbot.waitUntil(lambda: tab.list.model.rowCount() == 1)
    qtbot.mouseClick(tab.notice.action, LEFT)
    qtbot.waitUntil(lambda: tab.list.model.rowCount() == 3)


def test_what_passed_the_gate_is_deployed_rolled_back_tried_and_promoted(
    tab: VersionsTab, three: Profile, qtbot: QtBot
) -> None:
    _choose(tab, "v1")
    qtbot.mouseClick(tab.deploy, LEFT)
    dialog = tab.dialog
    assert isinstance(dialog, DeployDialog)
    qtbot.waitUntil(lambda: dialog.report.verdict.text() == "It passes the gate.")
    assert not tab.deploy.isEnabled()
    assert "close it first" in tab.deploy.toolTip()
    qtbot.mouseClick(dialog.go, LEFT)
    qtbot.waitUntil(lambda: tab.answering.text() == "v1 answers now (not private).")
    assert tab.dialog is None
    _choose(tab, "v1")
    assert tab.deploy.toolTip() == "This version answers already."
    assert "answers now" in tab.delete.toolTip()

    _choose(tab, "v2")
    record(three, Registry(three).get("v2"), _passed_beside(Registry(three).get("v1").address))
    tab.trial.trigger()
    dialog = tab.dialog
    assert isinstance(dialog, DeployDialog)
    qtbot.waitUntil(lambda: dialog.report.verdict.text() == "It passes the gate.")
    dialog.traffic.setValue(25)
    qtbot.mouseClick(dialog.go, LEFT)
    qtbot.waitUntil(tab.trying.isVisible)
    assert tab.tried.text() == "v2 is tried in 25 % of the conversations (not private)."
    qtbot.mouseClick(tab.take_back, LEFT)
    qtbot.waitUntil(lambda: not tab.trying.isVisible())
    Canaries(three).start("v2", 0.1)
    tab.reload()
    qtbot.waitUntil(tab.trying.isVisible)
    qtbot.mouseClick(tab.promote, LEFT)
    qtbot.waitUntil(lambda: tab.answering.text() == "v2 answers now (not private).")

    qtbot.mouseClick(tab.back, LEFT)
    qtbot.waitUntil(lambda: tab.answering.text() == "v1 answers now (not private).")
    titles = [each.text() for each in tab.actions_.back_to.actions()]
    assert titles[0].startswith("v2 · not private")
    tab.actions_.back_to.actions()[-1].trigger()
    qtbot.waitUntil(lambda: tab.answering.text().startswith("The base model answers"))


@pytest.mark.timeout(300)
def test_a_version_that_fails_the_gate_answers_only_with_a_reason(
    tab: VersionsTab, three: Profile, qtbot: QtBot
) -> None:
    qtbot.mouseClick(tab.deploy, LEFT)  # v3, which was never checked
    dialog = tab.dialog
    assert isinstance(dialog, DeployDialog)
    qtbot.waitUntil(lambda: dialog.work.busy)
    assert dialog.go.toolTip() == "The version is being checked."
    qtbot.waitUntil(lambda: not dialog.work.busy, timeout=CHILD)
    assert not dialog.notice.isVisible(), dialog.notice.more.text()
    qtbot.waitUntil(lambda: "does not pass the gate" in dialog.report.verdict.text())
    assert _state(three, "v3") == "quarantined"
    assert not dialog.go.isEnabled()
    assert "Write why" in dialog.go.toolTip()
    dialog.reason.setText("I want to hear it.")
    qtbot.mouseClick(dialog.go, LEFT)
    qtbot.waitUntil(lambda: _state(three, "v3") == "active")
    assert Deployment(three).history()[-1].override == "I want to hear it."
    qtbot.waitUntil(lambda: "I want to hear it." in tab.details.summary.toPlainText())


def test_a_check_is_stopped_and_leaves_the_version_as_it_was(
    tab: VersionsTab, three: Profile, qtbot: QtBot
) -> None:
    qtbot.mouseClick(tab.deploy, LEFT)
    dialog = tab.dialog
    assert isinstance(dialog, DeployDialog)
    qtbot.waitUntil(lambda: dialog.work.busy)
    qtbot.mouseClick(dialog.work.stop_button, LEFT)
    qtbot.waitUntil(lambda: not dialog.work.busy, timeout=CHILD)
    assert dialog.report.about.text() == "The check was stopped."
    assert _state(three, "v3") == "candidate"


@pytest.mark.timeout(300)
def test_versions_are_compared_word_by_word_and_by_figures(tab: VersionsTab, qtbot: QtBot) -> None:
    _choose(tab, "v1", "v2")
    qtbot.mouseClick(tab.compare, LEFT)
    dialog = tab.dialog
    assert isinstance(dialog, CompareDialog)
    assert dialog.first.currentText() == "v1 · not private"
    base = dialog.others.item(dialog.others.count() - 1)
    assert base is not None
    base.setCheckState(Qt.CheckState.Checked)
    dialog.prompts.setPlainText("What about <tea>?")
    dialog.longest.setValue(8)
    qtbot.mouseClick(dialog.start, LEFT)
    assert not dialog.start.isEnabled()
    qtbot.waitUntil(lambda: dialog.found is not None, timeout=CHILD)
    replies = dialog.replies.toPlainText()
    assert "What about <tea>?" in replies
    assert "v2 · not private" in replies
    figures = dialog.figures.toPlainText()
    assert "On 22 held-out pairs v2" in figures
    assert "95 % interval" in figures
    assert "+50.0 %" in figures
    assert "v2 learned from 1 pair that v1 did not" in figures
    for place in range(dialog.others.count()):
        dialog.others.item(place).setCheckState(Qt.CheckState.Unchecked)  # type: ignore[union-attr]
    assert dialog.start.toolTip() == "Tick a version to compare."


@pytest.mark.timeout(300)
def test_a_version_is_exported_and_the_export_is_imported_again(
    tab: VersionsTab, three: Profile, qtbot: QtBot, tmp_path: Path
) -> None:
    _choose(tab, "v2")
    qtbot.mouseClick(tab.export, LEFT)
    dialog = tab.dialog
    assert isinstance(dialog, VersionExportDialog)
    folder = tmp_path / "out"
    dialog.folder.setText(str(folder))
    assert "Not private" in dialog.leaves.text()
    qtbot.mouseClick(dialog.start, LEFT)
    qtbot.waitUntil(lambda: not dialog.work.busy, timeout=CHILD)
    assert str(folder) in dialog.notice.what.text(), dialog.notice.more.text()
    assert "log-probabilities" in dialog.notice.more.text()
    assert (folder / "adapter_model.safetensors").is_file()
    dialog.reject()
    Registry(three).delete("v2")
    tab.open_import()
    dialog = tab.dialog
    assert dialog is not None
    assert "Name a folder" in dialog.start.toolTip()  # type: ignore[attr-defined]
    dialog.source.setText(str(folder))  # type: ignore[attr-defined]
    qtbot.mouseClick(dialog.start, LEFT)  # type: ignore[attr-defined]
    qtbot.waitUntil(lambda: not dialog.work.busy, timeout=CHILD)  # type: ignore[attr-defined]
    assert "v2" in dialog.notice.what.text()  # type: ignore[attr-defined]
    assert Registry(three).get("v2").label == "v2"


def test_personal_data_in_the_prompt_is_named_and_leaves_only_with_consent(
    tab: VersionsTab, qtbot: QtBot
) -> None:
    from xeno.workers.version_work_client import PromptToExport

    qtbot.mouseClick(tab.export, LEFT)
    dialog = tab.dialog
    assert isinstance(dialog, VersionExportDialog)
    qtbot.waitUntil(lambda: bool(dialog.prompt.text()))
    dialog.form.setCurrentIndex(dialog.form.findData("gguf-f16"))
    assert dialog.carry.isVisible()
    assert dialog.start.isEnabled()
    found = ("an e-mail address: ana@example.org",)
    dialog._show_prompt(PromptToExport("Write to ana@example.org.", found))
    assert "ana@example.org" in dialog.found.text()
    assert not dialog.start.isEnabled()
    assert "say that it may leave" in dialog.start.toolTip()
    dialog.consent.setChecked(True)
    assert dialog.start.isEnabled()
    dialog.consent.setChecked(False)
    dialog.carry.setChecked(False)
    assert dialog.start.isEnabled()
    dialog.what.setCurrentIndex(1)
    dialog.form.setCurrentIndex(0)
    assert "no adapter" in dialog.start.toolTip()


def test_it_fits_and_every_control_has_a_name_and_a_reason(
    window: MainWindow, tab: VersionsTab, qtbot: QtBot
) -> None:
    for size in ((1024, 640), (1320, 900)):
        window.resize(*size)
        qtbot.wait(50)
        for control in (tab.deploy, tab.back, tab.compare, tab.export, tab.delete, tab.more):
            assert tab.rect().contains(control.geometry())
        assert tab.deploy.geometry().bottom() > tab.more.geometry().top(), "on one line"
    for show in (tab.open_deploy, tab.open_compare, tab.open_export, tab.open_import):
        show()
        assert tab.dialog is not None
        for kind in (QAbstractButton, QComboBox, QLineEdit):
            for control in tab.dialog.findChildren(kind):
                name = control.objectName()
                if name.startswith("qt_") or "Scroll" in name:  # a part of a control of Qt's
                    continue
                assert control.accessibleName(), control
                assert control.isEnabled() or control.toolTip(), control.accessibleName()
        tab.close_work()
        assert tab.dialog is None

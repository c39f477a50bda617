"""The view of a run: charts, sample replies, log; earlier runs beside each other. The events are
those a trainer sends; a whole run in the window is in test_ui_loop.py."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PyQt6.QtCore import Qt
from PyQt6.QtGui import QGuiApplication
from PyQt6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from ui.main_window import MainWindow
from ui.session import PLAN, Session
from ui.widgets.charts_panel import ChartsPanel
from ui.widgets.curve_plot import CurvePlot
from ui.widgets.result_card import ResultCard
from ui.widgets.run_dialog import RunDialog
from ui.widgets.run_view import RunView
from ui.widgets.runs_panel import PAGE, RunsPanel
from xeno.events import (
    Evaluated,
    Event,
    LogLine,
    Progress,
    RunFinished,
    RunStarted,
    SampleReplies,
    SampleReply,
)
from xeno.store.runs import Run, Runs
from xeno.training.candidates import trial
from xeno.training.plan import TrainingPlan
from xeno.training.record import RunRecord

LEFT = Qt.MouseButton.LeftButton


def progress(step: int, steps: int = 10, loss: float | None = 0.5) -> Progress:
    return Progress(
        run_id="r",
        step=step,
        steps=steps,
        loss=loss,
        reward_margin=0.1 * step,
        preference_accuracy=0.5,
        learning_rate=1e-3,
        gradient_norm=1.0,
        pairs_per_second=3.0,
        tokens_per_second=90.0,
        memory_bytes=2_000_000_000,
        temperature=55.0,
        eta_seconds=float(steps - step),
    )


def evaluated(step: int) -> Evaluated:
    return Evaluated(
        run_id="r",
        step=step,
        preference_accuracy=0.75,
        loss=0.6,
        reward_margin=0.2,
        shorter_baseline=0.5,
        longer_baseline=0.5,
        perplexity=4.0,
    )


def samples(step: int, reply: str) -> SampleReplies:
    written = SampleReply(prompt="How do I cook?", reply=reply, complete=step > 0)
    return SampleReplies(run_id="r", step=step, replies=(written,))


def started(steps: int = 10, resumed_at: int = 0) -> RunStarted:
    return RunStarted(
        run_id="r",
        pairs_training=30,
        pairs_heldout=4,
        pairs_left_out=0,
        steps=steps,
        dtype="float32",
        threads=2,
        private=False,
        resumed_at=resumed_at,
    )


@pytest.fixture
def view(session: Session, qtbot: QtBot) -> Iterator[RunView]:
    made = RunView(session)
    qtbot.addWidget(made)
    made.resize(900, 700)
    made.begin()
    made.started(started())
    made.show()
    qtbot.waitExposed(made)
    yield made
    made.close()


@pytest.fixture
def panel(session: Session, qtbot: QtBot) -> Iterator[RunsPanel]:
    made = RunsPanel(session)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    yield made
    made.close()


def a_run(session: Session, events: list[Event], **changes: object) -> Run:
    runs = Runs(session.profile.db)
    run = runs.create(TrainingPlan.model_validate({"base": "/models/small", **changes}))
    runs.start(run.id, 1)
    for event in events:
        runs.append_event(run.id, event)
    runs.finish(run.id, "completed", metrics={"heldout_preference_accuracy": 0.75, "steps": 3})
    return runs.get(run.id)


def drawn(plot: CurvePlot, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: plot.last.accessibleDescription() != "", timeout=15_000)


def test_the_charts_show_what_a_trainer_measures(view: RunView, qtbot: QtBot) -> None:
    view.evaluated(evaluated(0))
    for step in range(1, 8):
        view.progressed(progress(step, loss=None if step == 4 else 1 / step))
    loss = view.charts.plots["loss"]
    drawn(loss, qtbot)
    assert [x for x, _ in loss.points("training")] == [1, 2, 3, 4, 5, 6, 7]
    assert math.isnan(loss.points("training")[3][1])
    assert "held out 0.6" in loss.last.accessibleDescription()
    assert "Step 7 of 10" in view.pace.text() or view.pace.text().startswith("Step 1")
    qtbot.waitUntil(lambda: "Step 7 of 10, about 3 s left" in view.pace.text())
    assert "55 °C" in view.machine.text()
    assert "float32, 2 threads" in view.machine.text()
    assert not view.charts.plots["temperature"].isVisible()
    qtbot.mouseClick(view.charts.more, LEFT)
    assert view.charts.plots["temperature"].isVisible()
    assert not view.charts.plots["processor_share"].isVisible(), "it was never measured"


def test_smoothing_draws_an_average_over_the_raw_values(view: RunView, qtbot: QtBot) -> None:
    view.charts.smoothing.setValue(50)
    for step, value in ((1, 1.0), (2, 4.0)):
        view.progressed(progress(step, loss=value))
    loss = view.charts.plots["loss"]
    drawn(loss, qtbot)
    assert loss.averages("training") == pytest.approx([1.0, 3.0])
    assert [y for _, y in loss.points("training")] == [1.0, 4.0]
    view.charts.smoothing.setFocus()
    qtbot.keyClick(view.charts.smoothing, Qt.Key.Key_Home)
    assert view.charts.smoothing_value.text() == "off"
    assert view.charts._session.setting("ui.smoothing") == 0


def test_a_plot_is_drawn_at_most_five_times_a_second(view: RunView, qtbot: QtBot) -> None:
    loss = view.charts.plots["loss"]
    view.progressed(progress(1, 10_000))
    drawn(loss, qtbot)
    times: list[float] = []
    draw = loss.draw

    def counted() -> None:
        times.append(time.monotonic())
        draw()

    loss.draw = counted  # type: ignore[method-assign]
    begun = time.monotonic()
    for step in range(2, 200):
        view.progressed(progress(step, 10_000))
        qtbot.wait(5)
    seconds = time.monotonic() - begun
    assert 2 <= len(times) <= 5 * seconds + 1


def test_the_columns_follow_the_width(session: Session, qtbot: QtBot) -> None:
    charts = ChartsPanel(session)
    qtbot.addWidget(charts)
    charts.show()
    charts.resize(900, 500)
    qtbot.wait(50)
    wide = [charts.plots[name].y() for name in ("loss", "reward_margin", "preference_accuracy")]
    charts.resize(400, 900)
    qtbot.wait(50)
    narrow = [charts.plots[name].y() for name in ("loss", "reward_margin", "preference_accuracy")]
    assert len(set(wide)) == 1
    assert len(set(narrow)) == 3


def test_replies_stand_beside_those_before_training(view: RunView, qtbot: QtBot) -> None:
    assert view.samples.about.isVisibleTo(view.samples)
    view.sampled(samples(0, "Happy to help with"))
    view.sampled(samples(5, "- Start small."))
    (row,) = view.samples.rows
    assert row.before.toPlainText() == "Happy to help with …"
    assert row.now.toPlainText() == "- Start small."
    view.bar.setFocus()
    qtbot.keyClick(view.bar, Qt.Key.Key_Right)
    assert view.samples.isVisible()
    assert not view.charts.isVisible()
    view.samples.step.setFocus()
    qtbot.keyClick(view.samples.step, Qt.Key.Key_Up)
    view.sampled(samples(10, "- Go on."))
    assert row.now.toPlainText() == "Happy to help with …", "an earlier step was chosen"


def test_the_log_is_filtered_and_copied(view: RunView, qtbot: QtBot) -> None:
    view.logged(LogLine(text="Two prompts were too long."))
    view.logged(LogLine(level="warning", text="Step 3 was left out."))
    log = view.log
    view.bar.setCurrentIndex(2)
    qtbot.keyClicks(log.filter, "step 3")
    assert len(log.lines()) == 1
    assert "Step 3 was left out." in log.text.toPlainText()
    qtbot.mouseClick(log.copy, LEFT)
    clipboard = QGuiApplication.clipboard()
    assert clipboard is not None
    assert clipboard.text().endswith("Warning: Step 3 was left out.")
    log.filter.setText("nothing like that")
    assert log.copy.toolTip() == "There is no line to copy."
    log.filter.clear()
    log.level.setCurrentIndex(1)
    assert len(log.lines()) == 1


def test_a_resumed_run_shows_what_it_measured_before(view: RunView, qtbot: QtBot) -> None:
    view.started(started(resumed_at=2))
    view.progressed(progress(3))
    before = [samples(0, "Happy"), progress(1), progress(2), evaluated(2), progress(3)]
    view.recall([*before, LogLine(text="two")])
    view.progressed(progress(4))
    assert [x for x, _ in view.charts.plots["loss"].points("training")] == [1, 2, 3, 4]
    assert view.samples.rows[0].before.toPlainText() == "Happy …"


def test_the_memory_that_is_shown_is_named(view: RunView, qtbot: QtBot) -> None:
    view.begin()
    view.progressed(progress(1))
    qtbot.waitUntil(lambda: "2.0 GB of memory" in view.machine.text())
    view.progressed(progress(2).model_copy(update={"memory_of": "card"}))
    qtbot.waitUntil(lambda: "2.0 GB of the card's memory" in view.machine.text())


def test_the_end_says_how_it_ended(view: RunView) -> None:
    view.ended(RunFinished(run_id="r", status="stopped", seconds=61.0))
    assert "what it had learned is kept" in view.pace.text()
    assert "1 min 1 s" in view.log.lines()[-1]


def test_two_runs_are_compared_and_one_is_exported(
    session: Session, panel: RunsPanel, qtbot: QtBot, tmp_path: Path
) -> None:
    first = a_run(session, [progress(1), progress(2), evaluated(2)], beta=0.05)
    second = a_run(session, [progress(1), samples(1, "Hello")], beta=0.2)
    panel.reload()
    qtbot.waitUntil(lambda: panel.model.rowCount() == 2)
    assert "Choose two runs" in panel.compare.toolTip()
    panel.table.setFocus()
    panel.table.selectAll()
    assert panel.chosen() == [first, second]
    assert panel.compare.isEnabled()
    assert not panel.repeat.isEnabled()
    dialog = panel.open_comparison()
    qtbot.waitUntil(lambda: dialog.charts.plots["loss"].lines == 3)
    model = dialog.settings.model()
    assert model is not None
    cells = [model.data(model.index(0, column)) for column in range(3)]
    assert cells == ["Beta", "0.05", "0.2"]
    dialog.close()
    panel.table.choose_rows([0])
    path = tmp_path / "run.json"
    with qtbot.waitSignal(session.told):
        panel.export_to(path)
    assert RunRecord.model_validate(json.loads(path.read_text())).run == second.id
    qtbot.mouseClick(panel.show_button, LEFT)
    (shown,) = panel.findChildren(RunDialog, options=Qt.FindChildOption.FindDirectChildrenOnly)
    qtbot.waitUntil(lambda: len(shown.samples.rows) == 1)
    shown.close()


@pytest.mark.parametrize(
    ("measure", "values", "shown"),
    [
        ("preference_accuracy", (0.5, 0.81, 0.7, 0.81), ["50 %", "81 %", "70 %", "81 %"]),
        ("loss", (2.0, 1.0, 1.25, 1.0), ["2.000", "1.000", "1.250", "1.000"]),
    ],
)
def test_the_result_shows_the_released_the_last_and_the_best_step(
    session: Session,
    qtbot: QtBot,
    measure: str,
    values: tuple[float, ...],
    shown: list[str],
) -> None:
    names = (
        f"heldout_{measure}_before",
        *(f"{at}_{measure}" for at in ("heldout", "final", "best")),
    )
    metrics = dict(zip(names, values, strict=True))
    metrics |= {"released_step": 40, "final_step": 60, "best_step": 40, "shorter_baseline": 0.25}
    runs = Runs(session.profile.db)
    run = runs.create(TrainingPlan(base="/models/small"))
    runs.finish(run.id, "completed", metrics=metrics, version="v" * 64)
    card = ResultCard(session)
    qtbot.addWidget(card)
    card.begin()
    card.finished(RunFinished(run_id=run.id, status="completed", version="v" * 64, number=1))
    figures = [card.figures[name] for name in ("Before", "Released", "Last step", "Best step")]
    qtbot.waitUntil(lambda: [figure.text() for figure in figures] == shown)
    assert card.steps.text() == "Released: step 40, Last step: step 60, Best step: step 40."


def test_a_run_without_a_checkpoint_can_neither_go_on_nor_be_given_up(
    session: Session, panel: RunsPanel, qtbot: QtBot
) -> None:
    a_run(session, [])
    panel.reload()
    qtbot.waitUntil(lambda: panel.model.rowCount() == 1)
    panel.table.choose_rows([0])
    for control in (panel.go_on, panel.give_up):
        assert not control.isEnabled()
        assert "interrupted" in control.toolTip()


def test_a_run_is_started_again_with_its_settings(
    window: MainWindow, qtbot: QtBot, starter: Path
) -> None:
    session = window._session
    run = a_run(session, [], base=str(starter), beta=0.3, private=False, seed=5)
    window.tabs.setCurrentWidget(window.training)
    qtbot.waitUntil(lambda: window.training.runs.model.rowCount() == 1)
    window.training.runs.table.choose_rows([0])
    qtbot.mouseClick(window.training.runs.repeat, LEFT)
    # There are no pairs, so it does not start, and says why; its settings are taken over.
    qtbot.waitUntil(window.training.notice.isVisible, timeout=20_000)
    assert "no pairs" in window.training.notice.more.text()
    assert session.plan().model_dump() == run.plan.model_dump()
    assert session.setting(PLAN + "seed") == 5


def test_a_trial_started_again_is_a_whole_run(
    window: MainWindow, qtbot: QtBot, starter: Path
) -> None:
    session = window._session
    plan = TrainingPlan(base=str(starter), private=False, force=True, steps_scale=2.0)
    values = {"beta": 0.3}
    window.tabs.setCurrentWidget(window.training)
    window.training.begin_again(Runs(session.profile.db).create(trial(plan, values), queued=True))
    qtbot.waitUntil(window.training.notice.isVisible, timeout=20_000)
    taken = session.plan()
    assert (taken.beta, taken.steps_scale, taken.samples) == (0.3, 2.0, True)
    assert not taken.trial
    assert not taken.force, "too few pairs are only trained on where that is asked for"


def test_a_run_whose_base_is_gone_is_not_started_again(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    run = a_run(window._session, [], base=str(tmp_path / "gone"), beta=0.3)
    window.tabs.setCurrentWidget(window.training)
    window.training.begin_again(run)
    qtbot.waitUntil(window.training.notice.isVisible)
    assert "gone" in window.training.notice.what.text()
    assert window._session.plan().beta != 0.3


def test_older_runs_are_counted_and_shown_on_request(
    session: Session, panel: RunsPanel, qtbot: QtBot
) -> None:
    runs = Runs(session.profile.db)
    plan = TrainingPlan(base="b")
    with session.profile.db.transaction():
        oldest = runs.create(plan, queued=True)
        runs.finish(oldest.id, "interrupted")
        for _ in range(PAGE + 10):
            runs.create(plan, queued=True)
    panel.reload()
    qtbot.waitUntil(lambda: panel.model.rowCount() == PAGE)
    assert panel.how_many.text() == "50 of 61 runs. Of the others 1 can be resumed."
    assert panel.more.accessibleName()
    qtbot.mouseClick(panel.more, LEFT)
    qtbot.waitUntil(lambda: panel.model.rowCount() == PAGE + 11)
    assert not panel.more.isVisible()
    panel.table.choose_rows([PAGE + 10])
    assert panel.go_on.isEnabled(), "the oldest can be resumed"


def test_giving_up_asks_first(
    session: Session, panel: RunsPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []
    monkeypatch.setattr(panel, "discard", lambda: given.append(True))
    for answer in (QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes):
        monkeypatch.setattr(QMessageBox, "question", lambda *_, answer=answer: answer)
        panel._ask_give_up()
    assert given == [True]

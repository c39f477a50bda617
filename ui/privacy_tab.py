"""Privacy: how private the next run is, what was spent so far, and how the data is kept."""

from __future__ import annotations

from PyQt6.QtWidgets import QCheckBox, QDoubleSpinBox, QHBoxLayout

from ui.forecasting import ForecastFeed
from ui.rows_model import Column, RowsModel
from ui.session import PLAN, Session
from ui.widgets.basics import Card, Page, allow, button, label, row
from ui.widgets.budget_meter import BudgetMeter
from ui.widgets.epsilon_slider import EpsilonSlider
from ui.widgets.forecast_panel import ForecastPanel
from ui.widgets.notice import Notice
from ui.widgets.setting_row import SettingRow
from ui.widgets.table import Table
from ui.words import count, moment
from xeno.privacy.budget import DEFAULT_EPSILON
from xeno.privacy.ledger import LedgerEntry, PrivacyLedger
from xeno.training.forecast import Forecast
from xeno.training.plan import TrainingPlan

_PROTECTIONS = {
    "keyring": "The key to your profile lies in the system's keyring, which opens when you log in.",
    "passphrase": "The key to your profile is locked by your passphrase. Without it nobody can "
    "read the profile, and it cannot be recovered.",
    "file": "The key to your profile lies in a file that only your account can read. This protects "
    "less than a keyring or a passphrase: whoever can read your files can read the profile.",
}
_ON = (
    "Each version is trained with noise that hides every single pair: it is hard to tell from "
    "the version whether one of your corrections was used, and the harder the smaller ε is."
)
_OFF = (
    "Versions learn better and may remember your corrections word for word. They are marked "
    "“not private” wherever they appear."
)
_NOT_COVERED = (
    "It protects what leaves in a version. It does not hide the pairs from somebody who can open "
    "this profile, and measurements that stay on this computer are made without noise."
)
_FORECAST = ("Pairs", "Steps", "Noise", "Privacy of the run", "Budget after it")


class PrivacyTab(Page):
    """The switch, the slider, the forecast, the budget with its ledger, and the key.

    Args:
        session: the open profile.
        feed: the forecast of the next run.
    """

    def __init__(self, session: Session, feed: ForecastFeed) -> None:
        super().__init__()
        self._session = session
        self._feed = feed
        self._ledger = PrivacyLedger(session.profile)
        self._spent = 0.0
        self._budget = 0.0
        self.notice = Notice(session.theme)
        self.add(self.notice)
        upper = QHBoxLayout()
        upper.setSpacing(16)
        upper.addWidget(self._switch_card(), 1)
        upper.addWidget(self._forecast_card(), 1)
        self.add(upper)
        self.add(self._budget_card(), 1)
        lower = QHBoxLayout()
        lower.setSpacing(16)
        lower.addWidget(self._details_card(), 1)
        lower.addWidget(self._storage_card(), 1)
        self.add(lower)
        session.plan_changed.connect(self._show_plan)
        session.versions_changed.connect(self.reload)
        feed.updated.connect(self._show_meter)
        self._show_plan()

    def reload(self) -> None:
        """Read the ledger and the budget again."""

        def read() -> tuple[list[LedgerEntry], float, float]:
            return self._ledger.entries(), self._ledger.spent(), self._ledger.budget()[0]

        self._session.do(
            read, self._show_ledger, owner=self, key="ledger", failed=self.notice.explain
        )

    # What the tab is made of --------------------------------------------------------------

    def _switch_card(self) -> Card:
        card = Card("The next run")
        self.switch = QCheckBox("Train with &differential privacy")
        self.switch.setAccessibleName("Train with differential privacy")
        self.switch.setProperty("kind", "switch")
        self.meaning = label("", "muted")
        self.slider = EpsilonSlider()
        self.without = button("Train &without privacy", name="Train without privacy")
        self.default = button(
            f"De&fault (ε = {DEFAULT_EPSILON:g})", "link", name="Set the default epsilon"
        )
        card.add(self.switch)
        card.add(self.meaning)
        card.add(self.slider)
        card.add(row(self.without, self.default, None))
        card.body.addStretch(1)
        self.switch.toggled.connect(lambda on: self._session.set(PLAN + "private", on))
        self.without.clicked.connect(lambda: self.switch.setChecked(False))
        self.slider.changed.connect(lambda value: self._session.set(PLAN + "epsilon", value))
        self.default.clicked.connect(lambda: self._session.set(PLAN + "epsilon", DEFAULT_EPSILON))
        return card

    def _forecast_card(self) -> Card:
        card = Card("What that means for your pairs")
        self.forecast = ForecastPanel(self._feed, _FORECAST, good_checks=False)
        card.add(self.forecast)
        card.body.addStretch(1)
        return card

    def _budget_card(self) -> Card:
        card = Card(
            "Privacy spent over the life of this profile",
            "Every private version spends some; what is spent never comes back.",
        )
        self.meter = BudgetMeter(self._session.theme)
        self.entries: RowsModel[LedgerEntry] = RowsModel(_columns(), self)
        self.table = Table("Privacy ledger", "Nothing was spent yet.", sortable=False)
        self.table.show_model(self.entries)
        self.table.widths(3, 15, 12, 5, 9, 8, 6)
        self.table.setMinimumHeight(140)
        card.add(self.meter)
        card.add(self.table, 1)
        return card

    def _details_card(self) -> Card:
        card = Card("Details")
        fields = TrainingPlan.model_fields
        self.settings = {
            name: SettingRow(self._session.theme, name, fields[name])
            for name in ("delta", "max_grad_norm")
        }
        for line in self.settings.values():
            line.edited.connect(lambda name, value: self._session.set(PLAN + name, value))
            card.add(line)
        self.budget = QDoubleSpinBox()
        self.budget.setAccessibleName("Lifetime budget, epsilon")
        self.budget.setRange(0.1, 1000.0)
        self.budget.setDecimals(1)
        self.budget.setKeyboardTracking(False)
        self.budget.setToolTip("The largest epsilon that all private versions together may spend.")
        self.budget.valueChanged.connect(self._change_budget)
        title = label("Lifetime &budget (ε)", wrap=False)
        title.setBuddy(self.budget)
        card.add(row(title, self.budget, None))
        card.add(label("Unit: the pair. What is hidden is whether any one pair was used.", "tiny"))
        card.add(label(_NOT_COVERED, "tiny"))
        card.body.addStretch(1)
        return card

    def _storage_card(self) -> Card:
        card = Card("How your data is kept")
        protection = str(self._session.profile.protection)
        self.protection = label(_PROTECTIONS[protection])
        self.protection.setAccessibleName("Protection of the key")
        card.add(label("Conversations, pairs and versions are encrypted on this computer."))
        card.add(self.protection)
        card.add(label("Hosts this program talks to", "heading"))
        self.hosts = label("None. Everything happens on this computer.")
        self.hosts.setAccessibleName("Hosts this program talks to")
        card.add(self.hosts)
        card.body.addStretch(1)
        return card

    # Showing ------------------------------------------------------------------------------

    def _show_plan(self) -> None:
        private = bool(self._session.setting(PLAN + "private", True))
        self.switch.blockSignals(True)
        self.switch.setChecked(private)
        self.switch.blockSignals(False)
        self.meaning.setText(_ON if private else _OFF)
        self.slider.show_epsilon(float(self._session.setting(PLAN + "epsilon", DEFAULT_EPSILON)))
        reason = "" if private else "The next run is trained without privacy."
        allow(self.slider.slider, reason)
        allow(self.default, reason)
        allow(self.without, reason)
        for name, line in self.settings.items():
            line.allow_editing(reason)
            default = TrainingPlan.model_fields[name].default
            line.show_value(self._session.setting(PLAN + name, default))

    def _show_ledger(self, found: tuple[list[LedgerEntry], float, float]) -> None:
        entries, self._spent, self._budget = found
        self.entries.show(entries)
        self.budget.blockSignals(True)
        self.budget.setValue(self._budget)
        self.budget.blockSignals(False)
        self._show_meter(self._feed.latest)

    def _show_meter(self, forecast: Forecast | None) -> None:
        after = forecast.epsilon_after if forecast is not None and forecast.private else None
        if self._budget:
            self.meter.show_budget(self._spent, after, self._budget)

    def _change_budget(self, epsilon: float) -> None:
        def change() -> None:
            self._ledger.set_budget(epsilon, self._ledger.budget()[1])

        def changed(_: object) -> None:
            self.reload()
            self._feed.refresh()

        self._session.tasks.run(change, changed, self.notice.explain, owner=self, in_order=True)

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()
        if self._feed.latest is None:
            self._feed.refresh()


def _columns() -> list[Column[LedgerEntry]]:
    return [
        Column("No.", lambda e: str(e.seq)),
        Column("When", lambda e: moment(e.created)),
        Column("Version", lambda e: e.version[:12]),
        Column("Unit", lambda e: e.unit),
        Column("ε of the run", lambda e: f"{e.epsilon_alone:.3f}", right=True),
        Column("ε in total", lambda e: f"{e.epsilon_total:.3f}", right=True),
        Column("δ", lambda e: f"{e.delta:g}", right=True),
        Column(
            "Mechanism",
            lambda e: (
                f"rate {e.mechanism.sample_rate:.3g}, noise {e.mechanism.noise_multiplier:.3g}, "
                f"{count(e.mechanism.steps, 'step')}"
            ),
        ),
    ]

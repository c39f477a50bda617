"""Privacy: how private the next run is, what was spent so far, and how the data is kept."""

from __future__ import annotations

from PyQt6.QtWidgets import QCheckBox, QHBoxLayout

from ui.forecasting import ForecastFeed
from ui.session import PLAN, Session
from ui.widgets.audit_panel import AuditPanel
from ui.widgets.basics import Card, Page, allow, button, label, row
from ui.widgets.budget_panel import BudgetPanel
from ui.widgets.epsilon_slider import EpsilonSlider
from ui.widgets.forecast_panel import ForecastPanel
from ui.widgets.notice import Notice
from ui.widgets.setting_row import SettingRow
from xeno.privacy.budget import DEFAULT_EPSILON
from xeno.privacy.hosts import Contact, contacts
from xeno.training.forecast import Forecast
from xeno.training.plan import TrainingPlan

_FORECAST = (
    "Pairs",
    "Steps",
    "Noise",
    "Expected accuracy",
    "Privacy of the run",
    "Budget after it",
)
_DETAILS = ("privacy_unit", "delta", "max_grad_norm")
_PROTECTIONS = {
    "keyring": "The key to your profile lies in the system's keyring, which opens when you log in.",
    "passphrase": "The key to your profile is locked by your passphrase. Without it nobody can "
    "read the profile, and it cannot be recovered.",
    "file": "The key to your profile lies in a file that only your account can read. This protects "
    "less than a keyring or a passphrase: whoever can read your files can read the profile.",
}
_ON = (
    "Each version is trained with noise that hides every single {unit}: it is hard to tell from "
    "the version whether {one} was used, and the harder the smaller ε is."
)
_OFF = (
    "Versions learn better and may remember your corrections word for word. They are marked "
    "“not private” wherever they appear."
)
_ONES = {"pair": "one of your corrections", "conversation": "one of your conversations"}
_NOT_COVERED = (
    "It protects what leaves in a version. It does not hide the pairs from somebody who can open "
    "this profile, and measurements that stay on this computer are made without noise."
)


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
        self.add(self._audit_card())
        session.plan_changed.connect(self._show_plan)
        session.versions_changed.connect(self.reload)
        feed.updated.connect(self._show_next)
        self._show_plan()

    def reload(self) -> None:
        """Read the ledger and the hosts again."""
        self.account.reload()
        profile = self._session.profile
        self._session.do(
            lambda: contacts(profile),
            self._show_hosts,
            owner=self,
            key="hosts",
            failed=self.notice.explain,
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
        self.expected = label("", "muted")
        self.expected.setAccessibleName("Accuracy to expect")
        card.add(self.forecast)
        card.add(self.expected)
        card.body.addStretch(1)
        return card

    def _budget_card(self) -> Card:
        card = Card(
            "Privacy spent",
            "Every private version spends some; what is spent never comes back.",
        )
        self.account = BudgetPanel(self._session)
        self.account.changed.connect(self._feed.refresh)
        card.add(self.account, 1)
        return card

    def _details_card(self) -> Card:
        card = Card("Details")
        fields = TrainingPlan.model_fields
        self.settings = {
            name: SettingRow(self._session.theme, name, fields[name]) for name in _DETAILS
        }
        for line in self.settings.values():
            line.edited.connect(lambda name, value: self._session.set(PLAN + name, value))
            card.add(line)
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
        card.add(label("Hosts this program may talk to", "heading"))
        card.add(label("Chat and training talk to none: they happen on this computer."))
        self.hosts = label("", "muted")
        self.hosts.setAccessibleName("Hosts this program may talk to")
        card.add(self.hosts)
        card.body.addStretch(1)
        return card

    def _audit_card(self) -> Card:
        card = Card("Leak check")
        self.audit = AuditPanel(self._session)
        card.add(self.audit)
        return card

    # Showing ------------------------------------------------------------------------------

    def _show_plan(self) -> None:
        private = bool(self._session.setting(PLAN + "private", True))
        self.switch.blockSignals(True)
        self.switch.setChecked(private)
        self.switch.blockSignals(False)
        unit = str(self._session.setting(PLAN + "privacy_unit", "pair"))
        self.meaning.setText(_ON.format(unit=unit, one=_ONES[unit]) if private else _OFF)
        self.slider.show_epsilon(float(self._session.setting(PLAN + "epsilon", DEFAULT_EPSILON)))
        reason = "" if private else "The next run is trained without privacy."
        allow(self.slider.slider, reason)
        allow(self.default, reason)
        allow(self.without, reason)
        for name, line in self.settings.items():
            line.allow_editing(reason)
            default = TrainingPlan.model_fields[name].default
            line.show_value(self._session.setting(PLAN + name, default))

    def _show_hosts(self, found: tuple[Contact, ...]) -> None:
        self.hosts.setText(
            "\n".join(
                f"{each.host or 'None yet'}: {each.why} {each.when} {each.sends}" for each in found
            )
        )

    def _show_next(self, forecast: Forecast | None) -> None:
        private = forecast is not None and forecast.private
        self.account.show_next(forecast.epsilon_after if forecast and private else None)
        accuracy = forecast.accuracy if forecast is not None else None
        self.expected.setText(accuracy.sentence() if accuracy is not None else "")

    def showEvent(self, event: object) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.reload()
        if self._feed.latest is None:
            self._feed.refresh()

"""What a script can ask and tell about privacy; the report is made from the same ledger."""

from __future__ import annotations

import math
from typing import Any

from xeno.errors import InvalidValueError
from xeno.paths import Home
from xeno.privacy.budget import strength
from xeno.privacy.composition import MAX_EPSILON, Known, compose
from xeno.privacy.entries import Unit
from xeno.privacy.ledger import PrivacyLedger
from xeno.privacy.ledger_files import row_of
from xeno.privacy.rdp import Mechanism
from xeno.store.profile import Profile, open_profile
from xeno.words import count

_RELEASES = ("run", "round", "operation", "declared")


class PrivacyAnalyzer:
    """The privacy of one user's data.

    Args:
        user_id: the profile's name, where `profile` is not given.
        profile: an open profile. Without it the analyzer opens the profile itself, in the
            default home, when it is first needed, and `close` closes it.
        unit: whose account is read and written.
    """

    def __init__(
        self, user_id: str = "default", *, profile: Profile | None = None, unit: Unit = "pair"
    ) -> None:
        self._user_id = user_id
        self._owned = profile is None
        self._profile = profile
        self._unit = unit

    def compute_privacy_budget(
        self,
        epsilon: float,
        num_queries: int,
        *,
        delta: float = 1e-5,
        query_delta: float = 0.0,
        mechanism: Known = "any",
    ) -> dict[str, Any]:
        """What `num_queries` queries of `epsilon` each reveal together.

        Args:
            epsilon: of each query, above 0 and at most 100.
            delta: at which the total is stated.
            query_delta: of each query; 0 for pure ones, such as Laplace noise.
            mechanism: "gaussian" if each query adds the noise of
                `DifferentialPrivacy(epsilon, query_delta)`; then the total is exact.
                `query_delta` is `delta` where it is not given.

        Returns:
            per_query_epsilon, total_queries, total_epsilon (the least proved bound), delta,
            composition ("basic", "advanced" or "gaussian": which bound that is),
            privacy_guarantee (in words).

        Raises:
            InvalidValueError: for values out of range, or where no bound holds.
        """
        whole = isinstance(num_queries, int) and not isinstance(num_queries, bool)
        if not whole or not 1 <= num_queries <= 1_000_000:
            raise InvalidValueError(
                f"{num_queries!r} is not a number of queries.",
                "It is a whole number from 1 to 1,000,000.",
                "Choose a value in this range.",
            )
        if not 0 < float(epsilon) <= MAX_EPSILON or not 0 < delta < 1 or not 0 <= query_delta < 1:
            raise InvalidValueError(
                f"Queries with epsilon {epsilon!r} and delta {delta!r} have no budget.",
                f"Epsilon lies above 0 and is at most {MAX_EPSILON:g}, delta lies between 0 and 1.",
                "Choose values in these ranges.",
            )
        if mechanism == "gaussian":
            query_delta = query_delta or delta
        found = compose(float(epsilon), num_queries, delta, query_delta, mechanism)
        return {
            "per_query_epsilon": float(epsilon),
            "total_queries": num_queries,
            "total_epsilon": found.epsilon,
            "delta": delta,
            "composition": found.composition,
            "privacy_guarantee": f"({found.epsilon:.4g}, {delta:g})-differential privacy: "
            f"{strength(found.epsilon)}",
        }

    def log_privacy_operation(
        self,
        operation: str,
        epsilon_used: float,
        data_accessed: int = 0,
        *,
        mechanism: Mechanism | None = None,
    ) -> dict[str, Any]:
        """Write something that was done with the user's data into the ledger. It counts against
        the budget, and is written even if it exceeds it: it has happened.

        Args:
            operation: what was done, in a word or a sentence.
            epsilon_used: of a pure operation (delta 0); 0 if nothing was revealed.
            data_accessed: how many records it read; kept for the record.
            mechanism: the Gaussian noise it added, such as `DifferentialPrivacy.mechanism`;
                composes more tightly than `epsilon_used`, which is then not needed for the
                account.

        Returns:
            The entry's columns, see `xeno.privacy.ledger_files.row_of`.

        Raises:
            InvalidValueError: for an operation without a name or impossible numbers.
        """
        numbers = isinstance(epsilon_used, int | float) and isinstance(data_accessed, int)
        if not operation or not isinstance(operation, str) or not numbers or data_accessed < 0:
            raise InvalidValueError(
                "The operation was not written into the ledger.",
                "It needs a name, an epsilon, and the number of records it read (0 or more).",
                "Give all three.",
            )
        if not (math.isfinite(epsilon_used) and epsilon_used >= 0):
            raise InvalidValueError(
                f"{epsilon_used!r} is not an epsilon.", "It is a number from 0.", "Give one."
            )
        note = f"{operation} ({count(data_accessed, 'record')})" if data_accessed else operation
        ledger = PrivacyLedger(self._open())
        return row_of(ledger.declare(note, float(epsilon_used), self._unit, mechanism))

    def get_privacy_report(self) -> dict[str, Any]:
        """What was released so far and what it adds up to.

        Returns:
            total_operations: runs, rounds and operations in the account, over its life.
            total_epsilon_used: of all of them together, over all periods and resets.
            privacy_status: "strong" up to 1, "moderate" up to 8, "weak" above.
            unit, delta, spent (what counts against the budget now), budget, period, remaining,
            entries (the ledger's rows), not_private (labels of versions without a guarantee:
            the status says nothing about them).

        Raises:
            DamagedDataError: if the ledger is not whole.
        """
        profile = self._open()
        ledger = PrivacyLedger(profile)
        entries = ledger.entries(self._unit)
        ledger.verify()
        total, spent, rules = (
            ledger.lifetime(self._unit),
            ledger.spent(self._unit),
            ledger.rules(self._unit),
        )
        open_versions = profile.db.read(
            "SELECT number FROM versions WHERE model = 'assistant' AND purged IS NULL "
            "AND NOT (manifest ->> 'private') ORDER BY number"
        )
        return {
            "total_operations": sum(entry.kind in _RELEASES for entry in entries),
            "total_epsilon_used": total,
            "privacy_status": strength(total),
            "unit": self._unit,
            "delta": rules.delta,
            "spent": spent,
            "budget": rules.epsilon,
            "period": rules.period,
            "remaining": max(0.0, rules.epsilon - spent),
            "entries": [row_of(entry) for entry in entries],
            "not_private": [f"v{row['number']}" for row in open_versions],
        }

    def close(self) -> None:
        """Close the profile if the analyzer opened it."""
        if self._owned and self._profile is not None:
            self._profile.close()

    def __enter__(self) -> PrivacyAnalyzer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Profile:
        if self._profile is None:
            self._profile = open_profile(Home.at(), self._user_id)
        return self._profile

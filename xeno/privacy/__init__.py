"""Differential privacy: the mechanism, its account, and the ledger of what was spent."""

"""The encrypted store of a profile: its key, its database, and what stands in it."""

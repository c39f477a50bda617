"""Preference data from files."""

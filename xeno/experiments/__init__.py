"""Trying versions on the user's own conversations: canaries, A/B tests, and what decides them."""

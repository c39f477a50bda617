"""Replies: a base model with at most one adapter merged in, decoded token by token."""

"""Collecting examples from what the user has: repositories, documents, journals, a teacher."""

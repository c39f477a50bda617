"""What the classes for scripts share: they work on one profile, given open or opened here."""

from __future__ import annotations

from typing import Self

from xeno.paths import Home
from xeno.store.profile import Profile, open_profile


class OfUser:
    """Something that belongs to one user. A context manager that closes itself.

    Args:
        user_id: the profile's name, where `profile` is not given.
        profile: an open profile, which stays open. Without it the profile `user_id` of the
            default home is opened, and made if there is none; `close` closes it.
    """

    def __init__(self, user_id: str = "default", *, profile: Profile | None = None) -> None:
        self._owned = profile is None
        self._profile = profile or open_profile(Home.at(), user_id)

    def close(self) -> None:
        """Close the profile if it was opened here."""
        if self._owned:
            self._profile.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""Settings of the pairs: which are used, how much each counts, which are held out."""

from __future__ import annotations

from pydantic import BaseModel

from xeno.training.settings.declaration import setting

MINIMUM_PAIRS = 20
ADVISED_PAIRS = 100


class DataSettings(BaseModel):
    max_length: int = setting(
        1024,
        "Longest text",
        "Most tokens of a prompt with one reply, within what the base can read. Longer prompts "
        "lose their beginning; pairs with longer replies are left out.",
        unit="tokens",
        memory="Grows in proportion.",
        quality="Shorter leaves out more pairs.",
        ge=64,
        le=32768,
    )
    use_corrections: bool = setting(
        True,
        "Learn from corrections",
        "Use pairs that come from a reply you rewrote.",
        quality="Corrections show best what you want.",
    )
    use_choices: bool = setting(
        True,
        "Learn from choices",
        "Use pairs that come from choosing between replies.",
        quality="More pairs to learn from.",
    )
    use_imports: bool = setting(
        True,
        "Learn from imported pairs",
        "Use pairs that were imported from files.",
        quality="More pairs, of other people's taste as well as yours.",
    )
    min_quality: float = setting(
        0.0,
        "Least quality",
        "Pairs of lower quality are left out.",
        quality="Higher leaves fewer and better pairs.",
        ge=0,
        le=1,
    )
    min_confidence: float = setting(
        0.0,
        "Least confidence",
        "Pairs whose preference is less certain are left out.",
        quality="Higher leaves fewer and surer pairs.",
        ge=0,
        le=1,
    )
    shortest_reply: int = setting(
        0,
        "Shortest reply",
        "Pairs with a reply of fewer characters are left out.",
        unit="characters",
        quality="Higher leaves out replies that say little.",
        ge=0,
        le=100_000,
    )
    longest_reply: int | None = setting(
        None,
        "Longest reply",
        "Pairs with a reply of more characters are left out.",
        unit="characters",
        memory="Less where long pairs are left out.",
        ge=1,
        le=10_000_000,
    )
    most_length_ratio: float | None = setting(
        None,
        "Most difference in length",
        "Pairs are left out where one reply has more than so many times the characters of the "
        "other.",
        quality="Lower teaches less of length and more of content.",
        ge=1,
        le=1000,
    )
    most_prompt_turns: int | None = setting(
        None,
        "Longest conversation",
        "Pairs whose prompt has more turns are left out.",
        unit="turns",
        memory="Less where long conversations are left out.",
        ge=1,
        le=10_000,
    )
    newest_pairs: int | None = setting(
        None,
        "Newest pairs",
        "Only the newest so many pairs.",
        unit="pairs",
        quality="Fewer follows a taste that changed.",
        only="plain",
        ge=1,
        le=10_000_000,
    )
    most_pairs: int | None = setting(
        None,
        "Most pairs",
        "At most about so many pairs, drawn at random by the seed.",
        unit="pairs",
        quality="Fewer is quicker and learns less.",
        privacy="With privacy, fewer pairs need more noise for each.",
        ge=1,
        le=10_000_000,
    )
    most_per_conversation: int | None = setting(
        None,
        "Most pairs of one conversation",
        "Of a conversation with more pairs only the newest are used.",
        unit="pairs",
        quality="Lower keeps one long talk from deciding everything.",
        only="plain",
        ge=1,
        le=100_000,
    )
    use_weights: bool = setting(
        True,
        "Use the pairs' weights",
        "A pair counts as much as its weight says, rather than all alike.",
        quality="Weights let you stress what matters.",
    )
    weigh_confidence: bool = setting(
        False,
        "Weigh by confidence",
        "Multiply each pair's weight by how certain its preference is.",
        quality="Unsure pairs teach less.",
    )
    weigh_quality: bool = setting(
        False,
        "Weigh by quality",
        "Multiply each pair's weight by its quality.",
        quality="Poor pairs teach less.",
    )
    half_life: float | None = setting(
        None,
        "Half-life of a pair",
        "A pair that is so much older than the newest one counts half.",
        unit="days",
        quality="Shorter follows a taste that changes.",
        only="plain",
        gt=0,
        le=100_000,
    )
    heldout_share: float = setting(
        0.1,
        "Held-out share",
        "Part of the conversations kept out of training, to measure what was learned.",
        quality="More measures better and leaves less to learn from.",
        ge=0,
        le=0.5,
    )
    heldout_least: int = setting(
        1,
        "Fewest held-out pairs",
        "Held out at least, where the share is above 0 and there are enough conversations.",
        unit="pairs",
        quality="More measures better and leaves less to learn from.",
        only="plain",
        ge=1,
        le=100_000,
    )
    heldout_most: int | None = setting(
        None,
        "Most held-out pairs",
        "Held out at most, however many pairs there are.",
        unit="pairs",
        quality="Fewer measures quicker and less surely.",
        only="plain",
        ge=1,
        le=100_000,
    )
    heldout_seed: int | None = setting(
        None,
        "Seed of the held-out pairs",
        "Which conversations are held out; follows the seed when not given. Fixed, runs with "
        "other seeds are measured on the same pairs.",
        ge=0,
        lt=2**31,
    )
    force: bool = setting(
        False,
        "Train with few pairs",
        f"Train although there are fewer than {MINIMUM_PAIRS} pairs.",
        quality="A taste is hardly learned from so few.",
    )

"""Settings of what is measured and shown while a run trains; none of them changes the adapter."""

from __future__ import annotations

from pydantic import BaseModel

from xeno.training.settings.declaration import setting

SAMPLE_PROMPTS = "\n".join(
    (
        "How do I start to cook at home?",
        "Explain in a few words what a budget is.",
        "Write a short note that says I will be late.",
    )
)
MOST_SAMPLE_PROMPTS = 5


class EvaluationSettings(BaseModel):
    evaluations: int = setting(
        4,
        "Evaluations",
        "How often the held-out pairs are scored while training, the last time at the end.",
        quality="More shows the course of learning better and takes longer.",
        ge=1,
        le=1000,
    )
    evaluate_first: bool = setting(
        True,
        "Evaluate before training",
        "Score the held-out pairs under the base as well, to compare with. Takes as long as any "
        "other evaluation.",
    )
    evaluation_pairs: int | None = setting(
        None,
        "Pairs per evaluation",
        "Most held-out pairs that are scored while training; all of them at the beginning and at "
        "the end. All when not given.",
        unit="pairs",
        quality="Fewer are quicker to score and say less.",
        ge=1,
        le=100_000,
    )
    progress_every: int = setting(
        1,
        "Steps between reports",
        "How many steps pass between two points of the curves; the last step is always one.",
        unit="steps",
        ge=1,
        le=1000,
    )
    samples: bool = setting(
        True,
        "Sample replies",
        "Write replies to a few fixed prompts while training, to see how they change. They are "
        "kept with the run on this machine.",
    )
    sample_prompts: str = setting(
        SAMPLE_PROMPTS,
        "Sample prompts",
        f"The fixed prompts, one per line; the first {MOST_SAMPLE_PROMPTS} are used. They are no "
        "part of a version.",
    )
    sample_tokens: int = setting(
        40,
        "Length of a sample",
        "Most tokens of a sample reply.",
        unit="tokens",
        ge=1,
        le=1024,
    )
    sample_every: int | None = setting(
        None,
        "Steps between samples",
        "Steps between two times that samples are written; together with the evaluations when "
        "not given. They are always written before the first step and after the last.",
        unit="steps",
        ge=1,
        le=1_000_000,
    )
    sample_seconds: float = setting(
        5.0,
        "Time for samples",
        "Most time that all replies of one step may take; what is not written by then is cut off.",
        unit="seconds",
        gt=0,
        le=600,
    )


def sample_prompts(settings: EvaluationSettings) -> tuple[str, ...]:
    """The prompts to write sample replies to; empty where none are wanted."""
    if not settings.samples:
        return ()
    lines = (line.strip() for line in settings.sample_prompts.splitlines())
    return tuple(line for line in lines if line)[:MOST_SAMPLE_PROMPTS]

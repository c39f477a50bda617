"""What child processes and the program say to each other: typed, frozen, one JSON line each.

Commands travel on a child's stdin, events on its stdout, logs on its stderr. The window,
the command line and the tests read the same events.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from xeno.errors import XenoError


class Message(BaseModel):
    """Base of all commands and events."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ChatMessage(Message):
    """One turn of a conversation in the chat format every tool uses."""

    role: Literal["system", "user", "assistant"]
    content: str


class Sampling(Message):
    """How a reply is drawn. Temperature 0 is greedy decoding, top_k 0 sets no limit, a reply
    ends where one of `stop` would begin."""

    max_tokens: int = Field(default=256, ge=1, le=4096)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    top_k: int = Field(default=0, ge=0, le=1000)
    repetition_penalty: float = Field(default=1.0, ge=1.0, le=2.0)
    seed: int | None = None
    stop: tuple[str, ...] = Field(default=(), max_length=16)


# Commands ---------------------------------------------------------------------------------


class OpenProfile(Message):
    """First command to every child that works on a profile. `key` is the master key in hex."""

    type: Literal["open_profile"] = "open_profile"
    home: str
    profile: str
    key: str = Field(repr=False)


class Train(Message):
    """Train the run `run_id`, whose plan stands in the profile's table of runs."""

    type: Literal["train"] = "train"
    run_id: str


class StopTraining(Message):
    """Stop after the running step. `keep` releases what was learned so far as a version."""

    type: Literal["stop_training"] = "stop_training"
    keep: bool


class LoadBase(Message):
    """Load the base model in `folder` (a local folder with safetensors)."""

    type: Literal["load_base"] = "load_base"
    folder: str


class Generate(Message):
    """Answer `messages`. `version` is "active", "base" or a content address. With "active" a
    canary or a test may choose another version for the `conversation`, always the same."""

    type: Literal["generate"] = "generate"
    request: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling = Sampling()
    version: str = "active"
    conversation: str | None = None


class StopReply(Message):
    """End the reply `request` after the token it is at."""

    type: Literal["stop_reply"] = "stop_reply"
    request: str


class ScorePair(Message):
    """A prompt with its two replies, to be scored."""

    prompt: tuple[ChatMessage, ...]
    chosen: str
    rejected: str


class Score(Message):
    """Mean log-probability per token of both replies of every pair under `version`."""

    type: Literal["score"] = "score"
    request: str
    pairs: tuple[ScorePair, ...]
    version: str = "active"


class TrainIntents(Message):
    """Learn the intents of all examples of the profile."""

    type: Literal["train_intents"] = "train_intents"
    request: str


class PredictIntent(Message):
    """Say what `text` means, and what it would be answered with."""

    type: Literal["predict_intent"] = "predict_intent"
    request: str
    text: str


class RunAudit(Message):
    """Test the mechanism and the books, and train on `canaries` random pairs (0: do not) by
    `plan`, settings of the run. A StopTraining ends it."""

    type: Literal["run_audit"] = "run_audit"
    base: str
    canaries: int
    plan: dict[str, bool | int | float | str | None]


class ExportVersion(Message):
    """Export `version` ("base", or as the registry knows it) to `folder` in the form `form`, see
    `xeno.versions.export.exporting`.

    `with_prompt`: an Ollama Modelfile carries the personal prompt. `consent`: also where the
    prompt holds personal data.
    """

    type: Literal["export_version"] = "export_version"
    version: str
    form: str
    folder: str
    with_prompt: bool = True
    consent: bool = False


class ImportAdapter(Message):
    """Import the PEFT adapter in the folder, or under the Hub id, `source` as a candidate over
    the profile's base. `for_this_base`: it belongs to it, whatever base it names."""

    type: Literal["import_adapter"] = "import_adapter"
    source: str
    for_this_base: bool = False
    description: str = ""


class CompareVersions(Message):
    """Compare versions ("base", or as the registry knows them) on `prompts` and, with
    `held_out`, on pairs that none of them learned from."""

    type: Literal["compare_versions"] = "compare_versions"
    versions: tuple[str, ...]
    prompts: tuple[str, ...]
    held_out: bool = True
    max_tokens: int = Field(default=128, ge=1, le=4096)


class StopWork(Message):
    """End an export, import or comparison; nothing is left of it."""

    type: Literal["stop_work"] = "stop_work"


class CheckVersion(Message):
    """Examine the version `address` at the gate. A StopTraining ends it."""

    type: Literal["check_version"] = "check_version"
    address: str


class Quit(Message):
    """End the child in an orderly way."""

    type: Literal["quit"] = "quit"


Command = Annotated[
    OpenProfile
    | Train
    | StopTraining
    | LoadBase
    | Generate
    | StopReply
    | Score
    | TrainIntents
    | PredictIntent
    | RunAudit
    | ExportVersion
    | ImportAdapter
    | CompareVersions
    | StopWork
    | CheckVersion
    | Quit,
    Field(discriminator="type"),
]


# Events -----------------------------------------------------------------------------------


class Failure(Message):
    """A `XenoError` on its way to the user. `request` names what failed, if anything;
    `can_pass` says whether the same can succeed later, `kind` is the name of its class."""

    type: Literal["failure"] = "failure"
    what: str
    why: str = ""
    todo: str = ""
    request: str | None = None
    can_pass: bool = False
    kind: str = ""

    @classmethod
    def of(cls, error: XenoError, request: str | None = None) -> Failure:
        """The event that tells of `error`."""
        return cls(
            what=error.what,
            why=error.why,
            todo=error.todo,
            request=request,
            can_pass=error.can_pass,
            kind=type(error).__name__,
        )

    def error(self) -> XenoError:
        """The error that it tells of, of its class where that is one of `xeno.errors`."""
        known = {each.__name__: each for each in XenoError.__subclasses__()}
        return known.get(self.kind, XenoError)(self.what, self.why, self.todo)


class LogLine(Message):
    """A line for the log that a user reads. Holds no text of the user's."""

    type: Literal["log"] = "log"
    level: Literal["info", "warning"] = "info"
    text: str


class RunStarted(Message):
    """The trainer has loaded its data and its model and begins. `resumed_at` counts the steps
    that a resumed run has already."""

    type: Literal["run_started"] = "run_started"
    run_id: str
    pairs_training: int
    pairs_heldout: int
    pairs_left_out: int
    steps: int
    dtype: str
    threads: int
    private: bool
    resumed_at: int = 0


class NoiseDrawn(Message):
    """Kept with a private run before the noise of a step is drawn, and not sent.

    It stays where a run goes back to a checkpoint (no field is called `step`), so that the
    account can count every noisy step. `noisy_step` is of the stage, from 1; `stream` is the
    number of the cipher stream among those that the stage has had. The last two are those of the
    step's mechanism.
    """

    type: Literal["noise_drawn"] = "noise_drawn"
    run_id: str
    stage: int
    stream: int
    noisy_step: int
    sample_rate: float
    noise_multiplier: float


class TrainerKilled(Message):
    """Kept with a run whose trainer was ended by a SIGKILL that nobody here sent. `memory`:
    probably because memory ran out, so that the next attempt computes in smaller parts."""

    type: Literal["trainer_killed"] = "trainer_killed"
    run_id: str
    memory: bool


class TrainingPaused(Message):
    """The run waits after `step` steps until the machine is fit for it; `reason` is a sentence."""

    type: Literal["training_paused"] = "training_paused"
    run_id: str
    step: int
    cause: Literal["disk", "battery", "temperature", "memory"]
    reason: str


class TrainingContinued(Message):
    """The run goes on after a pause of `seconds`."""

    type: Literal["training_continued"] = "training_continued"
    run_id: str
    step: int
    seconds: float


class Progress(Message):
    """After an optimizer step. Loss, margin and accuracy are of the step's batch.

    What is not a finite number, or has no value in an empty batch, is None: a gap in the curve.
    Speeds are of the run so far. `processor_share` counts all cores as 1, `temperature` is of
    the processor in degrees Celsius; both are None where they are not measured. `memory_bytes` is
    what the trainer has taken of the machine's memory, or of the graphics card's.
    """

    type: Literal["progress"] = "progress"
    run_id: str
    step: int
    steps: int
    loss: float | None
    reward_margin: float | None
    preference_accuracy: float | None
    learning_rate: float
    gradient_norm: float | None
    pairs_per_second: float
    tokens_per_second: float = 0.0
    memory_bytes: int
    memory_of: Literal["machine", "card"] = "machine"
    processor_share: float | None = None
    temperature: float | None = None
    eta_seconds: float


class Evaluated(Message):
    """The held-out pairs scored. Accuracy: share of pairs whose chosen reply has the higher
    mean log-probability per token, ties one half. Perplexity: of the tokens of the chosen
    replies. None where no pair is held out, and for what is not a finite number."""

    type: Literal["evaluated"] = "evaluated"
    run_id: str
    step: int
    preference_accuracy: float | None
    loss: float | None
    reward_margin: float | None
    shorter_baseline: float | None
    longer_baseline: float | None
    perplexity: float | None = None


class SampleReply(Message):
    """A reply of the model in training. `complete`: it ended by itself, and was not cut off."""

    prompt: str
    reply: str
    complete: bool


class SampleReplies(Message):
    """What the model answers to the plan's sample prompts after `step` steps; greedy."""

    type: Literal["sample_replies"] = "sample_replies"
    run_id: str
    step: int
    replies: tuple[SampleReply, ...]


class RunFinished(Message):
    """The end of a run. `version` is the released version's content address, if any."""

    type: Literal["run_finished"] = "run_finished"
    run_id: str
    status: Literal["completed", "stopped", "discarded", "failed"]
    version: str | None = None
    number: int | None = None
    epsilon: float | None = None
    seconds: float = 0.0


class HostReady(Message):
    """The model host has loaded a base. `notes` are sentences the user should see, `decoder`
    says how replies are computed: by "own loop" (also "own loop, int8") or "transformers"."""

    type: Literal["host_ready"] = "host_ready"
    name: str
    base_hash: str
    parameters: int
    context: int
    dtype: str
    threads: int
    decoder: str = ""
    notes: tuple[str, ...] = ()


class ReplyDelta(Message):
    """The next piece of a reply's text."""

    type: Literal["reply_delta"] = "reply_delta"
    request: str
    text: str


class Trial(Message):
    """A side of a canary or of a test in the chat: "b" is the canary, or variant_b."""

    kind: Literal["canary", "test"]
    id: int
    arm: Literal["a", "b"]


class ReplyFinished(Message):
    """A whole reply with its measurements. Times in seconds, `version` None for the base.

    `fallback` says why another version or the base answered although one is active.
    `reused_tokens` of the prompt were known from earlier turns; `switch_seconds` is what putting
    the version into the weights took, 0 where it was there; the first token came
    `first_token_seconds` after that. Of a conversation that is too long `dropped_turns` were left
    out, and `cut_tokens` of a turn that is too long by itself. `trial` is what the reply counts
    for, if anything is being tried; `cache_hit`: the adapter was in memory already (None: base).
    """

    type: Literal["reply_finished"] = "reply_finished"
    request: str
    text: str
    reason: Literal["end", "length", "stopped"]
    version: str | None
    base_hash: str
    prompt_tokens: int
    reply_tokens: int
    first_token_seconds: float
    tokens_per_second: float
    dropped_turns: int = 0
    cut_tokens: int = 0
    reused_tokens: int = 0
    switch_seconds: float = 0.0
    memory_bytes: int = 0
    fallback: str | None = None
    trial: Trial | None = None
    cache_hit: bool | None = None


class PairScore(Message):
    """Mean log-probability per token of the two replies of one pair."""

    chosen: float
    rejected: float


class Scored(Message):
    """The answer to `Score`, in the order asked."""

    type: Literal["scored"] = "scored"
    request: str
    scores: tuple[PairScore, ...]
    version: str | None


class MetricDegraded(Message):
    """A metric of a model got worse: medians of the older and the newer half of `points`."""

    type: Literal["metric_degraded"] = "metric_degraded"
    model: str
    metric: str
    points: int
    p_value: float
    before: float
    after: float


class CanaryRolledBack(Message):
    """A version that was tried in a part of the replies was taken back by itself."""

    type: Literal["canary_rolled_back"] = "canary_rolled_back"
    version: str
    reason: str


class IntentsTrained(Message):
    """What `CustomModelTrainer.train_intent_classifier` returned."""

    type: Literal["intents_trained"] = "intents_trained"
    request: str
    result: dict[str, bool | int | float | str | None]


class IntentPredicted(Message):
    """An intent with its confidence (0 to 1), the best guesses, and the reply to it, if any."""

    type: Literal["intent_predicted"] = "intent_predicted"
    request: str
    intent: str
    confidence: float
    ranked: tuple[tuple[str, float], ...]
    reply: str | None = None


class AuditProgress(Message):
    """How far an audit is, from 0 to 1, and what it does."""

    type: Literal["audit_progress"] = "audit_progress"
    share: float
    text: str


class AuditFinished(Message):
    """What an audit found: the fields of `xeno.benchmarking.leak_check.Audit`."""

    type: Literal["audit_finished"] = "audit_finished"
    found: dict[str, Any]


class GateProgress(Message):
    """How far the examination of a version is, from 0 to 1, and what it does."""

    type: Literal["gate_progress"] = "gate_progress"
    share: float
    text: str


class GateFinished(Message):
    """The version was examined: the fields of `xeno.versions.gate.GateReport`."""

    type: Literal["gate_finished"] = "gate_finished"
    report: dict[str, Any]


class WorkProgress(Message):
    """How far an export, import or comparison is, from 0 to 1, and what it does."""

    type: Literal["work_progress"] = "work_progress"
    share: float
    text: str


class VersionExported(Message):
    """An export is there and was checked.

    `files` maps names to bytes. The check, by `method`, compared log-probabilities along
    `positions` tokens of the replies to `prompts` prompts; `largest` was the largest
    difference, `allowed` would have been. `ties` tokens may come out otherwise.
    """

    type: Literal["version_exported"] = "version_exported"
    folder: str
    form: str
    files: dict[str, int]
    method: str
    prompts: int
    positions: int
    largest: float
    allowed: float
    ties: int
    notes: tuple[str, ...]


class AdapterImported(Message):
    """An adapter is a version now: a candidate, or whatever it was if it was there already."""

    type: Literal["adapter_imported"] = "adapter_imported"
    address: str
    label: str
    known: bool
    notes: tuple[str, ...]


class VersionsCompared(Message):
    """A comparison: `xeno.versions.comparing.Comparison` as JSON."""

    type: Literal["versions_compared"] = "versions_compared"
    comparison: dict[str, Any]


Event = Annotated[
    Failure
    | LogLine
    | RunStarted
    | NoiseDrawn
    | TrainerKilled
    | TrainingPaused
    | TrainingContinued
    | Progress
    | Evaluated
    | SampleReplies
    | RunFinished
    | HostReady
    | ReplyDelta
    | ReplyFinished
    | Scored
    | MetricDegraded
    | CanaryRolledBack
    | IntentsTrained
    | IntentPredicted
    | AuditProgress
    | AuditFinished
    | WorkProgress
    | VersionExported
    | AdapterImported
    | VersionsCompared
    | GateProgress
    | GateFinished,
    Field(discriminator="type"),
]

_COMMANDS: TypeAdapter[Command] = TypeAdapter(Command)
_EVENTS: TypeAdapter[Event] = TypeAdapter(Event)


def encode(message: Message) -> bytes:
    """One JSON line, ASCII only, with its newline."""
    return json.dumps(message.model_dump(mode="json")).encode("ascii") + b"\n"


def decode_command(line: bytes | str) -> Command:
    """The command in `line`. Raises pydantic.ValidationError if it is none."""
    return _COMMANDS.validate_json(line)


def decode_event(line: bytes | str) -> Event:
    """The event in `line`. Raises pydantic.ValidationError if it is none."""
    return _EVENTS.validate_json(line)

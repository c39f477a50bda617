"""Settings of the adapter: its size, where it sits, how it begins."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from xeno.training.settings.declaration import setting


class AdapterSettings(BaseModel):
    adapter_kind: Literal["auto", "lora", "lora_b_only"] = setting(
        "auto",
        "Kind of adapter",
        "lora trains both halves A and B; lora_b_only holds A fixed and trains B; auto takes "
        "lora_b_only with differential privacy.",
        memory="lora_b_only keeps half the optimizer's state.",
        quality="lora can learn more.",
        privacy="lora_b_only has half the numbers to hide, so less noise in all.",
    )
    lora_rank: int | None = setting(
        None,
        "LoRA rank",
        "Size of the adapter. Larger can learn more and needs more memory; with privacy it also "
        "needs more noise. Chosen from the kind of run when not given.",
        memory="Grows in proportion.",
        quality="Larger can learn more from many pairs.",
        privacy="With privacy, larger means more noise.",
        ge=1,
        le=256,
    )
    lora_alpha: float | None = setting(
        None,
        "LoRA alpha",
        "Scale of the adapter: its effect is alpha divided by rank. Twice the rank when not given.",
        quality="Larger learns faster and less steadily.",
        gt=0,
    )
    rs_lora: bool = setting(
        False,
        "Rank-stabilised LoRA",
        "Divide alpha by the square root of the rank instead of the rank (rsLoRA), so that large "
        "ranks learn as fast as small ones.",
        quality="Makes ranks above about 16 worth their memory.",
    )
    lora_dropout: float = setting(
        0.0,
        "LoRA dropout",
        "Share of the adapter's inputs that is left out at random in each step. Not with "
        "differential privacy: what a pair loses would depend on the other pairs of its batch.",
        quality="Some learns few pairs less by heart.",
        ge=0,
        lt=1,
    )
    lora_modules: str = setting(
        "auto",
        "Modules",
        "Which layers get an adapter: auto, attention, mlp, all linear, or names such as "
        "q_proj,v_proj. auto is attention, and only the layers that write its result with "
        "differential privacy.",
        memory="Each module adds its share.",
        quality="More modules can learn more.",
        privacy="With privacy, more modules mean more noise.",
    )
    lora_exclude: str = setting(
        "",
        "Modules left out",
        "Names of modules, separated by commas, that get no adapter after all.",
        memory="Each module left out saves its share.",
        privacy="With privacy, fewer modules mean less noise.",
    )
    lora_layers: Literal["all", "first", "last"] = setting(
        "all",
        "Layers",
        "Whether all blocks of the model get an adapter, or only the first or the last ones.",
        memory="Fewer layers need less, most of all the last ones.",
        quality="The last layers hold more of style, the first more of language.",
        privacy="With privacy, fewer layers mean less noise.",
    )
    lora_layer_count: int = setting(
        8,
        "Number of layers",
        "How many blocks get an adapter where only the first or the last ones do.",
        memory="Grows in proportion.",
        ge=1,
        le=1024,
    )
    lora_init: Literal["auto", "kaiming", "gaussian", "orthonormal", "principal"] = setting(
        "auto",
        "Beginning of A",
        "How A is drawn; B always begins at 0. kaiming is LoRA's usual one, gaussian has "
        "deviation 1 / rank, orthonormal has rows of length 1 at right angles, principal turns "
        "those to where the layer's own weight does most. auto is kaiming, and principal where A "
        "is held fixed.",
        quality="With A held fixed, principal learns most at the same noise.",
    )
    lora_seed: int | None = setting(
        None,
        "Seed of A",
        "Start of A's random numbers; the run's seed when not given. The same seed gives the "
        "same A.",
        ge=0,
        lt=2**31,
    )

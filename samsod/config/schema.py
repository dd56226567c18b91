"""The configuration: typed dataclasses whose field docstrings are the help."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from samsod.config.data_schema import DataConfig
from samsod.config.yaml_tree import Faults
from samsod.utils.errors import nearest

RESERVED = ("fusion", "final", "encoder", "decoder", "ground_truth", "labelled", "guide", "index")
"""Names of streams, parameter groups and entries of a batch, which no modality can have."""


@dataclass
class TrunkConfig:
    """Overrides of the size's Hiera trunk, for models trained from scratch; null keeps the size's own value."""

    embed_dim: int | None = None
    """channels of the first stage; doubled at every stage"""
    num_heads: int | None = None
    """attention heads of the first stage; doubled at every stage"""
    stages: list[int] | None = None
    """blocks of each of the four stages"""
    global_att_blocks: list[int] | None = None
    """indices of the blocks with global attention"""
    window_spec: list[int] | None = None
    """attention window of each stage, in tokens"""


@dataclass
class AdapterConfig:
    """The adapter beside the MLP of every Hiera block, one per modality (SPEC 1.2; paper III.B)."""

    name: str = "decoupled"
    """vanilla (Eq. 18), decoupled (Eq. 21-23), decoupled_moe (the released code's), none, or one registered by
    `imports`"""
    bottleneck: int = 32
    """channels of each bottleneck"""
    scale: float = 0.5
    """factor on the adapter's output"""
    alpha_foreground: float = 0.45
    """share of channels the foreground branch always keeps (Eq. 22)"""
    alpha_background: float = 0.35
    """share of channels the background branch always keeps (Eq. 22)"""
    beta: float = 0.1
    """share of channels the gate decides on (Eq. 22)"""
    gate_scope: Literal["image", "batch"] = "image"
    """what the gate is averaged over; with batch (the released code) a prediction depends on its batch mates"""
    gate_pooling: Literal["mean_token", "tokens"] = "mean_token"
    """mean_token: the softmax of the mean token (Eq. 23); tokens (the released code): the mean of every token's"""
    gate_start: Literal["zero", "random"] = "zero"
    """start of the gates' linear layers; random (the released code): PyTorch's own"""
    gate_gradient: Literal["straight_through", "none"] = "straight_through"
    """how the gate learns through floor(); with none (the released code) it never does and is frozen"""
    options: dict[str, Any] = field(default_factory=dict)
    """further settings for an adapter of your own"""

    def check(self) -> Faults:
        """Yields (key, message) for every value out of range."""
        if self.bottleneck < 1:
            yield "bottleneck", f"expected at least 1, found {self.bottleneck}"
        for key in ("alpha_foreground", "alpha_background", "beta"):
            if not 0 <= getattr(self, key) <= 1:
                yield key, f"expected a share between 0 and 1, found {getattr(self, key)}"


WEIGHTS_FILES = ("weights", "encoder_from", "init_from")
"""Keys of the model that name files; what counts is what these hold."""


@dataclass
class EncoderConfig:
    """The image encoder every modality goes through, and the decoder that reads it (SPEC 1.1, 1.4)."""

    name: str = "sam2"
    """sam2, which size, trunk, decoder_width and dense_prompt belong to, or one registered by `imports`"""
    options: dict[str, Any] = field(default_factory=dict)
    """settings of an encoder of your own"""


@dataclass
class ModelConfig:
    """The network (SPEC 1)."""

    name: str = "samsod"
    """which registered model"""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    size: Literal["micro", "tiny", "small", "base_plus", "large"] = "large"
    """SAM2's Hiera size; micro is ours, for training from scratch and for tests"""
    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    decoder_width: int = 256
    """channels of the neck's output and of the mask decoder; SAM2's weights need 256"""
    weights: str = ""
    """SAM2's or SAM2.1's weights of that size, Meta's file (sam2.1_hiera_large.pt; tools/download_sam2.py fetches it)
    or Hugging Face's (model.safetensors); empty: random weights"""
    encoder_from: str = ""
    """a samsod checkpoint, a file or a folder to share, whose encoder and decoder are the start in the place of
    `weights`; its modalities and adapters may be others, they are not taken over"""
    init_from: str = ""
    """a samsod checkpoint whose weights (only) training starts from"""
    image_size: int = 512
    """side of the square input in pixels, a multiple of 32"""
    modalities: list[str] = field(default_factory=lambda: ["rgb", "thermal"])
    """names of the images of a pair, one or more, in order; sizes and masks are those of the first. [rgb, thermal] and
    [rgb, depth] are the paper's, [rgb] alone the first row of its Table III; others are free"""
    unimodal_supervision: bool = True
    """decode and supervise every modality's stream on its own too (Eq. 6, 7)"""
    dense_prompt: bool = True
    """add SAM2's no-mask embedding before the decoder, as SAM2 does; the released code does not"""
    freeze_encoder: bool = True
    """keep trunk and neck as they are; false trains them as one more parameter group"""
    adapter: AdapterConfig = field(default_factory=AdapterConfig)

    def check(self) -> Faults:
        """Yields (key, message) for every value out of range."""
        if not self.modalities:
            yield "modalities", "expected one name or more"
        for name in self.modalities:
            if message := _no_modality(name, self.modalities):
                yield "modalities", message
        if self.image_size < 64 or self.image_size % 32:
            yield "image_size", f"expected a multiple of 32, at least 64, found {self.image_size}"
        if self.decoder_width < 32 or self.decoder_width % 32:
            yield "decoder_width", f"expected a multiple of 32, found {self.decoder_width}"
        if self.encoder.name == "sam2" and self.weights and self.decoder_width != 256:
            yield "decoder_width", f"SAM2's weights need 256, found {self.decoder_width}"
        if self.weights and self.encoder_from:
            yield "encoder_from", "not together with model.weights: both name the encoder's file; leave one out"

    @property
    def base_key(self) -> Literal["weights", "encoder_from"]:
        """The key that says, or would say, which file encoder and decoder start from."""
        return "encoder_from" if self.encoder_from else "weights"

    @property
    def base(self) -> str:
        """The file that encoder and decoder start from; empty: none."""
        return self.encoder_from or self.weights

    def with_base(self, file: str) -> ModelConfig:
        """The same model with `file` in the place of its `base`, and nothing else to start from; empty: random."""
        made = replace(self, weights="", encoder_from="", init_from="")
        setattr(made, self.base_key, file)
        return made


def _no_modality(name: str, names: Sequence[str]) -> str:
    """What is wrong with a modality's name; empty when nothing is."""
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        plain = re.sub("[^a-z0-9_]+", "_", name.lower()).strip("_0123456789")
        hint = f" (did you mean {plain!r}?)" if plain else ""
        return f"expected names of lower-case letters, digits and _, found {name!r}{hint}"
    if name in RESERVED:
        return f"{name!r} means something else here; taken names: {', '.join(RESERVED)}"
    return f"{name!r} is there twice" if names.count(name) > 1 else ""


@dataclass
class LossConfig:
    """The loss on each prediction (SPEC 2)."""

    name: str = "weighted_iou_bce"
    """which registered loss"""
    options: dict[str, Any] = field(default_factory=dict)
    """keyword arguments of the loss"""


@dataclass
class TrainConfig:
    """The recipe (SPEC 4)."""

    batch_size: int = 4
    """images per optimizer step over all ranks together"""
    accumulate: int = 1
    """micro-batches each rank's share of the batch is cut into, to save memory; the result stays the same"""
    drop_last: bool = True
    """drop what an epoch leaves over of a batch; false, as in the released code: train on it too, as a smaller batch"""
    epochs: int = 45
    """passes over the training set"""
    steps: int = 0
    """stop after so many optimizer steps instead; 0: after the epochs"""
    optimizer: Literal["adam", "adamw"] = "adam"
    """PyTorch's Adam or AdamW"""
    lr: float = 1e-3
    """learning rate"""
    weight_decay: float = 0.0
    """weight decay of the optimizer"""
    schedule: Literal["constant", "poly"] = "constant"
    """poly lowers the rate as (1 - step/steps)^0.9"""
    clip_norm: float = 0.0
    """clip the merged gradient's norm; 0: never"""
    log_every: int = 20
    """steps between log lines"""
    eval_every: int = 1
    """epochs between evaluations on the validation sets; 0: only at the end"""
    checkpoint_every: int = 1
    """epochs between checkpoints; one is always written at the end"""
    checkpoint_steps: int = 0
    """optimizer steps between further checkpoints; 0: none"""
    tensorboard: bool = False
    """also write the logged figures for TensorBoard, an optional extra"""
    keep: int = 2
    """how many of the last checkpoints stay; the best one stays too"""
    best_metric: Literal["S", "maxF", "meanF", "adpF", "maxE", "meanE", "adpE", "MAE"] = "S"
    """metric on the validation sets that chooses checkpoints/best.pt"""
    resume: str = "auto"
    """auto: go on from the newest checkpoint in output, if any; previous: the same, passing over damaged ones; never:
    start anew in an empty output; or a file"""

    def check(self) -> Faults:
        """Yields (key, message) for every value out of range."""
        for key in ("batch_size", "accumulate", "epochs", "log_every", "checkpoint_every", "keep"):
            if getattr(self, key) < 1:
                yield key, f"expected at least 1, found {getattr(self, key)}"
        for key in ("steps", "lr", "weight_decay", "clip_norm", "eval_every", "checkpoint_steps"):
            if getattr(self, key) < 0:
                yield key, f"expected 0 or more, found {getattr(self, key)}"


@dataclass
class RuleConfig:
    """How the losses' gradients are merged per parameter group (SPEC 3)."""

    name: str = "pcgrad"
    """pcgrad (Eq. 11-16), sum (the plain gradient of Eq. 8), another of docs/gradient_rules.md, or one of `imports`"""
    options: dict[str, Any] = field(default_factory=dict)
    """keyword arguments of the rule"""


@dataclass
class EngineConfig:
    """How the machine is used."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU when there is one"""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """autocast type of the forward pass; parameters, losses and gradient rows stay float32"""
    tf32: bool = False
    """let GPUs round the factors of float32 matrix products and convolutions to TF32's 10 bits, as coarse as fp16's;
    left alone, PyTorch does that to convolutions and not to products. Off, fp32 is float32 on every device: TopK jumps
    where two activations nearly tie, and the gradients of different losses are told apart; whoever wants speed more
    has this, or bf16"""
    reduce_dtype: Literal["fp32", "bf16"] = "fp32"
    """type in which gradient rows travel between ranks; bf16 halves the traffic and rounds every gradient to 8 bits"""
    checkpointing: Literal["none", "block"] = "none"
    """block: keep no more of the encoder's blocks than what they read, and run each once more in the backward pass; the
    result stays the same"""
    compile: Literal["off", "encode+decode"] = "off"
    """encode+decode: encoder with adapters, and decoder, are compiled by torch.compile, each for itself, so that every
    loss's backward pass runs what it reaches and no more; the first steps take up to minutes, results differ by
    rounding. It needs a C++ compiler, on a GPU Triton too"""
    gradient_rule: RuleConfig = field(default_factory=RuleConfig)
    timeout_minutes: float = 60.0
    """how long ranks wait for each other, also while the first reads or writes files; then the run ends with an
    error"""

    def check(self) -> Faults:
        """Yields (key, message) for every value out of range."""
        if not 0 < self.timeout_minutes < 1e6:
            yield "timeout_minutes", f"expected more than 0 and less than a million, found {self.timeout_minutes}"
        if self.compile != "off" and self.checkpointing != "none":
            yield "compile", f"{self.compile} and engine.checkpointing={self.checkpointing} exclude each other"


@dataclass
class TestConfig:
    """Testing and the saved saliency maps."""

    __test__ = False  # pytest: not a test class

    batch_size: int = 1
    """images per forward pass and rank"""
    resize: Literal["logits", "saliency"] = "logits"
    """what is resized to the truth's size: the logits, before the sigmoid, as the released code does, or the saliency
    after it; in validation too"""
    normalize_maps: bool = True
    """stretch every map from its own minimum and maximum to 0-255, as the released code does; a constant one stays"""
    modalities: list[str] = field(default_factory=list)
    """those of model.modalities that are tested with, as if the images of the others did not exist; the first of them
    is then the reference; empty: all"""
    shift: list[int] = field(default_factory=list)
    """[right, down]: so many pixels, as they are stored, all images but the reference's are moved when they are tested,
    their border repeated, to see what cameras out of register cost; empty: none are"""
    streams: bool = False
    """also score the fusion's and every modality's own prediction, into streams.json"""
    metrics: list[str] = field(default_factory=list)
    """further metrics to compute beside the standard ones: IoU, Dice, precision, recall, specificity, BER, SI-MAE,
    SI-F, MSIoU, HCE, CM, CCM, BIoU, or names of your own; docs/eval_maps.md says what they are"""
    contact_sheet: int = 8
    """pairs on the picture contact_sheet.png; 0: none"""

    def check(self) -> Faults:
        """Yields (key, message) for every value out of range."""
        if self.batch_size < 1:
            yield "batch_size", f"expected at least 1, found {self.batch_size}"
        if len(self.shift) not in (0, 2):
            yield "shift", f"expected [right, down], found {self.shift}"
        if self.contact_sheet < 0:
            yield "contact_sheet", f"expected 0 or more, found {self.contact_sheet}"


@dataclass
class Config:
    """Everything a run depends on."""

    output: str = "output/run"
    """folder of the run: config.yaml, log.txt, metrics.jsonl, checkpoints/"""
    seed: int = 0
    """seed of weights, shuffling, augmentation and gradient surgery"""
    imports: list[str] = field(default_factory=list)
    """your own modules or .py files to import first, so that what they register can be named"""
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    test: TestConfig = field(default_factory=TestConfig)

    def check(self) -> Faults:
        """Yields (key, message) for every value out of range."""
        if not self.output.strip():
            yield "output", "expected the name of a folder, found nothing"
        if self.seed < 0:
            yield "seed", f"expected 0 or more, found {self.seed}"
        for name in self.data.modalities:
            if name not in (known := self.model.modalities):
                near = nearest(name, known)
                yield f"data.modalities.{name}", f"not in model.modalities, {', '.join(known)}{near}"
        for name in self.test.modalities:
            if name not in (known := self.model.modalities):
                yield (
                    "test.modalities",
                    f"{name!r} is not in model.modalities, {', '.join(known)}{nearest(name, known)}",
                )

    def tested_modalities(self) -> list[str]:
        """The modalities of the model that are tested with, in the model's order."""
        return [name for name in self.model.modalities if name in (self.test.modalities or self.model.modalities)]

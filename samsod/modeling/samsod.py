"""SAMSOD: one frozen encoder, a set of adapters per modality, one shared mask decoder (paper Fig. 2)."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samsod.config import ModelConfig
from samsod.modeling.adapters import DecoupledAdapter, VanillaAdapter, adapt, build_adapter
from samsod.modeling.backbone import Encoder, RunEncoder, build_backbone
from samsod.modeling.parameter_groups import Cut, ParameterGroup, ParameterGroups
from samsod.registry import MODELS
from samsod.utils.errors import UserError
from samsod.utils.host_copy import HostCopy
from samsod.utils.maps import FINAL, FUSION, Maps


class Prediction(NamedTuple):
    """Logits `[B,1,H,W]` by stream, one or more: `fusion` and one per modality.

    Attributes:
        streams: The logits.
        cuts: One for each modality, where these share a graph, in which a loss's own backward pass would run all of
            them; `samsod.surgery.shared_passes` runs what is needed.
    """

    streams: dict[str, Tensor]
    cuts: tuple[Cut, ...] = ()

    def logits(self) -> Tensor:
        """The sum of all streams in float32, `[B,1,H,W]`: P_F + Σ_m P_m (paper IV.B)."""
        return torch.stack([logits.float() for logits in self.streams.values()]).sum(0)

    def saliency(self) -> Tensor:
        """The final saliency map in 0-1, `[B,1,H,W]`: the sigmoid of `logits()`."""
        return torch.sigmoid(self.logits())

    def sent(self, streams: bool) -> SentMaps:
        """Sends the host the logits of the final prediction, and with `streams` those of each stream."""
        maps = {FINAL: self.logits()} | (self.streams if streams else {})
        return SentMaps({name: HostCopy(values[:, 0].float()) for name, values in maps.items()})


class SentMaps(NamedTuple):
    """The maps of a batch on their way to the host, by name."""

    copies: dict[str, HostCopy]

    def read(self) -> list[Maps]:
        """Of every image the logits by map name, float32 `[H,W]`; waits until they are there."""
        arrays = {name: copy.read() for name, copy in self.copies.items()}
        return [dict(zip(arrays, rows, strict=True)) for rows in zip(*arrays.values(), strict=True)]


class SaliencyModel(nn.Module, ABC):
    """What a model registered in `MODELS` offers to the trainer and the tools.

    One whose `forward` takes a third argument, `run_encoder` (a `RunEncoder`), and calls that wherever it would call an
    encoder, can be trained block by block (`engine.checkpointing`). Then neither the images nor what stands beside the
    blocks may depend on maps of another call.

    Args:
        config: The model's settings.

    Attributes:
        modalities: Names of the images it takes, the reference first.
        remarks: Lines for the log on where its weights come from.
        compiled_apart: Names of the methods that `engine.compile` compiles, each for itself; together they should be
            all that takes long, and none should lie on the way of a loss that does not need all of it.
    """

    compiled_apart: tuple[str, ...] = ()

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.modalities = tuple(config.modalities)
        self.remarks: list[str] = []

    @abstractmethod
    def forward(self, images: Mapping[str, Tensor], given: Sequence[str] = ()) -> Prediction:
        """Predicts from images `[B,3,H,W]` by modality; other entries are ignored.

        All modalities are needed, or those `given`: which ones are missing is for the caller to say, so that a batch
        that lacks one by mistake is an error.
        """

    @abstractmethod
    def parameter_groups(self) -> ParameterGroups:
        """The groups of gradient surgery; together all that is trained."""

    @abstractmethod
    def parts(self) -> dict[str, list[nn.Module]]:
        """The modules of each part, as the cost table lists them."""

    def cast_weights(self) -> Iterator[nn.Parameter]:
        """Weights that may be held in the type that autocast casts them to: nothing reads them otherwise.

        None unless a model says so. Neither sums of two of them nor parts that run without autocast would do.
        """
        return iter(())

    def base_file(self) -> Path | None:
        """The file that gives back what `saved_state` leaves out; None when it leaves nothing out."""
        return None

    def saved_state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold, by key; the tensors are the model's own, so that it can be loaded into them."""
        return self.state_dict()


def build_model(config: ModelConfig) -> SaliencyModel:
    """The configured model, with the encoder's weights when `weights` or `encoder_from` names a file.

    Raises:
        UserError: No such model, or the weights do not fit.
    """
    return MODELS.get(config.name)(config)


@MODELS.register("samsod")
class Samsod(SaliencyModel):
    """The network of SPEC 1.

    Args:
        config: The model's settings.

    Raises:
        UserError: The weights do not fit, or settings contradict each other.
    """

    compiled_apart = ("encode_beside", "decode")

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        if taken := [name for name in self.modalities if hasattr(nn.ModuleDict(), name)]:
            raise UserError(f"model.modalities: PyTorch has another use for the name {taken[0]!r}; choose another")
        self.encoder, self.decoder = build_backbone(config)
        self.remarks += filter(None, [self.encoder.origin])
        self.adapters = nn.ModuleDict(
            {
                name: nn.ModuleList(build_adapter(config.adapter, width) for width in self.encoder.widths)
                for name in self.modalities
            }
        )
        for module in self.encoder.pretrained():
            module.requires_grad_(not config.freeze_encoder)
        for parameter in self.decoder.unreachable():
            parameter.requires_grad_(False)

    def forward(
        self,
        images: Mapping[str, Tensor],
        given: Sequence[str] = (),
        run_encoder: RunEncoder = Encoder.__call__,
    ) -> Prediction:
        """Predicts from one batch.

        Every stream decodes on its own (Eq. 6), so any modalities will do: the fusion is the sum over the given ones,
        and a single one has its own stream alone; or, in a model without unimodal supervision, the fusion's.

        Args:
            images: `[B,3,H,W]` by modality, sides multiples of the encoder's stride (SAM2: 32); other entries are
                ignored.
            given: The modalities to predict from, in any order; empty: all.
            run_encoder: What runs the encoder.

        Returns:
            Logits `[B,1,H,W]` of the configured streams, as far as the given modalities have them.

        Raises:
            ValueError: A modality is missing or unknown, or the sides are no such multiples.
        """
        names = self._check(images, given or self.modalities)
        # Costs are counted in the modules of each modality.
        apart = run_encoder is not Encoder.__call__ or torch.jit.is_tracing() or self._losses_meet_in_encoder()
        together = len(names) > 1 and not apart
        if together:
            stages = self.encode(torch.cat([images[name] for name in names]), *names)
            by_modality = zip(*(_apart(maps, len(names)) for maps in stages), strict=True)
            features = dict(zip(names, map(list, by_modality), strict=True))
        else:
            features = {name: self.encode(images[name], name, run=run_encoder) for name in names}
        streams = self._streams(names)
        if FUSION in streams:
            # Eq. 2, stage by stage.
            features[FUSION] = [functools.reduce(torch.add, maps) for maps in zip(*features.values(), strict=True)]
        if apart or torch.is_grad_enabled():  # a loss's own backward pass would run all of a common one
            cuts = (Cut(features[name], _trained(self.adapters[name])) for name in names if together)
            return Prediction({name: self.decode(features[name]) for name in streams}, tuple(cuts))
        logits = self.decode([torch.cat(maps) for maps in zip(*(features[name] for name in streams), strict=True)])
        return Prediction(dict(zip(streams, _apart(logits, len(streams)), strict=True)))

    def encode(self, images: Tensor, *modalities: str, run: RunEncoder = Encoder.__call__) -> list[Tensor]:
        """Images through the encoder and their modalities' adapters.

        Args:
            images: `[m·B,3,H,W]`, those of the first modality first.
            modalities: Their names.
            run: What runs the encoder.

        Returns:
            A map `[m·B,C,h,w]` per stage.
        """
        adapters = list(zip(*(self.adapters[name].children() for name in modalities), strict=True))
        return self.encode_beside(images, adapters, run)

    def encode_beside(
        self, images: Tensor, adapters: Sequence[Sequence[nn.Module]], run: RunEncoder = Encoder.__call__
    ) -> list[Tensor]:
        """`encode` with the adapters of each block, one for each modality.

        Compiled, this is one graph for any modality, since adapters are arguments and no name is.
        """
        return run(self.encoder, images, lambda block, x: adapt(adapters[block], x, self.config.adapter.scale))

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """The stages' maps, of one modality or the sum of several, to logits `[B,1,H,W]` in float32 (Eq. 6)."""
        logits = self.decoder(self.encoder.pyramid(features)).float()
        return F.interpolate(logits, scale_factor=self.decoder.stride, mode="bilinear", align_corners=False)

    def loss_names(self) -> tuple[str, ...]:
        """The losses this model is trained with, in the order they are computed."""
        return self._streams(self.modalities)

    def parameter_groups(self) -> ParameterGroups:
        """The groups of gradient surgery and the losses that reach each (SPEC 3)."""
        every = (FUSION, *self.modalities)
        modules: dict[str, tuple[nn.Module, tuple[str, ...]]] = {
            **{f"{name}_adapter": (adapters, (FUSION, name)) for name, adapters in self.adapters.items()},
            "decoder": (self.decoder, every),
            "encoder": (self.encoder, every),
        }
        groups = []
        for name, (module, losses) in modules.items():
            parameters = _trained(module)
            reached_by = tuple(loss for loss in self.loss_names() if loss in losses)
            if parameters:
                groups.append(ParameterGroup(name, parameters, reached_by))
        return ParameterGroups(groups)

    def parts(self) -> dict[str, list[nn.Module]]:
        """The modules of each part, as the cost table lists them."""
        encoder = {name: [module] for name, module in self.encoder.parts().items()}
        return {**encoder, "decoder": [self.decoder], "adapters": list(self.adapters.values())}

    def cast_weights(self) -> Iterator[nn.Parameter]:
        """Those of linear layers and convolutions, without the biases of adapters, which are summed in float32."""
        for part in (self.encoder, self.decoder):
            if part.casts_alike:
                yield from _cast_weights(part)
        for adapter in (each for adapters in self.adapters.values() for each in adapters.children()):
            if isinstance(adapter, (VanillaAdapter, DecoupledAdapter)):
                yield from (weight for weight in _cast_weights(adapter) if weight.ndim > 1)

    def base_file(self) -> Path | None:
        """The file the encoder comes from, when it is frozen and so still what that file gives."""
        return Path(self.config.base) if self.config.base and self.config.freeze_encoder else None

    def saved_state(self) -> dict[str, Tensor]:
        """All that was trained, and the encoder when no file can give it back."""
        given_back = {id(module) for module in self.encoder.pretrained()} if self.base_file() else set()
        prefixes = tuple(f"{name}." for name, module in self.named_modules() if id(module) in given_back)
        return {key: value for key, value in self.state_dict().items() if not key.startswith(prefixes)}

    def _losses_meet_in_encoder(self) -> bool:
        """Whether any of the encoder is being trained; then backward passes have nothing in it to share."""
        return torch.is_grad_enabled() and any(parameter.requires_grad for parameter in self.encoder.parameters())

    def _streams(self, given: tuple[str, ...]) -> tuple[str, ...]:
        """What is decoded of the given modalities; the decoder knows only streams it was trained on."""
        if not self.config.unimodal_supervision and len(self.modalities) > 1:
            return (FUSION,)
        return given if len(given) == 1 else (FUSION, *given)

    def _check(self, images: Mapping[str, Tensor], given: Sequence[str]) -> tuple[str, ...]:
        """The given modalities in the model's order."""
        for name in given:
            if name not in self.modalities:
                raise ValueError(f"no modality is called {name}: model.modalities is {list(self.modalities)}")
            if name not in images:
                raise ValueError(f"no image of the modality {name}: model.modalities is {list(self.modalities)}")
            height, width = images[name].shape[-2:]
            if height % self.encoder.stride or width % self.encoder.stride:
                raise ValueError(f"expected sides that are multiples of {self.encoder.stride}, found {height}, {width}")
        return tuple(name for name in self.modalities if name in given)


def _cast_weights(module: nn.Module) -> Iterator[nn.Parameter]:
    """Weights and biases of the layers below a module that autocast runs in the shorter type."""
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            yield from layer.parameters(recurse=False)


def _apart(batches: Tensor, count: int) -> tuple[Tensor, ...]:
    """`count` batches that stand one after the other, as views."""
    return batches.unflatten(0, (count, -1)).unbind()


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]

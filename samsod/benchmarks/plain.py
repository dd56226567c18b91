"""The same network and training step written plainly, to measure against and to test with.

One stream after the other through SAM2's own blocks, TopK as a boolean mask from sorting twice, a whole `backward()`
for each loss, PCGrad literally in loops over the parameters, and PyTorch's Adam one parameter at a time. Nothing of
samsod's fast paths runs here: the adapters' weights are read by their names in a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samsod.config import Config, ModelConfig
from samsod.modeling.losses import build_loss
from samsod.modeling.parameter_groups import ParameterGroup
from samsod.modeling.products import Linear
from samsod.modeling.samsod import FUSION, build_model
from samsod.surgery.rules.pcgrad import random_orders
from samsod.utils.errors import UserError
from samsod.utils.precision import autocast

ADAPTERS = ("vanilla", "decoupled", "decoupled_moe")
Row = list[Tensor]
"""A gradient, one tensor for each parameter."""


def lacks(config: Config) -> str:
    """What of the settings has no plain form; empty when all has."""
    model = config.model
    for key, found, known in (
        ("model.name", model.name, ("samsod",)),
        ("model.encoder.name", model.encoder.name, ("sam2",)),
        ("model.adapter.name", model.adapter.name, ADAPTERS),
        ("engine.gradient_rule.name", config.engine.gradient_rule.name, ("pcgrad",)),
    ):
        if found not in known:
            return f"{key}: the plain network and step have {', '.join(known)} only, not {found}"
    return ""


class PlainSamsod(nn.Module):
    """The network of SPEC 1 on SAM2's encoder, with one of `ADAPTERS`.

    Args:
        config: The model's settings.
        state: Weights, as a `Samsod` of these settings has them; None draws random ones.
    """

    def __init__(self, config: ModelConfig, state: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.config = config
        self.model: Any = build_model(config)  # lends SAM2's modules and the adapters' weights
        for layer in self.model.modules():
            if isinstance(layer, Linear):
                layer.__class__ = nn.Linear  # type: ignore[assignment]
        if state is not None:
            self.model.load_state_dict(state)

    def forward(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Images `[B,3,H,W]` by modality to logits `[B,1,H,W]` by stream."""
        features = {name: self._encode(images[name], name) for name in self.config.modalities}
        if not self.config.unimodal_supervision or len(features) > 1:
            fused = [torch.stack(maps).sum(0) for maps in zip(*features.values(), strict=True)]
            own = features if self.config.unimodal_supervision else {}
            features = {FUSION: fused, **own} if len(features) > 1 else features
        return {name: self._decode(maps) for name, maps in features.items()}

    def _encode(self, images: Tensor, modality: str) -> list[Tensor]:
        trunk = self.model.encoder.trunk
        x = trunk.patch_embed(images)
        x = x + trunk._get_pos_embed(x.shape[1:3])
        maps = []
        for index, block in enumerate(trunk.blocks):
            seen: list[Tensor] = []  # the state after the attention residual, which SAM2's block gives its second norm
            watch = block.norm2.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.extend(inputs))
            x = block(x)
            watch.remove()
            x = x + self.config.adapter.scale * self._adapter(modality, index, seen[0])
            if index in trunk.stage_ends:
                maps.append(x.permute(0, 3, 1, 2))
        return maps

    def _adapter(self, modality: str, index: int, x: Tensor) -> Tensor:
        config = self.config.adapter
        weights = dict(self.model.adapters[modality][index].named_parameters())
        if config.name == "vanilla":
            return _linear(weights, "bottleneck.up", F.gelu(_linear(weights, "bottleneck.down", x)))
        rhos = self._kept_channels(weights, x)
        branches = []
        for branch, rho, largest in zip(("foreground", "background"), rhos, (True, False), strict=True):
            kept = keep(F.gelu(_linear(weights, f"{branch}.down", x)), rho, largest)
            branches.append(_linear(weights, f"{branch}.up", kept))
        if config.name == "decoupled":
            return branches[0] + branches[1]
        shares = torch.softmax(_linear(weights, "branch_gate", x), -1)
        return shares[..., :1] * branches[0] + shares[..., 1:] * branches[1]

    def _kept_channels(self, weights: Mapping[str, Tensor], x: Tensor) -> list[Tensor]:
        config = self.config.adapter
        x = x if config.gate_gradient == "straight_through" else x.detach()
        tokens = (1, 2) if config.gate_scope == "image" else (0, 1, 2)
        if config.gate_pooling == "tokens":
            shares = torch.softmax(_linear(weights, "gate", x).float(), -1).mean(tokens, keepdim=True)
        else:
            shares = torch.softmax(_linear(weights, "gate", x.float().mean(tokens, keepdim=True)).float(), -1)
        alphas = (config.alpha_foreground, config.alpha_background)
        return [config.bottleneck * (alphas[i] + config.beta * shares[..., i : i + 1]) for i in (0, 1)]

    def _decode(self, maps: Sequence[Tensor]) -> Tensor:
        pyramid, _ = self.model.encoder.neck(maps)
        decoder, prompt = self.model.decoder.mask_decoder, self.model.decoder.prompt
        image = pyramid[2] + prompt.no_mem_embed.reshape(1, -1, 1, 1)
        dense = prompt.no_mask_embed.reshape(1, -1, 1, 1) * float(self.config.dense_prompt)
        masks = decoder.predict_masks(
            image_embeddings=image,
            image_pe=prompt.positions(*image.shape[-2:]),
            sparse_prompt_embeddings=prompt.sparse(len(image)),
            dense_prompt_embeddings=dense,
            repeat_image=False,
            high_res_features=[decoder.conv_s0(pyramid[0]), decoder.conv_s1(pyramid[1])],
        )[0]
        return F.interpolate(masks[:, :1].float(), scale_factor=4, mode="bilinear", align_corners=False)


def _linear(weights: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def keep(h: Tensor, rho: Tensor, largest: bool) -> Tensor:
    """TopK of Eq. 21 with the straight-through gradient of ρ, by a boolean mask; see `ranking.keep_ranked`."""
    ranks = h.argsort(stable=True, dim=-1, descending=largest).argsort(dim=-1)
    kept, following = ranks < rho.floor(), ranks == rho.floor()
    return torch.where(kept, h, 0.0) + ((rho - rho.detach()) * torch.where(following, h, 0.0).detach()).to(h.dtype)


class PlainTraining:
    """Training steps of the plain network with PCGrad, on one rank.

    Args:
        config: The run's config.
        device: Where it trains.
        state: Weights to start from; None draws random ones.

    Raises:
        UserError: There is no plain form of the configured model or rule.
    """

    def __init__(self, config: Config, device: torch.device, state: Mapping[str, Tensor] | None = None) -> None:
        if lacking := lacks(config):
            raise UserError(lacking)
        self.config, self.device, self.loss = config, device, build_loss(config.loss)
        self.network = PlainSamsod(config.model, state).to(device).train()
        self.groups = self.network.model.parameter_groups()
        self.parameters = [p for group in self.groups for p in group.parameters]
        self.optimizer = torch.optim.Adam(self.parameters, lr=config.train.lr, foreach=False)
        self.steps = 0

    def step(self, batch: Mapping[str, Tensor]) -> None:
        """One optimizer step, without micro-batches and loss scaling."""
        self.set_gradients(batch)
        self.optimizer.step()
        self.steps += 1

    def set_gradients(self, batch: Mapping[str, Tensor]) -> None:
        """Sets every parameter's `.grad` to the merged gradient."""
        with autocast(self.device, self.config.engine.precision):
            streams = self.network(batch)
        losses = {name: self.loss(logits, batch) for name, logits in streams.items()}
        rows: dict[str, dict[str, Row]] = {group.name: {} for group in self.groups}
        for index, (name, loss) in enumerate(losses.items()):
            for parameter in self.parameters:
                parameter.grad = None
            loss.backward(retain_graph=index < len(losses) - 1)
            for group in self.groups:
                if name in group.losses:
                    rows[group.name][name] = [
                        torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in group.parameters
                    ]
        for group in self.groups:
            orders = random_orders(len(group.losses), f"{self.config.seed}/{self.steps}/{group.name}")
            _set_gradients(group, projected_mean([rows[group.name][name] for name in group.losses], orders))


def _set_gradients(group: ParameterGroup, row: Row) -> None:
    for parameter, gradient in zip(group.parameters, row, strict=True):
        parameter.grad = gradient


def projected_mean(rows: Sequence[Row], orders: Sequence[Sequence[int]]) -> Row:
    """PCGrad as Eq. 14-16 have it: each gradient, freed of its conflicts with the others, and the mean of all."""
    changed = []
    for own, order in zip(rows, orders, strict=True):
        mine = [gradient.clone() for gradient in own]
        for other in order:
            dot = sum((a * b).sum() for a, b in zip(mine, rows[other], strict=True))
            if dot < 0:
                factor = dot / sum(b.square().sum() for b in rows[other])
                mine = [a - factor * b for a, b in zip(mine, rows[other], strict=True)]
        changed.append(mine)
    return [torch.stack(list(gradients)).mean(0) for gradients in zip(*changed, strict=True)]

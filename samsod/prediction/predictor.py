"""A trained model for use: from a checkpoint, on files or arrays, without masks, config or data sets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

import samsod.modeling  # noqa: F401  fills the registries
from samsod.config import Config, stored_config
from samsod.config.data_schema import Sizes
from samsod.data.pictures import Floats
from samsod.engine.checkpoint import load_checkpoint, load_model_state
from samsod.modeling.samsod import SaliencyModel, SentMaps, build_model
from samsod.modeling.shortened import shortened
from samsod.prediction.scene_predictor import Scene, ScenePredictor, set_sizes
from samsod.utils.distributed import pick_device
from samsod.utils.errors import UserError
from samsod.utils.maps import Maps
from samsod.utils.precision import autocast

Precision = Literal["fp32", "bf16", "fp16"]


class Predictor(ScenePredictor):
    """Predicts with PyTorch; safe to use from several threads at once, and nothing is kept between calls.

    Args:
        model: The model, on its device; it is put in evaluation mode. Beside it a copy of its weights in bf16 or fp16
            is held if it is to run so; what is loaded into it later does not count then.
        config: The config it was trained with: how images are read, and how maps are made.
        precision: The network's autocast type.
        allow_missing: Whether images of some modalities may be missing: each stream decodes on its own (Eq. 6).

    Attributes:
        model: The model.
        device: Where it is.
    """

    def __init__(
        self, model: SaliencyModel, config: Config, precision: Precision = "fp32", allow_missing: bool = False
    ) -> None:
        super().__init__(config, model.modalities, allow_missing)
        self.model = model.eval().requires_grad_(False)
        self.device = next(model.parameters()).device
        self.precision = precision
        self._network = shortened(self.model, precision)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        device: str = "auto",
        precision: Precision = "fp32",
        weights: str | Path | None = None,
        allow_missing: bool = False,
        sizes: Sizes | None = None,
    ) -> Predictor:
        """Loads a checkpoint of tools/train_net.py, or a folder of `tools/inspect_checkpoint.py --export`.

        All settings are the training's.

        No code in the checkpoint, and none that it names, is run: a model with parts of your own needs these imported
        first.

        Args:
            path: The checkpoint or the folder.
            device: `auto` (a GPU when there is one), or as PyTorch calls it: `cpu`, `cuda`, `cuda:1`.
            precision: `fp32`, `bf16` or `fp16`.
            weights: The file the encoder comes from, SAM2's or (`model.encoder_from`) a checkpoint, of a checkpoint
                that holds none; None: the training's path.
            allow_missing: See `Predictor`.
            sizes: `any` takes scenes whose images differ in size, `equal` refuses them; None: as in the training.

        Raises:
            UserError: A file or setting cannot be used; one line says what is expected.
        """
        if precision not in get_args(Precision):
            raise UserError(f"precision: expected {' or '.join(get_args(Precision))}, found {precision!r}")
        chosen = _device(device)
        content = load_checkpoint(path)
        config = stored_config(content.get("config", {}), str(path))
        set_sizes(config, sizes)
        config.model = config.model.with_base(_encoder_file(content, config, path, weights))
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced
            try:
                model = build_model(config.model)
            except UserError as error:
                hint = f"; it was trained with imports: {', '.join(config.imports)}: import these first"
                raise UserError(f"{path}: {error}{hint if config.imports else ''}") from None
        load_model_state(model, content, path)
        return cls(model.to(chosen), config, precision, allow_missing)

    def infer(self, scenes: Sequence[Scene], streams: bool = False) -> list[Maps]:
        """See `ScenePredictor.infer`."""
        return self.start(scenes, streams).read()

    def start(self, scenes: Sequence[Scene], streams: bool = False) -> SentMaps:
        """`infer` without waiting: a GPU is given the work, and reading what comes back waits for it."""
        names = list(scenes[0].images)
        batch = {name: self._sent([scene.images[name] for scene in scenes]) for name in names}
        with torch.inference_mode(), autocast(self.device, self.precision):
            whole = len(names) == len(self.modalities)
            return (self._network(batch) if whole else self._network(batch, names)).sent(streams)

    def _sent(self, images: Sequence[Floats]) -> Tensor:
        """Images `[3,S,S]` as a batch on the device."""
        shape = len(images), *images[0].shape
        batch = torch.empty(shape, pin_memory=self.device.type == "cuda")
        np.stack(images, out=batch.numpy())
        return batch.to(self.device, non_blocking=True)


def _device(called: str) -> torch.device:
    if called in ("auto", "cpu", "cuda"):
        return pick_device(called)
    try:
        return torch.device(called)
    except RuntimeError:
        expected = "expected auto, cpu, cuda or one as PyTorch calls it (cuda:1)"
        raise UserError(f"device: {expected}, found {called!r}") from None


def _encoder_file(content: Mapping[str, Any], config: Config, path: str | Path, weights: str | Path | None) -> str:
    """The file that a checkpoint without encoder needs; empty for one that holds it."""
    base = content.get("base")
    if base is None:
        if weights:
            raise UserError(f"{path}: holds the encoder it was trained with; leave weights out")
        return ""
    file = str(weights or config.model.base)
    if not os.path.exists(file):
        raise UserError(
            f"{path}: holds no encoder; it was trained on {base['file']}, and {file or 'no path'} is no file: say by "
            f"weights where that file is (SHA-256 {base['sha256'][:12]})"
        )
    return file

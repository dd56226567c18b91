"""A model as one graph, and the graph as a file: ONNX, or PyTorch's own `.pt2`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from samsod.modeling.samsod import SaliencyModel
from samsod.prediction.export.contract import LOGITS, OPSET, SALIENCY, Contract, output_names
from samsod.utils.errors import UserError, check_installed
from samsod.utils.files import named
from samsod.utils.maps import FINAL

ENDINGS = (".onnx", ".pt2")


class Graph(nn.Module):
    """Prepared images, of some of a model's modalities, to saliency and logits: the final ones, and every stream's."""

    def __init__(self, model: SaliencyModel, modalities: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.modalities = tuple(modalities)

    def forward(self, images: dict[str, Tensor]) -> dict[str, Tensor]:
        """Images `[B,3,S,S]` by modality to maps `[B,1,S,S]` by output; see `output_names`."""
        whole = self.modalities == self.model.modalities
        prediction = self.model(images) if whole else self.model(images, self.modalities)
        logits = {FINAL: prediction.logits()} | {name: value.float() for name, value in prediction.streams.items()}
        saliency = {f"{SALIENCY}{name}": torch.sigmoid(value) for name, value in logits.items()}
        return saliency | {f"{LOGITS}{name}": value for name, value in logits.items()}


def check_packages(path: Path) -> None:
    """Raises UserError when the ending of a file is none to export to, or what writes such files is not installed."""
    if path.suffix not in ENDINGS:
        raise UserError(f"{path}: expected a name that ends in {' or '.join(ENDINGS)}")
    if path.suffix == ".onnx":
        packages = "onnx", "onnxscript", "onnxruntime"
        check_installed(f"{path}: to write ONNX samsod", "'samsod[export]'", *packages)


def trace(graph: Graph, size: int) -> torch.export.ExportedProgram:
    """The graph with the number of images left open.

    Raises:
        UserError: The model does something that cannot be exported.
    """
    batch = torch.export.Dim("batch")
    images = {name: torch.zeros(2, 3, size, size) for name in graph.modalities}
    try:
        with torch.no_grad(), _quiet():
            return torch.export.export(graph.eval(), (images,), dynamic_shapes=({name: {0: batch} for name in images},))
    except Exception as error:  # whatever a part of the user's own may do
        raise UserError(f"the model cannot be exported: {_first_line(error)}") from error


def write(program: torch.export.ExportedProgram, contract: Contract, metadata: Mapping[str, str], path: Path) -> None:
    """Writes a graph, as the ending of `path` says.

    Raises:
        UserError: ONNX has no counterpart of what the model does.
        OSError: It cannot be written.
    """
    if path.suffix == ".pt2":
        with _quiet():
            torch.export.save(program, path, extra_files=dict(metadata))
        return
    from onnx_ir.passes import common as passes
    from onnxscript.optimizer import fold_constants_ir

    try:
        with _quiet():
            # Runtimes optimise graphs by themselves; onnxscript's own rewriting takes as long as all the rest.
            made = torch.onnx.export(
                program,
                input_names=contract.modalities,
                output_names=output_names(contract.maps),
                opset_version=OPSET,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
    except Exception as error:
        raise UserError(f"the model cannot be written as ONNX: {_first_line(error)}") from error
    assert made is not None
    passes.CommonSubexpressionEliminationPass()(made.model)  # else each stream would have a folded copy of weights
    fold_constants_ir(made.model)
    passes.RemoveUnusedNodesPass()(made.model)
    passes.ClearMetadataAndDocStringPass()(made.model)  # of every node the lines of Python, and where they lie
    made.model.metadata_props.update(metadata)
    with named(path):
        made.save(str(path), external_data=False)


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps to itself what PyTorch and its exporter say of their own future."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

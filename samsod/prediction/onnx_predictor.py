"""An exported model for use: through onnxruntime, without PyTorch, with the results of `Predictor`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samsod.config.data_schema import Sizes
from samsod.prediction.export.contract import LOGITS, Contract, read_metadata
from samsod.prediction.scene_predictor import Scene, ScenePredictor, set_sizes
from samsod.utils.errors import UserError, check_installed
from samsod.utils.maps import FINAL, Maps

CPU = ("CPUExecutionProvider",)
_ERRORS_ONLY = 3


class OnnxPredictor(ScenePredictor):
    """Predicts with onnxruntime; safe to use from several threads at once, and nothing is kept between calls.

    Every modality of the file is needed: which ones it takes was chosen when it was exported.
    """

    if_missing = "export one without it by --modalities"

    def __init__(self, session: Any, contract: Contract) -> None:
        super().__init__(contract.config, contract.modalities, allow_missing=False)
        self._session = session
        self._maps = contract.maps

    @classmethod
    def from_file(
        cls, path: str | Path, providers: Sequence[str] = CPU, threads: int = 0, sizes: Sizes | None = None
    ) -> OnnxPredictor:
        """Loads a file of tools/export.py; all settings are the training's.

        Args:
            path: The file, `.onnx`.
            providers: What runs the network, as onnxruntime calls it, the first that can: `CUDAExecutionProvider`,
                `TensorrtExecutionProvider`, ...
            threads: How many threads the network may use; 0: one for each core.
            sizes: `any` takes scenes whose images differ in size, `equal` refuses them; None: as in the training.

        Raises:
            UserError: onnxruntime is not installed, or a file or setting cannot be used; one line.
        """
        session = open_session(path, providers, threads)
        contract = read_metadata(session.get_modelmeta().custom_metadata_map, path)
        set_sizes(contract.config, sizes)
        return cls(session, contract)

    def infer(self, scenes: Sequence[Scene], streams: bool = False) -> list[Maps]:
        """See `ScenePredictor.infer`."""
        batch = {name: np.stack([scene.images[name] for scene in scenes]) for name in self.modalities}
        names = self._maps if streams else (FINAL,)
        outputs = self._session.run([f"{LOGITS}{name}" for name in names], batch)
        return [
            {name: logits[row, 0] for name, logits in zip(names, outputs, strict=True)} for row in range(len(scenes))
        ]


def open_session(path: str | Path, providers: Sequence[str] = CPU, threads: int = 0) -> Any:
    """An ONNX file in onnxruntime, of which only errors are heard; see `OnnxPredictor.from_file`."""
    check_installed("to run an exported model samsod", "onnxruntime", "onnxruntime")
    import onnxruntime

    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; expected an .onnx file of tools/export.py")
    known = onnxruntime.get_available_providers()
    if unknown := [name for name in providers if name not in known]:
        raise UserError(f"this onnxruntime has no {unknown[0]}; it has {', '.join(known)}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # onnxruntime's own kinds have no common base
        reason = str(error).splitlines()[0][:160]
        raise UserError(f"{path}: damaged, or no ONNX model ({reason})") from None

"""What a checkpoint is: model, modalities, data sets, best score, preprocessing, versions, base file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samsod.config.settings import settings
from samsod.evaluation.settings import predictive
from samsod.utils.errors import UserError, about, shown
from samsod.utils.trees import flat
from samsod.utils.weights import file_digest
from samsod.utils.weights_folder import weights_file

RECIPE = (
    *("train.batch_size", "train.epochs", "train.steps", "train.optimizer", "train.lr", "train.schedule"),
    *("loss.name", "engine.gradient_rule.name", "engine.precision", "seed"),
)
"""Settings of the training that are told."""

Description = dict[str, Any]


def describe(content: Mapping[str, Any], path: str | Path) -> Description:
    """Tells what a checkpoint is, of plain types for JSON.

    Args:
        content: The checkpoint, as `load_checkpoint` reads it.
        path: Its file, or the folder to share that holds it.

    Returns:
        `file`, `model`, `preprocessing` by modality, `data`, `training`, `best` (None if none was chosen), `base` (the
        file the encoder comes from; None when it is in the checkpoint), `included` (that file, when the encoder was put
        beside the rest to be shared; None), `released` (the authors' file it was converted from; None) and `versions`.

    Raises:
        UserError: What it says about its training cannot be understood.
    """
    try:
        return _described(content, Path(path))
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise about(path, f"altered or damaged: its config is none of samsod's ({error})") from None


def as_text(description: Description) -> str:
    """A description to be read: a paragraph for each part."""
    parts = []
    for title, part in description.items():
        entries = flat(part) if isinstance(part, dict) else {}
        lines = [f"  {shown(key)}: {shown(plain(value))}" for key, value in entries.items()]
        parts.append("\n".join([title, *lines]) if lines else f"{title}: none")
    return "\n".join(parts)


def _described(content: Mapping[str, Any], path: Path) -> Description:
    tree = content.get("config", {})
    trained = settings(tree)
    used = predictive(tree, trained["model.modalities"])
    tensors, path = content.get("model", {}).values(), weights_file(path)
    return {
        "file": {
            "path": str(path),
            "bytes": path.stat().st_size,
            "sha256": file_digest(path),
            "format": content["format"],
        },
        "model": {
            **{
                key.removeprefix("model."): value
                for key, value in used.items()
                if key.startswith("model.") and value is not None  # no override of the size's own trunk
            },
            "imports": trained["imports"],
            "tensors in the file": len(tensors),
            "parameters in the file": sum(tensor.numel() for tensor in tensors),
        },
        "preprocessing": {
            name: {
                key.rpartition(".")[2]: value
                for key, value in used.items()
                if key.startswith(f"data.modalities.{name}.")
            }
            for name in trained["model.modalities"]
        },
        "data": {key: [_set_name(item) for item in trained[f"data.{key}"]] for key in ("train", "val", "test")}
        | {"held out of train": 0 if trained["data.val"] else trained["data.holdout"], "sizes": trained["data.sizes"]},
        "training": {"step": content.get("step"), **{key: trained[key] for key in RECIPE}},
        "best": _best(content, trained["train.best_metric"]),
        "base": content.get("base"),
        "included": content.get("included"),
        "released": content.get("released"),
        "versions": content.get("versions"),
    }


def _best(content: Mapping[str, Any], metric: str) -> Description | None:
    """The score of the best epoch so far; the trainer keeps the negative of what is better when lower."""
    score = content.get("best")
    if score is None:
        return None
    return {
        "metric": metric,
        "score": -score if metric == "MAE" else score,
        "step": content["best_step"],
        "this file": content["best_step"] == content["step"],
    }


def _set_name(item: Mapping[str, Any]) -> str:
    """A data set as its config names it."""
    words = (item.get("name") or item.get("family"), item.get("split"), item.get("root") and f"({item['root']})")
    return " ".join(word for word in words if word)


def plain(value: Any) -> str:
    """A value of a description as people write it."""
    if isinstance(value, list):
        return ", ".join(map(plain, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)

"""The model card of weights to share: README.md, with the front matter that the Hugging Face Hub reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from samsod.evaluation.inspection import Description, plain
from samsod.evaluation.metrics.saliency import Results
from samsod.evaluation.tables.text import METRICS, markdown_table, results_rows
from samsod.utils.errors import shown
from samsod.utils.maps import FINAL
from samsod.utils.trees import flat

SAM2 = "https://github.com/facebookresearch/sam2"
LONG_NAMES = {"S": "S-measure", "MAE": "mean absolute error"}


def model_card(
    description: Description, name: str, has_sam2: bool, results: Results | None = None, encoder_from: str = ""
) -> str:
    """The card, Markdown.

    Args:
        description: What the checkpoint is; see `describe`.
        name: What the model is called.
        has_sam2: Whether it began with SAM2's weights.
        results: What tools/test_net.py scored, if known.
        encoder_from: The checkpoint whose encoder and decoder it began with; empty: none.
    """
    scored = (results or {}).get(FINAL, {})
    tags = ["salient-object-detection", "sam2", *map(str, description["model"]["modalities"])]
    front: dict[str, Any] = {
        "library_name": "samsod",
        "pipeline_tag": "image-segmentation",
        "license": "other",
        "license_name": "see-the-licence-section",
        "license_link": "README.md#licence",
        "tags": tags,
    }
    index = list(_index(description, scored))
    if index:
        front["model-index"] = [{"name": name, "results": index}]
    head = "\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items())  # JSON is YAML
    parts = [
        f"# {_text(name)}",
        _use(description),
        _section("Model", description["model"]),
        _section("Preprocessing", description["preprocessing"]),
        _section("Data sets", description["data"]),
        _scores(description, scored),
        _section("Training", description["training"]),
        _section("Versions", description["versions"] or {}),
        _licence(description, has_sam2, encoder_from),
    ]
    return f"---\n{head}\n---\n\n" + "\n\n".join(parts) + "\n"


def _use(description: Description) -> str:
    modalities, base = description["model"]["modalities"], description["base"]
    given = ", ".join(f'{name}="{name}.png"' for name in modalities)
    lines = [
        f"Salient object detection from {' and '.join(modalities)} images of a scene with samsod, the reference",
        "implementation of *Rethinking SAM Optimization for RGB-T Salient Object Detection* (SAMSOD).",
        "",
        "```python",
        "import samsod",
        "",
        f'predictor = samsod.Predictor.from_checkpoint("this/folder"{", weights=..." if base else ""})',
        f"saliency = predictor.predict({given}).saliency  # float32 [H,W] in 0-1",
        "```",
        "",
    ]
    included = description["included"]
    if base:
        lines += [
            f"The frozen encoder is not in this folder: `weights` is the file `{_text(base['file'])}` of SHA-256",
            f"`{_text(base['sha256'])}`, or the same weights in another form of file.",
        ]
    elif included:
        lines += [f"The encoder of `{_text(included['file'])}` (SHA-256 `{_text(included['sha256'])}`) is included."]
    else:
        lines += ["All weights are in this folder."]
    if imports := description["model"]["imports"]:
        lines += ["", f"It has parts of its maker's own, to be imported first: {_text(plain(imports))}."]
    return "\n".join(lines)


def _section(title: str, part: Mapping[str, Any]) -> str:
    entries = [f"- {_text(key)}: {_text(plain(value))}" for key, value in flat(part).items() if value not in ({}, None)]
    return "\n".join([f"## {title}", "", *(entries or ["Not known."])])


def _scores(description: Description, scored: Mapping[str, Mapping[str, Any]]) -> str:
    parts, best = ["## Scores"], description["best"]
    if best:
        where = "these weights" if best["this file"] else f"the weights of step {best['step']}, which are not these"
        parts += [f"Validation, which chose the best epoch: {best['metric']} {best['score']:.4f}, of {where}."]
    if scored:
        heading, *rows = ([_text(cell) for cell in line] for line in results_rows({FINAL: scored}))
        said = "As `tools/test_net.py` computes them; the arrows say which values are better, larger or smaller ones."
        parts += [markdown_table(heading, rows), said]
    return "\n\n".join(parts if best or scored else [*parts, "Not known."])


def _index(description: Description, scored: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The scores of these weights as the Hub's `model-index` has them."""
    best, task = description["best"], {"type": "image-segmentation", "name": "salient object detection"}
    sets = {name: {metric: values[metric] for metric in METRICS if metric in values} for name, values in scored.items()}
    if not sets and best and best["this file"]:
        data = description["data"]
        sets = {
            plain(data["val"]) if data["val"] else f"held out of {plain(data['train'])}": {
                best["metric"]: best["score"]
            }
        }
    for name, values in sets.items():
        dataset = {"type": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "set", "name": name}
        metrics = [{"type": key, "name": LONG_NAMES.get(key, key), "value": value} for key, value in values.items()]
        yield {"task": task, "dataset": dataset, "metrics": metrics}


def _licence(description: Description, has_sam2: bool, encoder_from: str) -> str:
    begun = (
        "These weights began with SAM2's, which are Meta's" if has_sam2 else "The network is SAM2's, which is Meta's"
    )
    lines = [
        "## Licence",
        "",
        f"{begun}, under Apache-2.0 ({SAM2}); samsod's code is under Apache-2.0 too.",
        "The data sets named above have terms of their own, and what was trained on them may be bound by these.",
    ]
    if encoder_from:
        lines += [
            f"Encoder and decoder began as those of the checkpoint `{_text(encoder_from)}`: what binds that one may",
            "bind this one too.",
        ]
    if released := description["released"]:
        lines += [
            f"Converted from `{_text(released['file'])}`, which the authors of SAMSOD released without a licence:",
            "ask them before you share it.",
        ]
    return "\n".join([*lines, "Whoever shares this folder says here under which terms."])


def _text(value: Any) -> str:
    """What strangers wrote, on one line and without a meaning in Markdown tables and HTML."""
    return shown(str(value)).replace("|", r"\|").replace("<", "&lt;").replace("`", "'")

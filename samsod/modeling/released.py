"""The checkpoint of SAMSOD that its authors released: which of its tensors go where.

Its keys are SAM2's after `model.`, video parts included, and those of an adapter per block and modality. The blocks
are counted from 0 inside each of the trunk's four stages, the second modality is called depth whatever it shows, and
the stage of the large trunk's blocks 8 to 43 is `rgb8_43` and `depth8_43d`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from samsod.modeling.sam2.decoder import Sam2Decoder
from samsod.modeling.sam2.encoder import Sam2Encoder
from samsod.modeling.sam2.weights import UNUSED_KEYS, meta_state
from samsod.modeling.samsod import SaliencyModel, Samsod
from samsod.utils.errors import UserError
from samsod.utils.weights import copy_strictly, read_tensors, shown_keys

SAM2 = "model."
"""How the keys of SAM2's tensors begin."""

ADAPTER = {
    "gate.": "router.0.",
    "branch_gate.": "router_2.0.",
    "foreground.down.": "adaptmlp.down_proj.",
    "foreground.up.": "adaptmlp.up_proj.",
    "background.down.": "adaptmlp1.down_proj.",
    "background.up.": "adaptmlp1.up_proj.",
}
"""How our keys of a `decoupled_moe` adapter begin, and theirs."""


def released_state(model: SaliencyModel) -> dict[str, Tensor]:
    """The tensors of a model by their keys in the released checkpoint; they share their memory.

    Args:
        model: Two modalities on SAM2, with `decoupled_moe` adapters.

    Raises:
        UserError: The model is another one.
    """
    if not isinstance(model, Samsod) or model.config.adapter.name != "decoupled_moe" or len(model.modalities) != 2:
        raise UserError("the released checkpoint has model.name samsod, two modalities and decoupled_moe adapters")
    if not isinstance(model.encoder, Sam2Encoder) or not isinstance(model.decoder, Sam2Decoder):
        raise UserError(f"the released checkpoint is on SAM2, but model.encoder.name is {model.config.encoder.name}")
    state = {SAM2 + key: value for key, value in meta_state(model.encoder, model.decoder).items()}
    first, second = model.modalities
    for modality, form in ((first, "rgb{}_{}.{}."), (second, "depth{}_{}d.{}.")):
        names = _block_names(form, model.encoder.stage_ends)
        for name, adapter in zip(names, model.adapters[modality].children(), strict=True):
            state |= {name + _adapter_key(key): value for key, value in adapter.state_dict().items()}
    return state


def load_released(model: SaliencyModel, path: str | Path) -> str:
    """Loads the released checkpoint, strictly; only SAM2's video memory and prompts are passed over.

    Returns:
        A line on what was loaded.

    Raises:
        UserError: One line: no such file, damaged, another file, which names some of its keys, or keys that do not fit.
    """
    expected = "the authors' released checkpoint, a state dict"
    state = read_tensors(path, expected)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        keys = f"; it has {shown_keys(sorted(map(str, state)))}" if isinstance(state, dict) else ""
        raise UserError(f"{path}: holds more or other than tensors; expected {expected}{keys}")
    wanted = released_state(model)
    if not wanted.keys() & state.keys():
        example = next(reversed(wanted))
        raise UserError(f"{path}: no key is one of {expected}, like {example}; it has {shown_keys(sorted(state))}")
    unused = tuple(SAM2 + key for key in UNUSED_KEYS)
    used = {key: value for key, value in state.items() if key in wanted or not key.startswith(unused)}
    copy_strictly(wanted, used, f"{path}: does not fit the configured model")
    return f"{len(used):,} of the {len(state):,} tensors of {path} loaded, {len(state) - len(used)} are not used"


def _block_names(form: str, stage_ends: Sequence[int]) -> Iterator[str]:
    """How the keys of each block's adapter begin."""
    first = 0
    for last in stage_ends:
        yield from (form.format(first, last, block) for block in range(last - first + 1))
        first = last + 1


def _adapter_key(key: str) -> str:
    ours = next(prefix for prefix in ADAPTER if key.startswith(prefix))
    return ADAPTER[ours] + key.removeprefix(ours)

"""What the one all-reduce of a training step costs on several ranks: arithmetic alone, nothing is measured.

The ranks reduce in a ring: of P bytes each of n ranks sends and receives 2(n-1)/n·P. The rows of a loss are complete
when its backward pass is, so a reduction that overlaps could send them while the next loss's backward pass runs; what
is left of it after the last pass delays the step. Latency, and what both cost the GPU, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from samsod.config import ModelConfig
from samsod.evaluation.tables.text import text_table
from samsod.modeling.parameter_groups import ParameterGroups

RANKS = (1, 2, 4, 8, 16, 32, 64)
ATTENTION_BACKWARD = 2.5
"""Products of attention's backward pass, which recomputes one, by the two of its forward pass."""
PER_STREAM = ("neck", "decoder")
"""Parts of the model that work once for each stream; the others do once for each modality."""


def ring_bytes(payload: float, ranks: int) -> float:
    """Bytes each rank sends, and receives, in a ring all-reduce of `payload` bytes."""
    return 2 * (ranks - 1) / ranks * payload


def exposed_seconds(backward: Sequence[float], sending: Sequence[float]) -> float:
    """By how much sending outlasts the backward passes, when each loss's rows go as soon as they and the link are free.

    Args:
        backward: Seconds of each loss's backward pass, in order.
        sending: Seconds its rows take.
    """
    ready = sent = 0.0
    for passing, send in zip(backward, sending, strict=True):
        ready += passing
        sent = max(sent, ready) + send
    return sent - ready


def row_bytes(groups: ParameterGroups, bytes_each: int = 4) -> dict[str, int]:
    """Bytes of each loss's rows, in the order of the losses."""
    sizes: dict[str, int] = {}
    for group in groups:
        width = sum(parameter.numel() for parameter in group.parameters)
        for loss in group.losses:
            sizes[loss] = sizes.get(loss, 0) + bytes_each * width
    return sizes


def backward_macs(parts: Mapping[str, Mapping[str, int]], config: ModelConfig, losses: Sequence[str]) -> list[float]:
    """About how many multiply-adds each loss's backward pass takes on one pair.

    As many as forward for the gradients of activations, and as many again for those of weights that are trained. A
    modality's pass goes through its own stream of the encoder, the fusion's, or that of all losses, through every one.
    (Of a frozen encoder what comes before the first adapter needs none, which is left out of account: 7 % of tiny's.)

    Args:
        parts: Of `cost`, the counts by part of the model.
        config: The model's settings.
        losses: The losses in order.
    """
    trained = {"decoder", "adapters"} if config.freeze_encoder else set(parts)
    macs = {name: _backward(counts, name in trained) for name, counts in parts.items()}
    of_stream = sum(macs[name] for name in parts if name in PER_STREAM) / len(losses)
    of_modality = sum(macs[name] for name in parts if name not in PER_STREAM) / len(config.modalities)
    return [of_stream + of_modality * (1 if loss in config.modalities else len(config.modalities)) for loss in losses]


def block_by_block(
    rows: Mapping[str, int], backward: Sequence[float], pairs: int, parts: Mapping[str, Mapping[str, int]]
) -> tuple[dict[str, int], list[float]]:
    """Rows and backward passes with `engine.checkpointing=block`.

    The encoder is run once more, and the rows of all losses are complete together, when its first block is done.
    """
    again = sum(counts["macs_with_attention"] for name, counts in parts.items() if name not in PER_STREAM)
    return {"all losses": sum(rows.values())}, [sum(backward) + pairs * again]


def _backward(counts: Mapping[str, int], trained: bool) -> float:
    attention = counts["macs_with_attention"] - counts["macs_fvcore"]
    return counts["macs_fvcore"] * (2 if trained else 1) + attention * ATTENTION_BACKWARD


def scaling(
    rows: Mapping[str, int], forward: float, backward: Sequence[float], rate: float, links: Sequence[float]
) -> list[dict[str, Any]]:
    """The table, a row for each number of ranks and link.

    Args:
        rows: Bytes of each loss's rows, in order.
        forward: Multiply-adds of a rank's forward pass.
        backward: Those of each loss's backward pass.
        rate: What a rank's device achieves, in 10^12 floating-point operations a second, two per multiply-add.
        links: What a rank sends, and at the same time receives, in 10^9 bytes a second.

    Returns:
        For each `ranks` and `link`: `bytes` per step and rank, `compute_seconds` of forward and backward passes,
        `reduce_seconds`, which a step takes longer without overlap, and `exposed_seconds`, what of them is left with.
    """
    passes = [2 * macs / (rate * 1e12) for macs in backward]
    compute = 2 * forward / (rate * 1e12) + sum(passes)
    table = []
    for ranks in RANKS:
        for link in links:
            sending = [ring_bytes(size, ranks) / (link * 1e9) for size in rows.values()]
            table.append(
                {
                    "ranks": ranks,
                    "link": link,
                    "bytes": ring_bytes(sum(rows.values()), ranks),
                    "compute_seconds": compute,
                    "reduce_seconds": sum(sending),
                    "exposed_seconds": exposed_seconds(passes, sending),
                }
            )
    return table


def scaling_lines(table: Sequence[Mapping[str, Any]], rows: Mapping[str, int], rate: float, pairs: int) -> str:
    """The table for people: a row for each number of ranks, three columns for each link."""
    links = list(dict.fromkeys(row["link"] for row in table))
    heading = ["ranks", "MB", *(cell for link in links for cell in (f"{link:g} GB/s: ms", "after", "beside"))]
    lines = []
    for ranks in dict.fromkeys(row["ranks"] for row in table):
        mine = [row for row in table if row["ranks"] == ranks]
        cells = [cell for row in mine for cell in _cells(row)]
        lines.append([str(ranks), f"{mine[0]['bytes'] / 1e6:.1f}", *cells])
    sizes = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in rows.items())
    return "\n".join(
        [
            f"calculated, not measured: rows of {sum(rows.values()) / 1e6:.1f} MB ({sizes}), reduced in a ring; "
            f"forward and backward passes of a rank, {pairs} pair{'s' * (pairs > 1)} at {rate:g} TFLOP/s, take "
            f"{table[0]['compute_seconds'] * 1e3:.3g} ms",
            "MB: sent by each rank and step; ms: that takes; after: how much longer the passes and it take, one after "
            "the other; beside: the same when each loss's rows go as soon as they are complete",
            text_table(heading, lines),
        ]
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    longer = (row[f"{which}_seconds"] / row["compute_seconds"] for which in ("reduce", "exposed"))
    return [f"{row['reduce_seconds'] * 1e3:.2f}", *(f"+{share:.1%}" for share in longer)]

"""Checks a GPU and times samsod on it: `python tools/gpu_check.py --output DIR`."""

import os
from pathlib import Path

from samsod.config import load_config
from samsod.config.command_line import OneLineParser, add_shared, positive
from samsod.utils.errors import Failure, UserError, run_main

CONFIGS = [Path(__file__).parents[1] / "configs" / name for name in ("tiny.yaml", "large.yaml")]


def main() -> None:
    """Makes every check and the benchmark, writes the page, and fails when a check did."""
    parser = OneLineParser(
        description="Compares what this machine's GPU computes with the CPU, several GPUs with one, resumed runs with "
        "others, counts what the host waits for, times training and prediction; writes gpu_check.md and gpu_check.json."
    )
    add_shared(parser, "--device")
    add = parser.add
    add("--output", required=True, metavar="DIR", type=Path, help="folder of the page")
    add("--config", nargs="+", metavar="FILE", help="what is timed, the first checked too (default: tiny and large)")
    add("--runs", type=positive, metavar="N", help="timed runs (default: 20 on a GPU, 3 on a CPU)")
    args = parser.parse_args()
    configs = [load_config(path) for path in args.config or []]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts: with it cuBLAS repeats its bits
    from samsod.benchmarks.gpu_check.page import MARKDOWN, verdict
    from samsod.benchmarks.gpu_check.run import check_device, small_config
    from samsod.utils.distributed import pick_device
    from samsod.utils.files import check_writable

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("start it without torchrun: it starts ranks of its own, one for each GPU")
    check_writable(args.output)
    device = pick_device(args.device)
    on_gpu = device.type == "cuda"
    configs = configs or ([load_config(path) for path in CONFIGS] if on_gpu else [small_config()])
    for config in configs:
        config.model, config.engine.device = config.model.with_base(""), "cuda" if on_gpu else "cpu"
    args.output.mkdir(parents=True, exist_ok=True)
    precisions = ("fp32", "bf16", "fp16") if on_gpu else ("fp32",)
    findings = check_device(configs, device, args.output, args.runs or (20 if on_gpu else 3), precisions)
    print(f"{verdict(findings)}; see {args.output / MARKDOWN}")
    if bad := [finding for finding in findings if finding.result == "failed"]:
        raise Failure(f"{len(bad)} of {len(findings)} checks failed, the first: {bad[0].check}: {bad[0].figure}")


if __name__ == "__main__":
    run_main(main)

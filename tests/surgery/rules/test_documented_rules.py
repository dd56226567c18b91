"""docs/gradient_rules.md: its table says what is so of every rule, and its own rule is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from samsod.config import Config, RuleConfig
from samsod.registry import RULES, import_user_modules
from samsod.surgery.hook import gram_matrix
from samsod.surgery.rules.torchjd_rules import WEIGHTINGS
from tests.places import ROOT
from tests.surgery.rules.every_rule import EVERY, context_of, many_rows, rule_of
from tests.training import run

PAGE = (ROOT / "docs" / "gradient_rules.md").read_text(encoding="utf-8")
COLUMNS = ("rule", "what", "options", "needs", "no conflict", "host reads", "memory")
TABLE = {
    cells["rule"].strip("`"): cells
    for line in PAGE.partition("\n## ")[0].splitlines()
    if line.startswith("| `")
    for cells in [dict(zip(COLUMNS, (cell.strip() for cell in line.split("|")[1:-1]), strict=True))]
}


def test_the_table_has_every_rule() -> None:
    assert list(TABLE) == [*sorted(set(EVERY) - set(WEIGHTINGS), key=list(TABLE).index), *sorted(WEIGHTINGS)]
    for name, weighting in WEIGHTINGS.items():
        needs = TABLE[name]["needs"].split(", ")
        assert needs == ["`samsod[rules]`", *sorted(weighting.packages, key=needs.index)], name


@pytest.mark.parametrize("name", EVERY)
def test_the_table_says_what_a_rule_promises_and_remembers(name: str) -> None:
    rule = rule_of(name)
    assert (TABLE[name]["no conflict"] == "yes") == rule.non_conflicting  # type: ignore[attr-defined]
    rule.weights(torch.eye(2, dtype=torch.float64), context_of(2))
    assert (TABLE[name]["memory"] == "yes") == bool(rule.state_dict())


@pytest.mark.parametrize("name", EVERY)
def test_the_options_of_the_table_are_the_defaults(name: str) -> None:
    """Those of another value than the default would give other weights."""
    pairs = re.findall(r"`(\w+): ([^`]+)`", TABLE[name]["options"])
    values = {key: {"true": True, "null": None}.get(text, text) for key, text in pairs}
    options = {k: float(v) if isinstance(v, str) and re.fullmatch(r"[\d.e-]+", v) else v for k, v in values.items()}
    given, plain = rule_of(name, **options), rule_of(name)
    for rows in many_rows():
        if len(rows) == 3:
            gram, context = gram_matrix(rows), context_of(3, rgb=0.7, thermal=0.4)
            assert torch.equal(given.weights(gram, context), plain.weights(gram, context))


class HostReads(TorchDispatchMode):
    """Counts how often a rule waits for the Gram matrix's device: for a value, or for the matrix itself.

    Once it has copied the matrix it works on the host; that it comes back for the one on the device counts too.
    """

    def __init__(self, gram: Tensor) -> None:
        super().__init__()
        self.count, self.on_host, self.gram = 0, False, gram.data_ptr()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        copied = func is torch.ops.aten._to_copy.default and kwargs.get("device") == torch.device("cpu")
        if self.on_host:
            self.count += any(isinstance(arg, Tensor) and arg.data_ptr() == self.gram for arg in args)
        else:
            self.count += copied or func is torch.ops.aten._local_scalar_dense.default
            self.on_host = copied
        return func(*args, **kwargs)


@pytest.mark.parametrize("name", EVERY)
def test_the_table_says_how_often_the_host_waits(name: str) -> None:
    for rows in many_rows():
        rule, gram = rule_of(name), gram_matrix(rows)
        context = context_of(len(rows), rgb=0.7, thermal=0.4)
        with HostReads(gram) as reads:
            rule.weights(gram, context)
        assert reads.count == int(TABLE[name]["host reads"]), name


def test_reads_are_counted() -> None:
    gram = torch.eye(2)
    with HostReads(gram) as reads:
        assert float(gram.sum()) == 2 and gram[0, 0] > 0
        assert reads.count == 2
        host = gram.to("cpu", copy=True)
        assert float(host.sum()) == 2
        assert reads.count == 3
        gram.sum()
    assert reads.count == 4


def test_the_rule_of_ones_own_trains_as_it_stands_there(config: Config, tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(# my_rule\.py\n.*?)```", PAGE, flags=re.DOTALL)
    assert len(code.splitlines()) <= 10
    module = tmp_path / "my_rule.py"
    module.write_text(code)
    (name,) = re.findall(r"imports=\[my_rule\.py\]' 'engine\.gradient_rule=\{name: (\w+)\}'", PAGE)
    config.imports, config.engine.gradient_rule = [str(module)], RuleConfig(name)
    config.train.steps, config.data.holdout = 1, 0.0
    try:
        import_user_modules(config.imports)
        rule = RULES.get(name)()
        rows = torch.tensor([[3.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
        weighted = rule.weights(gram_matrix(rows), context_of(2)).view(-1, 1) * rows
        assert weighted.norm(dim=1).tolist() == [2, 2]
        assert run(config).step == 1
    finally:
        RULES._entries.pop(name, None)

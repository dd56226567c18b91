"""Rules of the package torchjd (Jacobian descent), whose weightings need the Gram matrix alone; the extra `rules`."""

from __future__ import annotations

import contextlib
import importlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from samsod.registry import RULES
from samsod.surgery.rules.rule import MissingPackage, RuleContext

TORCHJD = "torchjd"


@dataclass(frozen=True)
class Weighting:
    """One of torchjd's weightings, as a rule.

    Attributes:
        kind: Its class in `torchjd.aggregation`.
        packages: What it needs beside torchjd.
        defaults: Options torchjd has no default of, or another.
        projected: Whether its options are those of `torchjd.linalg.QuadprogProjector`, which it works with.
        non_conflicting: Whether it promises that no row conflicts with the merged gradient.
        normalized: Whether it is given the Gram matrix divided by its trace, since some take one of a small trace for
            zero; else as it is.
        degree: Of the options the d with weights(c·G) = c^d · weights(G), by which the division is made up for.
    """

    kind: str
    packages: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    projected: bool = False
    non_conflicting: bool = False
    normalized: bool = True
    degree: Callable[[Mapping[str, Any]], float] = lambda options: 0.0

    def build(self, name: str, options: Mapping[str, Any]) -> nn.Module:
        """The object of torchjd.

        Raises:
            MissingPackage: A package is missing.
            TypeError, ValueError: It does not take these options.
        """
        # Its packages first: torchjd looks for them once, when it is imported.
        missing = [package for package in (*self.packages, TORCHJD) if not _imports(package)]
        if missing:
            install = " ".join("'samsod[rules]'" if package == TORCHJD else package for package in missing)
            raise MissingPackage(f"engine.gradient_rule: {name} needs {' and '.join(missing)}: pip install {install}")
        kind = getattr(importlib.import_module("torchjd.aggregation"), self.kind, None)
        if kind is None:
            raise MissingPackage(f"engine.gradient_rule: {name} needs a newer torchjd: pip install 'samsod[rules]'")
        if self.projected:
            options = {"projector": importlib.import_module("torchjd.linalg").QuadprogProjector(**options)}
        weighting: nn.Module = kind(**options)
        return weighting


QUADPROG = ("qpsolvers", "quadprog")
REGULAR = {"reg_eps": 1e-10}
"""What is added to the diagonal; torchjd's 1e-4, meant for float32, lets rows that are 100 times shorter conflict."""
WEIGHTINGS = {
    "aligned_mtl": Weighting("AlignedMTLWeighting"),
    "cagrad": Weighting("CAGradWeighting", ("cvxpy", "clarabel"), {"c": 0.4}),
    "dualproj": Weighting("DualProjWeighting", QUADPROG, REGULAR, projected=True, non_conflicting=True),
    # Its weights w solve G w = w^(-1/alpha).
    "fairgrad": Weighting(
        "FairGradWeighting",
        ("scipy",),
        {"alpha": 1.0},
        non_conflicting=True,
        degree=lambda options: -options["alpha"] / (1 + options["alpha"]),
    ),
    "gradvac": Weighting("GradVacWeighting"),
    "imtl_g": Weighting("IMTLGWeighting"),
    # It remembers the rows' lengths, which must be the true ones.
    "pcd": Weighting("PCDWeighting", normalized=False),
    "upgrad": Weighting("UPGradWeighting", QUADPROG, REGULAR, projected=True, non_conflicting=True),
}
"""By the names of the rules; what they do is in docs/gradient_rules.md."""


class TorchJDRule:
    """A rule that asks torchjd for the weights, on the CPU: the host waits for the Gram matrix once a step and group.

    Args:
        name: The rule, a key of `WEIGHTINGS`.
        options: Options of its weighting.

    Raises:
        MissingPackage: A package is missing.
        TypeError, ValueError: It does not take these options.
    """

    score = None

    def __init__(self, name: str, **options: Any) -> None:
        self.name, self.kind = name, WEIGHTINGS[name]
        self.options = {**self.kind.defaults, **options}
        self.non_conflicting = self.kind.non_conflicting
        self._weighting = self.kind.build(name, self.options)

    def weights(self, gram: Tensor, context: RuleContext) -> Tensor:
        """Weights of the rows, `[m]` float64; not finite when the Gram matrix is not, equal when it is zero.

        Raises:
            RuntimeError: The solver found none.
        """
        host = gram.to("cpu", copy=True)
        trace = host.trace()
        if not host.isfinite().all():  # which must not get into what the rule remembers
            return torch.full_like(gram[0], torch.nan)
        if trace == 0:
            return torch.ones_like(gram[0])
        try:
            with _own_random_numbers(f"{context.seed}/{context.step}/{context.group}"), torch.no_grad():
                weights = self._weighting(host / trace if self.kind.normalized else host)
        except Exception as error:
            raise RuntimeError(
                f"step {context.step + 1}: gradient rule {self.name} found no weights for the group {context.group}, "
                f"whose Gram matrix is {host.tolist()}: {error}"
            ) from error
        degree = self.kind.degree(self.options) if self.kind.normalized else 0.0
        found: Tensor = weights * trace**degree
        return found.to(gram.device)

    def state_dict(self) -> dict[str, Any]:
        """What the weighting remembers: its buffers, on the CPU."""
        return {name: value.clone() for name, value in self._weighting.named_buffers()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up the buffers of a weighting."""
        if not state:
            return
        # Asked once first, so that it has made room for as many rows as the state is of.
        rows = max(value.dim() and len(value) for value in state.values())
        with _own_random_numbers(""), torch.no_grad():
            self._weighting(torch.eye(rows, dtype=torch.float64))
        for name, value in state.items():
            setattr(self._weighting, name, value.clone())


def _imports(package: str) -> bool:
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True


@contextlib.contextmanager
def _own_random_numbers(key: str) -> Iterator[None]:
    """Draws of PyTorch's CPU generator come from the key alone, and it is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(random.Random(key).getrandbits(63))
        yield


for _name in WEIGHTINGS:
    RULES.register(_name)(partial(TorchJDRule, _name))

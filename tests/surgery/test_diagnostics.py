from __future__ import annotations

import pytest
import torch

from samsod.surgery.diagnostics import Diagnostics, gradient_ratios
from samsod.surgery.hook import gram_matrix


def test_diagnostics() -> None:
    rows = torch.tensor([[3.0, 0.0], [0.0, 4.0], [-1.0, 0.0]])
    diagnostics = Diagnostics({"decoder": gram_matrix(rows)}, {"decoder": ("fusion", "rgb", "thermal")})
    figures = diagnostics.read()["decoder"]
    assert figures.norms == {"fusion": 3.0, "rgb": 4.0, "thermal": 1.0}
    assert figures.cosines == {"fusion-rgb": 0.0, "fusion-thermal": -1.0, "rgb-thermal": 0.0}
    assert diagnostics.conflicts()["decoder"].item() == pytest.approx(1 / 3)
    assert figures.total_norm == pytest.approx(20**0.5)


def test_gradient_ratios_are_those_of_every_two_modalities_in_their_order() -> None:
    squares = {"rgb": 8.0, "depth": 2.0, "thermal": 0.0}
    grams = {f"{name}_adapter": torch.eye(2).double() * square for name, square in squares.items()}
    figures = Diagnostics(grams, {name: ("fusion", name.partition("_")[0]) for name in grams}).read()
    assert gradient_ratios(figures, ["rgb", "depth", "thermal"]) == {
        "rgb/depth": pytest.approx(2.0),
        "rgb/thermal": None,
        "depth/thermal": None,
    }
    assert gradient_ratios(figures, ["depth", "rgb"]) == {"depth/rgb": pytest.approx(0.5)}
    assert gradient_ratios({"decoder": figures["rgb_adapter"]}, ["rgb", "thermal"]) == {}

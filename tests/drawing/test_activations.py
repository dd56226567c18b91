from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samsod.config import ModelConfig
from samsod.config.data_schema import DataConfig, DatasetConfig
from samsod.data.pictures import write_png
from samsod.data.sources.catalog import find_set
from samsod.data.transforms import resize, to_tensor
from samsod.drawing.activations import activation_mosaics, chosen_blocks, named_examples, read_example
from samsod.modeling.activations import activation_maps
from samsod.modeling.samsod import Samsod
from samsod.utils.errors import UserError


def test_columns_hold_the_maps_of_every_pair(pairs_folder: Path, model_config: ModelConfig) -> None:
    model, data = Samsod(model_config), DataConfig()
    sets = [find_set(DatasetConfig(root=str(pairs_folder), name="pairs"), "", ["rgb", "thermal"])]
    pairs = named_examples(sets, ["004", "pairs/001"], data)
    rgb, thermal = activation_mosaics(model, pairs, [3, 1], data)
    assert list(rgb.titles) == ["rgb", "block 3\nhigh", "block 3\nlow", "block 1\nhigh", "block 1\nlow"]
    assert [name for name, _ in thermal.rows] == ["004", "001"] and thermal.titles[0] == "thermal"
    side = model_config.image_size
    visible, infrared = resize(list(pairs[1].images.values()), side)
    inputs = {"rgb": to_tensor(visible, True)[None], "thermal": to_tensor(infrared, False)[None]}
    maps = activation_maps(model.eval(), inputs, [1])
    tiles = thermal.rows[1][1]
    assert np.array_equal(tiles[4].heat, maps["thermal"][1].low[0].numpy())  # type: ignore[arg-type]
    assert np.array_equal(rgb.rows[1][1][3].heat, maps["rgb"][1].high[0].numpy())  # type: ignore[arg-type]
    values = np.concatenate([row[1][4].heat.ravel() for row in thermal.rows])  # type: ignore[union-attr]
    assert thermal.ranges is not None and thermal.ranges[4] == pytest.approx(tuple(np.percentile(values, (1, 99))))


def test_blocks_are_the_last_of_every_stage_or_those_asked_for(model_config: ModelConfig) -> None:
    model = Samsod(model_config)
    assert chosen_blocks(model, []) == [0, 1, 4, 5]
    assert chosen_blocks(model, [2, 0, 2]) == [2, 0]
    with pytest.raises(UserError, match="--blocks: the model has no block 6; expected 0 to 5"):
        chosen_blocks(model, [6])


def test_pairs_that_do_not_fit_are_named(tmp_path: Path, pairs_folder: Path, model_config: ModelConfig) -> None:
    rgb = pairs_folder / "RGB" / "000.png"
    write_png(tmp_path / "t.png", np.zeros((40, 48), np.uint8))
    with pytest.raises(UserError, match=r"t\.png has 48x40 pixels, but .*000\.png has 48x48"):
        read_example({"rgb": rgb, "thermal": tmp_path / "t.png"}, DataConfig())
    torch.manual_seed(0)
    with pytest.raises(UserError, match="000: no image of the modality thermal"):
        activation_mosaics(Samsod(model_config), [read_example({"rgb": rgb}, DataConfig())], [0], DataConfig())
    three = Samsod(replace(model_config, modalities=["rgb", "depth", "thermal"]))
    example = read_example({"thermal": rgb, "rgb": rgb, "depth": rgb}, DataConfig())
    assert [m.titles[0] for m in activation_mosaics(three, [example], [0], DataConfig())] == list(three.modalities)
    alone = Samsod(replace(model_config, modalities=["rgb"]))
    (mosaic,) = activation_mosaics(alone, [read_example({"rgb": rgb}, DataConfig())], [0], DataConfig())
    assert mosaic.titles[0] == "rgb" and mosaic.remark

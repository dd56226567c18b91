from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from samsod.config import Config, ModelConfig, load_config, to_yaml
from samsod.config.data_schema import DatasetConfig, ModalityConfig
from samsod.data.sources.families import find_family
from samsod.utils.errors import UserError
from tests.places import ROOT


def write(folder: Path, text: str, name: str = "c.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def faults(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    return str(caught.value).splitlines()


def test_every_fault_is_reported_at_once_with_place_and_nearest_key(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        model:
          sise: tiny
          image_size: 100
          freeze_encoder: 1
        train: {lr: fast, batch_size: 2.5}
        lr: 3
        data: {train: [{famly: x}, 7]}
        test: [1]
        """,
    )
    found = faults(path, "train.epoks=3", "nonsense", "data.test.0.root=x")
    expected = [
        "model.sise: unknown key (did you mean 'model.size'?)",
        "model.image_size: expected a multiple of 32, at least 64, found 100",
        "model.freeze_encoder: expected true or false, found 1",
        "train.lr: expected a number, found 'fast'",
        "train.batch_size: expected a whole number, found 2.5",
        "lr: unknown key (did you mean 'train.lr'?)",
        "data.train.0.famly: unknown key (did you mean 'data.train.0.family'?)",
        "data.train.1: expected a mapping, found 7",
        "test: expected a mapping, found a list",
        "command line: train.epoks: unknown key (did you mean 'train.epochs'?)",
        "command line: 'nonsense' is not of the form key.path=value",
    ]
    for part in expected:
        assert any(part in line for line in found), (part, found)
    assert any(line.startswith(f"{path}:3: model.sise") for line in found)
    assert len(found) == len(expected) + 1  # and data.test.0


def test_duplicate_keys_are_errors(tmp_path: Path) -> None:
    path = write(tmp_path, "train:\n  lr: 1\n  epochs: 2\n  lr: 3\n")
    assert faults(path) == [f"{path}:4: train.lr: written twice, first at {path}:2"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("010", 10.0), ("1_000", None), (".5", 0.5), ("-3", None), ("12:30:45", None), ("yes", None)],
)
def test_numbers_are_read_as_yaml_1_2_does(tmp_path: Path, text: str, value: float | None) -> None:
    path = write(tmp_path, f"train: {{lr: {text}}}")
    if value is None:
        assert "train.lr" in faults(path)[0]
    else:
        assert load_config(path).train.lr == value


def test_quoted_numbers_and_yes_are_text(tmp_path: Path) -> None:
    path = write(tmp_path, "output: '1e-4'\nmodel: {weights: yes}")
    config = load_config(path, ["loss.options={window: 15}"])
    assert (config.output, config.model.weights, config.loss.options) == ("1e-4", "yes", {"window": 15})


def test_inheritance_is_relative_to_the_file_and_later_files_win(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path, "train: {lr: 1, epochs: 5}\nseed: 1", "a.yaml")
    write(tmp_path, "train: {lr: 2}", "b.yaml")
    path = write(tmp_path / "sub", "_base_: [../a.yaml, ../b.yaml]\nseed: 9")
    config = load_config(path, ["train.epochs=7"])
    assert (config.train.lr, config.train.epochs, config.seed) == (2, 7, 9)


def test_circular_and_missing_bases_are_named(tmp_path: Path) -> None:
    write(tmp_path, "_base_: b.yaml", "a.yaml")
    write(tmp_path, "_base_: a.yaml", "b.yaml")
    assert "circle" in faults(tmp_path / "a.yaml")[0]
    assert "no such file" in faults(write(tmp_path, "_base_: nowhere.yaml"))[0]


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "a: b: c", "just text"])
def test_a_file_that_is_no_config_is_one_line(tmp_path: Path, text: str) -> None:
    (line,) = faults(write(tmp_path, text))
    assert str(tmp_path) in line


def test_list_items_are_set_by_index(tmp_path: Path) -> None:
    path = write(tmp_path, "data: {test: [{family: vt821}, {family: vt1000}]}")
    config = load_config(path, ["data.test.1.root=/x", "data.train=[{family: folders, root: r}]"])
    assert config.data.test[1] == DatasetConfig(family="vt1000", root="/x")
    assert config.data.train == [DatasetConfig(root="r")]
    assert "there is no list item 2" in faults(path, "data.test.2.root=/x")[0]


def test_printed_config_reads_back_equal(tmp_path: Path) -> None:
    config = replace(Config(), output="010", imports=["a: b"], model=ModelConfig(weights="1e-4"))
    config.data.train = [DatasetConfig(name="no")]
    for docs in (False, True):
        assert load_config(write(tmp_path, to_yaml(config, docs))) == config
    assert "# learning rate" in to_yaml(config, docs=True)


@pytest.mark.parametrize("name", ["../x", "/abs", "..", ".hidden", "Overall"])
def test_a_data_sets_name_cannot_leave_the_results_folder(tmp_path: Path, name: str) -> None:
    assert "expected a plain name" in faults(write(tmp_path, f"data: {{test: [{{name: {name}}}]}}"))[0]


def test_home_is_expanded(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "output: ~/x"), ["model.weights=~/w.pt"])
    assert (config.output, config.model.weights) == (str(Path.home() / "x"), str(Path.home() / "w.pt"))


def test_shipped_configs_are_valid() -> None:
    paths = [path for path in (ROOT / "configs").rglob("*.yaml") if "\nrows:" not in path.read_text()]
    assert len(paths) >= 6
    for path in paths:
        load_config(path)


def test_a_base_that_bases_share_counts_once(tmp_path: Path) -> None:
    write(tmp_path, "seed: 1\noutput: base", "base.yaml")
    write(tmp_path, "_base_: base.yaml\nseed: 2", "protocol.yaml")
    write(tmp_path, "_base_: base.yaml\ntrain: {epochs: 3}", "size.yaml")
    for bases in ("[protocol.yaml, size.yaml]", "[size.yaml, protocol.yaml]", "[base.yaml, protocol.yaml, size.yaml]"):
        config = load_config(write(tmp_path, f"_base_: {bases}", "run.yaml"))
        assert (config.seed, config.output, config.train.epochs) == (2, "base", 3)


def test_protocols_are_the_papers(tmp_path: Path) -> None:
    three = ["vt821 ", "vt1000 ", "vt5000 test"]
    four = ["nju2k test", "nlpr test", "stere ", "sip "]
    protocols = {
        "large": (["vt5000 train"], three),
        "rgbd": (["nju2k train", "nlpr train"], four),
        "rgbd_2985": (["nju2k train", "nlpr train", "dut_rgbd train"], [*four[:2], "dut_rgbd test", *four[2:]]),
        "rgbd_videos": (["rdvs train"], ["rdvs test"]),
        "rgbt_unaligned": (["uvt20k train"], ["uvt20k test", "uvt2000 "]),
        "cod": (["cod10k_camo "], ["chameleon ", "camo test", "cod10k test", "nc4k "]),
        "rail": (["neu_rsdds_aug train"], ["neu_rsdds_aug test"]),
        "scribble": (["rgbts "], three),
    }
    for name, expected in protocols.items():
        own = load_config(ROOT / "configs" / f"{name}.yaml")
        bases = f"_base_: [{ROOT}/configs/{name}.yaml, {ROOT}/configs/tiny.yaml]"
        for config, size in ((own, "large"), (load_config(write(tmp_path, bases)), "tiny")):
            listed = [
                [f"{item.family} {item.split}" for item in items] for items in (config.data.train, config.data.test)
            ]
            assert (*listed,) == expected and config.model.size == size
    assert own.loss.name == "scribble" and own.data.holdout == 0


def test_protocols_list_parts_that_their_sets_have() -> None:
    for path in (ROOT / "configs").glob("*.yaml"):
        config = load_config(path)
        for item in (*config.data.train, *config.data.val, *config.data.test):
            family = find_family(item)
            family.roles(config.model.modalities)
            assert family.aligned or config.data.sizes == "any"


def test_recipes_are_the_papers() -> None:
    large, tiny = (load_config(ROOT / "configs" / f"{size}.yaml") for size in ("large", "tiny"))
    assert (large.train.batch_size, tiny.train.batch_size) == (4, 8)
    for config in (large, tiny):
        train, adapter = config.train, config.model.adapter
        assert (train.optimizer, train.lr, train.epochs, train.schedule) == ("adam", 1e-3, 45, "constant")
        assert (adapter.alpha_foreground, adapter.alpha_background, adapter.beta) == (0.45, 0.35, 0.1)
        assert config.model.image_size == 512 and config.engine.gradient_rule.name == "pcgrad"


def test_help_and_config_errors_need_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['t', '--config', sys.argv[1]];"
        "from samsod.config.command_line import config_parser, parse_config\n"
        "from samsod.utils.errors import UserError\n"
        "try: parse_config(config_parser('x'))\n"
        "except UserError: pass\n"
        "assert not {'torch', 'numpy', 'cv2'} & set(sys.modules)"
    )
    started = time.process_time()
    subprocess.run([sys.executable, "-c", code, str(write(tmp_path, "x: 1"))], check=True)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "[0, .inf]"])
def test_numbers_are_finite(value: str) -> None:
    key = "data.augment.color" if value.startswith("[") else "train.lr"
    with pytest.raises(UserError, match=rf"{re.escape(key)}\S*: expected a finite number"):
        load_config(ROOT / "configs" / "tiny.yaml", [f"{key}={value}"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("rgb-thermal", "expected a list, found 'rgb-thermal'"),
        ("[]", "expected one name or more"),
        ("[RGB, thermal]", r"found 'RGB' \(did you mean 'rgb'\?\)"),
        ("[rgb, near-infrared]", r"found 'near-infrared' \(did you mean 'near_infrared'\?\)"),
        ("[rgb, '']", "lower-case letters, digits and _, found ''$"),
        ("[rgb, fusion]", "'fusion' means something else here; taken names: fusion, final, encoder"),
        ("[rgb, rgb]", "'rgb' is there twice"),
    ],
)
def test_modalities_are_distinct_names(tmp_path: Path, value: str, message: str) -> None:
    assert load_config(write(tmp_path, "model: {modalities: [polar_90]}")).model.modalities == ["polar_90"]
    with pytest.raises(UserError, match=rf"command line: model\.modalities: .*{message}"):
        load_config(write(tmp_path, ""), [f"model.modalities={value}"])


def test_tested_modalities_are_the_models(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "")).tested_modalities() == ["rgb", "thermal"]
    settings = ["model.modalities=[rgb, depth, thermal]", "test.modalities=[thermal, depth]"]
    assert load_config(write(tmp_path, ""), settings).tested_modalities() == ["depth", "thermal"]
    with pytest.raises(UserError, match=r"test\.modalities: 'themal' is not in model.*\(did you mean 'thermal'\?\)$"):
        load_config(write(tmp_path, ""), ["test.modalities=[themal]"])


def test_modalities_have_settings_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, "model: {modalities: [rgb, thermal, polar]}\ndata: {modalities: {thermal: {invert: true}}}")
    config = load_config(path, ["data.modalities.thermal.scale=fixed", "data.modalities.polar.missing=0"])
    expected = {"thermal": ModalityConfig(invert=True, scale="fixed"), "polar": ModalityConfig(missing=0)}
    assert config.data.modalities == expected
    assert load_config(write(tmp_path, to_yaml(config), "printed.yaml")) == config
    folders = ["data.train=[{root: r}]", "data.train.0.folders.thermal=D"]
    assert load_config(path, folders).data.train == [DatasetConfig(root="r", folders={"thermal": "D"})]


def test_faults_in_settings_by_name_are_named(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        data:
          modalities:
            themal: {}
            rgb: {invrt: true}
            thermal: {range: [3, 1], scale: fixed, over_exposure: 2}
          train: [{folders: {rgb: 7}}]
        """,
    )
    assert faults(path, "data.modalities.depth=fixed", "data.augment.over_exposure=1") == [
        f"{path}:5: data.modalities.rgb.invrt: unknown key (did you mean 'data.modalities.rgb.invert'?)",
        f"{path}:6: data.modalities.thermal.range: expected [low, high] with low < high, found [3.0, 1.0]",
        f"{path}:6: data.modalities.thermal.over_exposure: expected a probability between 0 and 1, found 2.0",
        "command line: data.modalities.depth: expected a mapping, found 'fixed'",
        f"{path}:7: data.train.0.folders.rgb: expected text, found 7",
        "command line: data.augment.over_exposure: unknown key (did you mean 'data.modalities.NAME.over_exposure'?)",
    ]
    path = write(tmp_path, "data:\n  modalities:\n    themal: {}")
    assert faults(path, "data.modalities.depth.invert=true") == [
        f"{path}:3: data.modalities.themal: not in model.modalities, rgb, thermal (did you mean 'thermal'?)",
        "command line: data.modalities.depth: not in model.modalities, rgb, thermal",
    ]


def test_the_printed_help_explains_entries_once() -> None:
    text = to_yaml(Config(), docs=True)
    assert text.count("#   each with invert: swap dark and bright") == text.count("each with list_file: ") == 1

"""The programs in examples/, run as make demo runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from samsod.config import Config
from samsod.data.decoding.images import read_rgb
from tests.conftest import Save
from tests.places import HANG, ROOT


def test_a_pair_is_predicted(config: Config, save: Save, pairs_folder: Path, tmp_path: Path) -> None:
    rgb, thermal = (pairs_folder / folder / "000.png" for folder in ("RGB", "T"))
    command = [sys.executable, ROOT / "examples" / "predict_pair.py", save(config), rgb, thermal, tmp_path / "o.png"]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=HANG, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("48x48 pixels, ") and done.stdout.endswith(f"; {tmp_path / 'o.png'}\n")
    assert read_rgb(tmp_path / "o.png").shape == (48, 48, 3)

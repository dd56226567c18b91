"""A training and a test whose terminal is gone, or takes ASCII alone, end as they do otherwise."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import HANG, ROOT
from tests.tools.test_commands import MICRO


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs bash")
def test_nobody_has_to_read_what_is_printed(tmp_path: Path, pairs_folder: Path) -> None:
    sets = [f"data.{part}=[{{family: folders, name: mine, root: {pairs_folder}}}]" for part in ("train", "test")]
    common = ["--config", "configs/tiny.yaml", *MICRO, *sets, "data.workers=1"]
    steps = ["train.steps=2", "train.batch_size=4", "train.log_every=1", f"output={tmp_path / 'run'}"]
    test = ["--checkpoint", f"{tmp_path / 'run' / 'checkpoints' / 'step_00000002.pt'}", "--output", f"{tmp_path}/test"]
    train_line, test_line = (
        shlex.join([sys.executable, str(ROOT / "tools" / f"{tool}.py"), *common, *rest])
        for tool, rest in (("train_net", steps), ("test_net", test))
    )
    lines = f"{train_line} 2>&1 | head -1; echo ${{PIPESTATUS[0]}}; {test_line} 2>&-; echo $?"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        ["/bin/bash", "-c", lines], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=HANG
    )
    _, code, *table, last = done.stdout.splitlines()
    assert (code, last, done.stderr) == ("0", "0", ""), done
    assert "S\\u2191" in "".join(table)
    assert (tmp_path / "run" / "checkpoints" / "step_00000002.pt").is_file()
    assert json.loads((tmp_path / "test" / "results.json").read_text())["mine"]["images"] == 12

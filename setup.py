"""Packaging of samsod; pinned versions are in constraints.txt, tool settings in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "samsod" / "__init__.py").read_text())
assert VERSION is not None

setup(
    name="samsod",
    version=VERSION.group(1),
    description="RGB-T salient object detection with a frozen SAM2 encoder, decoupled adapters and gradient surgery",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["samsod", "samsod.*"]),
    package_data={"samsod": ["py.typed", "evaluation/tables/reported.json", "prediction/page/page.html"]},
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.5.1",
        "sam2>=1.1.0",
        "numpy>=1.24.4",
        "opencv-python>=4.8",
        "fvcore>=0.1.5.post20221221",
        "pyyaml>=6.0",
        "tqdm>=4.66",
        "tabulate>=0.10",
        "markupsafe>=2.1",
    ],
    extras_require={
        "plot": ["matplotlib>=3.8"],
        "tensorboard": ["tensorboard>=2.15"],
        "weights": ["safetensors>=0.4"],
        "xlsx": ["openpyxl>=3.1"],
        "rules": ["torchjd>=0.18"],
        "export": ["onnx>=1.17", "onnxscript>=0.5", "onnxruntime>=1.20"],
        "openvino": ["openvino>=2025.0"],
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "torchjd>=0.18",
            "matplotlib>=3.8",
            "tensorboard>=2.15",
            "safetensors>=0.4",
            "onnx>=1.17",
            "onnxscript>=0.5",
            "onnxruntime>=1.20",
            "openpyxl>=3.1",
            "openvino>=2025.0",
        ],
        "lint": ["ruff", "mypy", "types-PyYAML"],
    },
)

# Every target but clean makes its own .venv if there is none.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet -c constraints.txt

.PHONY: demo test test-slow lint format gpu-check install clean

install: $(VENV)/.installed

# torch and the build tools come first: sam2's own build asks for them, and isolated it would fetch another torch.
# A bare server lacks libGL, which opencv-python needs: there the headless build of the same version takes its place.
$(VENV)/.installed: setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "samsod needs Python 3.10 or newer; choose one with make PYTHON=python3.11" >&2; exit 2; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) \
	  || { echo "python could not make $(VENV); on Debian: apt install python3-venv" >&2; exit 2; }
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(PIP) torch setuptools wheel
	@SAM2_BUILD_CUDA=0 $(PIP) --no-build-isolation -e ".[test,lint]"
	@$(PY) -c "import cv2" 2>/dev/null || $(PIP) --force-reinstall --no-deps opencv-python-headless
	@touch $@

demo: install
	$(PY) data/make_demo_set.py --output output/demo/data
	$(PY) tools/train_net.py --config configs/demo.yaml
	$(PY) tools/test_net.py --config configs/demo.yaml --checkpoint output/demo/checkpoints/best.pt --output output/demo
	$(PY) examples/predict_pair.py output/demo/checkpoints/best.pt output/demo/data/VT5000/Test/RGB/0001.jpg \
	  output/demo/data/VT5000/Test/T/0001.jpg output/demo/overlay.png

# Two files of tests at a time: most of their processes use one core. (xdist's own groups do nothing with pytest 9.2.)
test: install
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: install
	$(PY) -m pytest -m slow

# On a machine with GPUs: is all computed there as on a CPU, and how fast? On one without, a small form on the CPU.
gpu-check: install
	$(PY) tools/gpu_check.py --output output/gpu_check

lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: install
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf $(VENV) output .pytest_cache .mypy_cache .ruff_cache *.egg-info

"""The settings that a prediction depends on: a checkpoint is tested as it was trained, or with a word on it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from typing import Any

from samsod.config import Config
from samsod.config.data_schema import DataConfig, ModalityConfig
from samsod.config.settings import MODEL_FILES
from samsod.data.sources.modalities import settings_of
from samsod.utils.errors import UserError
from samsod.utils.trees import flat

TRAINING = (*MODEL_FILES, "model.freeze_encoder", "model.adapter.gate_gradient", "model.adapter.gate_start")
"""Settings of the model that make no difference to what its weights predict."""
READING = ("normalize", "scale", "range", "invert", "missing", "fill")
"""Settings of a modality that say how its images are read."""
NOTED = ("model.image_size",)
"""Settings that predictions depend on, but which may be others than in training."""


def check_settings(content: Mapping[str, Any], config: Config, allowed: Collection[str], path: str) -> list[str]:
    """Compares what a checkpoint was trained with to what it is to predict with.

    Args:
        content: The checkpoint.
        config: What it is to predict with.
        allowed: Keys that may differ.
        path: The checkpoint's file, for messages.

    Returns:
        A remark on each setting that differs and may.

    Raises:
        UserError: Others differ; one line with key, trained and given value of each.
    """
    trained = predictive(content.get("config", {}), config.model.modalities)
    given = predictive(asdict(config), config.model.modalities)
    keys = [key for key in {**trained, **given} if trained.get(key) != given.get(key)]
    said = {key: f"{key} was {_value(trained, key)} in training and is {_value(given, key)} now" for key in keys}
    refused = [key for key in keys if key not in (*NOTED, *allowed)]
    if refused:
        raise UserError(
            f"{path}: would predict otherwise than it was trained to: {'; '.join(said[key] for key in refused)}; to "
            f"have it so: {' '.join(f'--allow-changed {key}' for key in refused)}"
        )
    return [f"note: {text}" for text in said.values()]


def predictive(tree: Mapping[str, Any], modalities: Collection[str]) -> dict[str, Any]:
    """The settings by dotted key that predictions depend on; what the tree lacks is at its default.

    Args:
        tree: A config as nested mappings, as checkpoints hold it.
        modalities: Of these the settings are given, whether the tree names them or not.
    """
    settings = flat(asdict(Config().model), "model.") | flat(tree.get("model", {}), "model.")
    named = tree.get("data", {}).get("modalities", {})
    for name in modalities:
        there = named.get(name, {})
        known = {field.name: there[field.name] for field in fields(ModalityConfig) if field.name in there}
        read = asdict(settings_of(name, DataConfig(modalities={name: ModalityConfig(**known)})))
        settings |= {f"data.modalities.{name}.{key}": read[key] for key in READING}
    return {key: value for key, value in settings.items() if key not in TRAINING and value != {}}


def _value(settings: Mapping[str, Any], key: str) -> str:
    return json.dumps(settings[key]) if key in settings else "unset"

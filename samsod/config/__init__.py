"""The configuration: typed dataclasses, read from YAML files and the command line."""

from samsod.config.data_schema import AugmentConfig, DataConfig, DatasetConfig, ModalityConfig
from samsod.config.load import load_config, to_yaml
from samsod.config.schema import (
    AdapterConfig,
    Config,
    EngineConfig,
    LossConfig,
    ModelConfig,
    TestConfig,
    TrainConfig,
    TrunkConfig,
)

__all__ = [
    "AdapterConfig",
    "AugmentConfig",
    "Config",
    "DataConfig",
    "DatasetConfig",
    "EngineConfig",
    "LossConfig",
    "ModalityConfig",
    "ModelConfig",
    "TestConfig",
    "TrainConfig",
    "TrunkConfig",
    "load_config",
    "to_yaml",
]

"""The configuration: typed dataclasses, read from YAML files and the command line."""

from samsod.config.data_schema import AugmentConfig, DataConfig, DatasetConfig, ModalityConfig
from samsod.config.load import load_config, stored_config, to_yaml
from samsod.config.schema import (
    AdapterConfig,
    Config,
    EngineConfig,
    LossConfig,
    ModelConfig,
    RuleConfig,
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
    "RuleConfig",
    "TestConfig",
    "TrainConfig",
    "TrunkConfig",
    "load_config",
    "stored_config",
    "to_yaml",
]

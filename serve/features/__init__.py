"""Computes a model's inputs from raw entities and events at an as-of, exactly as the panel does."""

from serve.features.builder import Built, FeatureBuilder
from serve.features.feature_config import NoFeaturesError
from serve.features.raw import RawColumn, RawTable

__all__ = ["Built", "FeatureBuilder", "NoFeaturesError", "RawColumn", "RawTable"]

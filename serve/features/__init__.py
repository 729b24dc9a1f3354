"""Computes a model's inputs from raw entities and events at an as-of, exactly as the panel does."""

from serve.features.builder import Built, FeatureBuilder
from serve.features.raw import RawColumn, RawTable
from serve.features.recipe import NoFeaturesError

__all__ = ["Built", "FeatureBuilder", "NoFeaturesError", "RawColumn", "RawTable"]

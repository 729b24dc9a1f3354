"""Feature blocks: classes that return point-in-time Ibis expressions; conf/features combines them."""

from mlsys.features.base import (
    Block,
    EntityBlock,
    EventBlock,
    Feature,
    FeatureInfo,
    History,
    TableBlock,
    block_problems,
)
from mlsys.features.events import Mix, PerUser, Presence, Recency, Tenure, Trend, Windows
from mlsys.features.firmographics import EmployeeRange, Industry, WebRank
from mlsys.features.naive import WholeHistory

__all__ = [
    "Block",
    "EmployeeRange",
    "EntityBlock",
    "EventBlock",
    "Feature",
    "FeatureInfo",
    "History",
    "Industry",
    "Mix",
    "PerUser",
    "Presence",
    "Recency",
    "TableBlock",
    "Tenure",
    "Trend",
    "WebRank",
    "WholeHistory",
    "Windows",
    "block_problems",
]

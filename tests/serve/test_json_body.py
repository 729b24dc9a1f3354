"""Duplicate fields are found wherever they hide, and nothing else is taken for one."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.errors import RequestError
from serve.json_body import parse_json

names = st.sampled_from(["a", "b", "a:b", "\\", '"', "ä", "\u003a"])
texts = st.sampled_from(["", ":", "::", "08:30", '"', "\\", "\\u003a", "ä:\ud7ff", "x"])
values = st.recursive(
    texts | st.none() | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.dictionaries(names, values, max_size=4), st.booleans(), st.sampled_from([None, ":", "a"]))
def test_a_field_that_is_sent_twice_is_found(value, ascii_only, escaped):
    text = json.dumps(value, ensure_ascii=ascii_only)
    if escaped is not None and escaped in text:
        inside_strings = json.dumps(f"\\u{ord(escaped):04x}")[2:-1]
        text = _escape(text, escaped, f"\\{inside_strings}")
    assert parse_json(text.encode()) == json.loads(text)
    if value:
        name, first = next(iter(value.items()))
        twice = "{" + f"{json.dumps(name)}: {json.dumps(first)}, " + text[1:]
        for body in (twice, f'{{"records": [{text}, {twice}]}}', f'{{"deep": [[{twice}]]}}'):
            with pytest.raises(RequestError, match="Duplicate field"):
                parse_json(body.encode())


def _escape(text, character, escape):
    """Escape a character in the strings of a JSON text."""
    parts, in_string, skip = [], False, False
    for each in text:
        if each == '"' and not skip:
            in_string = not in_string
        skip = each == "\\" and not skip
        parts.append(escape if each == character and in_string and not (parts and parts[-1] == "\\") else each)
    escaped = "".join(parts)
    return escaped if json.loads(escaped) == json.loads(text) else text


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/score"])
def test_an_escaped_colon_hides_no_duplicate(inside, path):
    record = '{"users": 999, "users": 3, "actions": 0.5, "industry": "a\\u003ab"}'
    bodies = {
        "/predict": record,
        "/predict/batch": f'{{"records": [{record}]}}',
        "/score": f'{{"entities": [{record}], "events": [], "as_of": "2020-02-24"}}',
    }
    answer = inside("POST", path, content=bodies[path], headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["message"]) == (422, "Duplicate field users; send each field once.")

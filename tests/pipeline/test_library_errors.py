"""Messages of the libraries in plain words."""

import pytest

from mlsys.pipeline.library_errors import plain_reason


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            "[12:56:11] /__w/xgboost/src/c_api/../common/json_utils.h:48: Invalid type for: `missing`\nStack trace:\n"
            "  [bt] (0) /lib/libxgboost.so(+0x2c1a8c) [0x7fb45a4c1a8c]\n",
            "Invalid type for: `missing`.",
        ),
        (
            'catboost/private/libs/options/json_helper.h:41: Can\'t parse parameter "rsm" with value: "x"',
            'Can\'t parse parameter "rsm" with value: "x".',
        ),
        (
            "Check failed: (num_leaves) > (1) at /__w/LightGBM/src/io/config_auto.cpp, line 352 .\n",
            "Check failed: (num_leaves) > (1).",
        ),
        ("value -1 for max_depth\nmax_depth: Maximum depth", "value -1 for max_depth max_depth: Maximum depth."),
        ("Which one?", "Which one?"),
        ("", "RuntimeError."),
        ("wrong " * 900, "wrong " * 82 + "wrong …"),
    ],
)  # fmt: skip
def test_files_times_and_backtraces_are_left_out(message, reason):
    assert plain_reason(RuntimeError(message)) == reason

"""The errors of the model libraries in plain words: one sentence, without C++ files, times and backtraces."""

from __future__ import annotations

import re

from mlsys.text import shortened

MAX_LENGTH = 500

# What XGBoost puts before a message, CatBoost before it and LightGBM after it: the place in their source.
_PLACES = re.compile(
    r"^\[\d\d:\d\d:\d\d\] \S+:\d+: "  # [12:57:03] /src/objective/regression_obj.cu:114:
    r"|(?:^|(?<= ))\S+\.(?:cpp|h):\d+: "  # catboost/private/libs/options/json_helper.h:41:
    r"| at \S+\.(?:cpp|hpp|h|cu), line \d+"  # at /src/io/config_auto.cpp, line 352
)


def plain_reason(error: BaseException) -> str:
    r"""Return what an error says as one sentence, of at most 500 characters.

    Parameters
    ----------
    error : BaseException
        An error raised by a library in a fit.

    Examples
    --------
    >>> plain_reason(ValueError("[12:57:03] /src/learner.cc:114: base_score must be below 1\nStack trace:\n  [bt] (0)"))
    'base_score must be below 1.'
    >>> plain_reason(KeyError())
    'KeyError.'
    """
    message = " ".join(str(error).partition("\nStack trace:")[0].split())
    plain = " ".join(_PLACES.sub("", message).split()).rstrip(" .") or type(error).__name__
    text = shortened(plain, MAX_LENGTH)
    return text if text.endswith(("?", "!", "…")) else f"{text}."

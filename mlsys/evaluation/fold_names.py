"""Names of folds in tables and plots: by time, or by number if the split is not by time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlsys.evaluation.formats import Numbers


def fold_times(as_of: npt.NDArray[np.datetime64]) -> dict[str, str | None]:
    """Return ``as_of`` and, if there are several, ``as_of_last`` of a fold's rows, as in ``metrics.json``.

    Parameters
    ----------
    as_of : ndarray of datetime64, shape (n_rows,)
        As-of of each row; NaT if the split is not by time.

    Examples
    --------
    >>> fold_times(np.array(["2020-02-24", "2020-03-23", "NaT"], dtype="datetime64[us]"))
    {'as_of': '2020-02-24', 'as_of_last': '2020-03-23'}
    """
    times = np.unique(as_of[~np.isnat(as_of)])
    first = {"as_of": day(times[0]) if times.size else None}
    return first | {"as_of_last": day(times[-1])} if times.size > 1 else first


def fold_name(fold: Numbers) -> str:
    """Return the name of a fold: its as-of, its range of as-ofs, or its number if the split is not by time.

    Parameters
    ----------
    fold : mapping
        An entry of ``folds`` in ``metrics.json``; ``as_of``, ``as_of_last`` and ``fold`` are read.

    Examples
    --------
    >>> fold_name({"as_of": "2020-02-24", "fold": 0}), fold_name({"as_of": None, "fold": 3})
    ('2020-02-24', 'fold 3')
    """
    if not fold.get("as_of"):
        return f"fold {fold['fold']}"
    return " to ".join(fold[key] for key in ("as_of", "as_of_last") if fold.get(key))


def fold_order(name: str) -> tuple[str, int]:
    """Return the sort key of a name: by time, or by number.

    Examples
    --------
    >>> sorted(["fold 10", "2020-03-23", "fold 9", "2020-02-24 to 2020-03-23"], key=fold_order)
    ['fold 9', 'fold 10', '2020-02-24 to 2020-03-23', '2020-03-23']
    """
    number = name.removeprefix("fold ")
    return (name, 0) if number == name else ("", int(number))


def day(moment: np.datetime64) -> str:
    """Return a date as text, with its time unless that is midnight.

    Examples
    --------
    >>> day(np.datetime64("2020-02-24T00:00")), day(np.datetime64("2020-02-24T09:30"))
    ('2020-02-24', '2020-02-24T09:30:00')
    """
    return str(moment.astype("datetime64[s]")).removesuffix("T00:00:00")

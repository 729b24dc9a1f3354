"""What a fit chooses on the validation rows: numbers of iterations, and regularisation that is ``auto``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mlsys.pipeline.composites import composite_of
from mlsys.pipeline.copies import unfitted
from mlsys.text import counted


class Cap(NamedTuple):
    """Limit of the number of iterations: its config key below ``model``, and its value."""

    key: str
    limit: int


@dataclass(frozen=True)
class Choice:
    """Parameters of a model that the validation rows decided.

    Attributes
    ----------
    iterations : int or None
        Number of iterations that early stopping chose; None without early stopping.
    values : mapping of str to float or int
        The chosen parameters by name, including that of the number of iterations.
    cap : Cap or None
        The limit of the number of iterations, if boosting ended there and not by early stopping.
    members : mapping of str to Choice
        Choices of the members of a composite, by config key below ``model``.

    Examples
    --------
    >>> one = Choice(476, {"n_estimators": 476})
    >>> str(Choice(members={"members.xgboost": one, "members.logistic": Choice(values={"C": 0.03})}))
    'xgboost: 476 iterations, logistic: C=0.03'
    """

    iterations: int | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    cap: Cap | None = None
    members: Mapping[str, Choice] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.members:
            named = {key.rpartition(".")[2]: str(member) for key, member in self.members.items()}
            return ", ".join(f"{name}: {text}" for name, text in named.items() if text)
        return ", ".join(
            counted(int(value), "iteration") if value == self.iterations else f"{name}={value:g}"
            for name, value in self.values.items()
        )

    def caps(self) -> list[Cap]:
        """Return the limits that ended boosting, those of members by config key below ``model``."""
        own = [] if self.cap is None else [self.cap]
        return own + [Cap(f"{key}.{cap.key}", cap.limit) for key, each in self.members.items() for cap in each.caps()]


def with_choice(estimator: Any, choice: Choice) -> Any:  # noqa: ANN401 - any scikit-learn estimator
    """Return an unfitted copy of an estimator with the chosen parameters.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> with_choice(LogisticRegression(C="auto"), Choice(values={"C": 0.03}))
    LogisticRegression(C=0.03)
    """
    composite = composite_of(estimator)
    if composite is None or not choice.members:
        return unfitted(estimator, **dict[str, Any](choice.values)) if choice.values else estimator
    members = {
        key: with_choice(member, choice.members.get(key, Choice()))
        for key, member in composite.unfitted_members().items()
    }
    return composite.with_members(members)

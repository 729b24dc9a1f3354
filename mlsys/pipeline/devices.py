"""Where a model is fitted: on the CPU, or on a GPU if there is one; it is always scored on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlsys.errors import Problem
from mlsys.gpu import missing_gpu


@dataclass(frozen=True)
class Device:
    """The parameter by which a library is told where to fit.

    Attributes
    ----------
    parameter : str
        Its name.
    cpu : str
        Its value for the CPU.
    gpu : tuple of str
        How its values for a GPU begin, in lower case.
    fixed_by_fit : bool
        Whether it cannot be changed after the fit; the library then scores on the CPU anyway.
    has_cuda : callable
        Returns whether the installed library was built for GPUs.
    """

    parameter: str
    cpu: str
    gpu: tuple[str, ...]
    fixed_by_fit: bool = False
    has_cuda: Callable[[], bool] = lambda: True

    def is_gpu(self, estimator: Any) -> bool:  # noqa: ANN401 - an estimator of the library
        """Return whether an estimator is to be fitted on a GPU."""
        return str(estimator.get_params(deep=False).get(self.parameter)).lower().startswith(self.gpu)

    def problems(self, estimator: Any, where: str) -> list[Problem]:  # noqa: ANN401
        """Find a GPU that the machine does not have: libraries would use the CPU instead, with a warning at most.

        Parameters
        ----------
        estimator : estimator of the library
        where : str
            Its config key.
        """
        if not self.is_gpu(estimator):
            return []
        reason = missing_gpu() if self.has_cuda() else "the installed library was built without CUDA"
        if not reason:
            return []
        value = str(estimator.get_params(deep=False)[self.parameter])
        allowed = f"{self.cpu}, as there is no GPU to use: {reason}. Leave it out, or run on a machine with a GPU"
        return [Problem(f"{where}.{self.parameter}", value, allowed, self.cpu)]

    def for_scoring(self) -> dict[str, str]:
        """Return the parameters to set after the fit, so that a saved model needs no GPU."""
        return {} if self.fixed_by_fit else {self.parameter: self.cpu}


def _xgboost_has_cuda() -> bool:
    from xgboost import build_info

    return bool(build_info()["USE_CUDA"])


XGBOOST = Device("device", "cpu", ("cuda", "gpu"), has_cuda=_xgboost_has_cuda)
CATBOOST = Device("task_type", "CPU", ("gpu",), fixed_by_fit=True)

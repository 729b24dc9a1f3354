"""What the entrypoint needs before anything heavy is imported: whitelist, config folder, environment, process exit."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ENVIRONMENT_PREFIX = "MLSYS__"
NO_TRACKING = "MLSYS_NO_TRACKING"  # set to any value: runs are not tracked, whatever their config says

# What a config may instantiate. Hydra refuses everything else. The list is code, so no config can extend it.
EXECUTION_WHITELIST = [
    "mlsys.*",
    "xgboost.XGBClassifier",
    "xgboost.XGBRegressor",  # of an effect, in an uplift model
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
    "lightgbm.LGBMClassifier",
    "lightgbm.sklearn.LGBMClassifier",
    "catboost.CatBoostClassifier",
    "catboost.core.CatBoostClassifier",
    "interpret.glassbox.ExplainableBoostingClassifier",
    "sklearn.dummy.*",
    "sklearn.ensemble.*",
    "sklearn.linear_model.*",
    "sklearn.naive_bayes.*",
    "sklearn.neighbors.*",
    "sklearn.neural_network.*",
    "sklearn.svm.*",
    "sklearn.tree.*",
    "imblearn.over_sampling.*",
    "imblearn.under_sampling.*",
    "imblearn.combine.*",
    "logging.FileHandler",
    "logging.StreamHandler",
    "mlsys.text.LogFormatter",
]


@contextmanager
def quick_exit() -> Iterator[None]:
    """End the process right after the block and all exit handlers, without Python's clean-up of every object.

    The clean-up takes two thirds of a second when all libraries are loaded, and has no visible effect.
    """
    code = 0

    def leave() -> None:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # the reader has exited
                stream.flush()
        os._exit(code)

    atexit.register(leave)  # handlers run in reverse order, so this one is the last
    try:
        yield
    except BaseException as error:
        if not isinstance(error, SystemExit) or not isinstance(error.code, int | None):
            atexit.unregister(leave)  # Python prints the error and sets the exit code
            raise
        code = error.code or 0


def run_job(job: Callable[[], object], report: Callable[[Exception], int]) -> None:
    """Run a Hydra job as a command-line program: errors, a closed pipe and Ctrl-C each end with one line at most.

    Parameters
    ----------
    job : callable
        The function decorated with ``@hydra.main``.
    report : callable
        Reports an error and returns the exit code, or raises it again.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors back to us instead of printing them
    # Idle OpenMP threads sleep: spinning ones make every fit many times slower as soon as another process wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        job()
    except BrokenPipeError:  # the reader of our output, such as `head`, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - the outermost frame: `report` raises unknown errors again
        sys.exit(report(error))


def conf_folder() -> Path:
    """Return the folder of the config groups: inside the installed package, or beside it in a checkout."""
    packaged = Path(__file__).parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "conf"


def environment_overrides(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the overrides given by ``MLSYS__A__B=value`` variables, each with its variable's name.

    Keys set on the command line are left out. Names are lower-cased unless they contain a lower-case letter.

    Examples
    --------
    >>> environment_overrides(["seed=1"], {"MLSYS__SPLIT__FOLDS": "4", "MLSYS__SEED": "2", "HOME": "/"})
    {'split.folds=4': 'MLSYS__SPLIT__FOLDS'}
    """
    given = {argument.split("=", 1)[0].lstrip("+~") for argument in arguments if "=" in argument}
    overrides = {}
    for name, value in sorted((os.environ if environment is None else environment).items()):
        if name.startswith(ENVIRONMENT_PREFIX):
            path = name.removeprefix(ENVIRONMENT_PREFIX)
            key = (path.lower() if path.isupper() else path).replace("__", ".")
            if key not in given:
                overrides[f"{key}={value}"] = name
    return overrides


def source_of(override: str, arguments: Sequence[str]) -> str:
    """Return where an override comes from.

    Parameters
    ----------
    override : str
        An override that Hydra applied.
    arguments : sequence of str
        The command line, including the overrides from the environment.

    Examples
    --------
    >>> source_of("seed=1", ["train", "seed=1"]), source_of("model.C=2", ["train", "-m", "model.C=1,2"])
    ('command line', 'sweep')
    """
    variable = environment_overrides(()).get(override)
    if variable is not None:
        return f"environment {variable}"
    return "command line" if override in arguments else "sweep"

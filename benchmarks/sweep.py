"""Benchmark of our sweeper against hydra-optuna-sweeper with its joblib launcher, and against a hand-written loop.

    python benchmarks/sweep.py overhead      # overhead of a trial beyond its fits; wall time of the whole sweep
    python benchmarks/sweep.py idle          # idle time of workers when trials differ in duration
    python benchmarks/sweep.py reach         # time to reach the official sweeper's best value of 60 trials

All sides run the same job (one trial of mlsys.train: six folds of XGBoost on a cached panel, one thread) with the same
space, seed, number of trials and two workers. Times are of whole commands, from the start of Python to its exit.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["MLSYS_NO_TRACKING"] = "1"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users run with cached bytecode

REAL = Path(__file__).parents[2] / "shared" / "data" / "hubspot"
WORKERS = 2
JOB = ["model=xgboost", "features=minimal", "threads=1", "objective=log_loss"]
SPACE = {
    "model.max_depth": "range(2,7)",
    "model.learning_rate": "tag(log, interval(0.01, 0.2))",
    "model.min_child_weight": "tag(log, interval(0.2, 10.0))",
    "model.reg_lambda": "tag(log, interval(1.0, 100.0))",
    "model.subsample": "interval(0.5, 1.0)",
    "model.colsample_bytree": "interval(0.2, 1.0)",
}
ALL_ITERATIONS = "fit.early_stopping.enabled=false"
UNEQUAL = {"model.n_estimators": "choice(100, 400, 1600)", "model.max_depth": "range(2,5)"}


def data() -> list[str]:
    return ["data=hubspot", f"data.dir={REAL}"] if REAL.exists() else ["data=demo"]


class Job(NamedTuple):
    """A trial, read from its run directory: start and end as Unix times, seconds spent in fits, objective."""

    started: float
    ended: float
    fit: float
    value: float


@dataclass(frozen=True)
class Side:
    """A finished sweep: start and end of its command as Unix times, and its jobs."""

    started: float
    ended: float
    jobs: list[Job]

    @property
    def wall(self) -> float:
        return self.ended - self.started

    @property
    def overhead(self) -> float:
        """Worker seconds per trial outside fits."""
        return (WORKERS * self.wall - sum(job.fit for job in self.jobs)) / len(self.jobs)

    @property
    def idle(self) -> float:
        """Fraction of the workers' time without a job, from the start of the first job to the end of the last."""
        return self._idle(max(job.ended for job in self.jobs))

    @property
    def idle_while_work_is_left(self) -> float:
        """Fraction of the workers' time without a job until the last job started, when no more work was left."""
        return self._idle(max(job.started for job in self.jobs))

    def _idle(self, until: float) -> float:
        busy = sum(min(job.ended, until) - job.started for job in self.jobs)
        return 1 - busy / (WORKERS * (until - min(job.started for job in self.jobs)))


def jobs_of(folder: Path) -> list[Job]:
    jobs = []
    for path in folder.glob("*/manifest.json"):
        manifest, metrics = json.loads(path.read_text()), json.loads((path.parent / "metrics.json").read_text())
        ended, timing = datetime.fromisoformat(manifest["created"]).timestamp(), manifest["timing"]
        value = metrics["overall"]["log_loss"]["value"]
        jobs.append(Job(ended - timing["total"], ended, timing["fit"], value))
    return jobs


def command(side: str, folder: Path, space: dict[str, str], trials: int, seed: int, *more: str) -> list[str]:
    """Return the command line of a sweep of either side."""
    ours = ["hydra/sweeper=mlsys_optuna", "hydra.sweeper.refit=false"]
    # search.trial makes its jobs the same small trials, without a current trial to report to.
    official = ["hydra/sweeper=optuna", "hydra/launcher=joblib", f"hydra.launcher.n_jobs={WORKERS}", "+search.trial=0"]
    sweeper = {"ours": ours, "official": official}[side]
    return [
        *[sys.executable, "-m", "mlsys.train", "-m", *data(), *JOB, *sweeper, "+search.folds=6"],
        *[f"hydra.sweep.dir={folder}", f"hydra.sweeper.n_trials={trials}", f"hydra.sweeper.n_jobs={WORKERS}"],
        *[f"hydra.sweeper.sampler.seed={seed}", *more],
        *[f"{key}={value}" for key, value in space.items()],
    ]


def run(arguments: list[str]) -> None:
    """Run a command until it exits. A pipe would wait until its child processes close their output too."""
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(arguments, stdout=output, stderr=output, check=False)
        if done.returncode:
            output.seek(0)
            sys.exit(f"{shlex.join(arguments)}\n{output.read().decode()}")


def sweep(side: str, folder: Path, space: dict[str, str], trials: int, seed: int, *more: str) -> Side:
    """Run a whole sweep."""
    started = time.time()
    run(command(side, folder, space, trials, seed, *more))
    return Side(started, time.time(), jobs_of(folder))


def hand_written(parameters: list[dict]) -> None:
    """Run the trials of a sweep with an in-memory `study.optimize` in threads: only imports, data and fits."""
    from dataclasses import replace

    import optuna
    from omegaconf import OmegaConf
    from sklearn.base import clone

    from mlsys.compose import compose_config
    from mlsys.evaluation.backtest import BacktestPlan, objective_values, run_search_folds
    from mlsys.evaluation.splits import search_and_holdout_folds
    from mlsys.prepare import prepare

    config = compose_config([*data(), *JOB])
    prepared = prepare(OmegaConf.create(config.to_dict()))
    loaded = prepared.data.load()
    recipe = prepared.parts.recipe(loaded.panel)
    folds, _ = search_and_holdout_folds(prepared.parts.split, loaded.panel.frame, searched=6, held_out=6)

    def objective(trial: optuna.Trial) -> float:
        chosen = {
            "max_depth": trial.suggest_int("model.max_depth", 2, 6),
            "learning_rate": trial.suggest_float("model.learning_rate", 0.01, 0.2, log=True),
            "min_child_weight": trial.suggest_float("model.min_child_weight", 0.2, 10.0, log=True),
            "reg_lambda": trial.suggest_float("model.reg_lambda", 1.0, 100.0, log=True),
            "subsample": trial.suggest_float("model.subsample", 0.5, 1.0),
            "colsample_bytree": trial.suggest_float("model.colsample_bytree", 0.2, 1.0),
        }
        fresh = replace(recipe, estimator=clone(recipe.estimator).set_params(**chosen))
        results = run_search_folds(BacktestPlan(fresh, loaded.horizon_days, config.seed, 1), loaded.panel, folds)
        return objective_values(results, ["log_loss"], config.metrics.top_k)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    for chosen in parameters:
        study.enqueue_trial(chosen)
    study.optimize(objective, n_trials=len(parameters), n_jobs=WORKERS)


def study_of(folder: Path):
    import optuna

    return optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder / 'study.db'}")


def overhead(trials: int, repeats: int) -> None:
    """Compare the overhead of a trial beyond its fits, and the wall time of whole searches without pruning."""
    ratios, walls = [], []
    for repeat in range(repeats):
        with tempfile.TemporaryDirectory() as scratch:
            official = sweep("official", Path(scratch) / "official", SPACE, trials, repeat)
            ours = sweep("ours", Path(scratch) / "ours", SPACE, trials, repeat, "hydra.sweeper.pruner=null")
            parameters = json.dumps([trial.params for trial in study_of(Path(scratch) / "ours").trials])
        started = time.time()
        loop = [sys.executable, __file__, "loop", "--parameters", parameters]
        run(loop)
        seconds = time.time() - started
        ratios.append(ours.overhead / official.overhead)
        walls.append(ours.wall / seconds)
        print(
            f"{repeat + 1}: overhead per trial: ours {ours.overhead:.2f} s, official {official.overhead:.2f} s; "
            f"wall: ours {ours.wall:.1f} s, the same fits in a hand-written loop {seconds:.1f} s",
            flush=True,
        )
    print(
        f"median of {repeats} ({trials} trials, {WORKERS} workers): overhead beyond the fits, ours / official "
        f"{statistics.median(ratios):.2f}; wall, ours / hand-written {statistics.median(walls):.2f}"
    )


def idle(trials: int) -> None:
    """Compare the idle time of workers when trials differ in duration."""
    with tempfile.TemporaryDirectory() as scratch:
        sides = {
            "official": sweep("official", Path(scratch) / "official", UNEQUAL, trials, 0, ALL_ITERATIONS),
            "ours": sweep(
                "ours", Path(scratch) / "ours", UNEQUAL, trials, 0, ALL_ITERATIONS, "hydra.sweeper.pruner=null"
            ),
        }
    for name, side in sides.items():
        lengths = sorted(job.ended - job.started for job in side.jobs)
        print(
            f"{name}: idle {side.idle:.1%} of the workers' time, {side.idle_while_work_is_left:.1%} until the last "
            f"trial started; {trials} trials of {lengths[0]:.1f} to {lengths[-1]:.1f} s"
        )
    print(f"ratio {sides['ours'].idle / sides['official'].idle:.2f}")


def reach(seeds: list[int], trials: int) -> None:
    """Compare the time until our sweep is as good as the official one after all its trials."""
    ratios = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as scratch:
            official = sweep("official", Path(scratch) / "official", SPACE, trials, seed)
            goal = min(job.value for job in official.jobs)
            reached = min(job.ended for job in official.jobs if job.value == goal) - official.started
            seconds, count = until(goal, Path(scratch) / "ours", seed, limit=3 * official.wall)
        ratios.append(seconds / official.wall)
        print(
            f"seed {seed}: official {goal:.6f} after {official.wall:.0f} s ({trials} trials; first reached after "
            f"{reached:.0f} s); ours as good after {seconds:.0f} s ({count} trials), ratio {ratios[-1]:.2f}",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios):.2f} over {len(seeds)} seeds")


def until(goal: float, folder: Path, seed: int, limit: float) -> tuple[float, int]:
    """Run our sweep until a trial reaches the goal; return the seconds it took and the number of trials."""
    started = time.time()
    process = subprocess.Popen(
        command("ours", folder, SPACE, 10_000, seed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while time.time() < started + limit and process.poll() is None:
            time.sleep(0.5)
            if not (folder / "multirun.yaml").exists():
                continue
            done = [trial for trial in study_of(folder).trials if trial.state.name == "COMPLETE"]
            good = [trial.datetime_complete.timestamp() for trial in done if trial.value <= goal]
            if good:
                return min(good) - started, len(study_of(folder).trials)
        return limit, len(study_of(folder).trials)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, default in (("overhead", 60), ("idle", 30), ("reach", 60)):
        commands.add_parser(name).add_argument("--trials", type=int, default=default)
    commands.choices["overhead"].add_argument("--repeats", type=int, default=3)
    commands.choices["reach"].add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    commands.add_parser("loop").add_argument("--parameters", type=json.loads, required=True)
    options = vars(parser.parse_args())
    actions = {"overhead": overhead, "idle": idle, "reach": reach, "loop": hand_written}
    actions[options.pop("command")](**options)


if __name__ == "__main__":
    main()

"""Runs in Weights & Biases: online where that is possible, else in files that can be uploaded later."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field
from pydantic.dataclasses import dataclass

from mlsys.errors import TrackingError
from mlsys.tracking.base import Ending, Receipt, RunData

if TYPE_CHECKING:
    import pandas as pd
    import wandb

EXIT_CODES: Mapping[Ending, int] = {"complete": 0, "trial": 0, "pruned": 0, "failed": 1, "killed": 255}
SPARE = 2.0  # seconds before the end of our patience at which W&B is told to give up by itself
Seconds = Annotated[float, Field(gt=0, le=3600)]


@dataclass(frozen=True)
class WandbTracker:
    """Weights & Biases.

    Parameters
    ----------
    project : str
    entity : str, optional
        Whose; W&B's own default without.
    mode : {"online", "offline"}, optional
        Without, WANDB_MODE; without that, online if a key is configured and the server answers, else offline.
    log_artifacts : bool
        Whether the run directory is kept as an artifact too.
    start_timeout, finish_timeout : float
        Seconds that W&B is given to begin, beside the run, and to upload, after it.
    """

    project: str = "mlsys"
    entity: str | None = None
    mode: Literal["online", "offline"] | None = None
    log_artifacts: bool = True
    start_timeout: Seconds = 10.0
    finish_timeout: Seconds = 15.0

    @property
    def name(self) -> str:
        """Return ``wandb``."""
        return "wandb"

    def start(self, facts: RunData) -> WandbRun:
        """Begin with a run; the same id again takes the place of what was sent before."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # nobody asked for reports to its makers
        import wandb

        from mlsys.tracking.wandb_server import remember

        mode, reason = self._mode()
        try:
            run = self._init(facts, mode)
        except wandb.errors.Error as error:
            if mode != "online" or self.mode == "online":
                raise
            reason = f"no run could be started: {str(error).splitlines()[0]}"
            remember(wandb.setup().settings.base_url, reason)
            wandb.teardown()  # its service would go on trying, and holds the run's id
            run = self._init(facts, "offline")
        run.define_metric("fold", hidden=True)
        run.define_metric("folds/*", step_metric="fold", summary="none")
        return WandbRun(run, facts, reason, self.log_artifacts)

    def _mode(self) -> tuple[str, str]:
        """Return W&B's mode, and why it is not online."""
        import wandb

        from mlsys.tracking.wandb_server import why_offline

        settings = wandb.setup().settings
        wanted = self.mode or os.environ.get("WANDB_MODE")
        if wanted in (None, "", "online"):
            reason = why_offline(settings)
            if reason and self.mode == "online":
                raise TrackingError(f"W&B: {reason}")
            return ("offline", reason) if reason else ("online", "")
        return str(wanted), f"mode={wanted}"

    def _init(self, facts: RunData, mode: str) -> wandb.Run:
        import wandb

        settings = wandb.Settings(
            mode=mode,  # type: ignore[arg-type]
            silent=True,
            console="off",
            program="mlsys.train",
            init_timeout=self.start_timeout,
            finish_timeout=max(self.finish_timeout - SPARE, self.finish_timeout / 2),
            finish_timeout_raises=True,
            # What these would collect is in the run directory, and takes longer than all the rest.
            disable_code=True,
            disable_git=True,
            save_code=False,
            x_save_requirements=False,
            x_disable_stats=True,
            x_disable_machine_info=True,
            disable_job_creation=True,
        )
        return wandb.init(
            project=self.project,
            entity=self.entity,
            id=facts.id,
            name=facts.name,
            group=facts.group,
            job_type=facts.job_type,
            tags=list(facts.tags),
            settings=settings,
        )


@dataclasses.dataclass
class WandbRun:
    """One run in W&B."""

    run: wandb.Run
    facts: RunData
    reason: str
    log_artifacts: bool

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Take the config as it is (W&B shows nested keys with dots), and where the run is."""
        facts = self.facts
        git = {"git_commit": facts.commit, "git_dirty": facts.dirty}
        about = {"path": str(facts.folder), "trial": facts.trial, **git}
        self.run.config.update({**config, "run": about})  # type: ignore[no-untyped-call]

    def log_labels(self, labels: Mapping[str, str]) -> None:
        """Take words as columns of the table of runs."""
        self.run.summary.update(dict(labels))

    def log_metrics(self, overall: Mapping[str, float], folds: Sequence[Mapping[str, Any]]) -> None:
        """Take a row of history for each fold, and the rest as columns of the table of runs."""
        for fold in folds:
            numbers = {f"folds/{name}": value for name, value in fold.items() if name not in ("fold", "as_of")}
            self.run.log({"fold": fold["fold"], "as_of": fold["as_of"], **numbers})
        self.run.summary.update(dict(overall))

    def log_figures(self, figures: Mapping[str, Path]) -> None:
        """Take PNG files."""
        import wandb

        self.run.log({f"plots/{name}": wandb.Image(str(path)) for name, path in figures.items()})

    def log_tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Take tables."""
        import wandb

        self.run.log({f"tables/{name}": wandb.Table(dataframe=_texts(frame)) for name, frame in tables.items()})

    def log_curves(self, curves: Mapping[str, pd.DataFrame]) -> None:
        """Take curves as W&B's own line plots, in which those of several runs lie over each other."""
        import wandb

        for name, frame in curves.items():
            x, y = frame.columns
            self.run.log({f"curves/{name}": wandb.plot.line(wandb.Table(dataframe=frame), x, y, title=name)})

    def log_files(self, folder: Path, names: Sequence[str]) -> None:
        """Take the run directory as an artifact: the same files are the same version, however often they are sent."""
        import wandb

        if not self.log_artifacts:
            return
        artifact = wandb.Artifact(f"run-{self.facts.id}", type="run", metadata={"path": str(folder)})
        for name in names:
            artifact.add_file(str(folder / name), name=name, policy="immutable", skip_cache=True)
        self.run.log_artifact(artifact)

    def finish(self, status: Ending) -> Receipt:
        """End with the exit code that W&B's states are made of; a tag tells those that it has no state for."""
        if status not in ("complete", "trial"):
            self.run.tags = (*(self.run.tags or ()), status)
        self.run.summary["status"] = status
        where = self.run.url or os.path.relpath(str(Path(self.run.dir).parent))
        offline = self.run.offline
        self._finish(EXIT_CODES[status])
        if not offline:
            return Receipt("online", where)
        login = "wandb login && " if self.reason == "no API key" else ""
        return Receipt("offline", where, self.reason, f"{login}wandb sync {where}")

    def _finish(self, exit_code: int) -> None:
        from mlsys.tracking.wandb_server import remember

        try:
            self.run.finish(exit_code)
        except TimeoutError as error:
            address = self.run.settings.base_url
            remember(address, f"{urlsplit(address).netloc} did not take the run before in time")
            raise TrackingError(f"{urlsplit(address).netloc} did not take all of it in time") from error


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose dates are text: W&B would show nanoseconds."""
    dates = frame.select_dtypes("datetime").columns
    return frame.assign(**{name: frame[name].dt.strftime("%Y-%m-%d") for name in dates})

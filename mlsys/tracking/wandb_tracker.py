"""Track runs in Weights & Biases: online if possible, otherwise in files that can be uploaded later."""

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
FINISH_MARGIN = 2.0  # seconds that W&B's own timeout is shorter than ours
Seconds = Annotated[float, Field(gt=0, le=3600)]


@dataclass(frozen=True)
class WandbTracker:
    """Weights & Biases.

    Parameters
    ----------
    project : str
    entity : str, optional
        Owner of the project; by default that of the account.
    mode : {"online", "offline"}, optional
        By default WANDB_MODE if set, or else online if a key is configured and the server answers, otherwise offline.
    log_artifacts : bool
        Whether to log the run directory as an artifact.
    start_timeout, finish_timeout : float
        Seconds allowed to start a run, in parallel with training, and to upload it, after training.
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

    def start(self, data: RunData) -> WandbRun:
        """Start a run; a run with the same id is replaced."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # the user did not opt in
        import wandb

        from mlsys.tracking.wandb_server import mark_unreachable

        mode, reason = self._mode()
        try:
            run = self._init(data, mode)
        except wandb.errors.Error as error:
            if mode != "online" or self.mode == "online":
                raise
            reason = f"the run could not be started: {str(error).splitlines()[0]}"
            mark_unreachable(wandb.setup().settings.base_url, reason)
            wandb.teardown()  # its service would keep trying, and holds the run's id
            run = self._init(data, "offline")
        run.define_metric("fold", hidden=True)
        run.define_metric("folds/*", step_metric="fold", summary="none")
        return WandbRun(run, data, reason, self.log_artifacts)

    def _mode(self) -> tuple[str, str]:
        """Return W&B's mode, and the reason if it is not online."""
        import wandb

        from mlsys.tracking.wandb_server import offline_reason

        settings = wandb.setup().settings
        requested = self.mode or os.environ.get("WANDB_MODE")
        if requested in (None, "", "online"):
            reason = offline_reason(settings)
            if reason and self.mode == "online":
                raise TrackingError(f"W&B: {reason}")
            return ("offline", reason) if reason else ("online", "")
        return str(requested), f"mode={requested}"

    def _init(self, data: RunData, mode: str) -> wandb.Run:
        import wandb

        settings = wandb.Settings(
            mode=mode,  # type: ignore[arg-type]
            silent=True,
            console="off",
            program="mlsys.train",
            init_timeout=self.start_timeout,
            finish_timeout=max(self.finish_timeout - FINISH_MARGIN, self.finish_timeout / 2),
            finish_timeout_raises=True,
            # What these collect is in the run directory already, and takes longer than everything else.
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
            id=data.id,
            name=data.name,
            group=data.group,
            job_type=data.job_type,
            tags=list(data.tags),
            settings=settings,
        )


@dataclasses.dataclass
class WandbRun:
    """One run in W&B."""

    run: wandb.Run
    data: RunData
    reason: str
    log_artifacts: bool

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Log the nested config (W&B shows dotted keys) and where the run is."""
        data = self.data
        git = {"git_commit": data.commit, "git_dirty": data.dirty}
        about = {"path": str(data.folder), "trial": data.trial, **git}
        self.run.config.update({**config, "run": about})  # type: ignore[no-untyped-call]

    def log_labels(self, labels: Mapping[str, str]) -> None:
        """Log labels as columns of the runs table."""
        self.run.summary.update(dict(labels))

    def log_metrics(self, overall: Mapping[str, float], folds: Sequence[Mapping[str, Any]]) -> None:
        """Log a history row for each fold, and the other numbers as columns of the runs table."""
        for fold in folds:
            numbers = {f"folds/{name}": value for name, value in fold.items() if name not in ("fold", "as_of")}
            self.run.log({"fold": fold["fold"], "as_of": fold["as_of"], **numbers})
        self.run.summary.update(dict(overall))

    def log_figures(self, figures: Mapping[str, Path]) -> None:
        """Log PNG files."""
        import wandb

        self.run.log({f"plots/{name}": wandb.Image(str(path)) for name, path in figures.items()})

    def log_tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Log tables."""
        import wandb

        self.run.log({f"tables/{name}": wandb.Table(dataframe=_texts(frame)) for name, frame in tables.items()})

    def log_curves(self, curves: Mapping[str, pd.DataFrame]) -> None:
        """Log curves as W&B line plots, which overlay several runs."""
        import wandb

        for name, frame in curves.items():
            x, y = frame.columns
            self.run.log({f"curves/{name}": wandb.plot.line(wandb.Table(dataframe=frame), x, y, title=name)})

    def log_files(self, folder: Path, names: Sequence[str]) -> None:
        """Log the run directory as an artifact; sending the same files again adds no version."""
        import wandb

        if not self.log_artifacts:
            return
        artifact = wandb.Artifact(f"run-{self.data.id}", type="run", metadata={"path": str(folder)})
        for name in names:
            artifact.add_file(str(folder / name), name=name, policy="immutable", skip_cache=True)
        self.run.log_artifact(artifact)

    def finish(self, status: Ending) -> Receipt:
        """Finish with an exit code, which sets W&B's state; statuses that W&B does not have become a tag."""
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
        from mlsys.tracking.wandb_server import mark_unreachable

        try:
            self.run.finish(exit_code)
        except TimeoutError as error:
            address = self.run.settings.base_url
            mark_unreachable(address, f"{urlsplit(address).netloc} did not accept the previous run in time")
            raise TrackingError(f"{urlsplit(address).netloc} did not accept all of the run in time") from error


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with dates as text, because W&B would show nanoseconds."""
    dates = frame.select_dtypes("datetime").columns
    return frame.assign(**{name: frame[name].dt.strftime("%Y-%m-%d") for name in dates})

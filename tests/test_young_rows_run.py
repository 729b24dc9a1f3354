"""A vote that also learns from rows younger than the horizon, with weights by age: trained, replayed and served."""

import subprocess
import sys

from mlsys.runs import Run
from mlsys.runs.golden import check_golden
from serve.scoring import Scorer
from tests.test_train import train
from tests.waiting import HANG

MODEL = [
    "model=vote",
    "model.members.lightgbm=null",
    "model.members.logistic=null",
    "model.members.xgboost.n_estimators=10",
    "model.weights=[1,2]",
    "+model.members.when={_target_: mlsys.pipeline.survival.DiscreteTimeHazard, intervals: [15,30], "
    "hazard: {_target_: sklearn.linear_model.LogisticRegression, C: 0.01, max_iter: 1000}}",
]
SMALL = ["threads=1", "metrics.bootstrap_resamples=20", "metrics.learning_curve=[]", "split.folds=2"]


def test_it_is_audited_replayed_and_served(tmp_path, crm):
    done = train(tmp_path, *crm.overrides, *MODEL, *SMALL, "features=minimal", "fit.half_life_days=120")
    assert done.returncode == 0, done.stderr
    run = Run.open(done.stdout.strip().splitlines()[-1])
    check_golden(run)
    (embargo,) = (check for check in run.audit["checks"] if check["name"] == "embargo")
    assert "The model also learns from" in embargo["message"]
    assert Scorer.load(run.path).path == "vote"
    command = [sys.executable, "-m", "mlsys", "replay", str(run.path)]
    replayed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=HANG)
    assert replayed.stdout.strip().splitlines()[-1] == "identical", replayed.stderr

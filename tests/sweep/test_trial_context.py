"""The current trial of a job."""

import threading
from types import SimpleNamespace

import pytest

from mlsys.sweep import current_trial
from mlsys.sweep.trial_context import trial_scope


def test_a_job_sees_its_own_trial_and_none_afterwards():
    first, second = SimpleNamespace(number=1), SimpleNamespace(number=2)
    with trial_scope(first):
        with trial_scope(second):
            assert current_trial() is second
        assert current_trial() is first
        seen = []
        thread = threading.Thread(target=lambda: seen.append(current_trial()))
        thread.start()
        thread.join()
        assert seen == [None]
    with pytest.raises(ValueError, match="of the job"), trial_scope(first):
        raise ValueError("of the job")
    assert current_trial() is None

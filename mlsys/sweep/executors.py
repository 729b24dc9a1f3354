"""Where workers run: in processes of this machine, or as Ray tasks on a cluster."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing import connection
from typing import Any, Protocol, TypeVar

import cloudpickle

from mlsys.errors import SweepError
from mlsys.sweep.preload import context, interrupts_blocked
from mlsys.sweep.worker import Sweep, run_hydra_job, work

logger = logging.getLogger(__name__)

T = TypeVar("T")

SERVER_DIED = 255  # the exit code of a worker whose forkserver is gone, see multiprocessing.popen_forkserver
STARTS, PAUSE = 50, 0.1  # attempts to start one process, and seconds between them
FRUITLESS_DEATHS = 5  # of workers, one after the other, without a trial finished in between


class Executor(Protocol):
    """Runs the workers of a sweep."""

    def poll(self, finished: int) -> bool:
        """Look after the workers; return whether any is still at work.

        Parameters
        ----------
        finished : int
            Trials finished so far.

        Raises
        ------
        SweepError
            What ended a worker.
        """
        ...

    def wait(self, seconds: float) -> None:
        """Wait for so long, or until a worker ends."""
        ...

    def stop(self) -> None:
        """Let the workers end after the trials that they are at."""
        ...

    def kill(self) -> None:
        """End the workers now."""
        ...


class LocalProcesses:
    """Workers in processes of their own; one that dies is replaced.

    Parameters
    ----------
    sweep : Sweep
    """

    def __init__(self, sweep: Sweep) -> None:
        self._context = context()
        self._payload = _shared(dumps(sweep))
        # Not an Event: a worker that is killed while it asks one would hold the lock for ever.
        self._stopping = self._context.RawValue("b", 0)
        self._errors: Any = self._context.SimpleQueue()
        self._deaths, self._finished, self._spawned = 0, 0, 0
        self._processes = {number: self._spawn() for number in range(sweep.workers)}

    def poll(self, finished: int) -> bool:
        """Look after the workers; return whether any is still at work."""
        if finished > self._finished:
            self._finished, self._deaths = finished, 0
        if not self._errors.empty():
            raise self._errors.get()
        server_died = False
        for number, process in list(self._processes.items()):
            if process.exitcode is None:
                continue
            del self._processes[number]
            if process.exitcode != 0 and self._errors.empty() and not self._stopping.value:
                # All die with the process that they are forked from: that is one death.
                self._deaths += not (server_died and process.exitcode == SERVER_DIED)
                server_died |= process.exitcode == SERVER_DIED
                if self._deaths >= FRUITLESS_DEATHS:
                    raise SweepError(
                        f"{self._deaths} workers died in turn (exit code {process.exitcode}) and no trial was "
                        "finished in between. Out of memory? Try hydra.sweeper.n_jobs=1."
                    )
                logger.warning("worker %s died (exit code %s): another takes its place", number, process.exitcode)
                self._processes[number] = self._spawn()
        return bool(self._processes)

    def wait(self, seconds: float) -> None:
        """Wait for so long, or until a worker ends."""
        connection.wait([process.sentinel for process in self._processes.values()], seconds)

    def stop(self) -> None:
        """Let the workers end after the trials that they are at."""
        self._stopping.value = 1

    def kill(self) -> None:
        """End the workers now."""
        self._stopping.value = 1
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.join()
        self._processes.clear()

    def _spawn(self) -> Any:  # noqa: ANN401 - a SpawnProcess
        number, self._spawned = self._spawned, self._spawned + 1  # never one twice: it is part of the sampler's seed
        arguments = (self._payload, number, self._stopping, self._errors)
        return _started(_process, arguments)


class RayTasks:
    """Workers as Ray tasks, on a cluster or on one that is started here.

    Parameters
    ----------
    sweep : Sweep
    """

    def __init__(self, sweep: Sweep) -> None:
        try:
            import ray
        except ImportError as error:
            raise SweepError("hydra.sweeper.executor=ray needs Ray: pip install 'mlsys[ray]'.") from error

        if not ray.is_initialized():
            ray.init(
                address=sweep.settings.ray_address,
                log_to_driver=False,
                include_dashboard=False,
                logging_level=logging.ERROR,
            )
        self._ray: Any = ray
        self._flag = self._ray.remote(num_cpus=0)(Flag).remote()
        task = self._ray.remote(num_cpus=1, max_retries=0)(_ray_task)
        self._task, self._payload = task, ray.put(dumps(sweep))
        self._lost, self._finished, self._spawned = 0, 0, 0
        self._tasks: dict[Any, int] = {}
        for _ in range(sweep.workers):
            self._spawn()

    def poll(self, finished: int) -> bool:
        """Look after the tasks; return whether any is still at work."""
        if finished > self._finished:
            self._finished, self._lost = finished, 0
        done, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=0) if self._tasks else ([], [])
        for task in done:
            number = self._tasks.pop(task)
            try:
                self._ray.get(task)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, SweepError) else SweepError(str(error)) from error
            except self._ray.exceptions.WorkerCrashedError as error:
                self._lost += 1
                if self._lost >= FRUITLESS_DEATHS:
                    raise SweepError(f"{self._lost} Ray workers died: {error}") from error
                logger.warning("Ray worker %s died: another takes its place", number)
                self._spawn()
        return bool(self._tasks)

    def wait(self, seconds: float) -> None:
        """Wait for so long, or until a task ends."""
        self._ray.wait(list(self._tasks), num_returns=1, timeout=seconds)

    def stop(self) -> None:
        """Let the tasks end after the trials that they are at."""
        self._ray.get(self._flag.set.remote())

    def kill(self) -> None:
        """End the tasks now."""
        for task in self._tasks:
            self._ray.cancel(task, force=True)
        self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=30) if self._tasks else None
        self._tasks.clear()

    def _spawn(self) -> None:
        number, self._spawned = self._spawned, self._spawned + 1  # never one twice, as above
        self._tasks[self._task.remote(self._payload, number, self._flag)] = number


class Flag:
    """A yes or no that Ray tasks on several machines can see."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """Make it a yes."""
        self._set = True

    def is_set(self) -> bool:
        """Return what it is."""
        return self._set


def run_in_subprocess(sweep: Sweep, number: int, overrides: list[str], subdir: str) -> None:
    """Run one job in a process of its own, so that this one need not load what training needs.

    Raises
    ------
    Exception
        What the job raised.
    """
    errors: Any = context().SimpleQueue()
    process = _started(_one_job, (_shared(dumps(sweep)), number, overrides, subdir, errors))
    try:
        process.join()
    finally:
        process.kill()  # it is over, unless this was interrupted
    if not errors.empty():
        raise errors.get()
    if process.exitcode != 0:
        raise SweepError(
            f"The refit of trial {number} died (exit code {process.exitcode}). Run the same command again."
        )


def call_in_subprocess(question: Callable[[Sweep], T], sweep: Sweep) -> T:
    """Ask something of a sweep in a process of its own, so that this one need not load what training needs.

    Raises
    ------
    SweepError
        Where there is no answer.
    """
    receiver, sender = context().Pipe(duplex=False)
    process = _started(_answer, (question, _shared(dumps(sweep)), sender))
    sender.close()
    try:
        answer: T | SweepError = receiver.recv()
    except EOFError as error:
        raise SweepError("A process that checked the sweep died. Run the same command again.") from error
    finally:
        receiver.close()
        process.kill()  # it is over, unless this was interrupted
    if isinstance(answer, SweepError):
        raise answer
    return answer


def dumps(sweep: Sweep) -> bytes:
    """Pack a sweep for another process: what Hydra gives holds functions of ``__main__``, which pickle refuses."""
    from hydra.core.singleton import Singleton

    payload: bytes = cloudpickle.dumps((sweep, Singleton.get_state()))
    return payload


def _shared(payload: bytes) -> Any:  # noqa: ANN401 - an array of ctypes
    """Put a payload into shared memory.

    As an argument it would go through a pipe that holds 64 KiB: a child that is killed before it has read it would
    leave the parent writing for ever.
    """
    return context().RawArray("c", payload)


def _loads(payload: bytes) -> Sweep:
    from hydra.core.singleton import Singleton

    sweep, state = cloudpickle.loads(payload)
    Singleton.set_state(state)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    gc.freeze()  # what was imported stays: to look through it for garbage takes a quarter of a second each time
    return sweep  # type: ignore[no-any-return]


def _process(payload: Any, number: int, stopping: Any, errors: Any) -> None:  # noqa: ANN401
    _leave_interrupts_to_parent()
    _die_with_parent()
    _report_errors(errors, lambda: work(_loads(payload.raw), number, lambda: bool(stopping.value)))


def _one_job(payload: Any, number: int, overrides: list[str], subdir: str, errors: Any) -> None:  # noqa: ANN401
    _leave_interrupts_to_parent()
    _die_with_parent()
    _report_errors(errors, lambda: run_hydra_job(_loads(payload.raw), number, overrides, subdir))


def _answer(question: Callable[[Sweep], object], payload: Any, sender: Any) -> None:  # noqa: ANN401
    _leave_interrupts_to_parent()
    _die_with_parent()
    try:
        sender.send(question(_loads(payload.raw)))
    except Exception as error:  # noqa: BLE001 - it goes to the parent, which says it once
        sender.send(SweepError(f"{type(error).__name__}: {error}"))


def _ray_task(payload: bytes, number: int, flag: Any) -> None:  # noqa: ANN401
    import ray

    work(_loads(payload), number, lambda: bool(ray.get(flag.is_set.remote())))


def _report_errors(errors: Any, do: Callable[[], object]) -> None:  # noqa: ANN401
    """Do a process's one thing; what it raises goes to the parent."""
    try:
        do()
    except Exception as error:  # noqa: BLE001 - it goes to the parent, which says it once
        errors.put(SweepError(str(error)) if not isinstance(error, SweepError) else error)
        os._exit(1)


def _started(target: Callable[..., None], arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401 - a ForkServerProcess
    """Start a process; again, where it or the one that it is forked from was killed before it began.

    A server that was killed refuses connections for a moment before it counts as gone and another is started.

    Raises
    ------
    SweepError
        Where it does not help.
    """
    for attempt in range(STARTS):
        process = context().Process(target=target, args=arguments, daemon=True)
        try:
            with interrupts_blocked():
                process.start()
        except (OSError, EOFError) as error:
            if attempt + 1 == STARTS:
                raise SweepError(f"No worker could be started: {error!r}. Try hydra.sweeper.n_jobs=1.") from error
            time.sleep(PAUSE)
        else:
            break
    return process


def _leave_interrupts_to_parent() -> None:
    """Ignore Ctrl-C, which reaches the whole group: the parent decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _die_with_parent() -> None:
    """End this process when its parent is gone, or what it was forked from: nobody would count, show or stop it."""
    parent, forked_from = multiprocessing.parent_process(), os.getppid()
    assert parent is not None

    def wait() -> None:
        while parent.is_alive() and os.getppid() == forked_from:
            parent.join(timeout=1)
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()

"""Executors of a sweep's workers: processes on this machine, or Ray tasks on a cluster."""

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
from mlsys.sweep.preload import forkserver_context, interrupts_blocked
from mlsys.sweep.worker import Sweep, run_hydra_job, run_worker

logger = logging.getLogger(__name__)

T = TypeVar("T")

SERVER_DIED = 255  # exit code of a worker whose fork server died; see multiprocessing.popen_forkserver
MAX_START_ATTEMPTS = 50  # per process
START_RETRY_DELAY = 0.1  # seconds
MAX_CONSECUTIVE_DEATHS = 5  # workers that may die without a trial finishing in between


class Executor(Protocol):
    """Runs the workers of a sweep."""

    def poll(self, finished: int) -> bool:
        """Replace dead workers; return whether any worker is still running.

        Parameters
        ----------
        finished : int
            Number of trials finished so far.

        Raises
        ------
        SweepError
            The error that ended a worker.
        """
        ...

    def wait(self, seconds: float) -> None:
        """Wait this long, or until a worker ends."""
        ...

    def stop(self) -> None:
        """Tell the workers to stop after their current trials."""
        ...

    def kill(self) -> None:
        """Kill the workers."""
        ...


class LocalProcesses:
    """Workers as processes on this machine; a worker that dies is replaced.

    Parameters
    ----------
    sweep : Sweep
    """

    def __init__(self, sweep: Sweep) -> None:
        self._context = forkserver_context()
        self._payload = _to_shared_memory(dumps(sweep))
        # Not an Event: a worker killed while checking it would hold its lock forever.
        self._stopping = self._context.RawValue("b", 0)
        self._errors: Any = self._context.SimpleQueue()
        self._deaths, self._finished, self._spawned = 0, 0, 0
        self._processes = {number: self._spawn() for number in range(sweep.workers)}

    def poll(self, finished: int) -> bool:
        """Replace dead workers; return whether any worker is still running."""
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
                # When the fork server dies, all workers die with it: count them as one death.
                self._deaths += not (server_died and process.exitcode == SERVER_DIED)
                server_died |= process.exitcode == SERVER_DIED
                if self._deaths >= MAX_CONSECUTIVE_DEATHS:
                    raise SweepError(
                        f"{self._deaths} workers died in a row (exit code {process.exitcode}) without finishing a "
                        "trial. If they ran out of memory, try hydra.sweeper.n_jobs=1."
                    )
                logger.warning("worker %s died (exit code %s); starting another", number, process.exitcode)
                self._processes[number] = self._spawn()
        return bool(self._processes)

    def wait(self, seconds: float) -> None:
        """Wait this long, or until a worker ends."""
        connection.wait([process.sentinel for process in self._processes.values()], seconds)

    def stop(self) -> None:
        """Tell the workers to stop after their current trials."""
        self._stopping.value = 1

    def kill(self) -> None:
        """Kill the workers."""
        self._stopping.value = 1
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.join()
        self._processes.clear()

    def _spawn(self) -> Any:  # noqa: ANN401 - a SpawnProcess
        # Numbers are never reused, because they are part of the sampler's seed.
        number, self._spawned = self._spawned, self._spawned + 1
        arguments = (self._payload, number, self._stopping, self._errors)
        return _start_process(_worker_main, arguments)


class RayTasks:
    """Workers as Ray tasks, on an existing cluster or on a local one started here.

    Parameters
    ----------
    sweep : Sweep
    """

    def __init__(self, sweep: Sweep) -> None:
        try:
            import ray
        except ImportError as error:
            raise SweepError("hydra.sweeper.executor=ray requires Ray: pip install 'mlsys[ray]'.") from error

        if not ray.is_initialized():
            ray.init(
                address=sweep.settings.ray_address,
                log_to_driver=False,
                include_dashboard=False,
                logging_level=logging.ERROR,
            )
        self._ray: Any = ray
        self._flag = self._ray.remote(num_cpus=0)(StopFlag).remote()
        task = self._ray.remote(num_cpus=1, max_retries=0)(_ray_task)
        self._task, self._payload = task, ray.put(dumps(sweep))
        self._deaths, self._finished, self._spawned = 0, 0, 0
        self._tasks: dict[Any, int] = {}
        for _ in range(sweep.workers):
            self._spawn()

    def poll(self, finished: int) -> bool:
        """Replace dead tasks; return whether any task is still running."""
        if finished > self._finished:
            self._finished, self._deaths = finished, 0
        done, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=0) if self._tasks else ([], [])
        for task in done:
            number = self._tasks.pop(task)
            try:
                self._ray.get(task)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, SweepError) else SweepError(str(error)) from error
            except self._ray.exceptions.WorkerCrashedError as error:
                self._deaths += 1
                if self._deaths >= MAX_CONSECUTIVE_DEATHS:
                    raise SweepError(f"{self._deaths} Ray workers died in a row: {error}") from error
                logger.warning("Ray worker %s died; starting another", number)
                self._spawn()
        return bool(self._tasks)

    def wait(self, seconds: float) -> None:
        """Wait this long, or until a task ends."""
        self._ray.wait(list(self._tasks), num_returns=1, timeout=seconds)

    def stop(self) -> None:
        """Tell the tasks to stop after their current trials."""
        self._ray.get(self._flag.set.remote())

    def kill(self) -> None:
        """Kill the tasks."""
        for task in self._tasks:
            self._ray.cancel(task, force=True)
        self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=30) if self._tasks else None
        self._tasks.clear()

    def _spawn(self) -> None:
        number, self._spawned = self._spawned, self._spawned + 1  # never reused, see LocalProcesses
        self._tasks[self._task.remote(self._payload, number, self._flag)] = number


class StopFlag:
    """A flag that tells Ray tasks on any machine to stop."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        """Set the flag."""
        self._set = True

    def is_set(self) -> bool:
        """Return whether the flag is set."""
        return self._set


def run_in_subprocess(sweep: Sweep, number: int, overrides: list[str], subdir: str) -> None:
    """Run one job in a separate process, so that this one need not import what training needs.

    Raises
    ------
    SweepError
        The job's error, or the exit code if the process died.
    """
    errors: Any = forkserver_context().SimpleQueue()
    process = _start_process(_job_main, (_to_shared_memory(dumps(sweep)), number, overrides, subdir, errors))
    try:
        process.join()
    finally:
        process.kill()  # in case we were interrupted
    if not errors.empty():
        raise errors.get()
    if process.exitcode != 0:
        raise SweepError(
            f"The process that refitted trial {number} died (exit code {process.exitcode}). Run the same command again."
        )


def call_in_subprocess(function: Callable[[Sweep], T], sweep: Sweep) -> T:
    """Call a function with the sweep in a separate process, so that this one need not import what training needs.

    Parameters
    ----------
    function : callable
        Its result must be picklable.
    sweep : Sweep

    Raises
    ------
    SweepError
        The function's error, or that the process died.
    """
    receiver, sender = forkserver_context().Pipe(duplex=False)
    process = _start_process(_call_main, (function, _to_shared_memory(dumps(sweep)), sender))
    sender.close()
    try:
        result: T | SweepError = receiver.recv()
    except EOFError as error:
        raise SweepError("The process that checked the sweep died. Run the same command again.") from error
    finally:
        receiver.close()
        process.kill()  # in case we were interrupted
    if isinstance(result, SweepError):
        raise result
    return result


def dumps(sweep: Sweep) -> bytes:
    """Serialise a sweep with cloudpickle: Hydra's objects refer to functions of ``__main__``, which pickle rejects."""
    from hydra.core.singleton import Singleton

    payload: bytes = cloudpickle.dumps((sweep, Singleton.get_state()))
    return payload


def _to_shared_memory(payload: bytes) -> Any:  # noqa: ANN401 - an array of ctypes
    """Copy a payload into shared memory.

    An argument would go through a pipe, which holds 64 KiB: if the child were killed before reading it, the parent
    would block forever.
    """
    return forkserver_context().RawArray("c", payload)


def _loads(payload: bytes) -> Sweep:
    from hydra.core.singleton import Singleton

    sweep, state = cloudpickle.loads(payload)
    Singleton.set_state(state)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    gc.freeze()  # exempt imported objects from collection, which would take a quarter of a second each time
    return sweep  # type: ignore[no-any-return]


def _worker_main(payload: Any, number: int, stopping: Any, errors: Any) -> None:  # noqa: ANN401
    _leave_interrupts_to_parent()
    _die_with_parent()
    _report_errors(errors, lambda: run_worker(_loads(payload.raw), number, lambda: bool(stopping.value)))


def _job_main(payload: Any, number: int, overrides: list[str], subdir: str, errors: Any) -> None:  # noqa: ANN401
    _leave_interrupts_to_parent()
    _die_with_parent()
    _report_errors(errors, lambda: run_hydra_job(_loads(payload.raw), number, overrides, subdir))


def _call_main(function: Callable[[Sweep], object], payload: Any, sender: Any) -> None:  # noqa: ANN401
    _leave_interrupts_to_parent()
    _die_with_parent()
    try:
        sender.send(function(_loads(payload.raw)))
    except Exception as error:  # noqa: BLE001 - the parent raises it
        sender.send(SweepError(f"{type(error).__name__}: {error}"))


def _ray_task(payload: bytes, number: int, flag: Any) -> None:  # noqa: ANN401
    import ray

    run_worker(_loads(payload), number, lambda: bool(ray.get(flag.is_set.remote())))


def _report_errors(errors: Any, function: Callable[[], object]) -> None:  # noqa: ANN401
    """Call a function and send its error to the parent."""
    try:
        function()
    except Exception as error:  # noqa: BLE001 - the parent raises it
        errors.put(SweepError(str(error)) if not isinstance(error, SweepError) else error)
        os._exit(1)


def _start_process(target: Callable[..., None], arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401 - a ForkServerProcess
    """Start a process; retry if it or the fork server was killed while starting.

    A killed fork server refuses connections for a moment before multiprocessing notices and starts another.

    Raises
    ------
    SweepError
        If every attempt fails.
    """
    for attempt in range(MAX_START_ATTEMPTS):
        process = forkserver_context().Process(target=target, args=arguments, daemon=True)
        try:
            with interrupts_blocked():
                process.start()
        except (OSError, EOFError) as error:
            if attempt + 1 == MAX_START_ATTEMPTS:
                raise SweepError(f"Cannot start a worker: {error!r}. Try hydra.sweeper.n_jobs=1.") from error
            time.sleep(START_RETRY_DELAY)
        else:
            break
    return process


def _leave_interrupts_to_parent() -> None:
    """Ignore Ctrl-C, which is sent to the whole process group: the parent handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _die_with_parent() -> None:
    """Exit when the parent or the fork server is gone, because nothing would supervise this process any more."""
    parent, forked_from = multiprocessing.parent_process(), os.getppid()
    assert parent is not None

    def wait() -> None:
        while parent.is_alive() and os.getppid() == forked_from:
            parent.join(timeout=1)
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()

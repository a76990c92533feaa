"""Joins a Ray cluster, or starts Ray on this machine for the length of a `with` block; trains in workers of Ray Train."""

import logging
import math
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfb2d.config.label import RayConfig
from tfb2d.errors import MemberGoneError, RunError, UserError

OBJECT_STORE = 100 * 2**20  # bytes; only indices and counts pass through it (Ray needs 75 MiB)
PATIENCE = 20.0  # seconds for a cluster's first answer
RESTARTS = 3  # of all workers, after one of them died; each time they continue from the checkpoint
_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray would report to its makers
    "RAY_worker_niceness": "0",  # Ray's own 15 starves the work where anything else runs on the machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # without it, Ray warns that its next versions will behave so
}
_log = logging.getLogger(__name__)


class ClusterError(UserError):
    """Ray is not installed, does not answer, or cannot run the work."""


@contextmanager
def connected(config: RayConfig) -> Iterator[Any]:
    """Joins the cluster of `config.address`; without an address starts Ray here, and stops it at the block's end.

    Where this process has joined a cluster already, that one is used and left as it is. Yields the module `ray`. Raises
    ClusterError where Ray is not installed, or no cluster answers at the address.
    """
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ClusterError("the engine ray needs Ray: pip install 'tfb2d[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    _check_answers(config.address)
    own: dict[str, Any] = {"address": config.address}
    if not config.address:  # "local": no cluster that runs here
        cpus = max(os.cpu_count() or 1, math.ceil(config.actors * config.cpus_per_actor))
        own = {"address": "local", "num_cpus": cpus, "object_store_memory": OBJECT_STORE, "include_dashboard": False}
    level = logging.getLogger().level
    try:
        ray.init(**own, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = f"at {config.address}" if config.address else "on this machine"
        raise ClusterError(f"Ray does not answer {where}: {str(error).splitlines()[0]}") from error
    finally:
        logging.getLogger().setLevel(level)
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raises ClusterError where nothing listens at an address; Ray would try for minutes, and then end the process."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and port.isdecimal()):  # "auto" and the like: Ray says at once that there is none
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except OSError as error:
        raise ClusterError(f"no Ray cluster answers at {address}: {error}") from error


def resources(ray: Any, config: RayConfig) -> tuple[int, dict[str, Any]]:
    """Returns how many actors to start, and Ray's options for each.

    GPUs are taken where the cluster has them. TensorFlow and PyTorch use all cores of a machine, so without GPUs there is
    one actor a machine by default.
    """
    present = ray.cluster_resources()
    gpus = config.gpus_per_actor
    if gpus < 0:
        gpus = 1.0 if present.get("GPU", 0) >= 1 else 0.0
    count = config.actors
    if not count:
        machines = sum(bool(node["Alive"]) for node in ray.nodes())
        count = max(1, int(present.get("GPU", 0) / gpus) if gpus else machines)
    options: dict[str, Any] = {"num_cpus": config.cpus_per_actor, "num_gpus": gpus, "scheduling_strategy": "SPREAD"}
    if config.memory_per_actor:
        options["memory"] = int(config.memory_per_actor * 2**30)
    return count, options


def last_line(error: Exception) -> str:
    """Returns the last line of an error's message, which in Ray's is the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def train_on_ray(
    work: Callable[[dict[str, Any]], None], arguments: dict[str, Any], out: Path, config: RayConfig
) -> int:
    """Runs a function in workers of Ray Train, which find each other by TF_CONFIG, as `MultiWorkerMirroredStrategy` asks.

    `work` joins the cluster before its first op of TensorFlow; its `arguments` are the same in each worker. In `out`, a
    folder that all machines share, Ray Train writes down how far it is. Returns how many workers there were.

    Raises:
      ClusterError: Ray or Ray Train is not installed, or no cluster answers.
      RunError: workers died more than RESTARTS times.
      UserError, FloatingPointError: raised by the function; it would be raised again, so nothing is started again.
    """
    with connected(config) as ray:
        try:
            from ray.train import RunConfig, ScalingConfig, TrainingFailedError
            from ray.train.tensorflow import TensorflowTrainer
        except ImportError as error:
            raise ClusterError("training on Ray needs Ray Train: pip install 'tfb2d[ray]'") from error
        workers, options = resources(ray, config)
        gpus = options["num_gpus"]
        each = {"CPU": options["num_cpus"], "GPU": gpus, "memory": options.get("memory", 0)}
        present = ray.cluster_resources()
        short = [name for name, amount in each.items() if workers * amount > present.get(name, 0)]
        if short:  # a cluster may grow, so this is no error
            _log.warning("Ray has not enough %s for %d workers (each %s); they wait", ", ".join(short), workers, each)
        scaling = ScalingConfig(
            num_workers=workers,
            use_gpu=bool(gpus),
            resources_per_worker={name: amount for name, amount in each.items() if amount},
            placement_strategy="SPREAD",
        )
        for attempt in range(RESTARTS + 1):
            kept = RunConfig(name=f"attempt-{attempt}", storage_path=str(out.absolute()))
            try:
                TensorflowTrainer(work, train_loop_config=arguments, scaling_config=scaling, run_config=kept).fit()
                break
            except TrainingFailedError as error:
                reasons = list(getattr(error, "worker_failures", {}).values()) or [error]
                for reason in reasons:
                    if isinstance(reason, UserError | FloatingPointError) and not isinstance(reason, MemberGoneError):
                        raise reason from error
                if attempt == RESTARTS:
                    raise RunError(f"workers of Ray died {RESTARTS + 1} times: {last_line(reasons[0])}") from error
                _log.warning("a worker of Ray has died, all start again: %s", last_line(reasons[0]))
    return workers

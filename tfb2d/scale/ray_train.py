"""Starts the processes of a `tf.distribute` cluster as workers of Ray Train, which sets TF_CONFIG in each."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfb2d.config.label import RayConfig
from tfb2d.errors import MemberGoneError, RunError, UserError
from tfb2d.scale.ray_cluster import ClusterError, connected, last_line, resources

_log = logging.getLogger(__name__)
RESTARTS = 3  # of all workers, after one of them died; each time they go on from the checkpoint


def train_on_ray(
    work: Callable[[dict[str, Any]], None], arguments: dict[str, Any], out: Path, config: RayConfig
) -> int:
    """Runs a function in workers of Ray Train, which find each other by TF_CONFIG, as `MultiWorkerMirroredStrategy` asks.

    Args:
      work: the function; it joins the cluster before its first op of TensorFlow.
      arguments: of the function, in each worker the same.
      out: a folder that all machines share; Ray Train writes down there how far it is.
      config: where Ray runs, how many workers there are, and what each gets.

    Returns:
      How many workers there were.

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

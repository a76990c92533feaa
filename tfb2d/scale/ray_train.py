"""Starts the processes of a `tf.distribute` cluster as workers of Ray Train, which sets TF_CONFIG in each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfb2d.errors import RunError
from tfb2d.label_config import RayConfig
from tfb2d.scale.ray_cluster import ClusterError, connected, resources

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
      RunError: the workers failed more than RESTARTS times; the message is that of the first.
    """
    with connected(config) as ray:
        try:
            from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
            from ray.train.tensorflow import TensorflowTrainer
        except ImportError as error:
            raise ClusterError("training on Ray needs Ray Train: pip install 'tfb2d[ray]'") from error
        workers, options = resources(ray, config)
        gpus = options["num_gpus"]
        each = {"CPU": options["num_cpus"], "GPU": gpus, "memory": options.get("memory", 0)}
        trainer = TensorflowTrainer(
            work,
            train_loop_config=arguments,
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=bool(gpus),
                resources_per_worker={name: amount for name, amount in each.items() if amount},
                placement_strategy="SPREAD",
            ),
            run_config=RunConfig(
                name="train", storage_path=str(out.absolute()), failure_config=FailureConfig(max_failures=RESTARTS)
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            failures = list(getattr(error, "worker_failures", {}).values())
            raise RunError(f"Ray Train: {_last_line(failures[0] if failures else error)}") from error
    return workers


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

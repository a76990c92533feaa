"""From the setting `training.strategy` to the steps that train a student."""

from functools import cache

import tensorflow as tf

from tfb2d.cluster import member
from tfb2d.config import TrainingConfig
from tfb2d.students.model import Student
from tfb2d.students.rows import TrainingRows
from tfb2d.students.steps import Schedule, Steps


def training_steps(student: Student, rows: TrainingRows, config: TrainingConfig, schedule: Schedule) -> Steps:
    """Returns the steps of `config.strategy`; raises ConfigError where TF_CONFIG is missing or wrong."""
    if not config.strategy:
        return Steps(student, rows, config, schedule)
    from tfb2d.students.replicas import ReplicaSteps
    from tfb2d.students.servers import ServerSteps

    me = None if config.strategy == "mirrored" else member(config.strategy)
    if config.strategy == "parameter_server":
        assert me is not None
        return ServerSteps(student, rows, config, schedule, joined(config.strategy), me)
    return ReplicaSteps(student, rows, config, schedule, joined(config.strategy), me)


@cache
def joined(name: str) -> tf.distribute.Strategy:
    """Returns the strategy of `tf.distribute` of this name; the first call makes it.

    A process that trains with others calls this before anything else: TensorFlow joins a cluster before its first op. It
    then waits until all others are there.
    """
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    from tfb2d.students.servers import tables_by_rows

    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver(rpc_layer="grpc")
    partitioner = tables_by_rows(len(resolver.cluster_spec().task_indices("ps")))
    return tf.distribute.ParameterServerStrategy(resolver, partitioner)

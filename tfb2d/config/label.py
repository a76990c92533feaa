"""Settings of labelling: its shards and batches, and the engine that runs it."""

from dataclasses import dataclass, field

from tfb2d.config.checks import require, require_not_negative, require_one_of, require_positive
from tfb2d.config.mapping import without_effect

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class RayConfig:
    """Says where Ray runs, and what its actors or workers get. It changes no outcome, so it is in no fingerprint."""

    address: str = without_effect("")  # of a cluster ("auto", "host:6379", "ray://..."); "" starts Ray on this machine
    actors: int = without_effect(0)  # processes with a model each; 0 takes one a GPU or, without GPUs, one a machine
    cpus_per_actor: float = without_effect(1.0)  # that Ray sets aside; where `actors` is given, also its threads
    gpus_per_actor: float = without_effect(-1.0)  # may be a fraction; -1 takes 1 where the cluster has GPUs, else 0
    memory_per_actor: float = without_effect(0.0)  # GiB that Ray sets aside; 0 sets none aside

    def __post_init__(self) -> None:
        require_not_negative(self, "ray", "actors", "cpus_per_actor", "memory_per_actor")
        gpus = self.gpus_per_actor
        require(gpus >= 0 or gpus == -1, f"ray.gpus_per_actor is {gpus}; it is a number, or -1 to choose it")


@dataclass(frozen=True)
class LabelConfig:
    """Says how teachers write logits."""

    rows_per_shard: int = 8192  # the unit that is redone after a kill
    batch_tokens: int = 4096  # tokens, padding included, of one forward pass
    engine: str = without_effect("local")  # "local" works in this process, "ray" in Ray's actors; the bytes are equal
    ray: RayConfig = field(default_factory=RayConfig)
    price_per_hour: float = without_effect(0.0)  # of an actor, or of this machine; the bar then shows the cost

    def __post_init__(self) -> None:
        require_positive(self, "label", "rows_per_shard", "batch_tokens")
        require_one_of(self, "label", "engine", ENGINES)
        require_not_negative(self, "label", "price_per_hour")

"""A process's part in a cluster of tf.distribute, as the environment variable TF_CONFIG says."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfb2d.config.checks import ConfigError, require

VARIABLE = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["host-0:2222", "host-1:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Member:
    """One process of a cluster."""

    cluster: Mapping[str, Sequence[str]]  # addresses by kind: "worker", and perhaps "chief" and "ps"
    kind: str
    index: int

    @property
    def is_chief(self) -> bool:
        """Says whether this process runs the stages and writes: the chief or, where there is none, worker 0."""
        return self.kind == "chief" or (self.kind == "worker" and self.index == 0 and "chief" not in self.cluster)

    @property
    def trainers(self) -> int:
        """Returns how many processes compute gradients in step: the chief and the workers."""
        return len(self.cluster.get("chief", ())) + len(self.cluster.get("worker", ()))

    @property
    def rank(self) -> int:
        """Returns this process's number among these."""
        return self.index if self.kind == "chief" else self.index + len(self.cluster.get("chief", ()))


def member(strategy: str) -> Member:
    """Reads TF_CONFIG for the strategy "multi_worker" or "parameter_server".

    Raises ConfigError where TF_CONFIG is not set, or nothing that this strategy can work with.
    """
    text = os.environ.get(VARIABLE, "")
    require(
        bool(text), f"training.strategy={strategy} reads the environment variable {VARIABLE}, for example {EXAMPLE}"
    )
    try:
        value = json.loads(text)
        cluster, kind, index = value["cluster"], value["task"]["type"], int(value["task"]["index"])
        lists = all(isinstance(addresses, list) and addresses for addresses in cluster.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{VARIABLE} cannot be read ({error!r}); it looks like {EXAMPLE}") from error
    require(lists, f"{VARIABLE}: each entry of cluster is a list of addresses")
    known = 0 <= index < len(cluster.get(kind, ()))
    require(known, f"{VARIABLE}: task {kind} {index} is not in the cluster {cluster}")
    if strategy == "multi_worker":
        odd = sorted(set(cluster) - {"chief", "worker"})
        require(not odd, f"{VARIABLE}: training.strategy=multi_worker takes chief and worker, not {', '.join(odd)}")
    else:
        odd = sorted({"chief", "worker", "ps"} ^ set(cluster))
        rule = "training.strategy=parameter_server takes chief, worker and ps"
        require(not odd, f"{VARIABLE}: {rule}; see {', '.join(odd)}")
    return Member(cluster, kind, index)

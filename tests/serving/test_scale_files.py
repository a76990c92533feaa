"""The Kubernetes files of large jobs: Kubernetes' own kinds by their schemas; of KubeRay's kind the pods in it."""

import json
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.serving.schemas import KUBERNETES
from tfb2d import label, train
from tfb2d.cli.arguments import Parser
from tfb2d.cli.recipes import load, override
from tfb2d.cluster import member
from tfb2d.config import Config

FOLDER = Path(__file__).parents[2] / "serving" / "scale"
RESOURCES = {
    resource["kind"]: resource
    for path in sorted(FOLDER.glob("*.yaml"))
    for resource in yaml.safe_load_all(path.read_text(encoding="utf-8"))
}


def pod_templates() -> dict[str, dict]:
    """The pods that KubeRay starts, by group."""
    cluster = RESOURCES["RayJob"]["spec"]["rayClusterSpec"]
    groups = [{"groupName": "head", **cluster["headGroupSpec"]}, *cluster["workerGroupSpecs"]]
    return {group["groupName"]: group["template"] for group in groups}


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_accepts_them(version: str) -> None:
    assert set(RESOURCES) == {"RayJob", "PersistentVolumeClaim", "Service", "Job"}
    for kind, resource in RESOURCES.items():
        if kind != "RayJob":  # a custom resource: KubeRay's operator brings its schema
            kubernetes_validate.validate(resource, version, strict=True)
    for name, template in pod_templates().items():
        pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": name}}
        kubernetes_validate.validate(pod, version, strict=True)


def test_pods_find_their_volume() -> None:
    claim = RESOURCES["PersistentVolumeClaim"]["metadata"]["name"]
    for template in (*pod_templates().values(), RESOURCES["Job"]["spec"]["template"]):
        assert [volume["persistentVolumeClaim"]["claimName"] for volume in template["spec"]["volumes"]] == [claim]
    assert {resource["metadata"]["namespace"] for resource in RESOURCES.values()} == {"tfb2d"}


def test_the_ray_job_labels() -> None:
    spec = RESOURCES["RayJob"]["spec"]
    python, flag, module, *words = spec["entrypoint"].split()
    assert (python, flag, module) == ("python", "-m", "tfb2d.label")
    parser = Parser("label", label.__doc__ or "")
    label.add_arguments(parser)
    options = parser.parse_args(words)
    assert options.engine == "ray"
    assert options.input
    assert options.output
    (worker,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert worker["minReplicas"] <= worker["replicas"] <= worker["maxReplicas"]


def test_the_training_job_is_one_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    job, service = RESOURCES["Job"], RESOURCES["Service"]
    spec = job["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    value = {item["name"]: item for item in container["env"]}["TF_CONFIG"]["value"]
    for index in range(spec["completions"]):
        monkeypatch.setenv("TF_CONFIG", value.replace("$(INDEX)", str(index)))
        me = member("multi_worker")
        assert (me.is_chief, me.rank, me.trainers) == (index == 0, index, spec["parallelism"])
        host, port = me.cluster["worker"][index].split(":")
        assert host == f"{job['metadata']['name']}-{index}.{service['metadata']['name']}"
        assert int(port) == container["ports"][0]["containerPort"] == service["spec"]["ports"][0]["port"]
    assert spec["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    recipe, *flags = container["args"]
    settings = load(recipe.removeprefix("--config="))
    override(settings, [flag for flag in flags if flag.startswith("--config.")])
    assert Config.from_dict(settings).training.strategy == "multi_worker"
    assert json.loads(value.replace("$(INDEX)", "0"))["task"]["type"] == "worker"
    assert "multi_worker" in (train.__doc__ or "")

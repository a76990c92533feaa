"""The files that deploy Milvus and the search page, held against schemas, the commands that they run, and one another."""

import copy
import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.serving.schemas import COMPOSE, KUBERNETES
from tfb2d.cli import parser_of

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "serving/search"
MANIFESTS = sorted((FOLDER / "kubernetes").glob("*.yaml"))
BY_HAND = "build.yaml"  # a job that is applied once the catalogue is there


def load(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def resources() -> dict[tuple[str, str], Any]:
    """All that the manifests make, by kind and name."""
    documents = [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


def pod(kind: str, name: str) -> tuple[Any, Any]:
    """A pod's specification and its only container."""
    spec = resources()[kind, name]["spec"]["template"]["spec"]
    (only,) = spec["containers"]
    return spec, only


def read(arguments: list[str]) -> Any:
    """Reads a command line of the image as `tfb2d` does; a flag that there is not ends the test."""
    assert arguments[0] == "search"
    return parser_of("search", arguments[1:])[1].read(arguments[2:])


def test_compose_file() -> None:
    schema = copy.deepcopy(COMPOSE)
    service = schema["properties"]["services"]["additionalProperties"]["properties"]
    service["build"] = {
        "type": "object",
        "required": ["context", "dockerfile"],
        "additionalProperties": False,
        "properties": {"context": {"type": "string"}, "dockerfile": {"type": "string"}},
    }
    compose = load("compose.yaml")
    jsonschema.validate(compose, schema, jsonschema.Draft202012Validator)
    milvus, search = compose["services"]["milvus"], compose["services"]["search"]
    assert "ports" not in milvus  # Milvus asks nobody who they are
    assert search["ports"] == ["${BIND:-127.0.0.1}:8080:8080"]
    context = (FOLDER / search["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / search["build"]["dockerfile"]).is_file()
    for volume in [*milvus["volumes"], *search["volumes"]]:
        source = volume.split(":/")[0]
        assert source in compose["volumes"] or source.startswith("${") or (FOLDER / source).is_file()
    options = read(search["command"])
    assert f"127.0.0.1:{options.port}/api/health" in search["healthcheck"]["test"][-1]
    mounted = {volume.split(":/")[1].split(":")[0] for volume in search["volumes"]}
    assert {options.index.strip("/"), options.ranker.split("/")[1], options.twin.split("/")[1]} <= mounted


def test_the_image_installs_what_the_files_need() -> None:
    lines = (FOLDER / "Dockerfile").read_text(encoding="utf-8").splitlines()
    words = dict(line.split(" ", 1) for line in lines if re.match("[A-Z]+ ", line))
    assert words["ENTRYPOINT"] == '["tfb2d"]'
    assert words["USER"] == load("compose.yaml")["services"]["search"]["user"]
    assert "[search,milvus]" in words["RUN"]
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY")]
    assert all((ROOT / name).exists() for names in copied for name in names)
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert all(f'"{extra}": [' in setup for extra in ("search", "milvus"))


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_kubernetes_manifests(manifest: Path, version: str) -> None:
    for resource in yaml.safe_load_all(manifest.read_text(encoding="utf-8")):
        kubernetes_validate.validate(resource, version, strict=True)


def test_kustomization_lists_what_there_is() -> None:
    kustomization = load("kustomization.yaml")
    listed = [*kustomization["resources"], f"kubernetes/{BY_HAND}"]
    assert sorted(listed) == [f"kubernetes/{path.name}" for path in MANIFESTS]
    (generated,) = kustomization["configMapGenerator"]
    assert all((FOLDER / file).is_file() for file in generated["files"])
    spec, only = pod("StatefulSet", "milvus")
    assert {volume["configMap"]["name"] for volume in spec["volumes"]} == {generated["name"]}
    assert [mount["subPath"] for mount in only["volumeMounts"] if "subPath" in mount] == generated["files"]
    assert ("Namespace", kustomization["namespace"]) in resources()


def test_both_deployments_run_alike() -> None:
    services = load("compose.yaml")["services"]
    _, milvus = pod("StatefulSet", "milvus")
    assert {item["name"]: item["value"] for item in milvus["env"]} == services["milvus"]["environment"]
    assert milvus["args"] == services["milvus"]["command"]
    assert milvus["image"] == services["milvus"]["image"]
    spec, search = pod("Deployment", "tfb2d-search")
    assert search["args"] == services["search"]["command"]
    assert services["search"]["image"] == "${TFB2D_IMAGE:-" + search["image"] + "}"
    user = spec["securityContext"]
    assert services["search"]["user"] == f"{user['runAsUser']}:{user['runAsGroup']}"


def test_what_is_built_is_what_is_served() -> None:
    _, search = pod("Deployment", "tfb2d-search")
    _, build = pod("Job", "tfb2d-search-build")
    serving, building = read(search["args"]), read(build["args"])
    assert (serving.index, serving.twin) == (building.index, building.model)
    assert build["image"] == search["image"]
    service = resources()["Service", "milvus"]
    assert building.backend == "milvus"
    assert building.milvus == f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"


@pytest.mark.parametrize(
    ("kind", "name"), [("Deployment", "tfb2d-search"), ("Job", "tfb2d-search-build"), ("StatefulSet", "milvus")]
)
def test_pods_are_confined_and_their_volumes_are_there(kind: str, name: str) -> None:
    made = resources()
    spec, only = pod(kind, name)
    assert not spec["automountServiceAccountToken"]
    assert not only["securityContext"]["allowPrivilegeEscalation"]
    assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    if name != "milvus":  # whose image runs as root; the namespace says why
        assert spec["securityContext"]["runAsNonRoot"]
        assert only["securityContext"]["readOnlyRootFilesystem"]
    claims = [item["persistentVolumeClaim"]["claimName"] for item in spec["volumes"] if "persistentVolumeClaim" in item]
    assert all(("PersistentVolumeClaim", claim) in made for claim in claims)
    given = {item["name"] for item in spec["volumes"]}
    given |= {item["metadata"]["name"] for item in made[kind, name]["spec"].get("volumeClaimTemplates", [])}
    assert {mount["name"] for mount in only["volumeMounts"]} == given


def test_services_probes_and_policies_name_what_runs() -> None:
    made = resources()
    labels = {
        name: made[kind, name]["spec"]["template"]["metadata"]["labels"]
        for kind, name in (("Deployment", "tfb2d-search"), ("StatefulSet", "milvus"), ("Job", "tfb2d-search-build"))
    }
    for kind, name in (("Deployment", "tfb2d-search"), ("StatefulSet", "milvus")):
        _, only = pod(kind, name)
        ports = {port["name"]: port["containerPort"] for port in only["ports"]}
        probes = {only[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
        assert probes <= set(ports)
        service = made["Service", name]["spec"]
        assert {port["targetPort"] for port in service["ports"]} <= set(ports)
        policy = made["NetworkPolicy", name]["spec"]
        allowed = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
        assert allowed == {ports[port["targetPort"]] for port in service["ports"]}
        for selector in (made[kind, name]["spec"]["selector"]["matchLabels"], service["selector"]):
            assert [other for other, found in labels.items() if selector.items() <= found.items()] == [name]
    (source,) = made["NetworkPolicy", "milvus"]["spec"]["ingress"][0]["from"]
    clients = [name for name, found in labels.items() if source["podSelector"]["matchLabels"].items() <= found.items()]
    assert clients == ["tfb2d-search", "tfb2d-search-build"]
    _, search = pod("Deployment", "tfb2d-search")
    options = read(search["args"])
    assert options.port == search["ports"][0]["containerPort"]
    pause = int(search["lifecycle"]["preStop"]["exec"]["command"][1])
    from tfb2d.search.serve import GRACE

    grace = made["Deployment", "tfb2d-search"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert pause + GRACE < grace

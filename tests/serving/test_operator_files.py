"""Every file that an operator deploys, held against what will read it: real protos, schemas, parsers, and one another."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import promql_parser
import pytest
import yaml
from google.protobuf import text_format, wrappers_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
    status_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from tests.serving.schemas import COMPOSE, KUBERNETES
from tfb2d.serving.client_settings import ClientSettings
from tfb2d.serving.server.options import FLAGS, OWN
from tfb2d.serving.server.textprotos import read_text_proto

SERVICES = {
    **prediction_service_pb2.DESCRIPTOR.services_by_name,
    **model_service_pb2.DESCRIPTOR.services_by_name,
}
SERVING = Path(__file__).parents[2] / "serving"
MANIFESTS = sorted((SERVING / "kubernetes").glob("*.yaml"))

# What TensorFlow Serving 2.21 exports, as recorded from a running server, and what of it is a histogram.
HISTOGRAMS = {
    ":tensorflow:serving:request_latency": {"model_name", "API", "entrypoint"},
    ":tensorflow:serving:runtime_latency": {"model_name", "API", "runtime"},
    ":tensorflow:serving:model_warmup_latency": {"model_path", "status"},
    ":tensorflow:serving:batching_session:queuing_latency": {"thread_pool_name"},
}
COUNTERS = {
    ":tensorflow:serving:request_count": {"model_name", "status"},
    ":tensorflow:serving:batching_session:wrapped_run_count": set(),
    ":tensorflow:cc:saved_model:load_attempt_count": {"model_path", "status"},
    "up": {"job", "instance"},  # Prometheus's own
}
SERIES = COUNTERS | {f"{name}_bucket": {*labels, "le"} for name, labels in HISTOGRAMS.items()}


def load(path):
    return yaml.safe_load((SERVING / path).read_text(encoding="utf-8"))


def flags_of(arguments):
    flags = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    assert len(flags) == len(arguments)
    return flags


def compose_flags():
    return flags_of(load("compose.yaml")["services"]["serving"]["command"])


def deployment():
    return load("kubernetes/deployment.yaml")


def container():
    (only,) = deployment()["spec"]["template"]["spec"]["containers"]
    return only


def test_models_config():
    text = (SERVING / "models.config").read_text(encoding="utf-8")
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert model.name == ClientSettings("h:1").model  # what a client asks that says no more
    assert Path(model.base_path).is_absolute()
    assert set(model.version_labels) == {"stable", "canary"}
    assert set(model.version_labels.values()) <= set(model.model_version_policy.specific.versions)


def test_batching_config():
    config = read_text_proto(str(SERVING / "batching.config"), "BatchingParameters")
    assert config.max_batch_size.value >= ClientSettings("h:1").chunk_rows
    assert config.num_batch_threads.value == int(
        load("compose.yaml")["services"]["serving"]["deploy"]["resources"]["limits"]["cpus"]
    )
    assert not config.pad_variable_length_inputs  # a client's request must not be able to hurt another's, or the server
    assert config.batch_timeout_micros.value == 0  # a lone request must not wait for others
    assert config.max_enqueued_batches.value > 0


def test_monitoring_config_is_what_prometheus_scrapes():
    path = read_text_proto(str(SERVING / "monitoring.config"), "MonitoringConfig").prometheus_config.path
    assert load("prometheus/prometheus.yml")["scrape_configs"][0]["metrics_path"] == path
    assert deployment()["spec"]["template"]["metadata"]["annotations"]["prometheus.io/path"] == path


def test_ssl_config_holds_the_certificates(certificates):
    config = read_text_proto(str(certificates / "ssl.config"), "SSLConfig")
    for field, file in (("server_key", "server-key.pem"), ("server_cert", "server.pem"), ("custom_ca", "ca.pem")):
        assert getattr(config, field) == (certificates / file).read_text()
    assert config.client_verify
    template = (SERVING / "ssl.config.template").read_text()
    assert set(re.findall("@[A-Z_]+@", template)) == {"@SERVER_KEY@", "@SERVER_CERT@", "@CA@"}


def test_make_tls_guards_its_keys(certificates, tmp_path):
    assert all(path.stat().st_mode & 0o077 == 0 for path in (certificates, *certificates.iterdir()))
    again = subprocess.run([SERVING / "make_tls.sh", certificates, "localhost"], capture_output=True, text=True)
    assert again.returncode == 1
    assert "has certificates already" in again.stderr
    usage = subprocess.run([SERVING / "make_tls.sh"], capture_output=True, text=True)
    assert usage.returncode == 2
    assert "FOLDER HOST" in usage.stderr
    names = ["1.2.3.example.com", "10.0.0.1", "::1"]
    subprocess.run([SERVING / "make_tls.sh", tmp_path / "new", *names], check=True, capture_output=True)
    shown = subprocess.run(
        [shutil.which("openssl"), "x509", "-in", tmp_path / "new" / "server.pem", "-noout", "-ext", "subjectAltName"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "DNS:1.2.3.example.com, IP Address:10.0.0.1, IP Address:0:0:0:0:0:0:0:1" in shown


def test_proto_file_is_the_official_api():
    """Every message, field, number, enum value and method in it is also in the official descriptors."""
    text = re.sub(r"//.*", "", (SERVING / "tensorflow_serving.proto").read_text(encoding="utf-8"))
    official = {
        message.DESCRIPTOR.name: message.DESCRIPTOR
        for message in (
            model_pb2.ModelSpec,
            predict_pb2.PredictRequest,
            predict_pb2.PredictResponse,
            get_model_status_pb2.GetModelStatusRequest,
            get_model_status_pb2.GetModelStatusResponse,
            get_model_status_pb2.ModelVersionStatus,
            status_pb2.StatusProto,
            tensor_pb2.TensorProto,
            tensor_shape_pb2.TensorShapeProto,
            tensor_shape_pb2.TensorShapeProto.Dim,
            wrappers_pb2.Int64Value,
        )
    }
    official["DataType"] = types_pb2.DataType.DESCRIPTOR
    official["State"] = get_model_status_pb2.ModelVersionStatus.State.DESCRIPTOR
    kinds = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}
    seen, inside = set(), []
    for line in text.splitlines():
        if opened := re.match(r"\s*(message|enum|service|oneof) (\w+) {", line):
            inside.append(opened[2])
        elif "}" in line:
            inside.pop()
        elif entry := re.match(r"\s*(\w+) = (\d+);", line):
            value = official[inside[-1]].values_by_name[entry[1]]
            assert value.number == int(entry[2])
        elif method := re.match(r"\s*rpc (\w+)\((\w+)\) returns \((\w+)\);", line):
            service = SERVICES[inside[-1]].methods_by_name[method[1]]
            assert (service.input_type.name, service.output_type.name) == (method[2], method[3])
        elif entry := re.match(r"\s*(repeated )?(map<string, )?(\w+)>? (\w+) = (\d+);", line):
            repeated, mapped, kind, name, number = entry.groups()
            message = next(item for item in reversed(inside) if item in official)
            field = official[message].fields_by_name[name]
            assert (field.number, field.is_repeated) == (int(number), bool(repeated or mapped)), line
            target = field.message_type.fields_by_name["value"] if mapped else field
            named = target.message_type or target.enum_type
            plain = "int32" if target.enum_type else None  # an enum that the file does not spell out
            assert kind in ((named.name, plain) if named else (kinds[target.type],)), line
            seen.add(message)
    assert not inside
    assert seen == {name for name, item in official.items() if hasattr(item, "fields")}
    assert "package tensorflow.serving;" in text


@pytest.mark.parametrize("flags", [compose_flags(), flags_of(container()["args"])], ids=["compose", "kubernetes"])
def test_flags_are_tensorflow_model_servers_own(flags):
    for name in flags:
        assert name in FLAGS, name
        assert FLAGS[name].metadata["kind"] == "", name
        assert FLAGS[name].metadata["kind"] != OWN
    assert flags["allow_version_labels_for_unavailable_models"] == "true"  # labels come before their versions at start
    assert not {"enable_batching", "batching_parameters_file"} & set(flags)  # batching is the operator's choice
    for name in ("model_config_file", "monitoring_config_file"):
        assert (SERVING / Path(flags[name]).relative_to("/config")).is_file()


def test_both_deployments_run_the_server_alike():
    service = load("compose.yaml")["services"]["serving"]
    pod = deployment()["spec"]["template"]["spec"]
    kubernetes = flags_of(container()["args"])
    kubernetes.pop("grpc_channel_arguments")  # for the headless service
    assert kubernetes == compose_flags()
    assert service["image"] == "${TF_SERVING_IMAGE:-" + container()["image"] + "}"
    assert service["entrypoint"] == container()["command"] == ["tensorflow_model_server"]
    assert service["user"] == f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"


def test_compose_file():
    compose = load("compose.yaml")
    jsonschema.Draft202012Validator.check_schema(COMPOSE)
    jsonschema.validate(compose, COMPOSE, jsonschema.Draft202012Validator)
    services, named = compose["services"], set(compose["volumes"])
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        for volume in service["volumes"]:
            source = volume.split(":/")[0]
            if source.startswith("."):
                assert (SERVING / source).is_dir(), volume
                assert volume.endswith(":ro")
            else:
                assert source in named or source.startswith("${MODELS:-../saved_models}")
    # only loopback is open unless the operator says otherwise
    assert [port for item in services.values() for port in item.get("ports", ())] == [
        "${BIND:-127.0.0.1}:8500:8500",
        "127.0.0.1:3000:3000",
    ]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (SERVING / "grafana" / Path(home).relative_to("/var/lib/grafana")).is_file()


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_kubernetes_manifests(manifest, version):
    for resource in yaml.safe_load_all(manifest.read_text(encoding="utf-8")):
        kubernetes_validate.validate(resource, version, strict=True)


def test_kustomization_lists_what_there_is():
    kustomization = load("kustomization.yaml")
    assert sorted(kustomization["resources"]) == [f"kubernetes/{path.name}" for path in MANIFESTS]
    (generated,) = kustomization["configMapGenerator"]
    assert all((SERVING / file).is_file() for file in generated["files"])
    volumes = {item["name"]: item for item in deployment()["spec"]["template"]["spec"]["volumes"]}
    assert volumes["config"]["configMap"]["name"] == generated["name"]
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == load("kubernetes/models.yaml")["metadata"]["name"]
    assert {mount["name"] for mount in container()["volumeMounts"]} == set(volumes)
    assert kustomization["namespace"] == load("kubernetes/namespace.yaml")["metadata"]["name"]


def test_manifests_select_the_pods():
    labels = deployment()["spec"]["template"]["metadata"]["labels"]
    name = deployment()["metadata"]["name"]
    ports = {port["name"] for port in container()["ports"]}
    service = load("kubernetes/service.yaml")
    assert service["spec"]["clusterIP"] == "None"
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    assert load("kubernetes/autoscaling.yaml")["spec"]["scaleTargetRef"]["name"] == name
    for selector in (
        deployment()["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        load("kubernetes/disruption.yaml")["spec"]["selector"]["matchLabels"],
        load("kubernetes/network.yaml")["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()


def test_pods_are_confined_and_probed():
    pod, only = deployment()["spec"]["template"]["spec"], container()
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    flags = flags_of(only["args"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert only[probe]["grpc"]["port"] == int(flags["port"])
    assert flags["enable_grpc_healthcheck_service"] == "true"
    assert set(only["resources"]) == {"requests", "limits"}
    pause = int(only["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pause < pod["terminationGracePeriodSeconds"]
    assert all(mount.get("readOnly") for mount in only["volumeMounts"] if mount["name"] != "tmp")


def check_expression(expression):
    """The parser refuses what is no PromQL; every series and every label that is read must be exported."""
    for variable, value in {"$__rate_interval": "1m", "$model": "m"}.items():
        expression = expression.replace(variable, value)
    read, grouped = [], set()

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            read.append((node.name, {matcher.name for matcher in node.matchers.matchers}))
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            grouped.update(node.modifier.labels)

    promql_parser.walk(promql_parser.parse(expression), pre_visit=visit)
    assert read, expression
    for name, labels in read:
        assert name in SERIES, f"{name} is nothing that TensorFlow Serving exports"
        assert labels | grouped <= SERIES[name], f"{name} has no label {(labels | grouped) - SERIES[name]}"


def test_prometheus_scrapes_the_rest_port():
    config = load("prometheus/prometheus.yml")
    assert set(config) == {"global", "rule_files", "scrape_configs"}
    for key in ("scrape_interval", "evaluation_interval"):
        assert re.fullmatch(r"\d+[sm]", config["global"][key])
    assert all((SERVING / "prometheus" / file).is_file() for file in config["rule_files"])
    (job,) = config["scrape_configs"]
    assert set(job) == {"job_name", "metrics_path", "static_configs"}
    (target,) = job["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert host in load("compose.yaml")["services"]
    assert port == compose_flags()["rest_api_port"]


def test_alerts_read_what_is_exported():
    (group,) = load("prometheus/alerts.yml")["groups"]
    assert set(group) == {"name", "rules"}
    for rule in group["rules"]:
        assert (
            {"alert", "expr", "labels", "annotations"} <= set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        )
        assert rule["labels"]["severity"] in ("critical", "warning")
        check_expression(rule["expr"])
    job = load("prometheus/prometheus.yml")["scrape_configs"][0]["job_name"]
    assert f'up{{job="{job}"}}' in group["rules"][0]["expr"]


def test_dashboard_reads_what_is_exported():
    board = json.loads((SERVING / "grafana/dashboards/tfb2d.json").read_text(encoding="utf-8"))
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time"} <= set(board)
    source = load("grafana/provisioning/datasources/prometheus.yaml")["datasources"][0]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    corners = set()
    for panel in board["panels"]:
        assert {"id", "type", "title", "description", "gridPos", "targets", "fieldConfig"} <= set(panel)
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        corners.add((place["x"], place["y"]))
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
            check_expression(target["expr"])
    assert len(corners) == len(board["panels"])
    (variable,) = board["templating"]["list"]
    assert variable["name"] == "model"
    metric, label = re.fullmatch(r"label_values\((\S+), (\w+)\)", variable["query"]["query"]).groups()
    assert label in SERIES[metric]


def test_grafana_finds_its_dashboards():
    services = load("compose.yaml")["services"]
    assert load("grafana/provisioning/datasources/prometheus.yaml")["datasources"][0]["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    (provider,) = load("grafana/provisioning/dashboards/tfb2d.yaml")["providers"]
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in services["grafana"]["volumes"]}
    assert (SERVING / mounted[provider["options"]["path"]]).is_dir()

"""Flags as tensorflow_model_server reads them, and which server the command starts."""

import os
import subprocess
import sys

import pytest

from tfb2d import serve
from tfb2d.cli import main as tfb2d
from tfb2d.serving.server.options import FLAGS, FlagError, Options, parse


def test_values_and_unknown_arguments():
    flags = ["--port=9000", "--enable_batching", "--enable_model_warmup=false", "--nosuch=1", "x", "--model_name"]
    options, unknown, *_ = parse(flags)
    assert (options.port, options.enable_batching, options.enable_model_warmup) == (9000, True, False)
    assert unknown == ["--nosuch=1", "x", "--model_name"]
    assert parse([]).options == Options()
    assert Options().host == "127.0.0.1"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--port=many", "Couldn't interpret value many for flag port."),
        ("--enable_batching=perhaps", "Couldn't interpret value perhaps for flag enable_batching."),
        ("--port=70000", "a port is 0 to 65535"),
        ("--use_alts_credentials", "needs the official tensorflow_model_server"),
        ("--batching_parameters_file=x", "without setting server_options.enable_batching to true"),
        ("--log_requests_rate=2", "it is a share"),
        ("--mixed_precision=float16", "it takes bfloat16"),
    ],
)
def test_refused(argument, message):
    with pytest.raises(FlagError, match=message.replace(".", r"\.")):
        parse([argument])


def test_flags_without_effect_are_named():
    given = parse(["--xla_cpu_compilation_enabled", "--port=1", "--num_tflite_pools=3", "--nosuch"])
    assert given.unknown == ["--nosuch"]
    assert given.ignored == ["xla_cpu_compilation_enabled", "num_tflite_pools"]


def test_help_is_complete(capsys):
    assert tfb2d(["serve", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"--{name} " in shown for name in FLAGS)


def test_official_server_on_path_gets_only_its_own_flags(tmp_path, monkeypatch):
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ["--port=8500", "--host=0.0.0.0", "--drain_seconds=3", "--model_base_path=/m"]
    command = serve.official_command(parse(arguments))
    assert command == [str(binary), "--port=8500", "--model_base_path=/m"]
    assert parse(["--embedded"]).official == []


def test_what_the_official_server_cannot_do_is_said(tmp_path):
    """Request logs would be missed only when they are needed: the server does not start. Other flags are named."""
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text("#!/bin/sh\necho official: $*\n")
    binary.chmod(0o755)

    def start(*flags):
        command = [sys.executable, "-m", "tfb2d.serve", "--model_base_path=/m", *flags]
        environment = {**os.environ, "PATH": f"{tmp_path}:/bin:/usr/bin"}
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    refused = start(f"--log_requests={tmp_path}/log")
    assert refused.returncode == 255
    assert "--log_requests is the embedded server's flag" in refused.stderr
    assert "Add --embedded" in refused.stderr
    for flag in ("log_requests_rate=0.5", "log_requests_max_mb=9"):  # what only a log needs is refused as the log is
        refused = start(f"--{flag}")
        assert refused.returncode == 255
        assert f"--{flag.partition('=')[0]} is the embedded server's flag" in refused.stderr
    served = start("--drain_seconds=3")
    assert served.stdout == "official: --model_base_path=/m\n"
    assert "the official server has no --drain_seconds" in served.stderr


def test_docker_says_that_it_fetches_an_image(tmp_path, monkeypatch, capfd):
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "docker $*"\ntest "$1" != image\n')  # there is no image yet
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert serve.official_command(parse(["--model_base_path=/m"]))[1] == "run"
    printed = capfd.readouterr()
    assert "tfb2d serve: docker pull tensorflow/serving:2.21.0" in printed.err
    assert "docker pull tensorflow/serving:2.21.0\n" in printed.err  # Docker's own progress
    assert printed.out == ""


def test_docker_sees_the_files_at_their_places(tmp_path, monkeypatch):
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 0\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    config = tmp_path / "models.cfg"
    config.write_text('model_config_list { config { name: "a" base_path: "/models/a" model_platform: "tensorflow" } }')
    arguments = [f"--model_config_file={config}", "--rest_api_port=8501"]
    command = serve.official_command(parse(arguments))
    assert command is not None
    assert command[:3] == [str(docker), "run", "--rm"]
    assert "127.0.0.1:8500:8500" in command
    assert f"{config}:{config}:ro" in command
    assert "/models/a:/models/a:ro" in command


def test_without_docker_and_binary_it_is_the_embedded_server(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert serve.official_command(parse([])) is None
    dead = tmp_path / "docker"
    dead.write_text("#!/bin/sh\nexit 1\n")
    dead.chmod(0o755)
    assert serve.official_command(parse([])) is None

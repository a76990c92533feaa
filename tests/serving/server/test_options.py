"""Flags as tensorflow_model_server reads them, and which server the command starts."""

import pytest

from tfb2d import serve
from tfb2d.cli import main as tfb2d
from tfb2d.serving.server.options import FLAGS, FlagError, Options, official_arguments, parse


def test_values_and_unknown_arguments():
    options, unknown = parse(
        ["--port=9000", "--enable_batching", "--enable_model_warmup=false", "--nosuch=1", "x", "--model_name"]
    )
    assert (options.port, options.enable_batching, options.enable_model_warmup) == (9000, True, False)
    assert unknown == ["--nosuch=1", "x", "--model_name"]
    assert parse([])[0] == Options()
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
    ],
)
def test_refused(argument, message):
    with pytest.raises(FlagError, match=message.replace(".", r"\.")):
        parse([argument])


def test_flags_without_effect_are_named():
    options = parse(["--xla_cpu_compilation_enabled", "--port=1"])[0]
    assert options.without_effect() == ["xla_cpu_compilation_enabled"]


def test_help_is_complete(capsys):
    assert tfb2d(["serve", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"--{name} " in shown for name in FLAGS)


def test_official_server_on_path_gets_only_its_own_flags(tmp_path, monkeypatch):
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ["--port=8500", "--host=0.0.0.0", "--log_requests=/tmp/x", "--model_base_path=/m"]
    command = serve.official_command(arguments, parse(arguments)[0])
    assert command == [str(binary), "--port=8500", "--model_base_path=/m"]
    assert official_arguments(["--embedded"]) == []


def test_docker_sees_the_files_at_their_places(tmp_path, monkeypatch):
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 0\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    config = tmp_path / "models.cfg"
    config.write_text('model_config_list { config { name: "a" base_path: "/models/a" model_platform: "tensorflow" } }')
    arguments = [f"--model_config_file={config}", "--rest_api_port=8501"]
    command = serve.official_command(arguments, parse(arguments)[0])
    assert command is not None
    assert command[:3] == [str(docker), "run", "--rm"]
    assert "127.0.0.1:8500:8500" in command
    assert f"{config}:{config}:ro" in command
    assert "/models/a:/models/a:ro" in command


def test_without_docker_and_binary_it_is_the_embedded_server(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert serve.official_command([], Options()) is None
    dead = tmp_path / "docker"
    dead.write_text("#!/bin/sh\nexit 1\n")
    dead.chmod(0o755)
    assert serve.official_command([], Options()) is None

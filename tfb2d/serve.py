"""Serves models with the flags of tensorflow_model_server.

  tfb2d serve --model_name=student --model_base_path=$PWD/saved_models/student --rest_api_port=8501
  tfb2d serve --embedded --model_config_file=$PWD/serving/models.config --port=8500

Runs the official tensorflow_model_server where it is on PATH, or in Docker where a daemon answers and has (or can fetch)
the image; otherwise the embedded server, which keeps the same contract. An unknown flag is reported and does not stop it.
"""

import logging
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence

from tfb2d.cli.arguments import Parser
from tfb2d.cli.terminal import without_chatter
from tfb2d.errors import nearest
from tfb2d.serving.server.options import FLAGS, OWN, REFUSED, WITHOUT_EFFECT, FlagError, Given, Options, parse

SETTINGS = ("",)  # all flags are read as tensorflow_model_server reads them, by `parse`
EXTRA = "server"  # the extra that installs what the embedded server needs
CAPTURE = False  # an operator reads the whole log, and the official server replaces this process
_BINARY = "tensorflow_model_server"
_FAILED = 255
_NO_LOG = (
    "Failed to start server. Error: INVALID_ARGUMENT: --{} is the embedded server's flag, and this would start"
    " the official server, which cannot log requests. Add --embedded, or leave the flag out and have tfb2d.Client sample"
    " what it sends."
)
_LEVELS = {"1": logging.WARNING, "2": logging.ERROR, "3": logging.CRITICAL}
_GROUPS = {
    "": "tensorflow_model_server's flags",
    OWN: "flags of tfb2d alone",
    REFUSED: "flags that need the official server",
}


def add_arguments(parser: Parser) -> None:
    """Adds the server's flags to the help."""
    for kind, title in _GROUPS.items():
        group = parser.group(title)
        for name, spec in FLAGS.items():
            if spec.metadata["kind"] == kind:
                default = str(spec.default).lower() if isinstance(spec.default, bool) else spec.default
                group.flag(name, spec.metadata["help"], default, metavar=getattr(spec.type, "__name__", "").upper())
    group = parser.group("tensorflow_model_server's flags without effect in the embedded server")
    for name in sorted(WITHOUT_EFFECT):
        group.flag(name, "", metavar="VALUE")


def run(command: Namespace) -> int:
    """Runs the command; returns its exit status."""
    try:
        given = parse(command.words)
    except FlagError as error:
        print(f"Failed to start server. Error: INVALID_ARGUMENT: {error}", file=sys.stderr)
        return _FAILED
    options = given.options
    official = None if options.embedded else official_command(given)
    if official is not None:
        logs = [name for name in given.own if name.startswith("log_requests")]
        if not options.log_requests:  # it may be given, and be empty
            logs = [name for name in logs if name != "log_requests"]
        if logs:
            print(_NO_LOG.format(logs[0]), file=sys.stderr)
            return _FAILED
        dropped = [f"--{name}" for name in given.own if name not in ("docker_image", "host")]
        if dropped:
            print(f"tfb2d serve: the official server has no {', '.join(dropped)}", file=sys.stderr)
        print(f"tfb2d serve: the official server: {official[0]}", file=sys.stderr, flush=True)
        os.execvp(official[0], official)
    for argument in given.unknown:
        print(f"unknown argument: {argument}", file=sys.stderr)
        hint = nearest(argument.partition("=")[0].removeprefix("--"), FLAGS).removeprefix("; ")
        print(hint or "tfb2d serve --help lists the flags", file=sys.stderr, flush=True)
    if options.version:
        from importlib.metadata import version

        print(f"TensorFlow ModelServer: embedded in tfb2d\nTensorFlow Library: {version('tensorflow')}")
        return 0
    return _embedded(options, given.ignored)


def _embedded(options: Options, ignored: Sequence[str]) -> int:
    """Runs the embedded server until a signal stops it; returns the exit status. The log names flags without effect."""
    from tfb2d.serving.lean import import_tensorflow
    from tfb2d.serving.server.configuration import prepare
    from tfb2d.serving.server.errors import StatusError

    _log_to_stderr(ignored)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    try:
        prepared = prepare(options)
        with without_chatter():  # of TensorFlow, while it is loaded and looks for GPUs
            import_tensorflow()
            import tensorflow as tf

            tf.config.list_physical_devices()
        from tfb2d.serving.server.run import run as serve_models

        serve_models(options, prepared)
    except (StatusError, FlagError) as error:
        shown = error if isinstance(error, StatusError) else f"INVALID_ARGUMENT: {error}"
        print(f"Failed to start server. Error: {shown}", file=sys.stderr, flush=True)
        return _FAILED
    return 0


def _log_to_stderr(ignored: Sequence[str]) -> None:
    """Sends log lines to stderr, as verbose as TF_CPP_MIN_LOG_LEVEL says; the first says which server this is."""
    form = logging.Formatter("%(asctime)s %(levelname).1s %(name)s] %(message)s")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(form)
    log = logging.getLogger("tfb2d")
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(logging.INFO)
    log.info("tfb2d's embedded server: TensorFlow Serving's contract, not the official tensorflow_model_server")
    for name in ignored:
        log.warning("--%s has no effect in the embedded server", name)
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0")
    log.setLevel(_LEVELS.get(level, logging.INFO))
    logging.captureWarnings(True)


def official_command(given: Given) -> list[str] | None:
    """Returns the command line of the official server, or None where it is not installed."""
    options, binary = given.options, shutil.which(_BINARY)
    if binary:
        return [binary, *given.official]
    docker = shutil.which("docker")
    if docker is None or not _answers(docker, "info", seconds=5):
        return None
    image = options.docker_image
    if not _answers(docker, "image", "inspect", image, seconds=10) and not _pulls(docker, image):
        print(f"tfb2d serve: Docker answers but has no {image}; the embedded server instead", file=sys.stderr)
        return None
    command = [docker, "run", "--rm", "--init"]
    for port in (options.port, options.rest_api_port):
        if port:
            command += ["--publish", f"{options.host}:{port}:{port}"]
    for path in _paths(options):
        command += ["--volume", f"{path}:{path}:ro"]
    return [*command, "--entrypoint", _BINARY, image, *given.official]


def _answers(*command: str, seconds: float, shown: bool = False) -> bool:
    """Says whether a command succeeds; what it prints goes to stderr where it is `shown`."""
    stdout, stderr = (sys.stderr, None) if shown else (subprocess.DEVNULL, subprocess.DEVNULL)
    try:
        return subprocess.run(command, stdout=stdout, stderr=stderr, timeout=seconds, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _pulls(docker: str, image: str) -> bool:
    size = "some hundred megabytes; --embedded starts at once without it"
    print(f"tfb2d serve: docker pull {image} ({size})", file=sys.stderr, flush=True)
    return _answers(docker, "pull", image, seconds=600, shown=True)


def _paths(options: Options) -> list[str]:
    """Lists the files and folders that the container mounts, each under its own path."""
    files = ("model_config_file", "batching_parameters_file", "monitoring_config_file", "ssl_config_file")
    paths = [getattr(options, name) for name in (*files, "model_base_path")]
    if options.model_config_file:
        from tfb2d.serving.server.configuration import read_configuration

        paths += [model.base_path for model in read_configuration(options)]
    return sorted({path for path in paths if path.startswith("/")})


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("serve")

"""Measures a server and its clients: real processes on loopback, requests as clients send them.

tfb2d bench --serving --model=saved_models/pairs
tfb2d bench --serving --model=saved_models/pairs --faults

Starts a server as `tfb2d serve` does (the official one if it is installed, otherwise the embedded one) and a bare gRPC
echo. Finds the capacity by closed loops with more and more requests in flight. Then sends requests at Poisson times at 10,
50, 80 and 110% of it. A request's latency counts from the time it was due, not from when it was sent. --floor replaces the
student by a model that only tokenizes and hashes the same texts; no student is faster. --faults swaps, kills, drains and
fuzzes a server instead. Writes serving.json and serving.svg (or faults.json) into --output.
"""

import os
import platform
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfb2d.bench.modes import add_modes
from tfb2d.cli.arguments import Parser
from tfb2d.errors import UserError

TARGET_SHARE = 0.7  # of a bare echo's requests a second
TARGET_TAIL = 5.0  # p99 over p50 at half the capacity


def add_arguments(parser: Parser) -> None:
    """Adds this mode's flags."""
    what = parser.group("what is measured")
    what.flag("model", "Folder of an exported model, which holds its numbered versions.", required=True, metavar="DIR")
    what.flag("output", "Folder for serving.json and serving.svg.", "runs/bench", metavar="DIR")
    what.switch("floor", "Measure a model that takes the same requests and only hashes their texts.")
    what.words("server_flags", "Further flags for the server, separated by commas.", ["--grpc_max_threads=64"])
    how = parser.group("load")
    how.real("seconds", "Of each measurement at a fixed rate.", 10.0)
    how.integer("rounds", "How often server and echo take turns.", 3, 1)
    how.numbers("clients", "Requests in flight of the closed loops that find the capacity.", (1, 2, 4, 8, 16, 32))
    how.numbers("levels", "Arrival rates, as shares of the capacity.", (0.1, 0.5, 0.8, 1.1), float, 0.0)
    faults = parser.group("faults")
    faults.switch("faults", "Swap, kill, drain and fuzz a server instead of timing it.")
    faults.words("only", "Faults to do: swaps, drain, kill, half_copied, idle_clients, fuzz, memory. [default: all]")
    faults.integer("swaps", "Versions of the fault swaps.", 20)
    faults.integer("connections", "Connections of the fault idle_clients.", 1000)
    faults.integer("fuzz", "Requests of the fault fuzz.", 100_000)
    faults.integer("requests", "Requests of the fault memory.", 1_000_000)
    add_modes(parser)


def run(options: Namespace) -> int:
    """Runs what the flags ask for; returns the exit status."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    model, output = Path(options.model).resolve(), Path(options.output)
    try:
        if options.faults:
            return _faults(options, model, output)
        with tempfile.TemporaryDirectory() as folder:
            return _load(options, _floor(model, folder) if options.floor else model, output)
    except ValueError as error:
        raise UserError(str(error)) from error


def _floor(model: Path, folder: str) -> Path:
    from tfb2d.bench.floor import export_floor
    from tfb2d.model_folder import newest_version

    export_floor(newest_version(model), Path(folder, model.name, "1"))
    return Path(folder, model.name)


def _load(flags: Any, model: Path, output: Path) -> int:
    from tfb2d.atomic import write_atomic, write_json
    from tfb2d.bench.serving_load import Settings, measure, requests
    from tfb2d.serving.local import LocalServer

    settings = Settings(flags.seconds, flags.rounds, flags.clients, flags.levels)
    kinds = requests(model)
    arguments = [f"--model_name={model.name}", f"--model_base_path={model}", *flags.server_flags]
    rows = []
    with LocalServer(arguments) as server, LocalServer([], module="tfb2d.bench.echo") as echo:
        which = "embedded" if "tfb2d's embedded server" in server.log() else "official"
        for row in measure(server.address, echo.address, kinds, settings):
            rows.append({"mode": "serving", "server": which, **row})
            print(table([row]), flush=True)
    machine = {"processors": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    about = {"model": model.name, "floor": flags.floor, "server": which, "server_flags": flags.server_flags}
    about["arrivals"] = "poisson"
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "serving.json", {**about, "machine": machine, "rows": rows})
    write_atomic(output / "serving.svg", picture(rows))
    print(f"{output / 'serving.json'}, {output / 'serving.svg'}")
    return 0


def _faults(flags: Any, model: Path, output: Path) -> int:
    from tfb2d.atomic import write_json
    from tfb2d.bench.faults import FAULTS, Arena, Counts
    from tfb2d.bench.fuzz import Names
    from tfb2d.bench.serving_load import repeated, requests

    unknown = set(flags.only) - set(FAULTS)
    if unknown:
        raise ValueError(f"--only={','.join(sorted(unknown))}: there are {', '.join(FAULTS)}")
    payload = requests(model)["score"][0]
    fields, many = repeated(payload, 20_000)
    signatures = ("serving_default", "rank", "classify", "regress")
    names = Names((model.name,), signatures, (*fields, "titles", "inputs"), ("score", "logit", "scores"))
    counts = Counts(flags.swaps, flags.connections, flags.fuzz, flags.requests)
    rows = []
    with tempfile.TemporaryDirectory() as work:
        for name in flags.only or FAULTS:
            folder = Path(work, name)
            row = FAULTS[name](Arena(model, payload, many, folder, names, counts))
            shutil.rmtree(folder)
            rows.append({"mode": "faults", "fault": name, **row})
            figures = ", ".join(f"{key} {_short(value)}" for key, value in row.items() if key != "passed")
            print(f"{'passed' if row['passed'] else 'FAILED'}  {name}: {figures}", flush=True)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "faults.json", {"model": model.name, "rows": rows})
    return 0 if all(row["passed"] for row in rows) else 1


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return " ".join(f"{key} {number}" for key, number in value.items()) or "none"
    if isinstance(value, list):
        return " ".join(map(_short, value)) or "none"
    return str(value)


def _ms(value: float | None) -> str:
    return f"{value:>8.2f}" if value is not None else f"{'-':>8}"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Lays out the rows of `measure` for a terminal, with the targets."""
    lines = []
    for row in rows:
        most = row["capacity"]
        lines += [
            f"{row['request']}: {most['requests_per_s']:,.0f} requests/s ({row['bytes']:,} bytes each), a bare echo"
            f" {most['echo_per_s']:,.0f}: {most['share']:.2f} (target {TARGET_SHARE})",
            "  in flight (share of the echo): "
            + ", ".join(f"{level['clients']} ({level['share']:.2f})" for level in most["by_clients"]),
            f"  {'load':<5} {'sent/s':>8} {'answered/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'p99.9':>8}"
            f" {'echo p50':>8} {'p99':>8}  errors",
        ]
        for level in row["levels"]:
            errors = ", ".join(f"{code} {count}" for code, count in sorted(level["errors"].items())) or "none"
            lines.append(
                f"  {level['share_of_capacity']:<5.0%} {level['arrivals_per_s']:>8,.0f} {level['answers_per_s']:>10,.0f}"
                f" {_ms(level['p50_ms'])} {_ms(level['p99_ms'])} {_ms(level['p999_ms'])}"
                f" {_ms(level['echo']['p50_ms'])} {_ms(level['echo']['p99_ms'])}  {errors}"
            )
            if level["share_of_capacity"] == 0.5 and level["p50_ms"]:
                lines[-1] += f"; p99 is {level['p99_ms'] / level['p50_ms']:.1f} times p50 (target {TARGET_TAIL:g})"
    return "\n".join(lines)


def picture(rows: Sequence[dict[str, Any]]) -> str:
    """Draws latency over load as an SVG document, a panel for each kind of request; the echo's lines are dashed."""
    from tfb2d.report.pictures import svg_document

    names = (("p50_ms", "p50"), ("p99_ms", "p99"), ("p999_ms", "p99.9"))

    def draw(figure: Any) -> None:
        for axes, row in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows, strict=True):
            shares = [level["share_of_capacity"] for level in row["levels"]]
            for number, (key, name) in enumerate(names):
                style = {"marker": "o", "ms": 3, "color": f"C{number}"}
                for line, whose in (("-", ""), ("--", "echo ")):
                    levels = [level["echo"] if whose else level for level in row["levels"]]
                    known = [(share, level[key]) for share, level in zip(shares, levels, strict=True) if level[key]]
                    if known:
                        axes.plot(*zip(*known, strict=True), line, label=whose + name, **style)
            title = f"{row['request']}: {row['capacity']['requests_per_s']:,.0f} requests/s at most"
            axis = {"xlabel": "arrivals, share of the capacity", "ylabel": "milliseconds from when it was due"}
            axes.set(title=title, yscale="log", **axis)
            axes.grid(alpha=0.3)
            axes.legend(fontsize=7, ncols=2)

    return svg_document(5 * len(rows), 3.6, draw)

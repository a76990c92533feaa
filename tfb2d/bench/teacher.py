"""Measures how fast a teacher labels, and what share of the machine's matrix products it reaches.

tfb2d bench --teacher --model=runs/quickstart/teachers/minilm --output=runs/bench-teacher
tfb2d bench --teacher --model=small=runs/a/teachers/bert --model=runs/b/teachers/bert --data=logs.tsv --output=runs/speed
KERAS_BACKEND=torch tfb2d bench --teacher --model=runs/shop/teachers/bert --fill --output=runs/speed

Columns of the table:
  rows/s     from strings to logits, as `tfb2d label` computes them
  tokens/s   of real tokens, padding left out
  padded     share of a batch's cells that are padding; BERT and its relatives skip it in all but the attention (TensorFlow)
  tokenizing share of the time in which strings become token ids; the rest is the forward pass
  MFU        model FLOP utilisation: operations a second of the forward pass, divided by those of a large matrix product
             in the same precision, measured in the same run. Only products over real tokens count (arXiv 2204.02311).
  MFU of CPU the same with CPU time in place of time, for a busy machine; not on a GPU

No GPU was at hand when this was written. On one aim at 40% MFU for BERT-Base with rows of 128 tokens (--fill with a teacher
of max_length 128), and at 50,000 pairs a second for MiniLM-L6 at their true lengths. --peak_tflops takes the card's data
sheet in place of the measured product. A GPU takes larger batches than a CPU: try --batch_tokens=65536.

Writes into --output: teacher.json (an entry a teacher and task, with seconds, CPU seconds, FLOPs, device, card, backend and
precision) and teacher.txt, a table.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfb2d.bench.measure import BenchError, named_folders
from tfb2d.bench.modes import add_modes, add_what
from tfb2d.cli.arguments import Parser

if TYPE_CHECKING:
    from tfb2d.bench.work import Work

CPU_SIZE, GPU_SIZE = 2048, 8192  # rows and columns of the matrices whose product is timed
LETTERS_A_TOKEN = 8  # at least, of joined texts, for each token that they are to fill


def add_arguments(parser: Parser) -> None:
    """Adds this mode's flags."""
    from tfb2d.config import LabelConfig

    add_what(parser, "A saved teacher")
    how = parser.group("how")
    how.integer("rows", "Rows that are labelled; texts repeat as needed.", 2048, 1)
    how.integer("batch_tokens", "Tokens of a forward pass.", LabelConfig().batch_tokens, 1)
    how.integer("rounds", "How often; figures are medians.", 3, 1)
    how.switch("fill", "Join texts until each row has as many tokens as the teacher takes.", False)
    how.real("peak_tflops", "10^12 operations a second that count as 100%; 0 measures them.", 0.0, 0.0)
    add_modes(parser)


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.bench.outcome import write
    from tfb2d.bench.work import load
    from tfb2d.teachers.memory import keep_freed_memory
    from tfb2d.teachers.teacher import load_teacher

    keep_freed_memory()
    teachers = {name: load_teacher(Path(folder)) for name, folder in named_folders(options.model).items()}
    works = load(options.data, [teacher.task for teacher in teachers.values()])
    entries = []
    for name, teacher in teachers.items():
        for work in works:
            if len(work.task.fields) == len(teacher.task.fields):
                columns = _columns(work, options.rows, teacher.max_length if options.fill else 0)
                figures = measure(teacher, columns, options.batch_tokens, options.rounds, options.peak_tflops * 1e12)
                entries.append({"model": name, "task": work.name, **figures})
    if not entries:
        raise BenchError("no teacher reads texts of these fields; give --data that fits")
    write(Path(options.output), "teacher", entries, table(entries))


def measure(
    teacher: Any, columns: Sequence[Sequence[str]], batch_tokens: int, rounds: int = 3, peak: float = 0.0
) -> dict[str, Any]:
    """Measures one teacher, from texts (a sequence a field) to logits; returns an entry of teacher.json.

    Peak and teacher are measured `rounds` times, in turn, after a run that is not counted. `peak` is how many
    operations a second count as all that the machine can do; 0 measures them. `mfu` and `mfu_cpu` are None where the
    encoder's products cannot be counted; `mfu_cpu` also on a GPU and with a given peak.
    """
    import keras

    from tfb2d.teachers.models import device_name, on_accelerator
    from tfb2d.teachers.packing import bucket

    packed = teacher.pack(columns)
    teacher.logits_of(packed, batch_tokens)
    flops = forward_flops(teacher.model, packed.lengths, teacher.skips_padding)
    dtype = teacher.model.backbone.compute_dtype
    rounds_of: dict[str, list[float]] = {}
    for _ in range(rounds):
        a_second, a_cpu_second = (peak, np.nan) if peak else measure_peak(dtype, 0.5)
        pack, pack_cpu = _seconds(lambda: teacher.pack(columns))
        forward, forward_cpu = _seconds(lambda: teacher.logits_of(packed, batch_tokens))
        figures = {
            "rows_per_s": len(packed) / (pack + forward),
            "tokens_per_s": packed.lengths.sum() / (pack + forward),
            "cpu_s_per_million": (pack_cpu + forward_cpu) / len(packed) * 1e6,
            "tokenizing": pack / (pack + forward),
            "peak_tflops": a_second / 1e12,
            "mfu": (flops or np.nan) / forward / a_second,
            "mfu_cpu": np.nan if on_accelerator() else (flops or np.nan) / forward_cpu / a_cpu_second,
        }
        for name, value in figures.items():
            rounds_of.setdefault(name, []).append(float(value))
    lengths = np.maximum(packed.lengths, teacher.packer.shortest)
    batches = list(teacher.packer.batches(packed, batch_tokens))
    cells = sum(len(rows) * bucket(int(lengths[rows].max()), teacher.max_length) for rows in batches)
    medians = {name: float(np.median(values)) for name, values in rounds_of.items()}
    return {
        "rows": len(packed),
        "tokens": int(packed.lengths.sum()),
        "batches": len(batches),
        "padded": 1 - int(packed.lengths.sum()) / cells,
        "skips_padding": teacher.skips_padding,
        **{name: None if np.isnan(value) else value for name, value in medians.items()},
        "gflops_per_row": None if flops is None else flops / len(packed) / 1e9,
        "device": device_name(),
        "backend": keras.backend.backend(),
        "dtype": dtype,
        "max_length": teacher.max_length,
        "batch_tokens": batch_tokens,
        "rounds": rounds,
    }


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """Lays out the entries of teacher.json as text."""
    from tfb2d.evaluation.table import layout

    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.1%}"

    head = ["teacher, task", "rows/s", "tokens/s", "tokens a row", "padded", "tokenizing", "MFU", "MFU of CPU"]
    lines = [
        [
            f"{entry['model']}, {entry['task']}",
            f"{entry['rows_per_s']:,.0f}",
            f"{entry['tokens_per_s']:,.0f}",
            f"{entry['tokens'] / entry['rows']:.1f}",
            *(share(entry[key]) for key in ("padded", "tokenizing", "mfu", "mfu_cpu")),
        ]
        for entry in entries
    ]
    first = entries[0]
    about = f"{first['device']}; {first['backend']}, {first['dtype']}, {first['batch_tokens']:,} tokens a batch"
    return f"{layout([head, *lines])}\n\n{about}, peak {first['peak_tflops']:.3g} TFLOP/s"


def _seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """Returns the time and the CPU time that a function takes."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu


def _columns(work: "Work", rows: int, fill: int) -> list[list[str]]:
    """Returns the texts of `rows` rows; with `fill` the last field's are joined until they fill the teacher's length."""
    order = np.resize(np.random.default_rng(0).permutation(len(work.rows)), rows)
    columns = [[column[row] for row in order] for column in work.rows.columns]
    if fill:
        several = " ".join(columns[-1][:64])
        columns[-1] = [f"{text} {several}"[: fill * LETTERS_A_TOKEN] for text in columns[-1]]
    return columns


def forward_flops(model: Any, lengths: np.ndarray, first_only: bool) -> float | None:
    """Counts the operations of the matrix products in a forward pass over rows without padding.

    A product of [m, k] and [k, n] has 2 m k n. As in PaLM (https://arxiv.org/abs/2204.02311, appendix B), padding and
    what is no product (normalization, activations, softmax) do not count: they are what a teacher loses time with.

    `lengths`, int64 [rows], are the tokens of each row. `first_only` says whether the last layer computes each row's
    first token alone, but keys and values of all tokens. Returns None for an encoder whose layers do not each have
    their own weights (ALBERT), or are not known.
    """
    layers = getattr(model.backbone, "transformer_layers", [])
    if not layers or any(isinstance(layer, list) for layer in layers):
        return None
    tokens, rows = float(lengths.sum()), len(lengths)
    attended = float((lengths.astype(np.float64) ** 2).sum())  # pairs of tokens of one row
    width = model.backbone.hidden_dim
    total = 0.0
    for layer in layers:
        weights = sum(int(np.prod(weight.shape)) for weight in layer.weights if weight.path.endswith("/kernel"))
        if first_only and layer is layers[-1]:
            keys_and_values = 2 * width * width
            total += 2 * (tokens * keys_and_values + rows * (weights - keys_and_values)) + 4 * tokens * width
        else:
            total += 2 * tokens * weights + 4 * attended * width
    return total


def measure_peak(dtype: str, seconds: float = 1.0) -> tuple[float, float]:
    """Measures the operations a second of a large matrix product in "float32" or "bfloat16", by the teachers' backend.

    Returns those of the fastest product, and those per CPU second of all threads. At least three products are timed.
    """
    import keras

    from tfb2d.teachers.models import on_accelerator

    size = GPU_SIZE if on_accelerator() else CPU_SIZE
    a, b = (keras.ops.cast(np.random.default_rng(i).normal(size=(size, size)), dtype) for i in (0, 1))

    def product() -> None:
        keras.ops.convert_to_numpy(keras.ops.matmul(a, b)[:1, :1])  # a value read back waits for the product

    product()
    times: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        times.append(_seconds(product))
    fastest, least_cpu = (min(column) for column in zip(*times, strict=True))
    return 2.0 * size**3 / fastest, 2.0 * size**3 / least_cpu

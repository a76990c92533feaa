"""Search over a catalogue of offers: a twin that retrieves and a student that ranks, from one teacher.

  make search

which is, in three commands, each skipped where it was done before:

  tfb2d train --config=search --workdir=runs/search
  tfb2d search build --titles=examples/pricerunner/offers.csv.gz --id=product_id --title=product_title \\
      --model=saved_models/search_twin --index=runs/search/index
  tfb2d search serve --index=runs/search/index --ranker=saved_models/search --teacher=runs/search/teachers/minilm

Data: 35,311 offers of PriceRunner (UCI data set 837, CC BY 4.0), which are in `examples/pricerunner`. The data stage
makes pairs of them as for `--config=pricerunner`, a few thousand with labels and more without. `--config=search:FILE`
takes another catalogue with the columns product_title, cluster_id, cluster_label and category_label.

The sizes are chosen so that all of it takes about eight minutes on two cores. Expect on new queries and products a teacher
of 0.961 ROC-AUC, a student of 0.964 and a twin of 0.958 (results/twin.md).
"""

from ml_collections import ConfigDict

from tfb2d.config import (
    CompressConfig,
    Config,
    DataConfig,
    OffersConfig,
    ReportConfig,
    StudentConfig,
    TeacherConfig,
    TrainingConfig,
)
from tfb2d.config.twin import TwinConfig


def get_config(catalogue: str = "examples/pricerunner/offers.csv.gz") -> ConfigDict:
    """Returns the recipe for a catalogue."""
    minilm = TeacherConfig(  # small batches: a few thousand pairs are enough if they make enough steps
        preset="pypi:all-minilm-l6-v2", max_length=64, epochs=2, batch_size=16, learning_rate=5e-5, mixed_precision=True
    )
    return Config(
        name="search",
        models=("student", "twin"),
        data=DataConfig(
            fields=("query", "title"),
            valid_fraction=0.08,
            test_fraction=0.12,
            offers=OffersConfig(files=(catalogue,), labelled=6_000, queries=250, transfer=30_000),
        ),
        teachers={"minilm": minilm},
        student=StudentConfig(),
        training=TrainingConfig(epochs=4),
        compress=CompressConfig(max_megabytes=3),
        # Chosen on validation queries: with so few pairs, pairs of words memorise (ROC-AUC 0.964 with them, 0.975 without).
        twin=TwinConfig(kind="ngram", orders=(1,), buckets=2**16, width=64, dim=64, in_batch_negatives=4, epochs=2),
        report=ReportConfig(labels_only=False),
    ).to_dict()

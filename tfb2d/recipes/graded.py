"""Graded relevance: short, noisy queries over PriceRunner's offers, graded 1 to 4 as people would; for development.

  tfb2d train --config=graded --workdir=runs/graded

The catalogue is in `examples/pricerunner` (35,311 offers, UCI data set 837, CC BY 4.0); `--config=graded:FILE` takes
another one with the columns product_title, cluster_id, cluster_label and category_label.

A query means a product, its model family, or a brand within a category. It may be misspelt, lack the brand, or say
`telly` for `tv`. A title's grade follows from how nearly its product is related to the query's: the same product, the same
family, the same category and brand, the same category, another one. 15% of the grades then move to a neighbour, as judges
disagree (`tfb2d/data/offers/graded_pairs.py`). Products are cut into train, valid and test, so test queries, products and
titles are new. 6,000 graded pairs fine-tune the teacher; the data stage makes the unlabelled pairs of more queries and of
the training products' titles, as for `--config=pairs`.

ROC-AUC and retention take the middle of the range, 2.5, as the line between good and bad titles. Fine-tuning takes 6
minutes of processor time and labelling 4. Expect a teacher of about 0.92 ROC-AUC on validation queries, a student with
99.6% of it, and one of labels alone with 94% (results/graded.md, which says what else was tried).
"""

from ml_collections import ConfigDict

from tfb2d.config import (
    Config,
    DataConfig,
    DistillConfig,
    OffersConfig,
    RetrieveConfig,
    StudentConfig,
    TeacherConfig,
    TrainingConfig,
)


def get_config(catalogue: str = "examples/pricerunner/offers.csv.gz") -> ConfigDict:
    """Returns the recipe for a catalogue."""
    minilm = TeacherConfig(
        preset="pypi:all-minilm-l6-v2", max_length=48, epochs=2, batch_size=16, learning_rate=5e-5, mixed_precision=True
    )
    return Config(
        name="graded",
        data=DataConfig(
            fields=("query", "title"),
            label_range=(1, 4),
            valid_fraction=0.1,
            test_fraction=0.15,
            offers=OffersConfig(
                files=(catalogue,), graded=True, labelled=6_000, queries=250, candidates=12, transfer_queries=1_500
            ),
            retrieve=RetrieveConfig(pairs=30_000),
        ),
        teachers={"minilm": minilm},
        distill=DistillConfig(hard_weight=0.2),
        student=StudentConfig(spelling=True),
        training=TrainingConfig(epochs=10),
    ).to_dict()

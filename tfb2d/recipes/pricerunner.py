"""Query-title relevance on PriceRunner's offers, from two folders of data.

  tfb2d train --config=pricerunner:DATA --workdir=runs/pricerunner

DATA holds `pricerunner/pricerunner_aggregate.csv.gz` (UCI data set 837, CC BY 4.0: 35,311 offers in 13,233 clusters) and
`titles/titles.tsv.gz` (no header; the last column: 56,809 product titles of PriceRunner and other shops).

The data stage makes the pairs (`tfb2d/data/offers`). A query is a product's name as shoppers type it, and the product's
offers are relevant. Most irrelevant titles are those that share most words with the query. Products are cut into train,
valid and test, so that test queries and test titles are new. Whatever nearly equals a test title is kept out of training
and transfer.

`--config=pricerunner:DATA,2` stacks two teachers, the same encoder fine-tuned with another seed.

Time on 2 cores with bfloat16: data 1 minute, fine-tuning 10 to 40, labelling 12 to 40, the student 5. Expect on new
queries and products a teacher of 0.986 ROC-AUC and 0.956 NDCG@10, and a student of 0.986 and 0.967 (results/README.md).
Sizes are settings: `--config.data.offers.labelled=40000`, `--config.data.offers.transfer=300000`.
"""

import os

from ml_collections import ConfigDict

from tfb2d.config import Config, DataConfig, OffersConfig, StudentConfig, TeacherConfig, TrainingConfig, several


def get_config(argument: str = "data") -> ConfigDict:
    """Returns the recipe.

    Args:
      argument: the folder that holds `pricerunner` and `titles`, and after a comma the number of teachers.
    """
    data, _, count = argument.partition(",")
    minilm = TeacherConfig(
        preset="pypi:all-minilm-l6-v2",
        max_length=64,
        epochs=2,
        batch_size=64,
        learning_rate=6e-5,
        evaluate_per_epoch=1,
        patience=0,
        mixed_precision=True,
    )
    return Config(
        name="pricerunner",
        data=DataConfig(
            fields=("query", "title"),
            valid_fraction=0.08,
            test_fraction=0.15,
            offers=OffersConfig(
                files=(os.path.join(data, "pricerunner/pricerunner_aggregate.csv.gz"),),
                titles=(os.path.join(data, "titles/titles.tsv.gz"),),
                titles_column="",
                queries=1_000,
                transfer=300_000,
            ),
        ),
        teachers=several("minilm", minilm, count or "1"),
        student=StudentConfig(),
        training=TrainingConfig(epochs=5),
    ).to_dict()

"""Query-title relevance on your own files.

  tfb2d train --config=pairs --workdir=runs/shop --config.data.train=labelled.tsv --config.data.unlabelled=logs/

Rows: columns `query`, `title` and `label`; for other names `--config.data.fields=q,product --config.data.label=grade`.
Labels are 0 and 1, or grades with `--config.data.label_range="(1, 3)"`. Splits are cut by query, so that test queries are
new, unless `valid` and `test` are given as files. Give all the unlabelled pairs that there are: each query of the logs with
the titles that were shown. Most of the time goes into the teacher, a cross-encoder.

Without logs, the data stage makes unlabelled pairs (`tfb2d/data/retrieve.py`):

  tfb2d train --config=pairs --workdir=runs/shop --config.data.train=labelled.tsv \\
      --config.data.queries=queries.txt --config.data.titles=catalogue.csv

`.txt` files have one text a line; tables have a column `query` or `title`. Each query gets the titles that BM25 ranks
first, near misses and random titles; `--config.data.retrieve.nearest=8` and its neighbours say how many. Queries made of
titles, up to four of each (`title_queries`), fill up to `--config.data.retrieve.pairs=150000`. With few labelled queries
they matter: of 260, a student kept 98.2% of its teacher's ROC-AUC with four and 97.1% with one (results/graded.md).
Without such files, the labelled training rows' own queries and titles serve, beside logs too;
`--config.data.retrieve.labelled=False` makes nothing then. Queries of the validation and test splits are left out and
counted. On pairs graded as people would, such pairs brought a student nearer to its teacher than copies with masked
words did.

The student learns for ten epochs, and a fifth of a labelled row's target is its label. Both were chosen on such pairs, too:
together they pay; temperature, dropout, affixes and others do not (results/graded.md). What paid most: a query's misspelt
word is read as the word that was meant (tfb2d/students/spelling.py; `--config.student.spelling=False` reads it as it is).
`--config=pairs:2` fine-tunes two teachers, which pays, too, at twice the time.
"""

from ml_collections import ConfigDict

from tfb2d.config import (
    Config,
    DataConfig,
    DistillConfig,
    RetrieveConfig,
    StudentConfig,
    TeacherConfig,
    TrainingConfig,
    several,
)


def get_config(teachers: str = "1") -> ConfigDict:
    """Returns the recipe for so many teachers of different seeds, whose mean is learnt."""
    minilm = TeacherConfig(preset="pypi:all-minilm-l6-v2", max_length=96)
    return Config(
        name="pairs",
        data=DataConfig(fields=("query", "title"), retrieve=RetrieveConfig(labelled=True, title_queries=4)),
        teachers=several("minilm", minilm, teachers),
        distill=DistillConfig(hard_weight=0.2),
        student=StudentConfig(spelling=True),
        training=TrainingConfig(epochs=10),
    ).to_dict()

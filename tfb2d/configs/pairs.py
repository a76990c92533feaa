"""Query-title relevance on your own files.

  python -m tfb2d.train --config=pairs --workdir=runs/shop --config.data.train=judged.tsv --config.data.unlabelled=logs/

Rows: columns `query`, `title` and `label`; for other names `--config.data.fields=q,product --config.data.label=grade`.
Labels are 0 and 1, or grades with `--config.data.label_range="(1, 3)"`. Splits are cut by query, so that test queries are
new, unless `valid` and `test` are given as files. Give all the unlabelled pairs that there are: each query of the logs with
the titles that were shown. Most of the time goes into the teacher, a cross-encoder.
"""

from ml_collections import ConfigDict

from tfb2d.config import AugmentConfig, Config, DataConfig, TeacherConfig


def get_config() -> ConfigDict:
    """Returns the recipe."""
    return Config(
        name="pairs",
        data=DataConfig(fields=("query", "title"), augment=AugmentConfig(copies=2)),
        teachers={"minilm": TeacherConfig(preset="pypi:all-minilm-l6-v2", max_length=96)},
    ).to_dict()

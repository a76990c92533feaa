"""Single texts of your own: topics, sentiment, intent.

  python -m tfb2d.train --config=text --workdir=runs/topics \
      --config.data.train=judged.tsv --config.data.classes=sport,politics,science --config.data.unlabelled=logs/

Rows: columns `text` and `label` (`--config.data.fields=`, `--config.data.label=` for other names). Without `classes`,
labels are 0 and 1; two classes make a binary task, and the second is the positive class. Valid and test are cut from the
labelled rows, unless given as files. Time is set by the teacher; results/README.md has what the quickstart takes.
"""

from ml_collections import ConfigDict

from tfb2d.config import AugmentConfig, Config, DataConfig, TeacherConfig


def get_config() -> ConfigDict:
    """Returns the recipe."""
    return Config(
        name="text",
        data=DataConfig(augment=AugmentConfig(copies=4)),
        teachers={"minilm": TeacherConfig(preset="pypi:all-minilm-l6-v2", max_length=128)},
    ).to_dict()

"""Single texts of your own: topics, sentiment, intent.

  tfb2d train --config=text --workdir=runs/topics \
      --config.data.train=labelled.tsv --config.data.classes=sport,politics,science --config.data.unlabelled=logs/

Rows: columns `text` and `label` (`--config.data.fields=`, `--config.data.label=` for other names). Without `classes`,
labels are 0 and 1; two classes make a binary task, and the second is the positive class. Valid and test are cut from the
labelled rows, unless given as files. Time is set by the teacher; results/README.md has what the quickstart takes.

The student composes n-grams of word vectors and lets neighbours change one another, so it sees negation. With two classes,
frequent words in frames such as "hardly {}" join the transfer set. The frames are English. Those with words that your text
lacks are left out, and others are a setting: `--config.data.augment.negations="nicht {},kaum {}"
--config.data.augment.degrees=sehr,so,zu`, and the same of `report.negations` and `report.degrees` for the report's table.
Long texts: `--config.student.max_tokens=1024`, and as much of `--config.teachers.minilm.max_length` as you can wait for.
"""

from ml_collections import ConfigDict

from tfb2d.config import AugmentConfig, Config, DataConfig, StudentConfig, TeacherConfig, TrainingConfig


def get_config() -> ConfigDict:
    """Returns the recipe."""
    return Config(
        name="text",
        data=DataConfig(augment=AugmentConfig(copies=4, negated=150)),
        teachers={"minilm": TeacherConfig(preset="pypi:all-minilm-l6-v2", max_length=128)},
        # The quickstart's student, with room for more words.
        student=StudentConfig(
            buckets=2**18,
            window=3,
            vocabulary=30_000,
            affixes=(5, 3),
            convolutions=(1,),
            convolution_width=128,
            dropout=0.3,
            ngram_dropout=0.3,
        ),
        training=TrainingConfig(table_learning_rate=0.03),
    ).to_dict()

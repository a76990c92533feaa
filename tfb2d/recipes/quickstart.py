"""Sentiment of film reviews, from nothing but two packages: `tfb2d train`.

Data: 12,808 Rotten Tomatoes snippets (fresh or rotten) and 1,097 plots, split by film, so that test films are new.
Teacher: all-MiniLM-L6-v2, fine-tuned on the training snippets.
Transfer set: all training text, plots cut into sentences, augmentations of both, and negated words ("hardly dull").

`--config=quickstart:2` stacks two teachers, the same encoder fine-tuned with another seed; `quickstart:3` three.

Time: seven to ten minutes on two cores; another teacher takes about six minutes more. Expect a teacher of about 0.815
accuracy on the test films. The student keeps 95% of that, two points above the same student trained on labels alone
(results/README.md).
"""

from ml_collections import ConfigDict

from tfb2d.config import (
    AugmentConfig,
    CompressConfig,
    Config,
    DataConfig,
    DistillConfig,
    StudentConfig,
    TeacherConfig,
    TrainingConfig,
    several,
)


def get_config(teachers: str = "1") -> ConfigDict:
    """Returns the recipe with a number of teachers."""
    # bfloat16 where the machine computes in it: 1.6 times the rows a second of float32.
    minilm = TeacherConfig(preset="pypi:all-minilm-l6-v2", epochs=2, max_length=64, mixed_precision=True)
    return Config(
        name="quickstart",
        data=DataConfig(
            train=("pypi:rotten-tomatoes/snippets.tsv",),
            unlabelled=("pypi:rotten-tomatoes/plots.tsv",),
            classes=("rotten", "fresh"),
            group="movie",
            valid_fraction=0.1,
            test_fraction=0.2,
            augment=AugmentConfig(copies=4, sentences=True, negated=150),
        ),
        teachers=several("minilm", minilm, teachers),
        distill=DistillConfig(hard_weight=0.3),
        # Chosen on validation films (results/quickstart.md). Words alone have the same ROC-AUC and do not see negation.
        # Pairs of words with rows of their own memorise.
        student=StudentConfig(
            buckets=2**16,
            window=3,
            vocabulary=10_000,
            affixes=(5, 3),
            convolutions=(1,),
            convolution_width=128,
            dropout=0.3,
            ngram_dropout=0.3,
        ),
        compress=CompressConfig(max_megabytes=3),
        training=TrainingConfig(epochs=6, table_learning_rate=0.03),
    ).to_dict()

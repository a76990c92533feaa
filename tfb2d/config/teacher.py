"""Settings of teachers: the encoder, how it is adapted and fine-tuned, or the files that hold another model's scores."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from tfb2d.config.checks import require, require_not_negative, require_one_of, require_positive, require_share
from tfb2d.config.mapping import changed_settings, without_effect


@dataclass(frozen=True)
class AdaptConfig:
    """Masked-language training of a teacher's encoder on transfer text, before it is fine-tuned (`teachers/adapt.py`).

    Teachers whose `adapt_settings` are the same share one adapted encoder.
    """

    rows: int = 0  # of the transfer set, drawn at random; 0 leaves the encoder as it is
    masking: str = "whole_word"  # or "phrase": words that often go together are hidden together
    rate: float = 0.15  # share of the words (or phrases) that are hidden
    epochs: int = 1
    batch_size: int = 64
    learning_rate: float = 1e-4  # the peak; warm-up, decay and clipping are those of fine-tuning
    seed: int = 0

    def __post_init__(self) -> None:
        require_not_negative(self, "teachers.*.adapt", "rows")
        require_positive(self, "teachers.*.adapt", "epochs", "batch_size", "learning_rate")
        require(0 < self.rate < 1, f"teachers.*.adapt.rate is {self.rate}; it is a share between 0 and 1")
        require_one_of(self, "teachers.*.adapt", "masking", ("whole_word", "phrase"))


@dataclass(frozen=True)
class TeacherConfig:
    """A teacher: an encoder to fine-tune, a teacher fine-tuned before, students trained before, or scores from outside."""

    preset: str = ""  # KerasHub preset name, Hugging Face folder, `pypi:` resource, or a saved teacher's folder
    logits: tuple[str, ...] = ()  # files with the text fields and a score column: takes a teacher's place
    # The column of scores, or how the names of several begin; "" finds `logit`, `score` or `probability`. Several classes
    # have `logit_0`, `logit_1`, ... or `logit_CLASS`, ... A name with "score" or "prob" in it means probabilities.
    # A row with a value outside [0, 1] is rejected then, and too many of them stop the run (`data.max_rejected`). Of graded
    # tasks 0 is the lowest grade of `data.label_range` and 1 the highest.
    logits_column: str = ""
    # Version folders of exported students (`saved_models/NAME/1`): the mean of their logits takes a teacher's place. They
    # label so fast that a smaller student can learn from texts made by the million (`data.augment.clauses`, `crossings`).
    students: tuple[str, ...] = ()
    # Share of the transfer set that this teacher labels: the rows of which the teachers before it are least sure, by the
    # mean of their logits. It goes with `distill.stack="last"`. 0 labels all rows. (`teachers/doubtful.py`)
    doubtful: float = 0.0
    layers: int = 0  # encoder layers that are kept, from the first on; 0 keeps all
    max_length: int = 128  # tokens, special ones included
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5  # the peak, after warm-up
    warmup: float = 0.1  # share of the steps, linear from 0; a cosine to 0 follows
    weight_decay: float = 0.01
    clip_norm: float = 1.0  # largest global norm of the gradients; 0 does not clip
    ema: float = 0.0  # momentum of the moving average of the weights that is kept, for example 0.99; 0 is none
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    patience: int = 2  # evaluations on validation without a better headline measure before fine-tuning stops
    evaluate_per_epoch: int = 1
    mixed_precision: bool = False  # bfloat16, on GPUs and on CPUs with AVX512-BF16 or AMX; elsewhere it changes nothing
    checkpoint_seconds: float = without_effect(60.0)
    seed: int = 0

    def __post_init__(self) -> None:
        one = sum(map(bool, (self.preset, self.logits, self.students))) == 1
        require(one, "a teacher takes one of `preset`, `logits` and `students`")
        counts = ("max_length", "epochs", "batch_size", "learning_rate", "evaluate_per_epoch")
        require_positive(self, "teachers.*", *counts)
        require_not_negative(self, "teachers.*", "clip_norm")
        require_share(self, "teachers.*", "warmup", "ema", "doubtful")
        rule = "teachers.*.doubtful says what an encoder labels; scores are there already, and students label all"
        require(bool(self.preset) or not self.doubtful, rule)

    @property
    def scores_new_texts(self) -> bool:
        """Says whether it can score texts that are made in a run; scores from files cover none of them."""
        return not self.logits


def several(name: str, teacher: TeacherConfig, count: str) -> dict[str, TeacherConfig]:
    """Returns several teachers that differ in their seeds alone: `name`, `seed1`, `seed2`, ...

    Raises ConfigError where `count`, which comes from a recipe's argument, is no number of teachers.
    """
    require(count.isdecimal() and int(count) > 0, f"the recipe's argument: {count!r} is no number of teachers")
    return {name: teacher} | {f"seed{seed}": dataclasses.replace(teacher, seed=seed) for seed in range(1, int(count))}


def adapt_settings(config: TeacherConfig) -> dict[str, Any]:
    """Returns the settings that a teacher's adapted encoder depends on, those that differ from their defaults."""
    names = ("adapt", "preset", "layers", "max_length", "mixed_precision", "warmup", "weight_decay", "clip_norm")
    return {name: value for name, value in changed_settings(config).items() if name in names}

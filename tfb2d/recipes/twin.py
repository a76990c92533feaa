"""A twin on your own files: queries and titles are embedded separately, so that titles can be embedded once and searched.

  tfb2d train --config=twin --workdir=runs/shop --config.data.train=labelled.tsv --config.data.unlabelled=logs/

Rows: as for `--config=pairs`. The first teacher's fine-tuned encoder, cut to three layers, becomes both towers. They learn
the teacher's scores of the labelled and the unlabelled pairs. Give all the unlabelled pairs that there are.

  --config.twin.kind=asymmetric     queries looked up in microseconds, against the transformer's title vectors
  --config.twin.kind=ngram          both sides looked up
  --config.twin.crossing=max        scores pairs a little better, but an index of neighbours does not know that score
  --config.models=student,twin      also the DNN student, which ranks what the twin finds
  --config.twin.in_batch_negatives=4   teaches it titles that no search had found for a query, too

Most of the time goes into the teacher and then into the towers. See results/README.md for times and for the figures to
expect.
"""

from ml_collections import ConfigDict

from tfb2d.config import AugmentConfig, Config, DataConfig, TeacherConfig
from tfb2d.config.twin import TwinConfig


def get_config() -> ConfigDict:
    """Returns the recipe."""
    return Config(
        name="twin",
        models=("twin",),
        data=DataConfig(fields=("query", "title"), augment=AugmentConfig(copies=2)),
        teachers={"minilm": TeacherConfig(preset="pypi:all-minilm-l6-v2", max_length=96, mixed_precision=True)},
        twin=TwinConfig(mixed_precision=True),
    ).to_dict()

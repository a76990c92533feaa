"""Graded."""

from ml_collections import ConfigDict

from tfb2d.config import Config, DataConfig, OffersConfig, TeacherConfig
from tfb2d.data_config import RetrieveConfig


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
            offers=OffersConfig(files=(catalogue,), graded=True, judged=6_000, queries=250, candidates=12),
            retrieve=RetrieveConfig(),
        ),
        teachers={"minilm": minilm},
    ).to_dict()

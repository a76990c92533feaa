"""Settings of a run: frozen dataclasses, checked when they are built. Each file explains the settings of a stage.

- `data`: which rows are read, how they are split, and what the transfer set holds.
- `teacher`: teachers, and how they are adapted and fine-tuned. `label`: how they write logits.
- `student`: the student's shape, training and compression. `twin`: the same of a twin.
- `run`: distilling, export and report, and `Config`, which holds all of them.

A recipe (`tfb2d/recipes/*.py`) defines `get_config()`, which returns `Config(...).to_dict()`. The command line changes
that: `--config.student.dim=64` (ml_collections, https://ml-collections.readthedocs.io). `Config.from_dict` then makes the
frozen form that the package reads. Nothing here imports anything heavy.
"""

from tfb2d.config.checks import ConfigError as ConfigError
from tfb2d.config.data import AugmentConfig as AugmentConfig
from tfb2d.config.data import DataConfig as DataConfig
from tfb2d.config.data import OffersConfig as OffersConfig
from tfb2d.config.data import RetrieveConfig as RetrieveConfig
from tfb2d.config.label import LabelConfig as LabelConfig
from tfb2d.config.label import RayConfig as RayConfig
from tfb2d.config.run import HEADLINES as HEADLINES
from tfb2d.config.run import Config as Config
from tfb2d.config.run import DistillConfig as DistillConfig
from tfb2d.config.run import ExportConfig as ExportConfig
from tfb2d.config.run import ReportConfig as ReportConfig
from tfb2d.config.student import CLUSTERS as CLUSTERS
from tfb2d.config.student import STRATEGIES as STRATEGIES
from tfb2d.config.student import CompressConfig as CompressConfig
from tfb2d.config.student import StudentConfig as StudentConfig
from tfb2d.config.student import TrainingConfig as TrainingConfig
from tfb2d.config.teacher import AdaptConfig as AdaptConfig
from tfb2d.config.teacher import TeacherConfig as TeacherConfig
from tfb2d.config.teacher import adapt_settings as adapt_settings
from tfb2d.config.teacher import several as several
from tfb2d.config.twin import TwinConfig as TwinConfig

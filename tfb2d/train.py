"""Trains a student from raw rows to a served model, in one command that can be stopped and continues.

With no flags it runs the quickstart: real film reviews, a BERT teacher, ten minutes on two cores.

  tfb2d train
  tfb2d train --config=pairs --workdir=runs/shop --config.data.train=labelled.tsv --config.data.unlabelled=logs/
  tfb2d train --config=my_recipe.py --config.student.dim=128 --until=student

A recipe is a Python file with `get_config()`; those in tfb2d/recipes/ are called by name, and one that takes an argument (a
folder of data, say) gets it behind a colon: `--config=sst2:/data`. Any of its settings is changed by
`--config.<stage>.<setting>=<value>`; all settings, with what they mean, are in tfb2d/config/. The
same command again continues where the last one stopped, and does again only what a changed setting or file touches.

--config.training.strategy=mirrored trains the student on all of a machine's devices. With multi_worker or parameter_server
the same command runs on each machine, with a --workdir that all can read, and TF_CONFIG says which of them it is. The chief
(or worker 0) runs the stages; the others help to train the student. With ray one command
starts all, in workers of Ray Train. See docs/scale.md.
"""

import shlex
from argparse import Namespace
from pathlib import Path

from tfb2d.cli.arguments import RECIPE_SETTINGS, Parser
from tfb2d.recipes import names

SETTINGS = RECIPE_SETTINGS


def add_arguments(parser: Parser) -> None:
    """Adds the command's flags."""
    what = parser.group("what to train")
    what.flag(
        "config", f"The recipe: a file, or one of {', '.join(names())}.", "quickstart", metavar="RECIPE[:ARGUMENT]"
    )
    what.flag("workdir", "The run folder. [default: runs/<recipe's name>]", metavar="DIR")
    settings = parser.add_argument_group("settings")
    settings.add_argument("--config.STAGE.SETTING", dest="_", metavar="VALUE", help="Changes a setting of the recipe.")
    settings.add_argument("--compress.SETTING", dest="_", metavar="VALUE", help="Short for --config.compress.SETTING.")
    how = parser.group("how")
    how.flag(
        "until", "The stage after which to stop (data, teachers/NAME, logits/NAME, student, ...).", metavar="STAGE"
    )
    how.words(
        "force", "Stages to run again, with all that depend on them, though nothing has changed.", metavar="STAGE,..."
    )
    how.real(
        "max_rejected", "Share of bad rows at which to stop; short for --config.data.max_rejected.", least=0.0, most=1.0
    )


def run(options: Namespace) -> None:
    """Runs the command."""
    from tfb2d.cli.recipes import load, override
    from tfb2d.cluster import member
    from tfb2d.config import CLUSTERS, Config

    settings = load(options.config)
    override(settings, options.settings)
    if options.max_rejected is not None:
        settings.data.max_rejected = options.max_rejected
    config = Config.from_dict(settings)
    from tfb2d import pipeline
    from tfb2d.errors import RunError
    from tfb2d.outcomes import ReportOutcome
    from tfb2d.runs import Run
    from tfb2d.students.member import leave
    from tfb2d.teachers.memory import keep_freed_memory

    keep_freed_memory()
    workdir = Path(options.workdir or Path("runs") / config.name)
    if config.training.strategy in CLUSTERS and not member(config.training.strategy).is_chief:
        try:
            pipeline.follow(Run(workdir), config)
        except RunError as error:
            leave(str(error))
        print(f"{workdir}: the student is trained; the chief continues")
        leave()
    command = shlex.join(["tfb2d", "train", *options.words])
    outcome = pipeline.run(Run(workdir, command=command), config, options.until or "", options.force)
    if isinstance(outcome, ReportOutcome):
        print(f"\n{outcome.table}\n")
        print(f"pictures   {outcome.report}")
        print(f"next       tfb2d score --model={outcome.model} --input=FILE --output=scored.tsv")
        served = Path(outcome.model).resolve().parent
        print(f"           tfb2d serve --model_name={config.model_name} --model_base_path={served}")


if __name__ == "__main__":
    from tfb2d.cli import run_command

    run_command("train")

"""A twin beside the DNN student on PriceRunner's offers, from two folders of data.

  tfb2d train --config=twin_pricerunner:DATA --workdir=runs/twin_pricerunner

DATA, pairs, splits and teachers are those of `--config=pricerunner`: its run folder's stages may be copied. The twin's
towers are three layers of the fine-tuned cross-encoder, every second one. `--config.twin.kind=asymmetric` then trains a
look-up query tower against the title vectors, in a few minutes more. `--config.twin.kind=ngram` looks both sides up.
`--config.twin.crossing=max` (or concat, two_layer) scores pairs a little better, but no index of neighbours finds by it.

`--config=twin_pricerunner:DATA,2` stacks two teachers.

Time on 2 cores with bfloat16: as `pricerunner`, and the twin. See results/README.md for that and for the figures to expect.
"""

from ml_collections import ConfigDict

from tfb2d.recipes import pricerunner


def get_config(argument: str = "data") -> ConfigDict:
    """Returns the recipe.

    Args:
      argument: the folder that holds `pricerunner` and `titles`, and after a comma the number of teachers.
    """
    recipe = pricerunner.get_config(argument)
    recipe.name = "twin_pricerunner"
    recipe.models = ("student", "twin")
    recipe.data.offers.transfer = 120_000
    recipe.twin.update(query_length=24, title_length=40, epochs=2, mixed_precision=True)
    return recipe

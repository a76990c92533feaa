"""Registers TF.Text's operations where a model needs them: without them TensorFlow cannot load its graph."""

from collections.abc import Iterable

from tfb2d.errors import UserError

LIBRARY = "tensorflow_text"  # in `assets.extra/tfb2d.json` under "needs"
OPERATIONS = frozenset(  # of TF.Text, those that tokenizers put into graphs
    {
        "FastBertNormalize",
        "FastWordpieceTokenizeWithOffsets",
        "NormalizeUTF8",
        "SentenceBreaks",
        "UnicodeScriptTokenizeWithOffsets",
        "WhitespaceTokenizeWithOffsetsV2",
        "WordpieceTokenizeWithOffsets",
    }
)


def register(model: object) -> None:
    """Imports tensorflow_text, whose operations this process then has; raises UserError where that fails."""
    try:
        import tensorflow_text  # noqa: F401 (registers its operations)
    except Exception as error:  # its shared library may not fit TensorFlow's, which is another error
        raise UserError(
            f"{model} cuts word pieces with TF.Text, which cannot be imported here ({error}): install the tensorflow-text "
            "of TensorFlow's own version, or export a twin of tri-letters or n-grams, which needs TensorFlow alone"
        ) from error


def are_needed(operations: Iterable[str]) -> bool:
    """Says whether a graph with these operations needs TF.Text."""
    return not OPERATIONS.isdisjoint(operations)

"""Scores strings on a small machine: NumPy and `ai-edge-litert`, no TensorFlow.

Example:
  >>> from tfb2d.edge import EdgeScorer
  >>> EdgeScorer("saved_models/shop/3").rank("usb cable", ["usb c cable 1 m", "garden hose"])
"""

from tfb2d.edge.scorer import EdgeScorer
from tfb2d.edge.spec import EdgeError

__all__ = ["EdgeError", "EdgeScorer"]

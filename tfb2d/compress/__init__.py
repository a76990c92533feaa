"""Compression: row-wise int8 tables, a size budget, and TFMOT for the dense layers.

- `stage.compress_student` makes the student that is served; `compare` measures the forms that there are.
- `pack.pack` makes int8 tables, and `budget` fits them into a number of bytes.
- `dense` and `quantised` prune, cluster and quantise the dense layers, by `tfmot` alone.
- `edge_graph` and `tflite` make the TensorFlow Lite form.
"""

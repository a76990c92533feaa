"""Side-by-side measurements: this package's students and what would be used instead (`tfb2d bench`).

- `modes` lists the modes, a module each: `scoring`, `serving`, `edge`, `profile` and `teacher`.
- `measure` times calls in pinned processes (`worker`), and `cells` lets systems take turns.
- `systems` lists what is measured: `students`, and the peers in `bert`, `keras_bert`, `onnx_bert` and `words`.
- `serving_load` puts load on a server, and `faults` does to it what happens in production.
"""

"""Students: hashed n-grams and a feed-forward network (tf_keras). Importing the package imports nothing heavy.

- `text_spec` is the hash spec in NumPy, `text` the same as a graph: text, tokens, hashes, n-gram ids.
- `spelling` corrects a query's words, `spelling_graph` does so as a graph.
- `hashing` writes the hashes of texts to disk, so that each text is hashed once; `rows` reads them.
- `model.Student` is the student as it is trained, out of `layers`, `composed`, `pairs` and `early_exit`.
- `served.ServedStudent` computes the same logits for serving, in fewer operations, out of `served_tokens`,
  `served_composed` and `served_pairs`.
- `fit.fit_student` trains a student, by `training.Trainer` and `optimizer.RowWiseAdagrad`; `steps` takes a training step.
- `strategy`, `replicas`, `servers` and `member` do the same on several devices and machines.
- `int8_table` and `packed` store and read int8 tables.
"""

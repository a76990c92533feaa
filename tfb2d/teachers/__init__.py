"""Teachers: KerasHub text classifiers, from a pre-trained encoder to logits on disk.

- `fine_tune.fine_tune` makes a teacher of an encoder and labelled rows; `teacher.load_teacher` reads it back.
- `teacher.Teacher` turns texts into logits, and words into vectors.
- `label.label_folder` writes a teacher's logits for a table, shard by shard; `python -m tfb2d.label` does it for files.
- `external.attach_splits` takes scores that somebody else made.

Keras 3 on any backend (`KERAS_BACKEND`); nothing here imports tf_keras.
"""

"""Teachers are KerasHub text classifiers. This package takes them from a pre-trained encoder to logits on disk.

- `adapt.adapt` trains an encoder on transfer text before fine-tuning.
- `fine_tune.fine_tune` makes a teacher from an encoder and labelled rows; `teacher.load_teacher` reads it back.
- `teacher.Teacher` turns texts into logits, and words into vectors.
- `label.label_folder` writes a teacher's logits for a table, shard by shard; `files.label_files` does it for files.
- `external.attach_splits` takes scores from outside in a teacher's place.

Keras 3 on any backend (`KERAS_BACKEND`); nothing here imports tf_keras.
"""

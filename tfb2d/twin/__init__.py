"""Twins: one encoder for queries and one for titles (Keras 3). Importing the package imports nothing heavy.

- `model.Twin` is two `towers` and a `crossing` layer; `encoders` and `layers` are what towers are made of.
- `inputs` cuts strings into ids in the graph, with `bert_text` for word pieces; `texts` keeps ids without padding.
- `training` trains a twin on `pairs`, with `optimizers`.
- `look_up` trains the query tower of the asymmetric kind.
- `served` and `served_layers` are the towers as they are served; `saved_model` writes the SavedModel.
- `stage` holds the stages of a run; `storage` measures what storing weights in fewer bits costs.
"""

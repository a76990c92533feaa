"""Watches a student in service: compares its request logs with its teacher and with its transfer set.

- `run.Monitor` does all of it, by its `settings`.
- `logs` and `requests` turn log files into rows; `tfrecord` reads files that may be damaged.
- `intake` takes them in: sums by time (`windows`), new `ngrams`, and a `sample`.
- `describe` turns the sums into figures, by `drift` from the `reference`.
- `fidelity` compares the sample with the teacher, and `fresh` makes transfer data of it.
- `alerts` and `page` report. `shadow` compares two servers.
"""

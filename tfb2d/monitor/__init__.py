"""Watches a student in service: compares its request logs with its teacher and with its transfer set.

- `run.Monitor` does all of it, by its `settings`.
- `logs` and `requests` turn log files into rows; `tfrecord` reads files that may be damaged.
- `windows` sums the rows by time and `describe` turns sums into figures, by `drift`, `ngrams` and the `reference`.
- `fidelity` compares a `sample` with the teacher, and `fresh` makes transfer data of it.
- `alerts` and `page` report. `shadow` compares two servers.
"""

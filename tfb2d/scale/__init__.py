"""Work that outgrows a machine. It knows nothing of teachers and students: they hand it the work.

- `prepare_files.prepare_files` prepares a transfer set: its passes are in `passes`, near texts in `near`.
- `ray_cluster.connected` joins a Ray cluster, or starts Ray on this machine; `train_on_ray` starts the processes of a
  `tf.distribute` cluster there.
- `ray_actors.run_on_actors` spreads work that is cut into numbered pieces over Ray's actors.
- `object_store.bring_here` copies files of object stores to this machine.
"""

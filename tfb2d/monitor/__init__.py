"""What became of a student in service: its request logs against its teacher and against what it learnt from."""

"""Watches a student in service: compares its request logs with its teacher and with its transfer set."""

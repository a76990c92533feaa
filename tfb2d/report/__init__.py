"""The template, style and drawing that the pages of runs, sweeps, the monitor and explanations share."""

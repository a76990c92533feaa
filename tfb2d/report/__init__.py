"""What the pages of a run, a sweep, a monitor and explanations share: one template, one style, one way to draw."""

"""Explains a student's scores: contributions of n-grams, nearest n-grams, disagreements with the teacher.

- `contributions.explain` computes what each n-gram adds to a logit, by integrated gradients.
- `leave_one_out` does it for a model whose weights are not at hand.
- `nearest` lists an n-gram's neighbours; `disagree` the rows on which teacher and student differ, by `measures`.
- `source` finds the student and its run; `views`, `terminal` and `page` show the result.
"""

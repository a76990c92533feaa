"""Explains a student's scores: contributions of n-grams, nearest n-grams, disagreements with the teacher."""

"""Why a student scores as it does: contributions of n-grams, nearest n-grams, disagreements with the teacher."""

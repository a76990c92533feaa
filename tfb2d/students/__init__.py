"""Students: hashed n-grams and a feed-forward network (tf_keras). Importing the package imports nothing heavy."""

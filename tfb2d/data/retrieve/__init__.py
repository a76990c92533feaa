"""Makes unlabelled (query, title) pairs of queries and titles, for users who log no pairs.

- `sources` reads queries and titles from files.
- `retriever` ranks titles by BM25.
- `title_queries` makes further queries of titles.
- `pairs.unlabelled_pairs` pairs every query with titles near and far.
"""

"""Makes query-title pairs out of a catalogue of offers that are clustered by product.

- `catalogue` reads the offers and splits them by product, so that held-out products and their titles are new.
- `queries` writes a product's name as a shopper would type it.
- `overlap` finds the titles that share most words with a query.
- `pairs.make` makes labelled pairs with hard negatives, and unlabelled pairs for the transfer set.
"""

"""Query-title pairs out of a catalogue of offers that are clustered by product.

- `catalogue` reads it and cuts it by product, so that held-out products and their titles are new.
- `shoppers` writes a product's name as a shopper would type it.
- `overlap` finds the titles that share most with a query.
- `pairs.make` puts these together: labelled pairs with hard negatives, and unlabelled ones for the transfer set.
"""

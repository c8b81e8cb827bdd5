"""Models in the forms that devices run, and what recognises with them."""

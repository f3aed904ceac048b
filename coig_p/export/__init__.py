"""A store's rows as trainers read them."""

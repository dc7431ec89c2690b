"""Complete verbs, keys and values by the TAB key."""

"""What a user may type: schema, checked values, groups, composition. Imports no torch."""

"""Define, compose and check configs: schema, types, groups, overrides. Imports no torch."""

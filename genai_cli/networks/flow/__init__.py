"""Invertible networks: each layer gives ``(z, log |det ∂z/∂x|)`` forward and x backward."""

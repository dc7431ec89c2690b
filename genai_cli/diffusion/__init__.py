"""Gaussian diffusion without networks: noise schedules, the variational bound, samplers."""

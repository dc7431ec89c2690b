"""Which classes a model serves: shares of samples, errors and fates of reconstructions by class."""

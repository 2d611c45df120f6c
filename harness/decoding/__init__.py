"""Decoding: samplers as pure step functions, and the loop that drives them."""

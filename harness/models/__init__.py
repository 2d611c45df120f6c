"""Model families over transformers' own classes, without remote code."""

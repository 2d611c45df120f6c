"""`unmask serve`: an OpenAI-compatible endpoint over the engine."""

"""Process rewards: where in a response its reward was earned, by character, token and denoising step."""

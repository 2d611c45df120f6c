"""The ways to start a worker, strongest first. Each module has one class with the same four members (see `base.Backend`)."""

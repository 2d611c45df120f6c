"""Problems: where they come from, how they are asked, which verifier judges them. Imports rewards."""

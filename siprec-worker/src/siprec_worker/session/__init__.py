"""One recorded call."""

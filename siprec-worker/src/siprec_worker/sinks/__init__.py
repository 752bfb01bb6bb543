"""Where a call's audio goes, and where the AI's answers come from."""

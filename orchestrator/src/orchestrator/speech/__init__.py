"""Text to speech, for what only agents hear."""

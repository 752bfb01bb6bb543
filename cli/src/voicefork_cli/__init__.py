"""The voicefork command."""

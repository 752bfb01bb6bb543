"""voicefork demo: one whole call, shown and measured."""

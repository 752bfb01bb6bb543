"""What the caller heard, in figures: dead air, tones, mouth-to-ear."""

"""Pure media code: what happens to audio between a packet and a sink."""

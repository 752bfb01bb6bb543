"""Starts the real programs a call needs (Asterisk, rtpengine, redis, ours) on free loopback ports."""

"""Starts the programs a call needs (Asterisk, rtpengine, redis, ours) on free local ports."""

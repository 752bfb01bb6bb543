"""Outbound: Asterisk, through its REST interface."""

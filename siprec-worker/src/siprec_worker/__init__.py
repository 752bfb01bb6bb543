"""The SIPREC worker: records calls, streams them to AI agents, plays their voice back."""

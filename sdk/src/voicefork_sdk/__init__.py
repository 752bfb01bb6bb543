"""For AI vendors: an agent server on which a call is one coroutine."""

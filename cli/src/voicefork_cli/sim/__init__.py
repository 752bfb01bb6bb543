"""The other parties of a call: carrier caller, SIPREC client, agent phone."""

"""SIP as this server needs it: messages, server transactions, the answering dialog."""

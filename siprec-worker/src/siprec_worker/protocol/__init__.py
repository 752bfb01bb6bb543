"""Pure protocol code: bytes in, values out; no sockets, no clock."""

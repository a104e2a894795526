"""The protocol between two peers: bytes in, bytes and intents out. Pure."""

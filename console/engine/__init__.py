"""All state, and the only thing that talks to the broker: commands in, events out."""

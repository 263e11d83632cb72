"""The Textual face: a client of the engine that shows facts and sends commands."""

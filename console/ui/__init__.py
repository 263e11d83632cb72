"""The face: a Textual app that shows the engine's facts and sends it commands."""

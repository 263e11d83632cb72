"""The face: a Textual app that shows the engine's facts and sends it commands."""

import os

# Textual collects changes for a sixtieth of a second before it writes them; a key's answer needn't
# wait so long. Read when Textual is imported.
os.environ.setdefault("TEXTUAL_FPS", "120")

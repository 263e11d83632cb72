"""The console's own health over HTTP."""

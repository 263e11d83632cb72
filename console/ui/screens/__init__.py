"""The screens and dialogs that the widgets stand in."""

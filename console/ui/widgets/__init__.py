"""Everything on a screen: widgets that draw their own lines out of the store."""

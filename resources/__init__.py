"""Files that ship with XENO: the starter model and the icon."""

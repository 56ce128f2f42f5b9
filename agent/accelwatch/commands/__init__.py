"""One file per command; each adds its arguments and runs. Imported only when its command is called."""

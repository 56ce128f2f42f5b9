"""The machine's interfaces, one file each; `registry` lists them."""

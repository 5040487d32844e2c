"""The tests of Syncbeat: they mirror its packages; no code of the product lives here."""

"""Everything at once: load, readers, and the killing of every process, for as long as one likes (`make chaos`)."""

"""Effects among those who would take up the intervention (CACE), one method per file."""

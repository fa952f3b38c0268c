"""People of a practice: who they are, their characteristics, and how they were identified."""

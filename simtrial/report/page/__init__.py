"""The page of a run: one self-contained HTML file with words, tables and figures."""

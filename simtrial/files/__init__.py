"""Files of people: their trials and their results, in CSV, Parquet and Stata, with their own column names."""

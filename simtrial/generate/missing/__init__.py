"""What is lost: people who drop out, and items that are absent."""

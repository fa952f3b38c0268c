"""What is asserted of a run: expectations of its scenario."""

"""Work: blocks simulated and analysed, spread over engines, and what a probe of them says."""

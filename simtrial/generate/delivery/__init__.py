"""Delivery of the intervention: who is offered it, who takes it up, and how much of it."""

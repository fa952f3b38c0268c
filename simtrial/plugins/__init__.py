"""Methods and generators of the user: loaded by name, batched or as plain functions of one trial."""

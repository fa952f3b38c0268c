"""Commands: what each of them does with scenarios, data sets and run directories."""

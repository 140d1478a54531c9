"""From a connection to committed trades: plan, read, fold, commit."""

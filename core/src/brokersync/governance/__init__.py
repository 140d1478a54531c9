"""Which of the installed plugins may run, and who is told of them."""

"""What is said to a person in a terminal: errors, progress, arguments."""

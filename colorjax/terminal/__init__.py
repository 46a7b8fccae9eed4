"""Everything said to a person in a terminal: errors, progress, arguments."""
